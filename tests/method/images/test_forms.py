"""One contract of every form in which images come: the same pixels, batches and labels, in whatever order."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from fmce_mlflow.method.images.input_batches import InputBatches
from fmce_mlflow.method.images.inputs import image_inputs
from fmce_mlflow.method.images.preprocessing import Preprocessing

PIXELS = np.random.default_rng(3).integers(0, 256, (6, 10, 8, 3), dtype=np.uint8)
LABELS = np.array([0, 0, 1, 1, 1, 2])
HALF = Preprocessing(10, 8, mean=(0.5, 0.4, 0.3), std=(0.25, 0.5, 0.2))
EXPECTED = HALF(torch.from_numpy(PIXELS).permute(0, 3, 1, 2))  # (6, 3, 10, 8)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def files(folder: Path) -> list[Path]:
    """PIXELS as files in class folders, in order."""
    paths = [folder / "abc"[label] / f"{i}.png" for i, label in enumerate(LABELS)]
    for path, pixels in zip(paths, PIXELS, strict=True):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(pixels))
    return paths


def mapped(folder: Path) -> np.ndarray:
    np.save(folder / "pixels.npy", PIXELS)
    return np.load(folder / "pixels.npy", mmap_mode="r")


class Pairs(torch.utils.data.Dataset[tuple[Image.Image, int]]):
    """A dataset that knows its labels only by reading."""

    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, i: int) -> tuple[Image.Image, int]:
        return Image.fromarray(PIXELS[i]), int(LABELS[i])


FIRST = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)  # channels first
FORMS: dict[str, Callable[[Path], Any]] = {
    "array NHWC": lambda folder: PIXELS,
    "array NCHW": lambda folder: PIXELS.transpose(0, 3, 1, 2),
    "memory map": mapped,
    "tensor": lambda folder: FIRST,
    "list of arrays": lambda folder: list(PIXELS),
    "list of tensors": lambda folder: list(FIRST),
    "list of PIL images": lambda folder: [Image.fromarray(pixels) for pixels in PIXELS],
    "list of bytes": lambda folder: [png(pixels) for pixels in PIXELS],
    "list of paths": files,
    "series of paths": lambda folder: pd.Series(list(map(str, files(folder)))),
    "series of arrays": lambda folder: pd.Series(list(PIXELS)),
}
LABELLED: dict[str, Callable[[Path], Any]] = {
    "class folders": lambda folder: files(folder)[0].parents[1],
    "split folder": lambda folder: split_folder(folder),
    "dataset of torchvision": lambda folder: ImageFolder(files(folder)[0].parents[1]),
    "dataset of pairs": lambda folder: Pairs(),
    "subset": lambda folder: torch.utils.data.Subset(Pairs(), range(len(PIXELS))),
}
"""Forms that bring their labels along."""


def split_folder(folder: Path) -> Path:
    """Held-out images beside others that are not to be read."""
    (folder / "val").mkdir()
    files(folder / "val")
    for name in "abc":
        (folder / "train" / name).mkdir(parents=True)
        (folder / "train" / name / "other.png").write_bytes(png(PIXELS[0] // 2))
    return folder


def of(form: str, folder: Path) -> Any:
    """The images of a form, with their labels."""
    if form in LABELLED:
        return image_inputs(LABELLED[form](folder))
    return image_inputs(FORMS[form](folder), LABELS)


every_form = pytest.mark.parametrize("form", [*FORMS, *LABELLED])


@every_form
def test_the_same_pixels(form, tmp_path):
    inputs = of(form, tmp_path)
    assert len(inputs) == len(PIXELS) and not inputs.is_float() and inputs.sizes() == {(10, 8)}
    for i, expected in enumerate(PIXELS):
        assert inputs.read(i).dtype == np.uint8 and np.array_equal(inputs.read(i), expected)


@every_form
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_the_same_batches(form, batch_size, tmp_path):
    batches = list(InputBatches(of(form, tmp_path), batch_size=batch_size, preprocessing=HALF, input_shape=(3, 10, 8)))
    assert [len(batch.indices) for batch in batches] == {1: [1] * 6, 4: [4, 2], 64: [6]}[batch_size]
    assert torch.equal(torch.cat([batch.pixels for batch in batches]), EXPECTED)
    assert np.concatenate([batch.indices for batch in batches]).tolist() == list(range(6))


@every_form
def test_the_same_batches_in_another_order(form, tmp_path):
    chosen = [5, 0, 3]
    batches = InputBatches(
        of(form, tmp_path), batch_size=2, preprocessing=HALF, input_shape=(3, None, None), indices=chosen
    )
    for _ in range(2):  # each iteration starts afresh
        assert torch.equal(torch.cat([batch.pixels for batch in batches]), EXPECTED[chosen])


@every_form
def test_the_same_labels(form, tmp_path):
    inputs = of(form, tmp_path)
    assert inputs.labelled and inputs.targets.tolist() == LABELS.tolist()


@every_form
def test_a_digest_of_content_and_labels(form, tmp_path):
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        folder.mkdir()
    digest = of(form, folders[0]).digest()
    assert digest == of(form, folders[1]).digest(), "wherever it lies"
    assert digest != image_inputs((FORMS | LABELLED)[form](folders[2]), LABELS[::-1]).digest()
