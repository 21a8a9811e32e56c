"""What is said of the images: which they are by content, what was done to them, what the model makes of them."""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from fmce_mlflow.errors import ConfigError, DataError
from fmce_mlflow.evaluation.evaluate import evaluate_model
from fmce_mlflow.evaluation.findings import Findings
from fmce_mlflow.evaluation.images import Outputs, labels_of
from fmce_mlflow.image_dataset.classifier import image_classifier
from fmce_mlflow.image_dataset.plugin import from_images
from fmce_mlflow.method.images.inputs import image_inputs
from fmce_mlflow.runs.run import Run
from tests.conftest import new_run
from tests.helpers.evaluations import (
    PREPROCESSING,
    Store,
    as_input,
    log_model,
    pixels,
    seeded_tiny,
    write_files,
)

PIXELS = pixels(40)
CLASSES = [f"class {i}" for i in range(10)]


def evaluated(store: Store, data: object, uri: str = "", **config) -> tuple[Findings, str]:
    """What is found, and the tag that identifies the images."""
    run_id = new_run(store.client)
    found = evaluate_model(
        Run(store.client, run_id, lambda text: None), uri or store.uris["pickle"], data, store.config(**config)
    )
    return found, store.client.get_run(run_id).data.tags["fmce.images"]


def logged(network: nn.Module, **more: object) -> str:
    with mlflow.start_run():
        return str(log_model(network, **more).model_uri)


# Which images they are


def changed(images: np.ndarray) -> np.ndarray:
    images = images.copy()
    images[-1, -1, -1, -1] ^= 1  # the last value of the last image
    return images


class Items(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return {"image": self.images[i]}


def in_folder(images: np.ndarray, folder: Path) -> Path:
    write_files(folder, images)
    return folder


FORMS = {
    "array": lambda images, folder: from_images(images),
    "rows of numbers": lambda images, folder: images.transpose(0, 3, 1, 2).reshape(len(images), -1),
    "folder": lambda images, folder: from_images(in_folder(images, folder)),
    "paths": lambda images, folder: from_images(write_files(folder, images)),
    "bytes": lambda images, folder: from_images([Path(path).read_bytes() for path in write_files(folder, images)]),
    "PIL": lambda images, folder: from_images([Image.fromarray(image) for image in images]),
    "dataset": lambda images, folder: from_images(Items(images)),
    "column of paths": lambda images, folder: pd.DataFrame({"image": write_files(folder, images)}),
    "column of bytes": lambda images, folder: pd.DataFrame(
        {"image": [Path(path).read_bytes() for path in write_files(folder, images)]}
    ),
    "column of arrays": lambda images, folder: pd.DataFrame({"image": list(images)}),
}  # fmt: skip


def test_images_are_identified_by_their_content_in_every_form(store, tmp_path):
    tags = {name: evaluated(store, make(PIXELS, tmp_path / name))[1] for name, make in FORMS.items()}
    assert set(tags.values()) == {tags["array"]} and tags["array"].startswith("sha256:")
    assert tags["array"].endswith(" of 40")


@pytest.mark.parametrize("form", FORMS)
def test_one_value_of_one_image_makes_other_images(store, form, tmp_path):
    """Names of files, numbers of rows and MLflow's digests may be the same."""
    folder = tmp_path / "same names"
    before = evaluated(store, FORMS[form](PIXELS, folder))[1]
    assert evaluated(store, FORMS[form](changed(PIXELS), folder))[1] != before


def test_labels_order_and_choice_belong_to_the_identity_and_a_claim_does_not(store, tmp_path):
    labels = np.arange(40) % 10
    sets = [
        from_images(PIXELS), from_images(PIXELS, labels), from_images(PIXELS, labels[::-1]), from_images(PIXELS[::-1]),
        from_images(PIXELS[:39]), from_images(as_input(PIXELS)),
    ]  # fmt: skip
    tags = [evaluated(store, one)[1] for one in sets]
    assert len(set(tags)) == len(tags)
    assert evaluated(store, sets[0], probe_size=30)[1] != evaluated(store, sets[0], probe_size=30, seed=1)[1]
    assert evaluated(store, from_images(PIXELS, digest="mine"))[1] == tags[0]
    assert evaluated(store, from_images(changed(PIXELS), digest="mine"))[1] != tags[0]
    (tmp_path / "broken.png").write_bytes(b"")
    paths = [*write_files(tmp_path / "files", PIXELS), str(tmp_path / "broken.png")]
    assert evaluated(store, from_images(paths, unreadable="skip"))[1] == tags[0]


# Their labels


def test_labels_are_the_models_by_name():
    folder = image_inputs(PIXELS[:4], [0, 1, 2, 0])
    folder.classes = ("cat", "eel", "owl")
    known = ("ape", "cat", "dog", "eel", "owl")
    found = labels_of(folder, known)
    assert found.indices(5).tolist() == [1, 3, 4, 1] and found.classes == known and not found.problem
    words = labels_of(image_inputs(PIXELS[:3], ["dog", "ape", "dog"]), known)
    assert words.indices(5).tolist() == [2, 0, 2]
    strange = labels_of(folder, ("cat", "dog", "horse"))
    assert strange.indices(3) is None and "eel, owl are no classes that the model names" in strange.problem
    unnamed = labels_of(folder, ())
    assert unnamed.indices(3).tolist() == [0, 1, 2, 0], "as many outputs as classes"
    assert unnamed.indices(10) is None and "3 classes" in unnamed.unlike(10)
    numbers = labels_of(image_inputs(PIXELS[:3], [7, 0, 9]), known)
    assert numbers.indices(10).tolist() == [7, 0, 9] and numbers.indices(5) is None
    for others in ([0.5, 1.5, 2.5], [-1, 0, 1]):
        assert labels_of(image_inputs(PIXELS[:3], others), known).indices(5) is None


def class_folders(root: Path, network: nn.Module, chosen: list[int]) -> Path:
    """Images in folders of the classes that the network gives them."""
    with torch.no_grad():
        best = network(torch.from_numpy(as_input(PIXELS))).argmax(1).tolist()
    for label in chosen:
        write_files(root / CLASSES[label], PIXELS[[i for i, one in enumerate(best) if one == label]])
    return root


def several(network: nn.Module) -> nn.Module:
    """A network that gives at least four classes."""
    with torch.no_grad():
        out = network(torch.from_numpy(as_input(PIXELS)))
        network.head.bias -= out.mean(0)
    return network


def test_a_test_folder_with_some_of_the_classes(store, tmp_path):
    network = several(seeded_tiny())
    network(torch.from_numpy(as_input(PIXELS)))
    best = network(torch.from_numpy(as_input(PIXELS))).argmax(1).tolist()
    some = sorted(set(best))[1::2]
    (tmp_path / "some").mkdir()
    root = class_folders(tmp_path / "some", network, some)
    uri = logged(network, metadata={"fmce": {"preprocessing": PREPROCESSING, "classes": CLASSES}})
    found, _ = evaluated(store, from_images(root), uri, saliency=4, saliency_target="label")
    assert found.images.accuracy == 1 and found.metrics["fmce_accuracy"] == 1
    assert set(found.sample_table()["label"]) == set(some) and found.images.label(0) == CLASSES[some[0]]
    with mlflow.start_run():
        result = mlflow.models.evaluate(
            image_classifier(uri), from_images(root), model_type="classifier", evaluators="default",
            evaluator_config={"log_model_explainability": False},
        )  # fmt: skip
    assert result.metrics["accuracy_score"] == 1

    unnamed = logged(network, metadata={"fmce": {"preprocessing": PREPROCESSING}})
    found, _ = evaluated(store, from_images(root), unnamed)
    assert found.images.accuracy is None and any("outputs without names" in text for text in found.choices)
    with pytest.raises(ConfigError, match=r"saliency_target is 'label', but the data has .* classes"):
        evaluated(store, from_images(root), unnamed, saliency=4, saliency_target="label")


# What was done to them, and what the model makes of them


def test_the_output_says_what_was_done_to_the_images(store, tmp_path):
    large = [Image.fromarray(image).resize((20, 16)) for image in PIXELS]
    cases = {
        "8 × 8 as they are, scaled to [0, 1], normalised by mean (0.5, 0.5, 0.5) and std (0.5, 0.5, 0.5); "
        "as the model's metadata says": (from_images(PIXELS), {}),
        "16 × 20 made smaller to 8 × 8, scaled to [0, 1]; as the config says": (
            from_images(large), {"preprocessing": {"mean": 0, "std": 1}},
        ),
        "8 × 8 enlarged to 16 × 16 and cropped, scaled to [0, 1], normalised by mean (0.5, 0.5, 0.5) and std "
        "(0.1, 0.1, 0.1); as the config says": (
            from_images(PIXELS), {"preprocessing": {"mean": 0.5, "std": 0.1, "height": 16, "width": 16, "crop": True}},
        ),
        "floats, passed as they are": (from_images(as_input(PIXELS)), {}),
    }  # fmt: skip
    free = logged(
        seeded_tiny(),
        input_example=None,
        metadata={"fmce": {"preprocessing": PREPROCESSING}},
    )
    for expected, (data, config) in cases.items():
        found, _ = evaluated(store, data, free if "enlarged" in expected else "", **config)
        assert found.images.treatment == expected
        assert expected in found.summary and found.module_table()["preprocessing"].tolist() == [expected]
    from fmce_mlflow.evaluation.page import evaluation_page

    assert "floats, passed as they are" in evaluation_page(found)


def test_accuracy_stands_beside_every_score_and_chance_is_told(store):
    network = several(seeded_tiny())
    uri = logged(network, metadata={"fmce": {"preprocessing": PREPROCESSING}})
    with torch.no_grad():
        truth = network(torch.from_numpy(as_input(PIXELS))).argmax(1).numpy()
    half = np.where(np.arange(40) < 20, truth, (truth + 1) % 10)
    for labels, accuracy in ((truth, 1.0), (half, 0.5), ((truth + 1) % 10, 0.0)):
        found, _ = evaluated(store, from_images(PIXELS, labels), uri)
        assert found.images.accuracy == found.metrics["fmce_accuracy"] == accuracy
        assert f"Accuracy on them: {accuracy:.2f}." in found.summary
        assert found.module_table()["accuracy"].tolist() == [accuracy]
        assert any("no better than chance" in text for text in found.warnings) == (accuracy == 0)
    for labels in (None, np.linspace(0, 1, 40), truth + 100):
        found, _ = evaluated(store, from_images(PIXELS, labels), uri)
        assert found.images.accuracy is None and "fmce_accuracy" not in found.metrics


def test_few_classes_and_few_images_are_told():
    outputs = Outputs()
    outputs.see(np.arange(40), [torch.eye(10)[torch.arange(40) % 10]])
    assert outputs.count == 10 and not outputs.warnings(None)
    one = Outputs()
    one.see(np.arange(40), [torch.eye(10)[torch.arange(32) % 3], torch.eye(10)[torch.arange(32) % 3]])  # filled up
    assert len(one.best) == 40 and "sees about 3 of its 10 classes in these 40 images" in one.warnings(None)[0]
    mostly = Outputs()  # 36 of one class, and one each of four others
    mostly.see(np.arange(40), [torch.eye(10)[torch.tensor([0] * 36 + [1, 2, 3, 4])]])
    assert "sees about 2 of its 10 classes" in mostly.warnings(None)[0]
    for output in (torch.zeros(4, 3, 8, 8), [{"boxes": torch.zeros(3, 4)}] * 4, torch.zeros(4, 1), None):
        none = Outputs()
        none.see(np.arange(4), [output])
        assert none.count is None and none.accuracy(np.zeros(4, np.int64)) is None and not none.warnings(None)
    named = Outputs()
    named.see(np.arange(4), [{"logits": torch.eye(4)}])
    assert named.accuracy(np.arange(4)) == 1


def test_few_images_are_told(store):
    for n, told in ((8, True), (40, False)):
        found, _ = evaluated(store, from_images(PIXELS[:n]))
        assert any("images are few" in text for text in found.warnings) == told


# Models that scale by themselves


class ScalesItself(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network((x.float() / 255 - 0.5) / 0.5)


@pytest.mark.parametrize("form", ["pickle", "pt2"])
def test_a_model_that_takes_bytes_by_its_signature(store, form, tmp_path):
    network = ScalesItself(seeded_tiny())
    example = PIXELS[:2].transpose(0, 3, 1, 2)
    uri = logged(network, input_example=example, serialization_format=form)
    wanted = evaluated(store, from_images(PIXELS))[0].metrics["fmcs_predicted"]
    data = from_images(PIXELS, np.arange(40) % 10)
    for config in ({}, {"preprocessing": "imagenet"}, {"preprocessing": "scale"}):
        found, _ = evaluated(store, data, uri, modules="network.stage", saliency=4, **config)
        assert found.metrics["fmcs_predicted"] == pytest.approx(wanted, abs=1e-4)
        assert "passed as uint8, which the model scales itself by its signature" in found.images.treatment
    big = from_images([Image.fromarray(image).resize((20, 16)) for image in PIXELS])
    assert "made smaller to 8 × 8" in evaluated(store, big, uri, modules="network.stage")[0].images.treatment
    with pytest.raises(DataError, match="Give them as uint8"):
        evaluated(store, from_images(as_input(PIXELS)), uri, modules="network.stage")
    assert image_classifier(uri).predict(PIXELS).shape == (40,)


@pytest.mark.parametrize("mean", [0.5, 127.5, [127.5, 127.5, 127.5]])
def test_mean_and_std_of_bytes_are_understood_and_told(store, mean):
    std = 0.5 if mean == 0.5 else 127.5
    found, _ = evaluated(store, from_images(PIXELS), preprocessing={"mean": mean, "std": std})
    assert found.metrics["fmcs_predicted"] == evaluated(store, from_images(PIXELS))[0].metrics["fmcs_predicted"]
    assert any("of pixels from 0 to 255" in text for text in found.choices) == (mean != 0.5)
    caffe = evaluated(store, from_images(PIXELS), preprocessing={"mean": [103.5, 116.3, 123.7], "std": [1.0, 1.0, 1.0]})
    assert "mean (0.4059, 0.4561, 0.4851) and std (0.003922, 0.003922, 0.003922)" in caffe[0].images.treatment
