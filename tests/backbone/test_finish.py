"""A run is one process's to train in, on the images that it was begun with, and is closed whatever keeps it from it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow.models import Model
from PIL import Image

from fmce_mlflow.backbone.resume import stored_options
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.errors import ArtifactError, BusyError, DataError, RunError
from fmce_mlflow.method.images.split import load_images
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.uploads.open import open_uploads
from tests.conftest import fast_options, new_run
from tests.helpers.faults import everything, wait_for
from tests.helpers.trainings import training


def quiet(client, run_id):
    return Run(client, run_id, lambda line: None)


class Stop(BaseException):
    """Stands for the end of the process."""


def begun(client, options, run_id, snapshot):
    """Train until a snapshot is recorded, and stop."""

    def say(line):
        if f"snapshot {snapshot}/" in line:
            raise Stop

    with pytest.raises(Stop):
        train_backbone(Run(client, run_id, say), options)


def test_a_run_that_another_process_trains_is_refused_until_that_is_killed(client, data, whole):
    run_id = new_run(client)
    with training(
        client.tracking_uri,
        run_id,
        3,
    ) as process:
        wait_for(process, "Will write")
        with pytest.raises(BusyError, match=rf"{run_id} is being trained or uploaded by another process"):
            train_backbone(quiet(client, run_id), fast_options(), data=data)
        assert client.get_run(run_id).info.status == "RUNNING", "it is that process's to close"
        process.kill()
        process.wait()
    train_backbone(quiet(client, run_id), stored_options(Run(client, run_id)), data=data)
    assert everything(client, run_id) == whole


def test_of_two_in_one_process_the_second_is_refused_until_the_first_lets_go(client):
    run_id = new_run(client)
    first = open_uploads(quiet(client, run_id))
    with pytest.raises(BusyError):
        open_uploads(quiet(client, run_id))
    first.close("KILLED")
    second = open_uploads(quiet(client, run_id))
    second.close("FINISHED")
    assert not [path for path in first.staging.parent.iterdir() if path.is_file()], "no lock stays beside the artifacts"


@pytest.mark.parametrize("role", ["evaluation", "fmce_net", "tuning", "promotion", "fmcs_dataset"])
def test_nobody_trains_in_a_run_of_another_kind(client, data, role):
    run_id = new_run(client, **{"fmce.role": role})
    for status in ("RUNNING", "FINISHED"):
        client.update_run(run_id, status=status)
        with pytest.raises(RunError, match="is not a backbone run"):
            train_backbone(quiet(client, run_id), fast_options(), data=data)
        run = client.get_run(run_id)
        assert (run.info.status, run.data.params, run.data.tags["fmce.role"]) == (status, {}, role)


def test_a_run_that_was_finished_since_it_was_looked_at_stays_as_it_is(client, data):
    """As when another process finishes it between the look at its options and the lock."""
    run_id = new_run(client)
    options = fast_options(training={"epochs": 1})
    train_backbone(quiet(client, run_id), options, data=data)
    before = everything(client, run_id)
    with pytest.raises(RunError, match="is finished; there is nothing to resume"):
        train_backbone(quiet(client, run_id), options, data=data)
    assert everything(client, run_id) == before


@pytest.fixture
def photos(tmp_path):
    """A folder of two classes of 40 images."""
    folder = tmp_path / "photos"
    for seed, name in enumerate("ab"):
        for i in range(40):
            picture(folder / name / f"{i:02d}.png", 100 * seed + i)
    return folder


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)


def files(images):
    """Paths of an image set's files."""
    return [Path(images.source.name(int(i))) for i in images.indices]


def other_probe(folder, data):
    picture(files(data.probe)[0], 999)


def other_training_image(folder, data):
    picture(files(data.train)[0], 999)


def other_validation_image(folder, data):
    picture(files(data.validation)[-1], 999)


def fewer_images(folder, data):
    files(data.train)[0].unlink()


def other_class_name(folder, data):
    (folder / "a").rename(folder / "aa")


def other_labels(folder, data):
    one = files(data.train)[0]
    one.rename(folder / ("b" if one.parent.name == "a" else "a") / f"x{one.name}")


CHANGES = [other_probe, other_training_image, other_validation_image, fewer_images, other_class_name, other_labels]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_run_goes_on_with_the_images_that_it_was_begun_with_and_no_others(client, photos, tmp_path, change):
    options = fast_options(
        dataset=f"folder:{photos}", train_size=None, validation_size=30, probe_size=8, training={"epochs": 1}
    )
    run_id = new_run(client)
    begun(client, options, run_id, 1)
    kept = tmp_path / "kept"
    shutil.copytree(photos, kept)
    change(photos, load_images(options))
    with pytest.raises(DataError, match=r"are not those that run \w+ was begun with"):
        train_backbone(quiet(client, run_id), options)
    assert len(client.get_metric_history(run_id, "train_loss")) == 2
    shutil.rmtree(photos)
    shutil.move(kept, photos)
    train_backbone(quiet(client, run_id), options)
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_run_of_before_its_images_were_noted_goes_on_by_its_probe(client, data):
    run_id = new_run(client)
    client.log_param(run_id, "probe_sha256", data.probe_sha256)
    train_backbone(quiet(client, run_id), fast_options(training={"epochs": 1}), data=data)
    assert client.get_run(run_id).info.status == "FINISHED"


@pytest.mark.parametrize("names", [(b"$5_^", b"x$_a_b$y"), (b"a", b"caf\xe9")])
def test_names_of_classes_are_text_whatever_bytes_they_are(client, photos, names):
    for old, new in zip(b"ab", names, strict=True):
        os.rename(os.fsencode(photos) + b"/" + bytes([old]), os.fsencode(photos) + b"/" + new)
    if os.fsencode(os.fsdecode(names[1])) != names[1]:
        pytest.skip("this system has no such names")
    strange = os.fsdecode(os.fsencode(photos.parent) + b"/na\xefve $x_^$")
    photos.rename(strange)
    said = []
    run = Run(client, new_run(client), said.append)
    train_backbone(
        run, fast_options(dataset=f"folder:{strange}", train_size=None, validation_size=30, training={"epochs": 1})
    )
    found = run.fetch()
    assert found.info.status == "FINISHED" and not [line for line in said if "cannot be drawn" in line]
    logged = client.get_logged_model(found.outputs.model_outputs[0].model_id)
    classes = Model.load(str(Path(logged.artifact_location.removeprefix("file://"), "MLmodel"))).metadata["fmce"][
        "classes"
    ]
    assert classes == [os.fsdecode(name).encode("utf-8", "backslashreplace").decode() for name in names]
    assert {"plots/convergence.png", "plots/saliency.png"} <= {
        file.path for file in client.list_artifacts(run.id, "plots")
    }


def test_a_figure_that_cannot_be_drawn_costs_no_run(client, data, monkeypatch):
    def broken(*args, **more):
        raise ValueError("no such font")

    monkeypatch.setattr("fmce_mlflow.recording.conclude.convergence_figure", broken)
    said = []
    run = Run(client, new_run(client), said.append)
    train_backbone(run, fast_options(training={"epochs": 1}), data=data)
    assert run.fetch().info.status == "FINISHED"
    assert [line for line in said if "plots/convergence.png cannot be drawn (ValueError: no such font)" in line]


@pytest.mark.parametrize("location", ["file:///proc/x", "/dev/null/x", "ftp://127.0.0.1:1/x", "strange://x/y"])
def test_a_store_that_cannot_be_used_is_one_message_and_closes_the_run(client, data, location, tmp_path):
    experiment = client.create_experiment("unusable", artifact_location=location)
    run = Run.create(client, experiment, role="backbone", say=lambda line: None)
    with pytest.raises(Exception, match=r"annot be|Could not find a registered artifact repository") as caught:
        train_backbone(run, fast_options(), data=data)
    assert isinstance(caught.value, ArtifactError) or type(caught.value).__module__.startswith("mlflow")
    assert run.fetch().info.status == "FAILED"
