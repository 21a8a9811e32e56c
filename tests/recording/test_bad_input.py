"""What a recorder says of what it cannot use, and in what forms it takes a probe."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mlflow import data
from torch import nn
from torch.utils.data import DataLoader

import fmce_mlflow
from fmce_mlflow.errors import BackboneError, CaptureError, ConfigError, DataError, ModelError
from fmce_mlflow.runs.feature_maps import FeatureMapReader
from fmce_mlflow.runs.recordings import recorded_signals
from tests.conftest import new_run
from tests.helpers.recordings import PROBE, live, loop
from tests.helpers.small_training import SOON


class Parts(nn.Module):
    """A part that is called thrice, and one that works on regions."""

    def __init__(self, channels=3):
        super().__init__()
        self.first, self.again, self.regions = nn.Conv2d(channels, 3, 1), nn.Conv2d(3, 3, 1), nn.Identity()
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        x = self.first(x)
        for _ in range(3):
            x = self.again(x)
        return self.head(self.regions(x.repeat(2, 1, 1, 1))[: len(x)].mean((2, 3)))


class Keywords(nn.Module):
    """Takes what the Hugging Face's models take."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1)

    def forward(self, pixel_values, labels=None):
        return {"logits": self.first(pixel_values).mean((2, 3))}


class EachAlone(nn.Module):
    """A detector: takes a list of images of several sizes, and pads them."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1)

    def forward(self, images, targets=None):
        size = [max(image.shape[axis] for image in images) for axis in (1, 2)]
        padded = [nn.functional.pad(x, (0, size[1] - x.shape[2], 0, size[0] - x.shape[1])) for x in images]
        return self.first(torch.stack(padded)).mean((2, 3))


def recorded(client, model, modules, probe=PROBE, said=None, **options):
    say = (lambda line: None) if said is None else said.append
    run_id = new_run(client)
    options = {"convergence": SOON, **options}
    with fmce_mlflow.record(model, modules, probe=probe, run_id=run_id, client=client, say=say, **options) as recorder:
        for loss in (2.0, 1.0):
            recorder.loss(loss)
            recorder.snapshot()
    return recorder


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"probe": torch.zeros(4, 3, 8, 8, dtype=torch.int64)}, ModelError, r"are int64 of shape \(3, 8, 8\)"),
        ({"probe": torch.zeros(4, 3, 8, 8, dtype=torch.uint8)}, ModelError, r"are uint8 of shape \(3, 8, 8\)"),
        ({"probe": np.zeros((4, 8, 8, 3))}, ModelError, r"of shape \(8, 8, 3\).* 3 channels"),
        ({"forward": lambda model: model}, ModelError, r"takes 1 positional argument but 2 were given"),
        ({"forward": lambda model, batch: live()(batch)}, CaptureError, "has to call the model that it is given"),
        ({"labels": [0, 1]}, DataError, "have to be 10 whole numbers"),
        ({"modules": ["model.stem"]}, BackboneError, "Did you mean stem"),
        ({"modules": ["module.stem"]}, BackboneError, "Did you mean stem"),
        ({"model": nn.ModuleDict({"model": live()}), "modules": ["stem"]}, BackboneError, "Did you mean model.stem"),
        ({"model": Parts(), "modules": ["regions"]}, CaptureError, "is not one for each of 2 images"),
        ({"model": live().to("meta")}, ModelError, "cannot take the probe images"),
    ],
)
def test_what_a_recorder_cannot_use_is_told_before_anything_is_trained(client, options, error, text):
    with pytest.raises(error, match=text):
        recorded(client, **{"model": live(), "modules": ["stem"], **options})


def test_what_only_later_images_show_is_an_error_too_and_no_empty_recording(client):
    probe = [torch.rand(2, 3, 8, 8), torch.rand(2, 3, 12, 8)]
    with pytest.raises(CaptureError, match=r"maps of first have several sizes.*map_size, at most 8"):
        recorded(client, Parts(), ["first"], probe)
    with pytest.raises(ModelError, match="3 channels"):
        recorded(client, Parts(), ["first"], [torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)])
    assert recorded(client, Parts(), ["first"], probe, map_size=4).shapes == {"first": (3, 4, 4)}


def test_a_module_that_is_called_many_times_has_a_name_for_each_call(client):
    recorder = recorded(client, Parts(), ["again"])
    assert recorder.modules == ("again.0", "again.1", "again.2") and recorder.snapshots == 3


def test_names_with_what_compiling_puts_before_them_are_recorded_without(client):
    recorder = recorded(client, torch.compile(live(), backend="eager"), ["_orig_mod.stem"])
    assert recorder.modules == ("stem",) == FeatureMapReader(client, recorder.run.id).index.modules


@pytest.mark.parametrize("channels", [1, 6])
def test_images_of_any_number_of_channels(client, channels):
    recorder = recorded(client, Parts(channels), ["first"], torch.rand(4, channels, 8, 8), labels=[0, 1, 1, 0])
    assert recorder.shapes == {"first": (3, 8, 8)} and "focus/first" in recorder.record.metrics[2]


def test_batches_of_the_forms_that_trainers_have(client):
    images, labels = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 1, 0])
    dicts = [{"pixel_values": images, "labels": labels}]
    assert recorded(client, Keywords(), ["first"], dicts).probe.labels.tolist() == [0, 1, 1, 0]
    sizes = [(torch.rand(3, 8, 6 + n), {"boxes": torch.zeros(1, 4), "labels": torch.ones(1)}) for n in range(4)]
    loader = DataLoader(sizes, batch_size=4, collate_fn=lambda batch: tuple(zip(*batch, strict=True)))
    for probe in (loader, [image for image, _ in sizes]):
        assert recorded(client, EachAlone(), ["first"], probe).shapes == {"first": (3, 8, 7)}


def test_pictures_are_prepared_as_they_are_told_to_be(client, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 12, 10, 3), dtype=np.uint8)
    with pytest.raises(ConfigError, match="nothing says how the model wants them scaled"):
        recorded(client, Parts(), ["first"], data.from_images(pixels))
    assert recorded(client, Parts(), ["first"], data.from_images(pixels, preprocessing="scale")).snapshots == 3


def test_metrics_that_are_no_numbers_or_have_names_that_mlflow_refuses(client):
    said, run_id = [], new_run(client)
    with fmce_mlflow.record(live(), ["stem"], probe=PROBE, run_id=run_id, client=client, say=said.append) as recorder:
        recorder.loss(**{"box@1": 1.0})
        for _ in range(2):
            recorder.snapshot(**{"mAP@50(B)": 0.5, "words": "much", "rows": torch.zeros(3), "later": None})
    logged = client.get_run(run_id).data.metrics
    assert recorder.snapshots == 3 and logged["mAP_50_B_"] == 0.5 and logged["train_loss/box_1"] == 1.0
    assert not {"words", "rows", "later"} & set(logged)
    assert sum("it is called mAP_50_B_" in line for line in said) == 1
    assert sum("words must be one number, got 'much'" in line for line in said) == 1


def test_a_network_that_became_nan_is_completed_and_goes_on(client):
    said, run_id, model = [], new_run(client), live()
    with (
        pytest.raises(ZeroDivisionError),
        fmce_mlflow.record(model, ["stem"], probe=PROBE, run_id=run_id, client=client, say=said.append) as recorder,
    ):
        recorder.snapshot(train_loss=1.0)
        with torch.no_grad():
            model.stem[0].weight.fill_(float("nan"))
        recorder.snapshot(train_loss=float("nan"))
        raise ZeroDivisionError
    with fmce_mlflow.record(model, ["stem"], probe=PROBE, run_id=run_id, client=client, say=said.append) as recorder:
        recorder.snapshot(train_loss=float("nan"))
    assert recorder.snapshots == 3 and not any("could not be completed" in line for line in said), said
    assert not any("cannot be drawn" in line for line in said)


def test_a_loop_that_tells_no_training_loss_is_judged_by_what_it_tells(client):
    said = []
    run_id = new_run(client)
    with fmce_mlflow.record(
        live(), ["stem"], probe=PROBE, run_id=run_id, client=client, say=said.append, convergence=SOON
    ) as recorder:
        for epoch in range(8):
            with torch.no_grad():
                recorder.model.head.weight += 1
            recorder.snapshot(val_loss=0.5**epoch)
    assert any("training loss was not recorded at every snapshot: the validation loss tells" in line for line in said)
    found = recorded_signals(client, client.get_run(run_id))
    assert found["signal"] == "val" and found["val"]["point"] == 4 and found["train"] is None


def test_snapshots_that_the_recorder_counts_do_not_hide_epochs_that_the_loop_names(client):
    run_id, options = new_run(client), {"probe": PROBE, "client": client, "convergence": SOON, "every": 1}
    options["say"] = lambda line: None
    with pytest.raises(ZeroDivisionError), fmce_mlflow.record(live(), ["stem"], run_id=run_id, **options) as recorder:
        loop(recorder, lambda epoch: 1 // (2 - epoch), epochs=3)
    before = recorder.snapshots
    assert before > 3
    with fmce_mlflow.record(live(), ["stem"], run_id=run_id, **options) as recorder:
        recorder.snapshot(epoch=2)  # is there
        recorder.snapshot(epoch=3)
    assert recorder.snapshots == before + 1


def test_one_name_is_as_good_as_a_list(client):
    with recorded(client, Parts(), "first") as recorder:
        assert recorder.modules == ("first",)
    with pytest.raises(BackboneError, match=r"no module 'frst'"):
        recorded(client, Parts(), "frst")
