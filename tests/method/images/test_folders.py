"""A folder means the same for training and for evaluating."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from fmce_mlflow.cli.evaluate import evaluation_images
from fmce_mlflow.errors import DataError
from fmce_mlflow.image_dataset.dataset import ImageDataset
from fmce_mlflow.method.images.config import HELD_OUT, ImageOptions, SplitOptions
from fmce_mlflow.method.images.folders import scan_folder
from fmce_mlflow.method.images.input_batches import InputBatches
from fmce_mlflow.method.images.inputs import image_inputs
from fmce_mlflow.method.images.preprocessing import Preprocessing
from fmce_mlflow.method.images.split import ImageData, held_out_images, load_images


def fill(root: Path, counts: dict[str, int]) -> Path:
    """Images of 8 × 8 in each folder, all different."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            value = sum(map(ord, name)) * 31 + i
            pixels = np.random.default_rng(value).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def load(dataset: str, **options) -> ImageData:
    return load_images(SplitOptions(dataset=dataset, **options))


def names(inputs) -> list[str]:
    return [str(Path(inputs.name(i)).relative_to(inputs.folder)) for i in range(len(inputs))]


def seen(images) -> set[bytes]:
    return {image.numpy().tobytes() for image, _ in images}


def test_links_upwards_and_sideways_count_no_image_twice(tmp_path):
    root = fill(tmp_path / "photos", {"cat": 2, "dog/small": 2, "eel": 1})
    outside = fill(tmp_path, {"more": 2}) / "more"
    (root / "cat/up").symlink_to(root)
    (root / "cat/here").symlink_to(".")
    (root / "cat/side").symlink_to(root / "dog")
    (root / "dog/a").symlink_to(root / "dog/small/0.png")  # no image by its name
    (root / "cat/9.png").symlink_to(root / "dog/small/1.png")
    (root / "dog/out").symlink_to(outside)
    (root / "eel/out").symlink_to(outside)
    (root / "fox").symlink_to(outside)
    (root / "ape").symlink_to(root / "cat")
    inputs = image_inputs(root)
    assert inputs.classes == ("ape", "cat", "dog", "eel", "fox")
    assert names(inputs) == [
        "cat/0.png", "cat/1.png", "dog/out/0.png", "dog/out/1.png", "dog/small/0.png", "dog/small/1.png", "eel/0.png"
    ]  # fmt: skip
    assert inputs.targets.tolist() == [1, 1, 2, 2, 2, 2, 3]
    with pytest.raises(DataError, match="class folders without images: ape, fox"):
        load(f"folder:{root}")
    flat = fill(tmp_path / "flat", {".": 2})
    (flat / "again.png").symlink_to(flat / "1.png")
    (flat / "other.png").symlink_to(outside / "0.png")
    assert names(image_inputs(flat)) == ["0.png", "1.png", "other.png"]


def test_a_folder_of_links_is_read_and_a_link_to_nothing_named(tmp_path):
    pool = fill(tmp_path / "pool", {"all": 3}) / "all"
    for name in ("cat", "dog"):
        (tmp_path / "links" / name).mkdir(parents=True)
    (tmp_path / "links/cat/a.png").symlink_to(pool / "0.png")
    (tmp_path / "links/dog/b.png").symlink_to(pool / "1.png")
    (tmp_path / "links/dog/c.png").symlink_to(pool / "gone.png")
    inputs = image_inputs(tmp_path / "links")
    assert names(inputs) == ["cat/a.png", "dog/b.png", "dog/c.png"]
    with pytest.raises(DataError, match=r"c\.png cannot be read as an image: there is no such file"):
        inputs.read(2)


@pytest.mark.parametrize("where", ["", "train/", "val/"])
def test_what_systems_leave_among_images_is_passed_over(tmp_path, where):
    splits = {f"{split}/{name}": 3 for split in ("train", "val") for name in ("cat", "dog")} if where else {}
    fill(tmp_path, splits or {"cat": 3, "dog": 3})
    before = names(image_inputs(tmp_path))
    for part in ("", "cat/"):
        for name in ("__MACOSX", ".ipynb_checkpoints", "@eaDir", ".AppleDouble", "lost+found"):
            fill(tmp_path, {f"{where}{part}{name}": 1})
    (tmp_path / where / "cat/._0.png").write_bytes(b"Mac OS X")
    (tmp_path / where / "cat/.DS_Store").write_bytes(b"Mac OS X")
    os.mkfifo(tmp_path / where / "cat/pipe.png")
    inputs = image_inputs(tmp_path)
    assert inputs.classes == ("cat", "dog") and names(inputs) == before
    assert len(load(f"folder:{tmp_path}", probe_size=2).train) == (6 if where else 4)


def test_the_order_is_torchvisions(tmp_path):
    folders = ["b/z", "b/a/b", "b/a-b", "b/a b/B", "b/a", "b", "a"]
    fill(tmp_path, dict.fromkeys(folders, 11))
    inputs, theirs = image_inputs(tmp_path), ImageFolder(tmp_path)
    assert [(inputs.name(i), int(inputs.targets[i])) for i in range(len(inputs))] == theirs.samples


SPLIT = {"train/cat": 5, "train/dog": 5, "train/eel": 5}


@pytest.mark.parametrize("split", HELD_OUT)
def test_both_take_the_same_images_as_held_out(tmp_path, split):
    fill(tmp_path, {**SPLIT, f"{split}/dog": 3, f"{split}/eel": 2})
    data = load(f"folder:{tmp_path}", probe_size=4)
    inputs = image_inputs(tmp_path)
    assert len(data.train) == 15 and len(data.validation) == len(inputs) == 5
    assert seen(data.validation) == {inputs.read(i).transpose(2, 0, 1).tobytes() for i in range(5)}
    assert not seen(data.train) & seen(data.validation)
    assert names(inputs) == ["dog/0.png", "dog/1.png", "dog/2.png", "eel/0.png", "eel/1.png"]
    assert inputs.classes == data.classes == ("cat", "dog", "eel")
    assert inputs.targets.tolist() == [1, 1, 1, 2, 2], "classes are numbered as in training"
    assert inputs.folder == tmp_path / split and str(tmp_path / split) in inputs.choice and "train/" in inputs.choice
    held_out, preprocessing = held_out_images(ImageOptions(dataset=f"folder:{tmp_path}"))
    assert seen(held_out) == seen(data.validation) and preprocessing == data.preprocessing


def test_the_first_of_several_held_out_folders_is_used(tmp_path):
    fill(tmp_path, {**SPLIT, "val/cat": 2, "test/cat": 3, "validation/cat": 4})
    assert scan_folder(tmp_path).held_out == tmp_path / "test"
    assert len(image_inputs(tmp_path)) == len(load(f"folder:{tmp_path}", probe_size=3).validation) == 3


def test_upper_case_and_other_folders_beside_a_split(tmp_path):
    fill(tmp_path, {"Train/cat": 4, "Train/dog": 4, "Test/cat": 2, "annotations": 0, ".cache/cat": 1})
    assert len(image_inputs(tmp_path)) == 2
    assert len(load(f"folder:{tmp_path}", probe_size=2).train) == 8


def test_class_folders_without_a_split_are_all_evaluated_on_and_divided_for_training(tmp_path):
    fill(tmp_path, {"cat": 6, "dog": 6})
    inputs, data = image_inputs(tmp_path), load(f"folder:{tmp_path}", probe_size=2)
    assert len(inputs) == 12 == len(data.train) + len(data.validation) and inputs.choice is None
    assert inputs.classes == data.classes


def test_train_may_be_a_class(tmp_path):
    """As of vehicles; its folder then holds images, and folders beside it are no splits."""
    fill(tmp_path, {"bus": 6, "car": 6, "train": 6})
    assert image_inputs(tmp_path).classes == load(f"folder:{tmp_path}", probe_size=3).classes
    assert scan_folder(tmp_path).classes == ("bus", "car", "train")


def test_a_split_without_classes_is_enough_to_evaluate_on(tmp_path):
    fill(tmp_path, {"train": 4, "test": 3})
    inputs = image_inputs(tmp_path)
    assert names(inputs) == ["0.png", "1.png", "2.png"] and inputs.targets is None and inputs.folder.name == "test"
    assert image_inputs(tmp_path, [7, 8, 9]).targets.tolist() == [7, 8, 9]
    with pytest.raises(DataError, match="train has no class folders"):
        load(f"folder:{tmp_path}")


def test_training_images_are_never_evaluated_on_as_held_out(tmp_path):
    fill(tmp_path, SPLIT)
    with pytest.raises(DataError, match=r"train/ and no held-out images beside it: expected test/, .*/train if you"):
        image_inputs(tmp_path)
    assert len(image_inputs(tmp_path / "train")) == 15
    for probe_size in (1, 3, 7):  # training holds a part out, of which these are the ones that are never trained on
        data = load(f"folder:{tmp_path}", probe_size=probe_size)
        held_out, _ = held_out_images(ImageOptions(dataset=f"folder:{tmp_path}"))
        assert not seen(held_out) & seen(data.train) and len(held_out) == 3


def on_the_command_line(root: Path, unreadable="raise", **options) -> ImageDataset:
    return evaluation_images(ImageOptions(dataset=f"folder:{root}", **options), unreadable)


@pytest.mark.parametrize("split_seed", [0, 1])
def test_commands_take_the_part_of_train_that_training_holds_out(tmp_path, split_seed):
    fill(tmp_path, SPLIT)
    found = on_the_command_line(tmp_path, split_seed=split_seed)
    data = load(f"folder:{tmp_path}", probe_size=1, split_seed=split_seed)
    inputs = found.inputs
    assert {inputs.read(i).transpose(2, 0, 1).tobytes() for i in range(len(inputs))} == seen(data.validation)
    assert not seen(data.validation) & seen(data.train) and sorted(inputs.targets) == [0, 1, 2]
    assert f"{tmp_path / 'train'} that a training with split seed {split_seed} holds out" in inputs.choice
    assert found.name == f"folder:{tmp_path}, held out" and str(tmp_path / "train") in found.source.to_json()


def test_commands_skip_an_unreadable_image_of_the_part_of_train(tmp_path):
    fill(tmp_path, SPLIT)
    for path in tmp_path.glob("train/cat/*.png"):
        path.write_bytes(path.read_bytes()[:60])  # the size is there, the pixels are not
    batches = InputBatches(
        on_the_command_line(tmp_path, "skip").inputs,
        batch_size=4,
        preprocessing=Preprocessing(8, 8, (0.0,) * 3, (1.0,) * 3),
        input_shape=None,
    )
    assert [len(batch.indices) for batch in batches] == [2] and "cat" in batches.skipped[0].name


def test_commands_evaluate_on_what_is_held_out_or_on_a_folder_as_a_whole(tmp_path):
    assert len(on_the_command_line(fill(tmp_path / "split", {**SPLIT, "test/cat": 2})).inputs) == 2
    assert len(on_the_command_line(fill(tmp_path / "whole", {"cat": 4, "dog": 3})).inputs) == 7
    with pytest.raises(DataError, match="train/ and no held-out images beside it"):
        on_the_command_line(fill(tmp_path / "unlabelled", {"train": 4}))


def loose(root: Path) -> None:
    fill(root, {"cat": 4, "dog": 4, ".": 1})


def loose_in_test(root: Path) -> None:
    fill(root, {**SPLIT, "test/cat": 2, "test": 1})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (loose, r"1 images beside class folders \(cat, dog\)"),
        (loose_in_test, r"test has 1 images beside class folders"),
        (lambda root: fill(root, {"test/cat": 3, "val/cat": 3}), r"has test and val but no train folder beside"),
        (lambda root: fill(root, {"validation/cat": 3}), r"has validation but no train folder beside"),
        (lambda root: fill(root, {**SPLIT, "test/cat": 2, "test/fox": 1}), r"classes that train/ lacks: fox"),
        (lambda root: fill(root, {**SPLIT, "test": 2}), r"test has no class folders"),
        (lambda root: fill(root, {"train": 3, "test/cat": 2}), r"classes that train/ lacks: cat"),
    ],
)
def test_both_refuse_the_same(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(DataError, match=message):
        image_inputs(tmp_path)
    with pytest.raises(DataError, match=message):
        load(f"folder:{tmp_path}", probe_size=1)


def test_images_without_classes_are_no_training_data(tmp_path):
    fill(tmp_path, {".": 4})
    (tmp_path / "notes").mkdir()
    assert names(image_inputs(tmp_path)) == ["0.png", "1.png", "2.png", "3.png"]
    with pytest.raises(DataError, match=r"has no class folders\. Expected one folder per class"):
        load(f"folder:{tmp_path}")


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    fill(tmp_path, {"cat": 2})

    def denied(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("fmce_mlflow.method.images.folders.os.scandir", denied)
    with pytest.raises(DataError, match=r"cannot be listed: .*Permission denied.*Check its permissions"):
        image_inputs(tmp_path)


@pytest.mark.parametrize("name", ["digits", "fashion_mnist"])
def test_held_out_images_of_named_data_sets_are_all_that_no_training_sees(name, tmp_path):
    if name == "fashion_mnist":
        from tests.method.images.test_split import fashion

        fashion(tmp_path)
    options = {"data_root": tmp_path}
    held_out, preprocessing = held_out_images(ImageOptions(dataset=name, **options))
    data = load(name, probe_size=30, validation_size=10_000, **options)
    assert sorted(held_out.indices) == sorted(data.validation.indices) and preprocessing == data.preprocessing
    assert seen(held_out) == seen(data.validation)
