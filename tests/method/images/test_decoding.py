"""One decoder: training and evaluating see the same pixels of every form of image file."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features

from fmce_mlflow.errors import DataError
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


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "JPEG")
    return file.getvalue()


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
        (None, "there is none"),
        (float("nan"), "there is none"),
        ("nowhere.png", "no such file"),
    ],
    ids=["no image", "cut short", "floats", "none", "nan", "missing"],
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


@pytest.mark.parametrize("kind", [RuntimeError, TypeError, NotImplementedError, SyntaxError, OSError, ValueError])
def test_whatever_pillow_raises_names_the_image(kind):
    class Damaged(Image.Image):
        mode = "RGB"

        def convert(self, *args, **kwargs):
            raise kind("damaged")

    with pytest.raises(UnreadableError, match="it cannot be read as an image: damaged"):
        decoded(Damaged(), "it")


def test_the_error_survives_a_worker_process():
    again = pickle.loads(pickle.dumps(UnreadableError("a.png", "truncated")))
    assert (again.name, again.reason) == ("a.png", "truncated") and str(again) == str(
        UnreadableError("a.png", "truncated")
    )
