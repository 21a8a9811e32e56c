"""Images as an MLflow dataset, and how an evaluator gets at the images of whatever it was given."""

from __future__ import annotations

import json
import math
import warnings
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mlflow.data.dataset import Dataset
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.evaluation_dataset import EvaluationDataset
from mlflow.data.pyfunc_dataset_mixin import PyFuncConvertibleDatasetMixin, PyFuncInputsOutputs
from mlflow.data.schema import TensorDatasetSchema
from mlflow.types import Schema, TensorSpec

from fmce_mlflow.errors import DataError
from fmce_mlflow.safety.credentials import hide_credentials, without_credentials
from fmce_mlflow.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from fmce_mlflow.method.images.preprocessing import InputShape, Preprocessing
    from fmce_mlflow.method.images.readers import ImageInputs


MOST_COUNTED = 100  # classes whose images the profile counts one by one


class ImageSchema(TensorDatasetSchema):
    """Type and shape of images and targets."""

    def to_dict(self) -> dict[str, Any]:
        """Has them twice: MLflow reads the one, and its UI shows the other as a table."""
        table = [
            {"name": name, "type": _described(spec)}
            for name, schema in (("image", self.features), ("target", self.targets))
            for spec in (schema.inputs if schema is not None else ())
        ]
        return {"mlflow_colspec": table, **super().to_dict()}


class ImageDataset(Dataset, PyFuncConvertibleDatasetMixin):
    """Images for MLflow: log it with ``mlflow.log_input``, evaluate on it with ``mlflow.models.evaluate``.

    Images are read when an evaluator asks for them, a few at a time. Arguments are those of
    :func:`~fmce_mlflow.image_dataset.plugin.from_images`.
    """

    def __init__(
        self,
        inputs: ImageInputs,
        source: DatasetSource,
        name: str | None = None,
        digest: str | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        self.inputs, self.preprocessing = inputs, preprocessing
        folder = printable(inputs.folder.name).replace('"', "'") if inputs.folder else ""
        super().__init__(source, name or folder or "images", digest)

    def _compute_digest(self) -> str:
        return self.inputs.digest()

    @property
    def targets(self) -> NDArray[Any] | None:
        """A label for each image, or None. MLflow asks for it before it evaluates a classifier."""
        return self.inputs.targets

    @property
    def class_labels(self) -> NDArray[np.int64] | None:
        """The class of each image, int64 (n,); None where targets are none, or not whole numbers."""
        found = self.inputs.known_targets
        if found is None or found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
            return None
        return found.astype(np.int64)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes that the targets count; empty where they have none."""
        return self.inputs.classes or ()

    def pixel_batches(self, batch_size: int) -> Iterator[Tensor]:
        """The images as a network's input, (b, C, H, W), by the preprocessing that the data set was given.

        Raises:
            ConfigError: If images have 8-bit pixels and there is no preprocessing.
            DataError: If one cannot be read, or has another size than others.
        """
        from fmce_mlflow.method.images.input_batches import InputBatches  # here, so that MLflow's start loads no torch

        given = InputBatches(
            self.inputs, batch_size=batch_size, preprocessing=self.preprocessing, input_shape=None, unreadable="raise"
        )
        return (batch.pixels for batch in given)

    @cached_property
    def _seen(self) -> list[tuple[int, ...]]:
        """Shapes of some images, in the order of the schema."""
        return self.inputs.shapes()

    @cached_property
    def schema(self) -> ImageSchema | None:
        """Type and shape; -1 where images differ. None where none of the first could be read."""
        if not self._seen:
            return None
        shape = tuple(sizes[0] if len(set(sizes)) == 1 else -1 for sizes in zip(*self._seen, strict=True))
        pixels = np.dtype(np.float32 if self.inputs.is_float() else np.uint8)
        labels = self.inputs.known_targets
        return ImageSchema(
            Schema([TensorSpec(pixels, (-1, *shape))]),
            None if labels is None else Schema([TensorSpec(np.dtype(_of_numpys_own(labels).dtype.type), (-1,))]),  # type: ignore[arg-type]
        )

    @cached_property
    def profile(self) -> dict[str, Any]:
        """Counts, sizes and classes; sizes of files are those of some of them."""
        found: dict[str, Any] = {"num_images": len(self.inputs)}
        if self._seen:
            is_float = self.inputs.is_float()
            sizes = sorted((shape[1:] if is_float else shape[:2] for shape in self._seen), key=math.prod)
            found["size"] = " to ".join(f"{height} × {width}" for height, width in dict.fromkeys((sizes[0], sizes[-1])))
            channels = {shape[0 if is_float else -1] for shape in self._seen}
            found["channels"] = " or ".join(map(str, sorted(channels)))
        labels = self.inputs.known_targets
        if labels is not None:
            values, counts = np.unique(_of_numpys_own(labels), return_counts=True)
            found["num_classes"] = len(values)
            if len(values) <= MOST_COUNTED:
                names = self.inputs.classes or ()
                named = values.dtype.kind in "iu" and 0 <= values[0] <= values[-1] < len(names)
                keys = [names[v] if named else str(v) for v in values.tolist()]
                found["images_per_class"] = dict(zip(keys, counts.tolist(), strict=True))
        return found

    def to_dict(self) -> dict[str, str]:
        """Name, digest, source, schema and profile, as MLflow stores them."""
        schema = json.dumps(self.schema.to_dict()) if self.schema else None
        return {**super().to_dict(), "schema": schema, "profile": json.dumps(self.profile)}  # type: ignore[dict-item]

    def to_pyfunc(self) -> PyFuncInputsOutputs:
        """A DataFrame with one column of images that are read when they are looked at, and the targets."""
        outputs: list[Any] | None = None if self.targets is None else [self.targets]
        return PyFuncInputsOutputs([_frame(self.inputs, "image", self.preprocessing)], outputs)

    def to_evaluation_dataset(
        self, path: str | None = None, feature_names: list[str] | None = None
    ) -> ImageEvaluationDataset:
        """What evaluators are given; ``feature_names`` may name the one column of images, by default ``image``."""
        if feature_names is not None and len(feature_names) != 1:
            raise DataError(f"Images are one column: feature_names must be one name, got {list(feature_names)}.")
        return ImageEvaluationDataset(self, path, feature_names[0] if feature_names else "image")


class ImageEvaluationDataset(EvaluationDataset):
    """Images for evaluators: ours takes ``inputs``, MLflow's see a DataFrame whose images are read when looked at."""

    def __init__(self, dataset: ImageDataset, path: str | None, column: str) -> None:
        self.inputs, self.preprocessing = dataset.inputs, dataset.preprocessing
        stand_in = pd.DataFrame({column: np.arange(len(self.inputs))})
        super().__init__(stand_in, name=dataset.name, path=path, digest=dataset.digest)  # type: ignore[no-untyped-call]
        self._features_data = _frame(self.inputs, column, self.preprocessing)
        self._hash = dataset.digest
        self._has_targets = self.inputs.labelled
        self._targets_name = "target" if self.inputs.labelled else None

    @property
    def labels_data(self) -> NDArray[Any] | None:
        """A label for each image, or None."""
        targets = self.inputs.targets
        return None if targets is None else _of_numpys_own(targets).view(_Labels)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ImageEvaluationDataset)
            and (self.hash, self.name, self.path) == (other.hash, other.name, other.path)
            and self.feature_names == other.feature_names
        )

    __hash__ = EvaluationDataset.__hash__


class _Labels(np.ndarray[Any, Any]):
    """Labels that say what is wrong where MLflow's classifier evaluator joins them with scores instead of classes."""

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        parts: Any = args[0] if func is np.concatenate else ()
        if [np.ndim(part) for part in parts] == [1, 2]:
            raise DataError(
                f"The model gives scores of shape {np.shape(parts[1])}, and MLflow's default evaluator of classifiers "
                "wants one class for each image. Pass model=image_classifier(URI), from "
                "fmce_mlflow.image_dataset.classifier, "
                "which gives the class with the highest score; or leave that evaluator out: evaluators='fmce', "
                "model_type='fmce'."
            )
        return super().__array_function__(func, types, args, kwargs)


def inputs_of(
    dataset: EvaluationDataset, *, input_shape: InputShape | None, image_column: str | None = None
) -> ImageInputs:
    """The images and targets that an evaluator was given.

    Args:
        dataset: Made by ``from_images``; a DataFrame with a column of images (arrays, paths, encoded bytes); or a
            2-D array or DataFrame of numbers with an image's pixels in each row.
        input_shape: Of the model's signature; rows of pixels need it.
        image_column: The column that holds the images; by default the only one that looks like it.

    Raises:
        DataError: If there are no images in it, or it is unclear which column holds them.
    """
    if isinstance(dataset, ImageEvaluationDataset):
        return dataset.inputs
    from fmce_mlflow.image_dataset.tables import images_of_array, images_of_frame

    targets = dataset.labels_data if dataset.has_targets else None
    features = dataset.features_data
    if isinstance(features, pd.DataFrame):
        return images_of_frame(features, targets, input_shape, image_column)
    return images_of_array(np.asarray(features), targets, input_shape)


def _frame(inputs: ImageInputs, column: str, preprocessing: Preprocessing | None) -> pd.DataFrame:
    from fmce_mlflow.image_dataset.column import ImageColumn, ImageFrame

    return ImageFrame({column: pd.Series(ImageColumn(inputs, preprocessing=preprocessing))})


def source_of(source: str | DatasetSource | None, inputs: ImageInputs) -> DatasetSource:
    """Where images come from: as it is said, or their folder, or the code that runs."""
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.dataset_source_registry import resolve_dataset_source
    from mlflow.tracking.context import registry

    if isinstance(source, DatasetSource):
        return source
    if source is None and inputs.folder is None:
        return CodeDatasetSource(tags={name: hide_credentials(tag) for name, tag in registry.resolve_tags().items()})
    with warnings.catch_warnings():  # MLflow has its local source registered twice, and warns of it
        warnings.filterwarnings("ignore", "The specified dataset source can be interpreted in multiple ways")
        return resolve_dataset_source(str(inputs.folder) if source is None else without_credentials(str(source)))


def _of_numpys_own(targets: NDArray[Any]) -> NDArray[Any]:
    return targets.astype(str) if targets.dtype == object else targets  # MLflow takes NumPy's own types alone


def _described(spec: Any) -> str:
    """A tensor's type and shape for readers."""
    names = ("channels", "height", "width") if spec.type.kind == "f" else ("height", "width", "channels")
    sizes = ["any" if size < 0 else str(size) for size in spec.shape[1:]]
    if not sizes:
        return str(spec.type)
    return f"{spec.type} ({', '.join(f'{name} {size}' for name, size in zip(names, sizes, strict=True))})"
