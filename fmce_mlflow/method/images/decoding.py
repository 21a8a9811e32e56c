"""One image, in whatever form it is in, as an array: the decoder of training, evaluating and promoting."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from io import BytesIO
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fmce_mlflow.errors import DataError, FmceError

Layout = Literal["auto", "NCHW", "NHWC"]
Fit = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Makes pixels (H, W, C) smaller, or refuses them."""
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
"""The only formats that are tried, whatever a file is called: Pillow goes by content, and starts a program for some."""
LARGE = 2**24  # pixels, from which images are decoded one at a time
_ONE_LARGE = threading.Lock()


class UnreadableError(DataError):
    """One image that cannot be read, by the name that messages have for it, and why."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(
            f"{name} cannot be read as an image: {reason}. Restore it or leave it out; an evaluation can go on without "
            "it, with unreadable='skip'."
        )


def decoded(item: Any, name: str, layout: Layout = "auto", fit: Fit | None = None) -> NDArray[Any]:
    """A path, encoded bytes, a PIL image, an array or tensor as one image: uint8 (H, W, 3 or 1), or float32 (C, H, W).

    Gray files have one channel. 16 bits are scaled to 8, transparency is dropped, and a camera's note on how it was
    held (EXIF) is not followed: images lie as they are stored. ``fit`` is applied to uint8 pixels; of images with
    :data:`LARGE` pixels or more in files, one at a time is held before it.

    Raises:
        DataError: If it cannot be read or is no image.

    Example:
        >>> decoded(np.zeros((3, 8, 8), dtype=np.uint8), "image 0").shape
        (8, 8, 3)
    """
    item = unwrapped(item)
    if item is None or (isinstance(item, float) and item != item):
        raise UnreadableError(name, "there is none")
    if is_encoded(item):
        with _opened(item, name) as image, _ONE_LARGE if _is_large(image) else nullcontext():
            return fit(_pixels(image)) if fit else _pixels(image)
    array = as_numpy(item)
    is_float = is_float_type(array.dtype, name)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(
            f"{name} has shape {array.shape}; expected (H, W), (C, H, W) or (H, W, C). Give one image for each entry."
        )
    if array.ndim == 2:
        array = array[None] if is_float else array[..., None]
    elif channels_first((1, *array.shape), layout, name, is_float) != is_float:
        array = array.transpose((2, 0, 1) if is_float else (1, 2, 0))
    if is_float:
        return array.astype(np.float32, copy=False)
    return fit(array) if fit else array


def stored_size(path: str) -> tuple[int, int]:
    """Width and height of an image file, from its header alone; UnreadableError where it has none."""
    with _opened(path, path) as image:
        return image.size


@contextmanager
def _opened(item: Any, name: str) -> Iterator[Image.Image]:
    """A file, encoded bytes or a PIL image as the latter; what its decoder raises becomes one error."""
    try:
        if isinstance(item, Image.Image):
            yield item
            return
        is_path = isinstance(item, (str, os.PathLike))
        if is_path and not stat.S_ISREG(os.stat(item).st_mode):  # opening a pipe would wait for whoever writes it
            raise ValueError("it is no regular file")
        with Image.open(item if is_path else BytesIO(item), formats=FORMATS) as image:
            yield image
    except FmceError:
        raise
    except Exception as error:  # decoders raise whatever they like for damaged files
        raise UnreadableError(name, _reason(error, item)) from error


def _reason(error: Exception, item: Any) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, UnidentifiedImageError):
        damaged = "damaged" if isinstance(item, (str, os.PathLike)) else "damaged bytes"
        return f"unknown format or {damaged}; {', '.join(FORMATS)} are read"
    return str(error) or type(error).__name__


def _is_large(image: Image.Image) -> bool:
    return image.width * image.height >= LARGE


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """A PIL image's pixels: uint8 (H, W, 1) where it is gray, else (H, W, 3)."""
    if image.mode == "F":
        raise ValueError(f"it has 32-bit floats instead of 8 or 16 bits; {_AS_ARRAY}")
    if image.mode.startswith("I"):  # convert("L") would clip 16 bits to 255 instead of scaling them
        deep = np.asarray(image).astype(np.int64)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError(
                f"its values go from {deep.min()} to {deep.max()}, and whole numbers are read from 0 to 65535, which "
                f"become 0 to 255; {_AS_ARRAY}"
            )
        return (deep >> 8).astype(np.uint8)[..., None]
    if _signed(image):
        raise ValueError(f"it has 8 bits with a sign; {_AS_ARRAY}")
    if image.mode in ("1", "L", "LA"):
        return np.array(image.convert("L"))[..., None]
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


_AS_ARRAY = "nothing says how the model wants them scaled: give arrays, scaled as in its training"


def _signed(image: Image.Image) -> bool:
    """Whether a TIFF says that its numbers have a sign, which Pillow overlooks for 8 bits."""
    kinds = getattr(image, "tag_v2", {}).get(339, ())  # SampleFormat
    return 2 in (kinds if isinstance(kinds, tuple) else (kinds,))


def unwrapped(item: Any) -> Any:
    """An image of a Hugging Face table, ``{"bytes": …, "path": …}``, as its bytes, else its path; all else as it is."""
    if isinstance(item, Mapping) and item and set(item) <= {"bytes", "path"}:
        return item.get("bytes") or item.get("path")
    return item


def as_numpy(value: Any) -> NDArray[Any]:
    """An array or tensor on the CPU, without gradient, as NumPy."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return cast("NDArray[Any]", (value.float() if value.dtype == torch.bfloat16 else value).numpy())
    return np.asarray(value)


def is_encoded(item: Any) -> bool:
    """Whether an image is none yet but will be decoded to uint8: a path, bytes, PIL's; or is missing."""
    return item is None or isinstance(item, (str, os.PathLike, bytes, bytearray, memoryview, Image.Image))


def is_float_type(dtype: Any, what: str) -> bool:
    """Whether pixels are floats; an error where they are neither floats nor uint8."""
    name = str(dtype).removeprefix("torch.")
    if name == "uint8":
        return False
    if "float" in name and "complex" not in name:
        return True
    raise DataError(
        f"Expected pixels as uint8 or floats, got {name} for {what}. Convert them: .astype('uint8') for values from 0 "
        "to 255, or the floats that the model takes."
    )


def channels_first(shape: tuple[int, ...], layout: Layout, what: str, is_float: bool) -> bool:
    """Whether the channels of (n, C, H, W) or (n, H, W, C) come first."""
    if layout not in ("auto", "NCHW", "NHWC"):
        raise DataError(f"layout must be auto, NCHW or NHWC, got {layout!r}.")
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if layout == "auto" and first == last:
        raise DataError(
            f"It is unclear where the channels of {what} are: height, width and channels are among {shape[1:]}. "
            "Give layout='NCHW' or layout='NHWC'."
        )
    come_first = layout == "NCHW" or (layout == "auto" and first)
    channels = shape[1] if come_first else shape[3]
    if not is_float and channels not in (1, 3):
        raise DataError(
            f"8-bit images have 1 or 3 channels; in {what} of shape {shape[1:]} there are {channels} of them, "
            f"{'first' if come_first else 'last'}. Drop the others, set layout if they are elsewhere, or give floats."
        )
    return come_first
