"""Images in every form, and the batches made of them."""

from __future__ import annotations

import io
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import ImageFolder

from fmce_mlflow.errors import ConfigError, DataError
from fmce_mlflow.method.images.image_set import ImageSet
from fmce_mlflow.method.images.input_batches import InputBatches
from fmce_mlflow.method.images.inputs import image_inputs
from fmce_mlflow.method.images.preprocessing import Preprocessing, as_preprocessing
from fmce_mlflow.method.images.readers import HASHED_BYTES, SAMPLED, ListImages

HALF = Preprocessing(8, 8, mean=(0.5, 0.4, 0.3), std=(0.25, 0.5, 0.2))
RGB = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2, 0])


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """RGB as 7 PNG files."""
    (tmp_path / "flat").mkdir()
    paths = [tmp_path / "flat" / f"{i}.png" for i in range(len(RGB))]
    for path, pixels in zip(paths, RGB, strict=True):
        path.write_bytes(png(pixels))
    return paths


@pytest.fixture
def classes(files: list[Path], tmp_path: Path) -> Path:
    """The same files in class folders, by their labels."""
    for path, label in zip(files, LABELS, strict=True):
        folder = tmp_path / "classes" / "cat dog emu".split()[label]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.name)
    return tmp_path / "classes"


class Pairs(torch.utils.data.Dataset):
    """PIL images with labels; no list of labels."""

    def __init__(self, images=RGB, labels=LABELS):
        self.images, self.numbers, self.threads = images, labels, set()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        self.threads.add(threading.get_ident())
        return Image.fromarray(self.images[i]), int(self.numbers[i])


def pixels_of(inputs, *, preprocessing=HALF, input_shape=(3, 8, 8), batch_size=3, **more):
    batches = list(
        InputBatches(inputs, batch_size=batch_size, preprocessing=preprocessing, input_shape=input_shape, **more)
    )
    return torch.cat([batch.pixels for batch in batches]), np.concatenate([batch.indices for batch in batches])


EXPECTED = HALF(torch.from_numpy(RGB).permute(0, 3, 1, 2))
FORMS = {
    "NHWC": lambda files, folder: RGB,
    "NCHW": lambda files, folder: RGB.transpose(0, 3, 1, 2),
    "tensor": lambda files, folder: torch.from_numpy(RGB).permute(0, 3, 1, 2),
    "paths": lambda files, folder: files,
    "strings": lambda files, folder: [str(path) for path in files],
    "array of strings": lambda files, folder: np.array([str(path) for path in files]),
    "series of paths": lambda files, folder: pd.Series([str(path) for path in files], index=range(10, 17)),
    "bytes": lambda files, folder: [png(pixels) for pixels in RGB],
    "PIL": lambda files, folder: [Image.fromarray(pixels) for pixels in RGB],
    "arrays": lambda files, folder: list(RGB),
    "tensors": lambda files, folder: [torch.from_numpy(pixels).permute(2, 0, 1) for pixels in RGB],
    "series of arrays": lambda files, folder: pd.Series(list(RGB)),
    "folder": lambda files, folder: files[0].parent,
    "dataset": lambda files, folder: Pairs(),
    "mixed": lambda files, folder: [files[0], png(RGB[1]), Image.fromarray(RGB[2]), *RGB[3:]],
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_the_same_images_give_the_same_input(form, files, tmp_path):
    inputs = image_inputs(FORMS[form](files, tmp_path))
    pixels, indices = pixels_of(inputs)
    assert len(inputs) == 7 and not inputs.is_float()
    assert indices.tolist() == list(range(7)) and indices.dtype == np.int64
    assert pixels.dtype == torch.float32 and torch.equal(pixels, EXPECTED)
    assert np.array_equal(inputs.read(3), RGB[3])


def trained_on(path: Path) -> torch.Tensor:
    return HALF(ImageSet(ListImages([path], [0]))[0][0])


def test_files_give_what_training_reads(files):
    assert torch.equal(EXPECTED[2], trained_on(files[2]))


FLOATS = np.random.default_rng(1).standard_normal((5, 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize(
    "images",
    [
        FLOATS,
        FLOATS.transpose(0, 2, 3, 1),
        FLOATS.astype(np.float64),
        torch.from_numpy(FLOATS),
        list(FLOATS),
        [torch.from_numpy(image) for image in FLOATS],
        torch.utils.data.TensorDataset(torch.from_numpy(FLOATS)),
    ],
    ids="NCHW NHWC float64 tensor list tensors dataset".split(),
)
@pytest.mark.parametrize("preprocessing", [None, HALF])
def test_floats_pass_as_they_are(images, preprocessing):
    inputs = image_inputs(images)
    assert inputs.is_float()
    pixels, _ = pixels_of(inputs, preprocessing=preprocessing)
    assert torch.equal(pixels, torch.from_numpy(FLOATS))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32(kind):
    half = torch.from_numpy(FLOATS).to(kind)
    pixels, _ = pixels_of(image_inputs(half), preprocessing=None)
    assert pixels.dtype == torch.float32 and torch.equal(pixels, half.float())


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 9),
    channels=st.sampled_from([1, 3]),
    height=st.integers(8, 12),
    width=st.integers(8, 12),
    is_float=st.booleans(),
    batch_size=st.integers(1, 5),
    data=st.data(),
)
def test_layouts_and_batch_sizes_change_nothing(n, channels, height, width, is_float, batch_size, data):
    """NCHW, NHWC and lists agree, for any order of images, and with the plain preprocessing of all at once."""
    rng = np.random.default_rng(n)
    images = rng.integers(0, 256, (n, channels, height, width), dtype=np.uint8)
    if is_float:
        images = (images / 128 - 1).astype(np.float32)
    order = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=12))
    expected = torch.from_numpy(images).expand(-1, 3, -1, -1) if is_float else HALF(images)
    shape = (3, height, width) if is_float else (3, 8, 8)
    for form in (images, images.transpose(0, 2, 3, 1), list(images), list(images.transpose(0, 2, 3, 1))):
        pixels, indices = pixels_of(image_inputs(form), input_shape=shape, batch_size=batch_size, indices=order)
        assert indices.tolist() == order
        torch.testing.assert_close(pixels, expected[order], rtol=0, atol=1e-6)


def test_gray_images_are_repeated_and_stay_gray_where_the_model_wants_them_so():
    gray = RGB[..., 0]
    same = Preprocessing(8, 8, mean=(0.5,) * 3, std=(0.2,) * 3)
    three, _ = pixels_of(image_inputs(gray), preprocessing=same)
    one, _ = pixels_of(image_inputs(gray), preprocessing=same, input_shape=(1, 8, 8))
    assert three.shape == (7, 3, 8, 8) and one.shape == (7, 1, 8, 8)
    assert torch.equal(three, one.expand(-1, 3, -1, -1))
    stored_as_color, _ = pixels_of(
        image_inputs(np.repeat(gray[..., None], 3, -1)), preprocessing=same, input_shape=(1, 8, 8)
    )
    assert torch.equal(stored_as_color, one)
    floats, _ = pixels_of(image_inputs(FLOATS[:, :1]), preprocessing=None)
    assert torch.equal(floats, torch.from_numpy(FLOATS[:, :1]).expand(-1, 3, -1, -1))


@pytest.mark.parametrize(
    ("mode", "shape"), [("L", (4, 5, 1)), ("1", (4, 5, 1)), ("LA", (4, 5, 1)), ("I;16", (4, 5, 1)), ("P", (4, 5, 3)),
                        ("RGBA", (4, 5, 3)), ("CMYK", (4, 5, 3))],
)  # fmt: skip
def test_modes_of_pil(mode, shape):
    assert image_inputs([Image.new(mode, (5, 4))]).read(0).shape == shape


def test_sixteen_bits_are_scaled():
    image = Image.fromarray(np.full((4, 5), 0x80FF, dtype=np.uint16))
    assert image_inputs([image]).read(0).max() == 0x80


def test_images_of_several_sizes_are_resized(files):
    Image.new("RGB", (20, 30), "red").save(files[1])
    Image.new("L", (9, 8), 77).save(files[2])
    pixels, _ = pixels_of(image_inputs(files))
    assert pixels.shape == (7, 3, 8, 8)
    assert torch.equal(pixels[0], EXPECTED[0]) and torch.equal(pixels[3:], EXPECTED[3:])
    assert torch.equal(pixels[1], trained_on(files[1])) and torch.equal(pixels[2], trained_on(files[2]))


def test_class_folders_give_targets(classes):
    inputs = image_inputs(classes)
    reference = ImageFolder(classes)
    assert inputs.classes == ("cat", "dog", "emu") == tuple(reference.classes)
    assert inputs.targets.tolist() == reference.targets == [0, 0, 0, 1, 1, 2, 2]
    assert [inputs.name(i) for i in range(7)] == [path for path, _ in reference.samples]
    assert inputs.folder == classes


def test_a_class_without_images_keeps_its_number(classes):
    (classes / "bat").mkdir()
    inputs = image_inputs(str(classes))
    assert inputs.classes[0] == "bat" and inputs.targets.tolist() == [1, 1, 1, 2, 2, 3, 3]


def test_a_flat_folder_has_no_targets(files):
    (files[0].parent / "notes.txt").write_text("no image")
    (files[0].parent / ".hidden").mkdir()
    inputs = image_inputs(files[0].parent)
    assert inputs.targets is None and inputs.classes is None and len(inputs) == 7
    assert image_inputs(files[0].parent, LABELS).targets.tolist() == LABELS.tolist()


def test_labels_of_torch_datasets(classes):
    data = ImageFolder(classes)
    subset = torch.utils.data.Subset(data, [6, 0, 3])
    assert image_inputs(subset).known_targets.tolist() == [2, 0, 1]
    both = torch.utils.data.ConcatDataset([subset, data])
    assert image_inputs(both).known_targets.tolist() == [2, 0, 1, *data.targets]
    tensors = torch.utils.data.TensorDataset(torch.from_numpy(FLOATS), torch.arange(5))
    assert image_inputs(tensors).targets.tolist() == [0, 1, 2, 3, 4]
    changed = ImageFolder(classes, target_transform=lambda label: label + 10)
    inputs = image_inputs(changed)
    assert inputs.known_targets is None and inputs.labelled
    assert inputs.targets.tolist() == [label + 10 for label in data.targets] == inputs.known_targets.tolist()
    assert image_inputs(Pairs(), targets=[5] * 7).targets.tolist() == [5] * 7


def test_a_torch_dataset_is_read_in_one_thread_beside_the_callers():
    data = Pairs()
    pixels_of(image_inputs(data), batch_size=1)
    assert len(data.threads - {threading.get_ident()}) == 1


@pytest.mark.parametrize(
    ("images", "told"),
    [
        ([], "There are no images: the list is empty"),
        (np.zeros((0, 3, 8, 8), np.uint8), "There are no images"),
        (np.zeros((8, 8), np.uint8), "images[None]"),
        (np.zeros((8, 8, 3), np.uint8), "may be one color image or 8 gray ones"),
        (np.zeros((3, 8, 8), np.float32), "may be one color image or 3 gray ones"),
        (np.zeros((5, 3, 8, 3), np.uint8), "layout='NCHW' or layout='NHWC'"),
        (np.zeros((5, 8, 8, 4), np.uint8), "Give layout="),
        (np.zeros((5, 3, 8, 8), np.int64), "Expected pixels as uint8 or floats, got int64"),
        (np.zeros((5, 3, 8, 8), bool), "got bool"),
        (torch.zeros(5, 3, 8, 8, dtype=torch.int32), "got int32"),
        (np.zeros((5, 2, 3, 8, 8), np.uint8), "got (5, 2, 3, 8, 8)"),
        (7, "got int"),
        (b"\x89PNG", "give a list of it"),
        (pd.DataFrame({"a": [1]}), "frame['image']"),
        ((image for image in RGB), "give a list"),
        ({"a": RGB}, "got dict"),
        (torch.utils.data.DataLoader(Pairs()), "give its .dataset"),
    ],
)  # fmt: skip
def test_what_is_no_set_of_images_is_refused(images, told):
    with pytest.raises(DataError) as error:
        image_inputs(images)
    assert told in str(error.value)


def test_iterable_datasets_are_refused():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(RGB)

    with pytest.raises(DataError, match="give a dataset with a length"):
        image_inputs(Stream())


def test_layout_settles_what_is_unclear():
    both = np.zeros((5, 3, 8, 3), np.uint8)
    assert image_inputs(both, layout="NCHW").read(0).shape == (8, 3, 3)
    assert image_inputs(both, layout="NHWC").read(0).shape == (3, 8, 3)
    assert len(image_inputs(np.zeros((3, 8, 8), np.uint8), layout="NCHW")) == 3
    assert image_inputs(np.zeros((5, 6, 8, 8), np.float32), layout="NCHW").read(0).shape == (6, 8, 8)
    with pytest.raises(DataError, match="8-bit images have 1 or 3 channels"):
        image_inputs(np.zeros((5, 8, 8, 4), np.uint8), layout="NHWC")
    with pytest.raises(DataError, match="layout must be"):
        image_inputs(RGB, layout="HWC")
    with pytest.raises(DataError, match="unreadable must be"):
        image_inputs(RGB, unreadable="ignore")


@pytest.mark.parametrize("targets", [[0] * 6, np.eye(7), 3])
def test_targets_must_be_one_for_each_image(targets):
    with pytest.raises(DataError, match="one target for each of 7 images"):
        image_inputs(RGB, targets)


def test_targets_of_one_column_and_of_tensors_are_taken():
    assert image_inputs(RGB, LABELS[:, None]).targets.shape == (7,)
    assert image_inputs(RGB, torch.from_numpy(LABELS)).targets.tolist() == LABELS.tolist()
    assert image_inputs(RGB, list("abcabca")).targets.tolist() == list("abcabca")


def test_folders_that_cannot_be_used_are_refused(classes, files, tmp_path):
    with pytest.raises(DataError, match="There is no folder"):
        image_inputs(tmp_path / "nowhere")
    with pytest.raises(DataError, match="a list of its path"):
        image_inputs(files[0])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="There are no images in"):
        image_inputs(tmp_path / "empty")
    shutil.copy(files[0], classes / "loose.png")
    with pytest.raises(DataError, match="1 images beside class folders"):
        image_inputs(classes)


def test_eight_bits_need_a_preprocessing():
    with pytest.raises(ConfigError, match=r"image 0 has 8-bit pixels.*'imagenet'"):
        InputBatches(image_inputs(RGB), batch_size=2, preprocessing=None, input_shape=(3, 8, 8))
    later = image_inputs([FLOATS[0], FLOATS[1], RGB[0]])
    with pytest.raises(ConfigError, match="image 2 has 8-bit pixels"):
        pixels_of(later, preprocessing=None)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("form", [lambda images: images, list])
def test_pixels_that_are_no_numbers_are_named(value, form):
    images = FLOATS.copy()
    images[3, 1, 2, 2] = value
    with pytest.raises(DataError, match=f"image 3 has {'NaN' if value != value else 'infinite'} pixels"):
        pixels_of(image_inputs(form(images)), preprocessing=None)


def test_sizes_and_channels_that_the_model_does_not_take():
    with pytest.raises(DataError, match=r"image 0 is \(C, H, W\) = \(3, 8, 8\); the model takes \(3, 32, 32\)"):
        pixels_of(image_inputs(FLOATS), input_shape=(3, 32, 32))
    with pytest.raises(DataError, match=r"the model takes \(6, any, any\)"):
        pixels_of(image_inputs(FLOATS), input_shape=(6, None, None))
    with pytest.raises(DataError, match="layout='NHWC'"):
        pixels_of(image_inputs(FLOATS.transpose(0, 2, 3, 1), layout="NCHW"), input_shape=(3, 8, 8))
    with pytest.raises(DataError, match="takes 6 channels"):
        pixels_of(image_inputs(RGB), input_shape=(6, 8, 8))
    with pytest.raises(DataError, match="image 0 is in color"):
        pixels_of(image_inputs(RGB), input_shape=(1, 8, 8))
    with pytest.raises(ConfigError, match="preprocessing makes images of 8×8, and the model takes 32×32"):
        pixels_of(image_inputs(RGB), input_shape=(3, 32, 32))


@pytest.mark.parametrize("batch_size", [1, 8])
def test_floats_of_several_sizes_are_refused(batch_size):
    images = [*FLOATS, np.zeros((3, 9, 8), np.float32)]
    with pytest.raises(DataError, match=r"image 0 is .*\(3, 8, 8\), image 5 \(3, 9, 8\)"):
        pixels_of(image_inputs(images), preprocessing=None, input_shape=None, batch_size=batch_size)


@pytest.fixture
def damaged(files: list[Path]) -> list[Path]:
    """Image 1 is cut short, 4 is no image, 6 is gone."""
    files[1].write_bytes(files[1].read_bytes()[:60])
    files[4].write_text("not an image")
    files[6].unlink()
    return files


def test_an_unreadable_file_is_named(damaged):
    with pytest.raises(DataError) as error:
        pixels_of(image_inputs(damaged))
    assert str(damaged[1]) in str(error.value) and "unreadable='skip'" in str(error.value)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_unreadable_files_are_skipped_on_request_and_reported(damaged, batch_size):
    inputs = image_inputs(damaged, LABELS, unreadable="skip")
    batches = InputBatches(inputs, batch_size=batch_size, preprocessing=HALF, input_shape=None)
    found = list(batches)
    assert np.concatenate([batch.indices for batch in found]).tolist() == [0, 2, 3, 5]
    assert torch.equal(torch.cat([batch.pixels for batch in found]), EXPECTED[[0, 2, 3, 5]])
    assert [(image.index, image.name) for image in batches.skipped] == [(i, str(damaged[i])) for i in (1, 4, 6)]
    assert batches.skipped[2].reason == "there is no such file"
    assert [batch.indices.tolist() for batch in batches] == [batch.indices.tolist() for batch in found]
    assert len(batches.skipped) == 3, "counted afresh each time"


def test_nothing_but_unreadable_files_is_an_error(damaged):
    inputs = image_inputs([damaged[i] for i in (1, 4, 6)])
    with pytest.raises(DataError, match="None of 3 images can be read; the first is"):
        pixels_of(inputs, unreadable="skip")


def test_bytes_and_missing_entries_count_as_unreadable():
    batches = InputBatches(
        image_inputs([png(RGB[0]), b"nothing", None, float("nan")]), batch_size=4, preprocessing=HALF,
        input_shape=None, unreadable="skip",
    )  # fmt: skip
    assert next(iter(batches)).indices.tolist() == [0]
    assert [image.name for image in batches.skipped] == ["image 1", "image 2", "image 3"]


def test_an_error_in_a_users_dataset_is_told_and_can_be_skipped():
    class Torn(Pairs):
        def __getitem__(self, i):
            if i in (0, 3):
                raise RuntimeError("disk gone")
            return super().__getitem__(i)

    with pytest.raises(DataError, match="image 0 cannot be read as an image: Torn raised RuntimeError: disk gone"):
        image_inputs(Torn())
    _, indices = pixels_of(image_inputs(Torn(), unreadable="skip"))
    assert indices.tolist() == [1, 2, 4, 5, 6]


def test_no_images_chosen():
    with pytest.raises(DataError, match="No image is chosen"):
        InputBatches(image_inputs(RGB), batch_size=2, preprocessing=HALF, input_shape=None, indices=[])
    with pytest.raises(ConfigError, match="batch_size must be at least 1"):
        InputBatches(image_inputs(RGB), batch_size=0, preprocessing=HALF, input_shape=None)


@pytest.mark.parametrize(
    ("images", "preprocessing", "told"),
    [
        (FLOATS, HALF, None),
        (np.linspace(0, 255, 5 * 192, dtype=np.float32).reshape(5, 3, 8, 8), None, "unscaled 8-bit pixels"),
        (np.linspace(0, 1, 5 * 192, dtype=np.float32).reshape(5, 3, 8, 8), HALF, r"lie in [0, 1]"),
        (np.linspace(0, 1, 5 * 192, dtype=np.float32).reshape(5, 3, 8, 8), None, None),
        (np.zeros((5, 3, 8, 8), np.float32), None, "All pixels of all float images are 0"),
    ],
)
def test_floats_that_look_wrong_are_noted_only(images, preprocessing, told):
    batches = InputBatches(image_inputs(images), batch_size=2, preprocessing=preprocessing, input_shape=(3, 8, 8))
    assert sum(len(batch.indices) for batch in batches) == 5
    assert (told is None) == (batches.notes == [])
    assert told is None or told in batches.notes[0]


class Counted:
    """A large array of images of which each is made when it is asked for."""

    shape, dtype = (100_000, 16, 16, 3), np.dtype(np.uint8)

    def __init__(self):
        self.made = 0

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, i):
        self.made += 1
        return np.full((16, 16, 3), 7, dtype=np.uint8)


def test_images_are_read_a_few_batches_ahead_and_no_more():
    images = Counted()
    inputs = image_inputs(images)
    assert len(inputs) == 100_000 and images.made == 0
    inputs.digest()
    assert images.made <= SAMPLED + 1
    images.made = 0
    batches = iter(InputBatches(inputs, batch_size=10, preprocessing=HALF, input_shape=None))
    for _ in range(5):
        next(batches)
    assert images.made <= 5 * 10 + 30
    batches.close()
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("fmce-images")]
    assert not threads, "reading ends with the caller"


def test_a_memory_mapped_array_stays_on_disk(tmp_path):
    """80 MB of images on disk cost no more memory than a few batches."""
    path = tmp_path / "images.npy"
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(100_000, 16, 16, 3))
    stored[::1000] = 255
    del stored

    def anonymous() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) // 1024

    if not Path("/proc/self/status").exists():
        pytest.skip("memory is read from /proc")
    inputs = image_inputs(np.load(path, mmap_mode="r"))
    assert inputs.folder == path
    inputs.digest()
    before, most, seen = anonymous(), 0, 0
    for batch in InputBatches(inputs, batch_size=256, preprocessing=HALF, input_shape=None):
        seen += len(batch.indices)
        most = max(most, anonymous())
    assert seen == 100_000
    assert most - before < 30


def test_digests_tell_images_labels_and_order_apart(files, classes, tmp_path):
    digests = [
        image_inputs(RGB).digest(),
        image_inputs(RGB, LABELS).digest(),
        image_inputs(RGB[::-1]).digest(),
        image_inputs(RGB, LABELS[::-1]).digest(),
        image_inputs(RGB[:6]).digest(),
        image_inputs(files).digest(),
        image_inputs(files, LABELS).digest(),
        image_inputs(files[::-1]).digest(),
        image_inputs(classes).digest(),
        image_inputs([png(pixels) for pixels in RGB]).digest(),
    ]
    assert len(set(digests)) == len(digests) and all(len(digest) == 8 for digest in digests)
    assert image_inputs(RGB.copy(), LABELS.astype(np.int32)).digest() == digests[1]
    assert image_inputs(torch.from_numpy(RGB), torch.from_numpy(LABELS)).digest() == digests[1]
    shutil.copytree(classes, tmp_path / "elsewhere")
    assert image_inputs(tmp_path / "elsewhere").digest() == digests[8], "a copy is the same data"
    os.utime(files[0], (1, 1))
    assert image_inputs(files).digest() == digests[5]
    files[3].write_bytes(files[2].read_bytes())
    assert image_inputs(files).digest() != digests[5]
    assert image_inputs(Pairs()).digest() == image_inputs(Pairs()).digest() != image_inputs(Pairs(RGB[::-1])).digest()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 6), st.integers(0, 191))
def test_any_changed_pixel_changes_the_digest(image, pixel):
    changed = RGB.copy()
    changed[image].reshape(-1)[pixel] ^= 1
    assert image_inputs(changed).digest() != image_inputs(RGB).digest()


def test_large_arrays_are_sampled_over_their_whole_length():
    images = np.zeros((HASHED_BYTES // 3072 + 1, 32, 32, 3), np.uint8)
    before = image_inputs(images).digest()
    images[-1] = 1
    assert image_inputs(images).digest() != before


@pytest.mark.parametrize(
    ("value", "shape", "expected"),
    [
        (None, None, None),
        (HALF, None, HALF),
        (HALF.to_dict(), (3, 32, 32), HALF),
        ("scale", (3, 16, 32), Preprocessing(16, 32, (0.0,) * 3, (1.0,) * 3)),
        ("imagenet", None, Preprocessing(224, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), True)),
        ("imagenet", (3, 64, 64), Preprocessing(64, 64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), True)),
        ({"mean": [0.1307], "std": 0.3081}, (1, 28, 28), Preprocessing(28, 28, (0.1307,) * 3, (0.3081,) * 3)),
    ],
)
def test_preprocessing_from_config(value, shape, expected):
    assert as_preprocessing(value, input_shape=shape) == expected


@pytest.mark.parametrize(
    ("value", "shape", "told"),
    [
        ("scale", None, ["lacks height", "lacks width"]),
        ("scale", (3, None, 8), ["lacks height"]),
        ({"means": 0.5}, (3, 8, 8), ["no 'means'. Did you mean mean?", "lacks mean", "lacks std"]),
        ({"mean": 0.5, "std": 0}, (3, 8, 8), ["std must be above 0"]),
        ({"mean": [1, 2], "std": 1}, (3, 8, 8), ["mean must be three finite numbers"]),
        ("normalize", (3, 8, 8), ["must be 'imagenet', 'scale', or a dict"]),
        (0.5, (3, 8, 8), ["must be 'imagenet'"]),
    ],
)
def test_preprocessing_that_is_none(value, shape, told):
    with pytest.raises(ConfigError) as error:
        as_preprocessing(value, input_shape=shape)
    assert all(part in str(error.value) for part in told)


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("read_only", [False, True])
def test_images_resized_one_by_one_are_equal_to_the_bit(crop, read_only):
    rng = np.random.default_rng(5)
    images = [rng.integers(0, 256, shape, np.uint8) for shape in ((40, 30, 3), (40, 30, 3), (90, 70, 3), (6, 9, 3))]
    images += [images[2][::-1, ::-1], images[0][..., :1]]
    for image in images:
        image.setflags(write=not read_only)
    wanted = Preprocessing(12, 10, mean=(0.5, 0.4, 0.3), std=(0.25, 0.5, 0.2), crop=crop)
    (batch,) = InputBatches(image_inputs(images), batch_size=8, preprocessing=wanted, input_shape=(3, 12, 10))
    for found, image in zip(batch.pixels, images, strict=True):
        pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())
        assert torch.equal(found, wanted(pixels))
