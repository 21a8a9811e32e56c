from __future__ import annotations

import gzip
import hashlib
import json
import multiprocessing
import os
import pickle
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fmce_mlflow.errors import ConfigError, DataError
from fmce_mlflow.method.images import split as images_module
from fmce_mlflow.method.images.config import AUGMENTATIONS, DATASETS, SplitOptions
from fmce_mlflow.method.images.image_set import ImageSet
from fmce_mlflow.method.images.named import NamedImages
from fmce_mlflow.method.images.preprocessing import Preprocessing
from fmce_mlflow.method.images.readers import ArrayImages, ListImages
from fmce_mlflow.method.images.split import ImageData, load_images, proportional_order, round_robin_order
from fmce_mlflow.method.images.training_batches import loader, told_if_a_worker_ends

PLAIN = Preprocessing(32, 32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def shared_data(name: str) -> Path:
    """A folder of real data, from FMCE_TEST_DATA or ../shared/data beside the repository."""
    root = Path(os.environ.get("FMCE_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not (root / name).exists():
        pytest.skip(f"no {name} in {root}; set FMCE_TEST_DATA to a folder that has it")
    return root


def picture(seed: int, height: int = 12, width: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def class_folders(
    root: Path, counts: dict[str, int], size: tuple[int, int] = (12, 12), first: int = 0, suffix: str = "png"
) -> Path:
    """Write counts[name] images of (height, width) into each class folder; every image is different."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            seed = int.from_bytes(hashlib.sha256(f"{name}/{first + i}".encode()).digest()[:4], "big")
            Image.fromarray(picture(seed, *size)).save(root / name / f"{name}_{first + i:04d}.{suffix}")
    return root


def write_idx(path: Path, array: np.ndarray, *, zipped: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()
    if zipped:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(raw))
    else:
        path.write_bytes(raw)


def fashion(root: Path, *, zipped: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    for split, n in (("train", 60), ("t10k", 40)):
        pixels, labels = rng.integers(0, 256, (n, 28, 28)), np.arange(n) % 10
        write_idx(root / f"FashionMNIST/raw/{split}-images-idx3-ubyte", pixels, zipped=zipped)
        write_idx(root / f"FashionMNIST/raw/{split}-labels-idx1-ubyte", labels, zipped=zipped)
    return pixels, labels


def one_by_one(n: int, size: int) -> list[list[int]]:
    return [list(range(a, min(n, a + size))) for a in range(0, n, size)]


def read(
    images: ImageSet, batches, preprocessing: Preprocessing = PLAIN, **options
) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = zip(*loader(images, preprocessing=preprocessing, batches=batches, **options), strict=True)
    return torch.cat(x), torch.cat(y)


def load(dataset: str, **options) -> ImageData:
    return load_images(SplitOptions(dataset=dataset, **options))


def memory_set(pixels: torch.Tensor, labels, indices=None) -> ImageSet:
    return ImageSet(ArrayImages(pixels, labels, layout="NCHW"), indices)


def identities(images: ImageSet) -> list[bytes]:
    return [image.numpy().tobytes() for image, _ in images]


@pytest.fixture(scope="module")
def digits():
    return load("digits")


# Preprocessing


def test_preprocessing_of_hand_worked_pixels():
    preprocessing = Preprocessing(8, 8, mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 2.0))
    x = preprocessing(np.full((8, 8), 51, dtype=np.uint8))  # 51 / 255 = 0.2
    assert x.shape == (3, 8, 8) and x.dtype == torch.float32
    for channel, expected in enumerate((0.2, (0.2 - 0.5) / 0.5, (0.2 - 1) / 2)):
        torch.testing.assert_close(x[channel], torch.full((8, 8), expected))


def test_every_form_of_an_image_gives_the_same_input():
    preprocessing = Preprocessing(16, 10, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), crop=True)
    pixels = picture(0, 20, 24)
    expected = preprocessing(Image.fromarray(pixels))
    assert expected.shape == (3, 16, 10)
    channels_first = pixels.transpose(2, 0, 1)
    for form in (channels_first, torch.from_numpy(channels_first.copy()), channels_first[::1].copy()):
        torch.testing.assert_close(preprocessing(form), expected, rtol=0, atol=0)
    batch = preprocessing(np.stack([channels_first, channels_first[:, ::-1]]))
    assert batch.shape == (2, 3, 16, 10)
    torch.testing.assert_close(batch[0], expected, rtol=0, atol=0)
    as_float = preprocessing((channels_first / 255).astype(np.float32))  # resized without rounding to 8 bits
    assert (as_float - expected).abs().max() < 1.01 / 255 / 0.4

    gray = pixels[:, :, 0]
    expected = preprocessing(np.stack([gray] * 3))
    for form in (gray, gray[None], torch.from_numpy(gray.copy()), Image.fromarray(gray)):
        torch.testing.assert_close(preprocessing(form), expected, rtol=0, atol=0)


@pytest.mark.parametrize("size", [(8, 8), (31, 17), (64, 80)])
def test_resizing_agrees_with_pillow(size):
    pixels = picture(3, 28, 40)
    ours = Preprocessing(*size, mean=(0.0,) * 3, std=(1.0,) * 3)(pixels.transpose(2, 0, 1).copy())
    theirs = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))
    assert np.abs(ours.numpy() * 255 - theirs.transpose(2, 0, 1)).max() < 1.5


def test_crop_keeps_the_middle_and_its_proportions():
    pixels = np.zeros((10, 40), dtype=np.uint8)
    pixels[:, 15:25] = 255  # the middle square of a wide image
    kept = Preprocessing(10, 10, (0.0,) * 3, (1.0,) * 3, crop=True)(pixels)
    assert kept.min() == 1
    squeezed = Preprocessing(10, 10, (0.0,) * 3, (1.0,) * 3)(pixels)
    assert squeezed.min() == 0 and squeezed.mean() == pytest.approx(0.25, abs=0.01)


def test_crop_with_unequal_height_and_width_covers_both():
    for height, width in ((8, 24), (24, 8), (9, 8)):
        for stored in ((10, 33), (33, 10), (50, 50)):
            x = Preprocessing(height, width, (0.0,) * 3, (1.0,) * 3, crop=True)(np.full(stored, 255, dtype=np.uint8))
            assert x.shape == (3, height, width) and x.min() == 1  # no padding anywhere


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8, 3), np.uint8), "Move the channels before"),
        (np.zeros((2, 8, 8), np.uint8), r"got 2x8x8 uint8"),
        (np.zeros(8, np.uint8), "got 8 uint8"),
        (np.float32(1), "a scalar"),
        (np.zeros((3, 0, 8), np.uint8), "got 3x0x8"),
        (np.zeros((8, 8), np.int64), "got 8x8 int64"),
        (np.full((8, 8), 200.0), "from 200 to 200.*Divide 8-bit values by 255"),
        (np.full((8, 8), np.nan), "from nan to nan"),
        (Image.new("F", (8, 8)), "32-bit floats"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(DataError, match=message):
        PLAIN(image)


def test_16_bit_images_are_scaled_not_clipped():
    pixels = np.array([[0, 256, 32768, 65535]] * 8, dtype=np.uint16).repeat(2, axis=1)
    x = Preprocessing(8, 8, (0.0,) * 3, (1.0,) * 3)(Image.fromarray(pixels))
    torch.testing.assert_close(x[1, 0, ::2] * 255, torch.tensor([0.0, 1.0, 128.0, 255.0]))


numbers = st.floats(0.01, 2, allow_nan=False)


@given(st.integers(8, 300), st.integers(8, 300), st.tuples(*[numbers] * 3), st.tuples(*[numbers] * 3), st.booleans())
def test_preprocessing_survives_json(height, width, mean, std, crop):
    preprocessing = Preprocessing(height, width, mean, std, crop)
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


def test_preprocessing_names_every_bad_value():
    with pytest.raises(ConfigError) as error:
        Preprocessing(7, 8.0, mean=(0.0, 1.0), std=(1.0, 0.0, 1.0), crop=1)  # type: ignore[arg-type]
    names = [problem.split(" must")[0] for problem in error.value.problems]
    assert names == [f"preprocessing {name}" for name in ("height", "width", "mean", "std", "crop")]


@pytest.mark.parametrize(
    "change", [{"depth": 3}, {"std": [1, 1]}, {"mean": [0, 0, "x"]}, {"mean": [0, 0, float("nan")]}]
)
def test_preprocessing_from_damaged_json_is_refused(change):
    with pytest.raises(ConfigError, match="preprocessing"):
        Preprocessing.from_dict({**PLAIN.to_dict(), **change})
    with pytest.raises(ConfigError, match="exactly the keys"):
        Preprocessing.from_dict([1, 2])  # type: ignore[arg-type]


# Image sets


def test_subsets_keep_the_identity_of_their_images():
    pixels = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 1, 8, 8)
    images = memory_set(pixels, [0, 1, 2, 0, 1, 2])
    part = images.subset([5, 0, 3]).subset([2, 0])
    assert part.indices.tolist() == [3, 5] and part.labels.tolist() == [0, 2]
    assert [int(image.max()) for image, _ in part] == [3, 5]
    assert [label for _, label in part] == [0, 2]
    assert len(images.subset([])) == 0
    with pytest.raises(ValueError):
        part.labels[0] = 1
    with pytest.raises(IndexError):
        part[2]
    part[0][0].zero_()
    assert int(part[0][0].max()) == 3  # what is handed out is a copy
    with pytest.raises(DataError, match=r"6 images.* targets of shape \(2,\)"):
        memory_set(pixels, [0, 1])
    with pytest.raises(DataError, match="a class for each image"):
        ImageSet(ArrayImages(pixels, layout="NCHW"))


def test_files_are_decoded_once_per_set_and_size(tmp_path):
    root = class_folders(tmp_path, {"a": 3, "b": 3}, size=(14, 10))
    files = sorted(root.rglob("*.png"))
    images = ImageSet(ListImages(files, [0, 0, 0, 1, 1, 1]))
    first, _ = read(images, [[0, 1, 2], [3, 4]])
    for file in files[:5]:
        file.unlink()
    again, _ = read(images, [[0, 1, 2], [3, 4]])
    assert torch.equal(first, again)
    read(images, [[5, 5, 1]])
    with pytest.raises(DataError, match=r"a_0000\.png cannot be read"):
        read(images, [[0]], Preprocessing(16, 16, PLAIN.mean, PLAIN.std))


def test_sets_too_large_to_keep_are_read_every_time(tmp_path, monkeypatch):
    monkeypatch.setattr("fmce_mlflow.method.images.image_set.CACHE_BYTES", 3 * 32 * 32)
    root = class_folders(tmp_path, {"a": 2})
    files = sorted(root.rglob("*.png"))
    small, large = ImageSet(ListImages(files, [0, 0]), [0]), ImageSet(ListImages(files, [0, 0]))
    kept, _ = read(small, [[0]])
    assert torch.equal(read(large, [[0], [1]])[0][:1], kept)
    files[0].unlink()
    assert torch.equal(read(small, [[0]])[0], kept)
    with pytest.raises(DataError):
        read(large, [[0]])


@pytest.mark.skipif(multiprocessing.get_start_method() != "fork", reason="memory is shared with forked workers only")
def test_what_workers_decode_stays_in_memory(tmp_path):
    files = sorted(class_folders(tmp_path, {"a": 4}).rglob("*.png"))
    images = ImageSet(ListImages(files, [0] * 4))
    first, _ = read(images, [[0, 1], [2, 3]], num_workers=2)
    for file in files:
        file.unlink()
    assert torch.equal(read(images, [[0, 1, 2, 3]])[0], first)


def test_a_pickled_set_leaves_its_cache_behind():
    images = memory_set(torch.zeros(500, 1, 16, 16, dtype=torch.uint8), np.zeros(500))
    read(images, [list(range(500))])
    copy = pickle.loads(pickle.dumps(images))
    assert len(pickle.dumps(images)) < 500 * 1024 and torch.equal(read(copy, [[3]])[0], read(images, [[3]])[0])


# Orders and splits

some_labels = st.lists(st.integers(0, 5), min_size=1, max_size=60).map(lambda v: np.array(v, dtype=np.int64))


@given(some_labels, st.integers(0, 3))
def test_round_robin_takes_from_each_class_in_turn(labels, seed):
    order = round_robin_order(labels, seed)
    assert sorted(order.tolist()) == list(range(len(labels)))
    left, expected = Counter(labels.tolist()), []
    while left:  # deal one of each class that has any, again and again
        for c in sorted(left):
            expected.append(c)
        left = Counter({c: n - 1 for c, n in left.items() if n > 1})
    assert labels[order].tolist() == expected


@given(some_labels, st.integers(0, 3))
def test_every_beginning_of_the_proportional_order_is_stratified(labels, seed):
    order = proportional_order(labels, seed)
    assert sorted(order.tolist()) == list(range(len(labels)))
    counts = Counter(labels.tolist())
    for m in range(1, len(labels) + 1):
        taken = Counter(labels[order[:m]].tolist())
        if m >= len(counts):
            assert set(taken) == set(counts)
        shares = [taken[c] / n for c, n in counts.items()]
        slack = 1 / min(counts.values())
        assert max(shares) - min(shares) <= slack + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 20), min_size=2, max_size=6), st.integers(0, 5), st.data())
def test_a_set_without_a_split_of_its_own_is_divided(counts, seed, data):
    labels = np.repeat(np.arange(len(counts)), counts)
    n = len(labels)
    probe = data.draw(st.integers(1, n // 2))
    pixels = torch.zeros(n, 1, 8, 8, dtype=torch.uint8)
    classes = tuple(map(str, range(len(counts))))
    named = NamedImages(classes, ArrayImages(pixels, labels), None, 8, False, ((0.0,) * 3, (1.0,) * 3), "trial")
    train, held_out = images_module._split(named, probe, seed)
    assert sorted([*train.indices, *held_out.indices]) == list(range(n))
    assert set(train.labels) == set(held_out.labels) == set(range(len(counts)))
    assert len(held_out) == max(round(n / 5), probe, len(counts))
    again, _ = images_module._split(named, probe, seed)
    assert again.indices.tolist() == train.indices.tolist()


def test_splits_do_not_change_between_versions():
    labels = np.array([0, 1] * 5)
    assert round_robin_order(labels, 0).tolist() == [4, 1, 2, 7, 0, 5, 6, 3, 8, 9]
    assert proportional_order(np.array([0] * 6 + [1] * 3), 1).tolist() == [4, 8, 0, 3, 7, 2, 1, 6, 5]


def test_probe_and_validation_are_held_out_and_stratified(digits):
    assert len(digits.train) == 1438 and len(digits.validation) == 359 and len(digits.probe) == 256
    assert not set(digits.train.indices) & set(digits.validation.indices)
    assert digits.validation.indices[:256].tolist() == digits.probe.indices.tolist()
    assert len(set(digits.validation.indices)) == 359
    assert set(np.bincount(digits.probe.labels)) == {25, 26}
    assert digits.probe.labels[:20].tolist() == [*range(10), *range(10)]
    assert digits.preprocessing.height == digits.preprocessing.width == 32
    assert digits.classes == tuple("0123456789")
    pixels = torch.stack([image for image, _ in digits.train]).float() / 255
    assert digits.preprocessing.mean[0] == pytest.approx(float(pixels.mean()), abs=1e-4)
    assert digits.preprocessing.std[0] == pytest.approx(float(pixels.std(correction=0)), abs=1e-4)
    assert pixels.max() == 1 and digits.train[0][0].shape == (3, 8, 8)


def test_who_shares_a_probe(digits):
    same = load("digits", validation_size=300, train_size=100)
    assert same.probe_sha256 == digits.probe_sha256 == load("digits").probe_sha256
    assert identities(same.probe) == identities(digits.probe)
    for change in ({"split_seed": 1}, {"probe_size": 255}, {"image_size": 24}):
        assert load("digits", **change).probe_sha256 != digits.probe_sha256
    smaller = load("digits", probe_size=64)
    assert smaller.probe.indices.tolist() == digits.probe.indices[:64].tolist()


def test_probe_hash_is_over_pixels_shapes_labels_and_preprocessing(digits):
    pixels = torch.arange(2 * 128, dtype=torch.int32).to(torch.uint8).view(2, 1, 8, 16)
    base = images_module._sha256(memory_set(pixels, [0, 1]), PLAIN)
    assert images_module._sha256(memory_set(pixels.expand(2, 3, 8, 16).clone(), [0, 1]), PLAIN) == base
    others = [
        (memory_set(pixels, [0, 2]), PLAIN),
        (memory_set(pixels, [0, 1], [1, 0]), PLAIN),
        (memory_set(pixels.view(2, 1, 16, 8), [0, 1]), PLAIN),
        (memory_set(pixels ^ 1, [0, 1]), PLAIN),
        (memory_set(pixels, [0, 1]), Preprocessing(32, 32, (0.1, 0, 0), PLAIN.std)),
    ]
    assert len({base, *(images_module._sha256(*other) for other in others)}) == 6


def test_validation_is_never_smaller_than_the_probe():
    data = load("digits", probe_size=50, validation_size=20)
    assert data.validation.indices.tolist() == data.probe.indices.tolist()
    data = load("digits", probe_size=50, validation_size=70)
    assert len(data.validation) == 70 and set(np.bincount(data.validation.labels)) <= {6, 7, 8}


def test_training_subsets_are_stratified_and_nested(digits):
    small, large = load("digits", train_size=50), load("digits", train_size=200)
    assert set(small.train.indices) < set(large.train.indices) < set(digits.train.indices)
    assert set(np.bincount(small.train.labels)) <= {4, 5, 6}
    assert small.preprocessing == digits.preprocessing


# Named data sets


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files_zipped_or_not(tmp_path, zipped):
    pixels, labels = fashion(tmp_path, zipped=zipped)
    data = load("fashion_mnist", data_root=tmp_path, probe_size=20, validation_size=30)
    assert data.classes[0] == "T-shirt/top" and data.classes[9] == "Ankle boot"
    assert len(data.train) == 60 and len(data.validation) == 30
    assert data.preprocessing == Preprocessing(32, 32, (0.2860,) * 3, (0.3530,) * 3)
    for (image, label), index in zip(data.probe, data.probe.indices, strict=True):
        assert label == labels[index] and image.shape == (3, 28, 28)
        np.testing.assert_array_equal(image[2].numpy(), pixels[index])


def test_idx_files_read_as_torchvision_reads_them(tmp_path):
    fashion(tmp_path)
    theirs = torchvision.datasets.FashionMNIST(str(tmp_path), train=True)
    ours = load("fashion_mnist", data_root=tmp_path, probe_size=10).train
    assert torch.equal(torch.stack([image[0] for image, _ in ours]), theirs.data)
    assert ours.labels.tolist() == theirs.targets.tolist()


def damage(path: Path, how: str) -> None:
    raw = path.read_bytes()
    path.write_bytes({"short": raw[:-9], "header": b"\1" + raw[1:], "empty": b""}[how])


@pytest.mark.parametrize("how", ["short", "header", "empty"])
@pytest.mark.parametrize("zipped", [False, True])
def test_damaged_idx_files_are_named(tmp_path, zipped, how):
    fashion(tmp_path, zipped=zipped)
    name = "train-images-idx3-ubyte" + (".gz" if zipped else "")
    damage(tmp_path / "FashionMNIST/raw" / name, how)
    with pytest.raises(DataError, match=rf"{name} is damaged: .*--download"):
        load("fashion_mnist", data_root=tmp_path)


def test_inconsistent_idx_files(tmp_path):
    fashion(tmp_path)
    raw = tmp_path / "FashionMNIST/raw"
    write_idx(raw / "t10k-labels-idx1-ubyte", np.zeros(39), zipped=False)
    with pytest.raises(DataError, match=r"images of shape \(40, 28, 28\), labels of shape \(39,\)"):
        load("fashion_mnist", data_root=tmp_path)
    write_idx(raw / "t10k-labels-idx1-ubyte", np.full(40, 10), zipped=False)
    with pytest.raises(DataError, match="labels beyond its 10 classes"):
        load("fashion_mnist", data_root=tmp_path)


def test_real_mnist():
    root = shared_data("MNIST/raw")
    data = load("mnist", data_root=root)
    assert len(data.train) == 60_000 and len(data.validation) == 1000 and len(data.probe) == 256
    assert np.bincount(data.train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    x, _ = read(data.train, one_by_one(60_000, 5000), Preprocessing(28, 28, PLAIN.mean, PLAIN.std))
    assert float(x.mean()) == pytest.approx(data.preprocessing.mean[0], abs=1e-4)
    assert float(x[:, 0].std()) == pytest.approx(data.preprocessing.std[0], abs=1e-4)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar(tmp_path, monkeypatch, name):
    """Small files in the published format; only their checksums, which torchvision keeps, are set to these files'."""
    kind = torchvision.datasets.CIFAR10 if name == "cifar10" else torchvision.datasets.CIFAR100
    n, labels_key, meta_key = (
        (10, "labels", "label_names") if name == "cifar10" else (100, "fine_labels", "fine_label_names")
    )
    folder = tmp_path / kind.base_folder
    folder.mkdir()
    rng, sums, written = np.random.default_rng(0), {}, {}
    for file in [f for f, _ in [*kind.train_list, *kind.test_list]]:
        written[file] = rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
        (folder / file).write_bytes(pickle.dumps({"data": written[file].reshape(n, -1), labels_key: list(range(n))}))
    meta = folder / kind.meta["filename"]
    meta.write_bytes(pickle.dumps({meta_key: [f"class {i}" for i in range(n)]}))
    for file in folder.iterdir():
        sums[file.name] = hashlib.md5(file.read_bytes()).hexdigest()
    for attribute in ("train_list", "test_list"):
        monkeypatch.setattr(kind, attribute, [[f, sums[f]] for f, _ in getattr(kind, attribute)])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": sums[meta.name]})

    data = load(name, data_root=tmp_path, probe_size=n)
    assert data.classes[1] == "class 1" and len(data.train) == n * len(kind.train_list) and len(data.validation) == n
    np.testing.assert_array_equal(data.probe[3][0].numpy(), written[kind.test_list[0][0]][3])
    np.testing.assert_array_equal(data.train[2][0].numpy(), written[kind.train_list[0][0]][2])
    x, _ = read(data.train, [[2]], data.preprocessing)
    raw = written[kind.train_list[0][0]][2] / 255
    mean, std = (np.array(v)[:, None, None] for v in (data.preprocessing.mean, data.preprocessing.std))
    np.testing.assert_allclose(x[0].numpy(), (raw - mean) / std, atol=1e-5)

    (folder / kind.test_list[0][0]).write_bytes(b"something else")
    with pytest.raises(DataError, match=f"{name} does not match its checksums in .*{kind.base_folder}.*--download"):
        load(name, data_root=tmp_path)


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("mnist", r"MNIST/raw lacks train-images-idx3-ubyte, .*--download.*--data-root"),
        ("fashion_mnist", r"FashionMNIST/raw lacks"),
        ("cifar10", r"cifar10 was not found in .*cifar-10-batches-py: expected data_batch_1.*--download"),
        ("cifar100", r"cifar-100-python: expected train, test.*--download"),
        ("mini_imagenet", r"has no folder mini_imagenet.*train.csv.*images/.*no public address"),
        ("folder:{}/photos", r"no folder .*/photos.*class folders"),
    ],
)
def test_missing_data_says_where_it_was_looked_for_and_how_to_get_it(tmp_path, name, lacking):
    with pytest.raises(DataError, match=lacking) as error:
        load(name.format(tmp_path), data_root=tmp_path)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_downloading_without_a_network(tmp_path, monkeypatch, name):
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nobody listens there
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(DataError, match=f"{name} could not be fetched into .*Check the network"):
        load(name, data_root=tmp_path, download=True)


def test_what_is_there_is_not_downloaded(tmp_path):
    fashion(tmp_path, zipped=True)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    load("fashion_mnist", data_root=tmp_path, probe_size=10, download=True)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


# Folders


@pytest.mark.parametrize("held_out", ["test", "val"])
def test_a_folder_with_splits(tmp_path, held_out):
    class_folders(tmp_path / "train", {"cat": 6, "dog": 5})
    class_folders(tmp_path / held_out, {"cat": 3, "dog": 4}, first=50)
    data = load(f"folder:{tmp_path}", probe_size=4)
    assert data.classes == ("cat", "dog") and len(data.train) == 11 and len(data.validation) == 7
    assert data.probe.labels.tolist() == [0, 1, 0, 1]
    assert (data.preprocessing.height, data.preprocessing.width, data.preprocessing.crop) == (12, 12, False)
    assert not set(identities(data.train)) & set(identities(data.validation))


def test_a_folder_with_test_and_val_holds_out_test(tmp_path):
    class_folders(tmp_path / "train", {"cat": 4, "dog": 4})
    class_folders(tmp_path / "val", {"cat": 1, "dog": 1}, first=20)
    expected = class_folders(tmp_path / "test", {"dog": 3}, first=50)  # and may lack a class
    data = load(f"folder:{tmp_path}", probe_size=3)
    assert set(identities(data.probe)) == {
        np.asarray(Image.open(f)).transpose(2, 0, 1).tobytes() for f in expected.rglob("*.png")
    }
    assert data.probe.labels.tolist() == [1, 1, 1]


@pytest.mark.parametrize("below", [".", "train"])
def test_a_folder_without_splits_is_divided(tmp_path, below):
    class_folders(tmp_path / below, {"cat": 15, "dog": 10, ".cache": 0})
    data = load(f"folder:{tmp_path}", probe_size=2)
    assert len(data.train) == 20 and np.bincount(data.validation.labels).tolist() == [3, 2]
    assert not set(identities(data.train)) & set(identities(data.validation))
    pixels = torch.stack([image for image, _ in data.train]).double() / 255
    assert data.preprocessing.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), abs=1e-4)
    assert data.preprocessing.std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist(), abs=1e-4)


def test_photographs_get_224_pixels_a_crop_and_imagenet_statistics(tmp_path):
    class_folders(tmp_path, {"cat": 4, "dog": 4}, size=(30, 40), suffix="jpg")
    data = load(f"folder:{tmp_path}", probe_size=2)
    imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert data.preprocessing == Preprocessing(224, 224, *imagenet, crop=True)
    assert load(f"folder:{tmp_path}", probe_size=2, image_size=64).preprocessing == Preprocessing(
        64, 64, *imagenet, crop=True
    )
    x, y = read(data.validation, [[0, 1]], data.preprocessing)
    assert x.shape == (2, 3, 224, 224) and sorted(y.tolist()) == [0, 1]


def test_one_other_size_among_the_classes_makes_them_photographs(tmp_path):
    class_folders(tmp_path, {"cat": 4}, size=(20, 20))
    class_folders(tmp_path, {"dog": 4}, size=(24, 24))
    assert load(f"folder:{tmp_path}", probe_size=2).preprocessing.height == 224


def test_gray_palette_and_transparent_files_become_rgb(tmp_path):
    class_folders(tmp_path, {"cat": 1, "dog": 4})
    for i, mode in enumerate(("L", "P", "RGBA", "1")):
        Image.fromarray(picture(i)).convert(mode).save(tmp_path / "cat" / f"{mode}.png")
    data = load(f"folder:{tmp_path}", probe_size=2)
    for image, _ in [*data.train, *data.validation]:
        assert image.shape == (3, 12, 12) and image.dtype == torch.uint8


def test_listing_does_not_decode(tmp_path):
    class_folders(tmp_path / "train", {"cat": 3, "dog": 3}, size=(30, 40))
    class_folders(tmp_path / "test", {"cat": 3, "dog": 3}, size=(30, 40))
    broken = tmp_path / "train/dog/dog_0002.png"
    broken.write_bytes(broken.read_bytes()[:200])
    data = load(f"folder:{tmp_path}", probe_size=2)
    for workers in (0, 1):
        with pytest.raises(DataError, match=r"dog_0002.png cannot be read as an image: .*truncated") as error:
            read(data.train, [[0, 5]], data.preprocessing, num_workers=workers)
        assert "Traceback" not in str(error.value)
    assert len(read(data.train, [[0, 4]], data.preprocessing)[0]) == 2


def empty_class(root: Path) -> None:
    class_folders(root, {"cat": 4, "dog": 4, "eel": 0})
    (root / "eel/readme.txt").write_text("none yet")


def strange_class(root: Path) -> None:
    class_folders(root / "train", {"cat": 4, "dog": 4})
    class_folders(root / "test", {"cat": 4, "eel": 4})


def broken_first(root: Path) -> None:
    class_folders(root, {"cat": 4, "dog": 4})
    (root / "dog/dog_0000.png").write_bytes(b"no image")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (empty_class, r"class folders without images: eel\. Expected files that end in \.jpg"),
        (strange_class, r"classes that train/ lacks: eel"),
        (broken_first, r"dog_0000\.png cannot be read as an image"),
        (lambda root: None, r"no class folders"),
        (lambda root: class_folders(root, {"cat": 4}), r"one class, cat; .* at least two"),
        (lambda root: class_folders(root, {"cat": 4, "dog": 1}), r"too few images: dog \(1\)\. Each needs at least 2"),
        (lambda root: class_folders(root / "test", {"cat": 4}), r"has test but no train folder"),
        (lambda root: class_folders(root, {"cat": 4, "dog": 4}), r"probe of 256 .* has 8 images .*--probe-size to 4 "),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(DataError, match=message):
        load(f"folder:{tmp_path}")


def test_a_probe_larger_than_the_test_split(tmp_path):
    fashion(tmp_path)
    with pytest.raises(DataError, match=r"probe of 41 images .* 40 held-out images\. Set --probe-size to 40"):
        load("fashion_mnist", data_root=tmp_path, probe_size=41)
    assert len(load("fashion_mnist", data_root=tmp_path, probe_size=40).probe) == 40


@pytest.mark.parametrize("size", [9, 1439])
def test_training_subsets_that_cannot_be_had(size):
    with pytest.raises(DataError, match=rf"set of {size:,} images .* 1,438 training .*--train-size from 10 to 1438"):
        load("digits", train_size=size)


# mini-ImageNet

COUNTS = {"n01": 10, "n02": 8, "n03": 6}


def write_csv(root: Path, split: str, names: list[str], header: str = "filename,label") -> None:
    rows = [f"{name}_{i:04d}.png,{name}" for name in names for i in range(COUNTS[name])]
    (root / f"{split}.csv").write_text("\n".join([header, *rows]) + "\n")


def mini_csv(root: Path) -> Path:
    """Class-disjoint CSV splits beside images/, as published."""
    class_folders(root / "parts", COUNTS)
    (root / "images").mkdir()
    for file in (root / "parts").rglob("*.png"):
        file.rename(root / "images" / file.name)
    for split, name in (("train", "n01"), ("val", "n02"), ("test", "n03")):
        write_csv(root, split, [name])
    return root


def test_mini_imagenet_pools_its_class_disjoint_splits_whatever_the_layout(tmp_path):
    mini_csv(tmp_path / "a/mini_imagenet")
    class_folders(tmp_path / "b/mini-imagenet", COUNTS)
    for split, name in (("train", "n01"), ("val", "n02"), ("test", "n03")):
        class_folders(tmp_path / "c/miniImageNet" / split, {name: COUNTS[name]})
    loaded = [load("mini_imagenet", data_root=tmp_path / layout, probe_size=6) for layout in "abc"]
    first = loaded[0]
    assert first.classes == ("n01", "n02", "n03") and len(first.train) == 18 and len(first.validation) == 6
    assert set(first.train.labels) == set(first.validation.labels) == {0, 1, 2}
    assert (first.preprocessing.height, first.preprocessing.crop) == (84, True)
    assert {data.probe_sha256 for data in loaded} == {first.probe_sha256}
    assert all(identities(data.train) == identities(first.train) for data in loaded)


def test_mini_imagenet_split_by_image_keeps_its_splits(tmp_path):
    root = tmp_path / "mini_imagenet"
    class_folders(root / "train", COUNTS)
    held_out = class_folders(root / "test", {name: 3 for name in COUNTS}, first=50)
    data = load("mini_imagenet", data_root=tmp_path, probe_size=9)
    assert len(data.train) == 24 and len(data.validation) == 9
    assert len(list(held_out.rglob("*.png"))) == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,class\na.png,n01\n", "must have the columns filename,label; its first line has file,class"),
        ("filename,label\nn03_0000.png,\n", r"test.csv, line 2: expected a file name and a label"),
        ("filename,label\nn01_0000.png,n02\n", r"test.csv, line 2: n01_0000.png is n02 here and n01 before"),
        ("filename,label\n../n01.png,n01\nx.png,n01\n", r"2 of 20 images .* not in .*images, such as \.\./n01.png"),
        ("filename,label\n\xff\xfe\n", r"test.csv cannot be read as CSV"),
    ],
)
def test_mini_imagenet_with_bad_csv_files(tmp_path, text, message):
    root = mini_csv(tmp_path / "mini_imagenet")
    (root / "test.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        load("mini_imagenet", data_root=tmp_path)


def test_mini_imagenet_csv_without_images(tmp_path):
    (tmp_path / "mini_imagenet").mkdir()
    (tmp_path / "mini_imagenet/train.csv").write_text("filename,label\n")
    with pytest.raises(DataError, match="no images/ beside"):
        load("mini_imagenet", data_root=tmp_path)
    (tmp_path / "mini_imagenet/images").mkdir()
    with pytest.raises(DataError, match="name no images"):
        load("mini_imagenet", data_root=tmp_path)


# Options


def test_wrong_options_are_all_named_at_once():
    with pytest.raises(ConfigError) as error:
        load("mnits", image_size=7, probe_size=0, validation_size=-1, train_size=0, split_seed=-2)
    problems = error.value.problems
    assert len(problems) == 6 and "Did you mean mnist" in problems[0]
    assert [p.split()[0] for p in problems[1:]] == [
        "split-seed", "image-size", "probe-size", "validation-size", "train-size"
    ]  # fmt: skip
    assert all(SplitOptions(dataset=name) for name in DATASETS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar", r"Did you mean cifar10.*There are digits, .* folder:<path>"),
        ("MNIST", r"Did you mean mnist"),
        ("folder:", r"lacks its path"),
        ("{}", r"Did you mean folder:"),
    ],
)
def test_unknown_data_sets(tmp_path, name, message):
    with pytest.raises(ConfigError, match=message):
        load(name.format(tmp_path))


# The loader


def test_batches_come_in_the_order_given_and_as_the_preprocessing_makes_them(digits):
    batches = [[5, 3, 3], [], [700], list(range(40, 20, -1))]
    loaded = loader(digits.train, preprocessing=digits.preprocessing, batches=batches)
    assert len(loaded) == 4
    for _ in range(2):  # from the stored images, then from memory
        for batch, (x, y) in zip(batches, loaded, strict=True):
            assert x.shape == (len(batch), 3, 32, 32) and x.dtype == torch.float32 and y.dtype == torch.int64
            for i, image, label in zip(batch, x, y, strict=True):
                stored, expected = digits.train[i]
                assert int(label) == expected
                assert torch.equal(image, digits.preprocessing(stored))


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_augmentation_depends_on_seed_epoch_and_image_alone(digits, augmentation):
    options = {"preprocessing": digits.preprocessing, "augmentation": augmentation, "seed": 4, "epoch": 2}
    whole, _ = read(digits.train, [list(range(60))], **options)
    torch.manual_seed(99)
    apart, _ = read(digits.train, one_by_one(60, 7), **options)
    resumed, _ = read(digits.train, [list(range(40, 60))], **options)
    part, _ = read(digits.train.subset(range(30, 60)), [list(range(30))], **options)
    assert torch.equal(apart, whole) and torch.equal(resumed, whole[40:]) and torch.equal(part, whole[30:])
    for change in ({"seed": 5}, {"epoch": 3}):
        other, _ = read(digits.train, [list(range(60))], **{**options, **change})
        assert torch.equal(other, whole) == (augmentation == "none")


def test_workers_give_the_same_batches(digits):
    batches = one_by_one(64, 10)
    options = {"preprocessing": digits.preprocessing, "augmentation": "crop-flip", "seed": 1}
    x, y = read(digits.train, batches, **options)
    x2, y2 = read(digits.train, batches, num_workers=2, **options)
    assert torch.equal(x, x2) and torch.equal(y, y2)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("workers", [0, 1])
def test_global_random_states_are_left_alone(digits, augmentation, workers):
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    iterator = iter(
        loader(
            digits.train,
            preprocessing=digits.preprocessing,
            batches=[[0, 1], [2]],
            augmentation=augmentation,
            num_workers=workers,
        )
    )
    for _ in range(2):
        next(iterator)
        assert torch.equal(torch.get_rng_state(), before[0])
    load("digits", probe_size=10)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1] and random.getstate() == before[2]


def test_flip_mirrors_about_half_of_the_images(digits):
    pixels = digits.train.resized(range(400), PLAIN)
    x, _ = read(digits.train, [list(range(400))], augmentation="flip")
    plain = PLAIN.normalise(pixels)
    mirrored = (x == plain.flip(-1)).flatten(1).all(1)
    kept = (x == plain).flatten(1).all(1)
    assert bool((kept | mirrored).all()) and 160 < int(mirrored.sum()) < 240


def test_crop_flip_is_a_crop_of_the_reflected_image():
    stored = torch.from_numpy(np.stack([picture(i, 16, 16).transpose(2, 0, 1) for i in range(40)]))
    preprocessing = Preprocessing(16, 16, PLAIN.mean, PLAIN.std)
    x, _ = read(memory_set(stored, np.zeros(40)), [list(range(40))], preprocessing, augmentation="crop-flip")
    found = set()
    for image, augmented in zip(stored.numpy(), (x.numpy() * 255).round().astype(np.uint8), strict=True):
        padded = np.pad(image, ((0, 0), (4, 4), (4, 4)), mode="reflect")
        candidates = {
            (a, b, flip): padded[:, a : a + 16, b : b + 16][:, :, :: -1 if flip else 1]
            for a in range(9) for b in range(9) for flip in (0, 1)
        }  # fmt: skip
        [place] = [place for place, candidate in candidates.items() if np.array_equal(candidate, augmented)]
        found.add(place)
    assert {a for a, _, _ in found} == {b for _, b, _ in found} == set(range(9)) and len(found) > 30


def test_trivial_augment_changes_most_images_and_keeps_their_range(digits):
    x, _ = read(digits.train, [list(range(100))], augmentation="trivial")
    plain, _ = read(digits.train, [list(range(100))])
    assert x.shape == plain.shape and 0 <= float(x.min()) <= float(x.max()) <= 1
    assert int((x != plain).flatten(1).any(1).sum()) > 60


@pytest.mark.parametrize("option", [{"augmentation": "flop"}, {"num_workers": -1}, {"seed": -1}])
def test_wrong_loader_options(digits, option):
    with pytest.raises(ConfigError, match=rf"^{next(iter(option)).replace('_', '-')} must"):
        loader(digits.train, preprocessing=PLAIN, batches=[[0]], **option)


def test_wrong_loader_options_are_all_named_at_once(digits):
    with pytest.raises(ConfigError) as error:
        loader(digits.train, preprocessing=PLAIN, batches=[[0]], augmentation="flop", num_workers=-1)
    assert list(error.value.problems) == [
        "num-workers must not be negative, got -1",
        "augmentation must be one of none, flip, crop-flip, trivial, got 'flop'. Did you mean flip?",
    ]


@pytest.mark.parametrize("name", ["9" * 5000, "~nobody-of-this-name/photos", "photos\0"])
def test_names_that_can_be_no_file_are_unknown_data_sets(name):
    with pytest.raises(ConfigError, match="is unknown"):
        SplitOptions(dataset=name)


@pytest.mark.parametrize(
    "text",
    ["DataLoader worker (pid 7) is killed by signal: Killed. ", "DataLoader worker (pid(s) 7) exited unexpectedly"],
)
def test_a_worker_that_was_killed_is_told_wherever_torch_says_so(text):
    told = r"reads images ended: DataLoader worker .*memory.*--num-workers.*--resume"
    with pytest.raises(DataError, match=told), told_if_a_worker_ends():
        raise RuntimeError(text)
    with pytest.raises(RuntimeError, match="another"), told_if_a_worker_ends():
        raise RuntimeError("another")
