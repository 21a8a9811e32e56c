"""A pandas column of images that are read when they are looked at, for evaluators that know DataFrames alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray, ExtensionDtype

from fmce_mlflow.errors import DataError
from fmce_mlflow.method.images.input_batches import InputBatches

if TYPE_CHECKING:
    from fmce_mlflow.method.images.preprocessing import Preprocessing
    from fmce_mlflow.method.images.readers import ImageInputs

BATCH = 64


class ImageType(ExtensionDtype):
    """The pandas type of :class:`ImageColumn`."""

    name = "image"
    type = np.ndarray
    kind = "O"
    na_value = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """What NumPy takes it for: MLflow asks NumPy whether a column's type is a number's."""
        return np.dtype(object)

    @classmethod
    def construct_array_type(cls):  # type: ignore[no-untyped-def]  # "type" is this class's own here
        """The column."""
        return ImageColumn


class ImageColumn(ExtensionArray):
    """Images as a network takes them, float32 (C, H, W) each.

    Copies and slices hold positions, not pixels.
    """

    def __init__(
        self,
        inputs: ImageInputs,
        indices: NDArray[np.int64] | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        self.inputs, self.preprocessing = inputs, preprocessing
        self.indices = np.arange(len(inputs)) if indices is None else indices

    def _at(self, indices: NDArray[np.int64]) -> ImageColumn:
        return ImageColumn(self.inputs, indices, self.preprocessing)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, (int, np.integer)):
            return next(self._images(np.array([self.indices[item]])))
        return self._at(self.indices[pd.api.indexers.check_array_indexer(self, item)])

    def __iter__(self) -> Iterator[Any]:
        return self._images(self.indices)

    def _images(self, indices: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        if not len(indices):
            return
        batches = InputBatches(
            self.inputs,
            batch_size=BATCH,
            preprocessing=self.preprocessing,
            input_shape=None,
            unreadable="raise",  # every row has a prediction, or rows and predictions part
            indices=indices,
        )
        for batch in batches:
            yield from batch.pixels.numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if dtype is not None and np.dtype(dtype) != object:
            raise DataError(
                f"A column of images was asked for as a table of {np.dtype(dtype)}: MLflow does so for a model without "
                "signature. Log the model with an input_example, or evaluate image_classifier(URI), from "
                "fmce_mlflow.image_dataset.classifier."
            )
        found = np.empty(len(self), dtype=object)
        for i, image in enumerate(self):
            found[i] = image
        return found

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, ImageColumn) or len(other) != len(self):
            return NotImplemented
        same = self.inputs is other.inputs and self.preprocessing == other.preprocessing
        return (self.indices == other.indices) & same

    @property
    def dtype(self) -> ImageType:
        """Its pandas type."""
        return ImageType()

    @property
    def nbytes(self) -> int:
        """What it holds itself."""
        return int(self.indices.nbytes)

    def isna(self) -> NDArray[np.bool_]:
        """No image is missing."""
        return np.zeros(len(self), dtype=bool)

    def take(self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None) -> ImageColumn:
        """Images at these positions."""
        return self._at(self.indices.take(np.asarray(indices, dtype=np.int64)))

    def copy(self) -> ImageColumn:
        """The same images."""
        return self._at(self.indices.copy())

    def names(self) -> list[str]:
        """What messages call the images: paths, or their places."""
        return [self.inputs.name(int(i)) for i in self.indices]

    def _formatter(self, boxed: bool = False) -> Callable[[Any], str]:
        return lambda image: f"image {'×'.join(map(str, image.shape))}"

    @classmethod
    def _from_sequence(cls, scalars: Any, *, dtype: Any = None, copy: bool = False) -> ImageColumn:
        from fmce_mlflow.method.images.inputs import image_inputs

        return cls(image_inputs(list(scalars), layout="NCHW"))

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence[Any]) -> ImageColumn:
        first = to_concat[0]
        if any(part.inputs is not first.inputs for part in to_concat):
            return cls._from_sequence([image for part in to_concat for image in part])
        return cls(first.inputs, np.concatenate([part.indices for part in to_concat]), first.preprocessing)


class ImageFrame(pd.DataFrame):
    """A DataFrame that names its images where MLflow's default evaluator puts predictions beside them in its table."""

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def assign(self, **columns: Any) -> pd.DataFrame:  # type: ignore[override]
        """A plain DataFrame with these columns, and names for images."""
        plain = {
            name: column.array.names() if isinstance(column.array, ImageColumn) else column
            for name, column in self.items()
        }
        return pd.DataFrame(plain).assign(**columns)
