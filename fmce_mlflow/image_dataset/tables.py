"""Images in DataFrames and in rows of numbers, as MLflow hands them to evaluators."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from fmce_mlflow.errors import DataError
from fmce_mlflow.image_dataset.column import ImageColumn
from fmce_mlflow.method.images.decoding import as_numpy, is_encoded, unwrapped
from fmce_mlflow.method.images.preprocessing import InputShape
from fmce_mlflow.method.images.readers import ArrayImages, ImageInputs, ListImages
from fmce_mlflow.wording import did_you_mean, some

_WAY = "Give the images as mlflow.data.from_images(images, targets); docs/evaluation_data.md has the other ways."


def images_of_frame(
    frame: pd.DataFrame, targets: NDArray[Any] | None, input_shape: InputShape | None, image_column: str | None = None
) -> ImageInputs:
    """The images of a DataFrame's column, by default the only one that looks like it, or of its rows of pixels.

    Rows of pixels need the shape of the model's input.
    """
    if not len(frame):
        raise DataError("There are no images: the DataFrame has no rows. Give at least one; FMCE needs two.")
    columns = [str(name) for name in frame.columns]
    if image_column is not None and image_column not in columns:
        near = did_you_mean(image_column, columns, how_to_list=f"It has {some(columns, 6)}.")
        raise DataError(f"The DataFrame has no column {image_column!r} for image_column.{near}")
    if image_column is None:
        found = [name for i, name in enumerate(columns) if _looks_like_images(frame.iloc[:, i], input_shape)]
        if len(found) > 1:
            raise DataError(
                f"The columns {some(found, 6)} all look like images. Say which: "
                f"evaluator_config={{'image_column': {found[0]!r}}}."
            )
        if not found:
            return _images_of_numbers(frame, targets, input_shape)
        image_column = found[0]
    column = frame.iloc[:, columns.index(image_column)]
    if isinstance(column.array, ImageColumn) and len(column) == len(column.array.inputs):
        return column.array.inputs
    missing = column.isna().to_numpy()
    items: Sequence[Any] = [None if gone else item for item, gone in zip(column.to_numpy(), missing, strict=True)]
    first: Any = unwrapped(next((item for item in items if item is not None), None))
    if np.ndim(first) == 1 and not is_encoded(first) and (shape := _filled(input_shape, len(first))):
        items = [_reshaped(item, shape) for item in items]
    return ListImages(items, targets, names=f"row {{}} of column {image_column!r}")


def images_of_array(rows: NDArray[Any], targets: NDArray[Any] | None, input_shape: InputShape | None) -> ImageInputs:
    """The images of a 2-D array: an image's pixels in each row, in the order channels, height, width.

    One of the three may be unknown. ``evaluate(data=[…])`` makes a 2-D array of a list of paths; that is taken too.
    """
    if rows.dtype.kind in "OUS" and rows.shape[1:] == (1,):
        return ListImages(rows[:, 0].tolist(), targets)
    if not rows.size:
        raise DataError("There are no images: the data is empty. Give at least one; FMCE needs two.")
    if rows.dtype.kind not in "iuf":
        raise DataError(f"Expected rows of pixels, uint8 or floats, got {rows.dtype}. {_WAY}")
    shape = _filled(input_shape, rows.shape[1])
    if shape is None:
        raise _no_such_shape(rows.shape, input_shape)
    if rows.dtype.kind in "iu" and rows.dtype != np.uint8:
        if rows.min() < 0 or rows.max() > 255:
            raise DataError(
                f"Expected pixels from 0 to 255 in rows of {rows.dtype}, got values from {rows.min()} to {rows.max()}. "
                "Give 8-bit pixels, or the floats that the model takes."
            )
        rows = rows.astype(np.uint8)
    return ArrayImages(rows.reshape(len(rows), *shape), targets, layout="NCHW")


def _images_of_numbers(
    frame: pd.DataFrame, targets: NDArray[Any] | None, input_shape: InputShape | None
) -> ImageInputs:
    """A DataFrame with a column for each pixel."""
    numbers = all(map(pd.api.types.is_numeric_dtype, frame.dtypes))
    if not numbers or _filled(input_shape, frame.shape[1]) is None:
        raise DataError(
            f"No column of the DataFrame looks like images: {some(list(frame.columns), 6)}. Expected arrays, "
            f"encoded bytes, PIL images, or paths that end in {', '.join(IMG_EXTENSIONS)}. Name the column in "
            f"evaluator_config={{'image_column': …}} if it holds paths of other names. {_WAY}"
        )
    return images_of_array(frame.to_numpy(), targets, input_shape)


def _reshaped(item: Any, shape: tuple[int, int, int]) -> Any:
    """A flattened image in its shape; anything else as it is."""
    if is_encoded(item):
        return item
    values = as_numpy(item)
    return values.reshape(shape) if values.size == math.prod(shape) else values


def _looks_like_images(column: pd.Series[Any], input_shape: InputShape | None) -> bool:
    if isinstance(column.array, ImageColumn):
        return True
    if pd.api.types.is_numeric_dtype(column.dtype):
        return False
    there = column.dropna()
    first = unwrapped(there.iloc[0]) if len(there) else None
    if isinstance(first, (str, os.PathLike)):
        return str(first).lower().endswith(IMG_EXTENSIONS)
    if first is None or is_encoded(first):
        return first is not None
    if not isinstance(first, (np.ndarray, Tensor, list, tuple)):
        return False
    dimensions = np.ndim(first)
    return dimensions in (2, 3) or (dimensions == 1 and _filled(input_shape, len(first)) is not None)


def _filled(input_shape: InputShape | None, pixels: int) -> tuple[int, int, int] | None:
    """Channels, height and width of an image with so many values, one of which may be unknown."""
    if input_shape is None:
        return None
    known = math.prod(size for size in input_shape if size is not None)
    unknown = input_shape.count(None)
    if unknown > 1 or pixels % known or (not unknown and pixels != known):
        return None
    channels, height, width = (pixels // known if size is None else size for size in input_shape)
    return channels, height, width


def _no_such_shape(shape: tuple[int, ...], input_shape: InputShape | None) -> DataError:
    rows = f"The data is {shape[0]:,} rows of {shape[1]:,} numbers"
    if input_shape is None:
        return DataError(
            f"{rows}, and the model has no signature that says the images' channels, height and width. Log it with an "
            f"input_example. {_WAY}"
        )
    wanted = " × ".join("any" if size is None else str(size) for size in input_shape)
    needs = "" if None in input_shape else f" = {math.prod(size or 1 for size in input_shape):,}"
    return DataError(f"{rows}; the model takes images of channels × height × width = {wanted}{needs}. {_WAY}")
