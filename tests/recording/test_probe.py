from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from fmce_mlflow.errors import DataError
from fmce_mlflow.recording.probe import NO_LABEL, probe_images

IMAGES = torch.rand(7, 3, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("batch_size", [1, 3, 256])
@pytest.mark.parametrize("form", ["tensor", "array", "loader", "batches", "generator"])
def test_every_form_of_the_same_images_is_the_same_probe(form, batch_size):
    loader = DataLoader(TensorDataset(IMAGES, torch.tensor(LABELS)), batch_size=batch_size)
    images = {
        "tensor": IMAGES, "array": IMAGES.numpy(), "loader": loader,
        "batches": list(IMAGES.split(batch_size)), "generator": (batch for batch in IMAGES.split(batch_size)),
    }[form]  # fmt: skip
    probe = probe_images(images, None if form == "loader" else LABELS, name="seven", batch_size=batch_size)
    expected = probe_images(IMAGES, LABELS)
    assert (probe.identity.n, probe.identity.dataset, probe.sha256) == (7, "seven", expected.sha256)
    assert probe.labels.dtype == np.int64 and probe.labels.tolist() == LABELS
    for _ in range(2):
        assert torch.equal(torch.cat(list(probe.batches)), IMAGES)


def test_images_of_any_strides_are_the_same_probe():
    narrow = IMAGES[..., :1]
    for images in (IMAGES, narrow):
        last = images.contiguous(memory_format=torch.channels_last)
        moved = torch.from_numpy(images.numpy().transpose(0, 2, 3, 1).copy()).permute(0, 3, 1, 2)
        assert {probe_images(one, LABELS).sha256 for one in (images, last, moved)} == {
            probe_images(images.clone(memory_format=torch.contiguous_format), LABELS).sha256
        }


def test_other_images_labels_and_orders_are_other_probes():
    changed = IMAGES.clone()
    changed[3, 0, 0, 0] += 1e-6
    probes = [probe_images(IMAGES, LABELS), probe_images(changed, LABELS), probe_images(IMAGES.flip(0), LABELS)]
    probes += [probe_images(IMAGES, [*LABELS[::-1][1:], 1]), probe_images(IMAGES), probe_images(IMAGES.double())]
    assert len({probe.sha256 for probe in probes}) == len(probes)
    assert set(probes[4].labels) == {NO_LABEL}


def test_pictures_of_any_number_of_channels():
    for channels in (1, 3, 5):
        pictures = probe_images(torch.randn(8, channels, 4, 6)).pictures
        assert pictures.shape == (6, 4, 6, 3) and pictures.dtype == np.uint8
    assert probe_images(torch.zeros(2, 3, 4, 4)).pictures.max() == 0


@pytest.mark.parametrize(
    ("images", "labels", "text"),
    [
        (IMAGES[:1], None, "got 1 images"),
        (IMAGES[0], None, r"shape \(3, 4, 4\)"),
        ([], None, "got 0 images"),
        (IMAGES, [0, 1], "have to be 7 whole numbers"),
        (IMAGES, [0.5] * 7, "have to be 7 whole numbers"),
    ],
)
def test_what_is_no_probe_is_told(images, labels, text):
    with pytest.raises(DataError, match=text):
        probe_images(images, labels)
