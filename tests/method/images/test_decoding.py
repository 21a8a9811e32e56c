"""One decoder: training and evaluating see the same pixels of every form of image file."""

from __future__ import annotations

import io
import os
import pickle
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, TiffImagePlugin, features

from fmce_mlflow.errors import DataError
from fmce_mlflow.image_dataset.tables import images_of_frame
from fmce_mlflow.method.images.decoding import UnreadableError, decoded, stored_size
from fmce_mlflow.method.images.image_set import ImageSet
from fmce_mlflow.method.images.input_batches import InputBatches
from fmce_mlflow.method.images.inputs import image_inputs
from fmce_mlflow.method.images.preprocessing import Preprocessing
from fmce_mlflow.method.images.readers import ListImages

AS_STORED = Preprocessing(12, 10, mean=(0.0,) * 3, std=(1.0,) * 3)
RGB = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
GRAY = RGB[..., 0]
DEEP = np.random.default_rng(1).integers(0, 65536, (12, 10)).astype(np.uint16)


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn it right to see it upright
    return exif


def palette(transparent: bool) -> Image.Image:
    image = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE, colors=64)
    if transparent:
        image.info["transparency"] = 3
    return image


def with_alpha(mode: str) -> Image.Image:
    image = Image.fromarray(RGB).convert(mode)
    image.putalpha(Image.fromarray(255 - GRAY))
    return image


FILES = {
    "jpeg": (lambda: Image.fromarray(RGB), "JPEG", {"quality": 90}),
    "gray jpeg": (lambda: Image.fromarray(GRAY), "JPEG", {}),
    "cmyk jpeg": (lambda: Image.fromarray(RGB).convert("CMYK"), "JPEG", {}),
    "turned jpeg": (lambda: Image.fromarray(RGB), "JPEG", {"exif": turned()}),
    "progressive jpeg": (lambda: Image.fromarray(RGB), "JPEG", {"progressive": True}),
    "png": (lambda: Image.fromarray(RGB), "PNG", {}),
    "gray png": (lambda: Image.fromarray(GRAY), "PNG", {}),
    "1-bit png": (lambda: Image.fromarray(GRAY).convert("1"), "PNG", {}),
    "16-bit png": (lambda: Image.fromarray(DEEP), "PNG", {}),
    "palette png": (lambda: palette(False), "PNG", {}),
    "palette png with transparency": (lambda: palette(True), "PNG", {"transparency": 3}),
    "rgba png": (lambda: with_alpha("RGB"), "PNG", {}),
    "gray png with alpha": (lambda: with_alpha("L"), "PNG", {}),
    "bmp": (lambda: Image.fromarray(RGB), "BMP", {}),
    "ppm": (lambda: Image.fromarray(RGB), "PPM", {}),
    "pgm": (lambda: Image.fromarray(GRAY), "PPM", {}),
    "tiff": (lambda: Image.fromarray(RGB), "TIFF", {}),
    "16-bit tiff": (lambda: Image.fromarray(DEEP), "TIFF", {}),
    "32-bit tiff": (lambda: Image.fromarray(DEEP.astype(np.int32)), "TIFF", {}),
    "cmyk tiff": (lambda: Image.fromarray(RGB).convert("CMYK"), "TIFF", {}),
    "compressed tiff": (lambda: Image.fromarray(RGB), "TIFF", {"compression": "tiff_deflate"}),
    "webp": (lambda: Image.fromarray(RGB), "WEBP", {"lossless": True}),
    "rgba webp": (lambda: with_alpha("RGB"), "WEBP", {"lossless": True, "exact": True}),
    "gif": (lambda: palette(False), "GIF", {}),
}
EXACT = {"png", "bmp", "ppm", "tiff", "compressed tiff", "webp", "rgba png", "rgba webp"}


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpeg() -> bytes:
    return encoded(Image.fromarray(RGB), "JPEG")


def write(folder: Path, form: str) -> Path:
    make, kind, options = FILES[form]
    if kind == "WEBP" and not features.check("webp"):
        pytest.skip("this Pillow has no WebP")
    path = folder / f"image.{kind.lower()}"
    make().save(path, kind, **options)
    return path


@pytest.mark.parametrize("form", FILES)
def test_training_and_evaluating_see_the_same_pixels(form, tmp_path):
    path = write(tmp_path, form)
    trained_on = ImageSet(ListImages([path], [0]))[0][0]
    assert trained_on.shape == (3, 12, 10) and trained_on.dtype == torch.uint8
    (batch,) = InputBatches(image_inputs([path]), batch_size=1, preprocessing=AS_STORED, input_shape=(3, 12, 10))
    assert torch.equal(batch.pixels[0], AS_STORED(trained_on))
    for other in (path.read_bytes(), Image.open(path), str(path)):
        assert np.array_equal(decoded(other, "it"), decoded(path, "it"))
    with Image.open(path) as image:
        assert torch.equal(AS_STORED(image), AS_STORED(trained_on))
    assert stored_size(str(path)) == (10, 12)


@pytest.mark.parametrize("form", FILES)
def test_pixels_are_those_that_were_stored(form, tmp_path):
    found = decoded(write(tmp_path, form), "it")
    if form in EXACT:
        assert np.array_equal(found, RGB), "alpha is dropped, not blended"
    elif form == "1-bit png":
        assert set(np.unique(found)) <= {0, 255} and found.shape == (12, 10, 1)
    elif form.startswith(("16-bit", "32-bit")):
        assert np.array_equal(found[..., 0], DEEP >> 8)
    elif form.startswith(("gray png", "pgm")) and form != "gray png with alpha":
        assert np.array_equal(found, GRAY[..., None])
    else:
        assert found.shape in ((12, 10, 3), (12, 10, 1)) and found.dtype == np.uint8


def test_orientation_is_not_followed(tmp_path):
    assert np.array_equal(decoded(write(tmp_path, "turned jpeg"), "it"), decoded(jpeg(), "it"))


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (b"no image", "unknown format or damaged bytes"),
        (jpeg()[:60], "[Tt]runcated"),
        (Image.new("F", (8, 8)), "32-bit floats"),
        (Image.fromarray(np.full((8, 8), -1024, np.int32)), "from -1024 to -1024, .*give arrays"),
        (Image.fromarray(np.full((8, 8), 70_000, np.int32)), "from 70000 to 70000, .*give arrays"),
        (encoded(Image.new("L", (8, 8)), "EPS"), "unknown format .*JPEG, PNG"),
        (encoded(Image.new("L", (8, 8)), "PCX"), "unknown format .*JPEG, PNG"),
        ({"bytes": None, "path": None}, "there is none"),
        (None, "there is none"),
        (float("nan"), "there is none"),
        ("nowhere.png", "no such file"),
    ],
    ids=["no image", "cut short", "floats", "signed", "deep", "eps", "pcx", "no bytes", "none", "nan", "missing"],
)
def test_what_cannot_be_read_says_why(item, reason):
    with pytest.raises(UnreadableError, match=rf"image 3 cannot be read as an image: .*({reason})"):
        decoded(item, "image 3")


def test_floats_in_a_file_are_refused_by_both(tmp_path):
    path = tmp_path / "floats.tiff"
    Image.fromarray(np.zeros((12, 10), np.float32)).save(path)
    with pytest.raises(DataError, match=r"floats.tiff cannot be read as an image: it has 32-bit floats"):
        ImageSet(ListImages([path], [0]))[0]
    with pytest.raises(DataError, match=r"floats.tiff cannot be read as an image: it has 32-bit floats"):
        image_inputs([path]).read(0)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int8, np.float32])
def test_numbers_that_no_scale_is_known_of_are_told_and_can_be_left_out(dtype, tmp_path):
    ct = np.linspace(-100, 100, 120).reshape(12, 10).astype(dtype)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[339] = 2  # of int8, which Pillow writes and reads as uint8
    options = {"tiffinfo": tags} if dtype == np.int8 else {}
    Image.fromarray(ct.view(np.uint8) if dtype == np.int8 else ct).save(tmp_path / "0.tiff", **options)
    Image.fromarray(RGB).save(tmp_path / "1.tiff")
    paths = [tmp_path / "0.tiff", tmp_path / "1.tiff"]
    with pytest.raises(UnreadableError, match=r"0\.tiff cannot be read .*nothing says how the model wants them scaled"):
        image_inputs(paths).read(0)
    batches = InputBatches(
        image_inputs(paths, unreadable="skip"), batch_size=2, preprocessing=AS_STORED, input_shape=None
    )
    assert [batch.indices.tolist() for batch in batches] == [[1]] and len(batches.skipped) == 1


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_few_bits_of_sixteen_are_told(bits, tmp_path):
    for i in range(2):
        Image.fromarray(DEEP >> (16 - bits)).save(tmp_path / f"{i}.png")
    batches = InputBatches(image_inputs(tmp_path), batch_size=2, preprocessing=AS_STORED, input_shape=None)
    list(batches)
    assert any("nearly black" in note for note in batches.notes) == (bits < 16)


def test_formats_go_by_content_and_a_phones_jpeg_is_one(tmp_path):
    path = tmp_path / "it.png"  # two pictures in one file, as phones write them
    Image.fromarray(RGB).save(path, "MPO", save_all=True, append_images=[Image.fromarray(RGB)])
    assert np.array_equal(decoded(path, "it"), decoded(jpeg(), "it"))
    for kind in ("PCX", "DDS", "ICO", "TGA", "SGI", "PDF", "EPS"):
        Image.fromarray(RGB).save(path, kind)
        with pytest.raises(UnreadableError, match="it cannot be read as an image: unknown format or damaged; JPEG"):
            decoded(path, "it")


@pytest.mark.parametrize("wrap", [lambda data, path: {"bytes": data, "path": None}, lambda data, path: {"path": path}])
def test_images_of_hugging_face_tables(wrap, tmp_path):
    (tmp_path / "it.jpg").write_bytes(jpeg())
    items = [wrap(jpeg(), str(tmp_path / "it.jpg"))] * 2
    inputs = image_inputs(items)
    assert not inputs.is_float() and np.array_equal(inputs.read(1), decoded(jpeg(), "it"))
    frame = pd.DataFrame({"id": [0, 1], "image": items})
    assert images_of_frame(frame, None, (3, 12, 10)).read(0).shape == (12, 10, 3)


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    inputs = image_inputs([tmp_path / "pipe.png", tmp_path])
    for i in range(2):
        with pytest.raises(UnreadableError, match="it is no regular file"):
            inputs.read(i)
    assert len(inputs.digest()) == 8


def test_large_images_are_made_small_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("fmce_mlflow.method.images.decoding.LARGE", 100)
    held = []

    def fit(pixels):
        held.append(threading.current_thread().name)
        assert len(held) == 1, "another large image is at full size"
        time.sleep(0.01)
        held.clear()
        return pixels[:8, :8]

    Image.fromarray(RGB).save(tmp_path / "it.png")
    inputs = image_inputs([tmp_path / "it.png"] * 8)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: inputs.read(i, fit), range(8)))
    assert all(np.array_equal(pixels, RGB[:8, :8]) for pixels in found)


@pytest.mark.parametrize(
    "kind",
    [
        RuntimeError, TypeError, NotImplementedError, SyntaxError, OSError, ValueError, KeyError, IndexError,
        ZeroDivisionError, OverflowError, AttributeError, struct.error, zlib.error, MemoryError, AssertionError,
    ],
)  # fmt: skip
def test_whatever_pillow_raises_names_the_image(kind):
    class Damaged(Image.Image):
        mode = "CMYK"

        def convert(self, *args, **kwargs):
            raise kind("damaged")

    with pytest.raises(UnreadableError, match=r"it cannot be read as an image: '?damaged"):
        decoded(Damaged(), "it")


def test_the_error_survives_a_worker_process():
    again = pickle.loads(pickle.dumps(UnreadableError("a.png", "truncated")))
    assert (again.name, again.reason) == ("a.png", "truncated") and str(again) == str(
        UnreadableError("a.png", "truncated")
    )
