"""Plugin ``mlflow.dataset_constructor``: ``mlflow.data.from_images``, and how an evaluator gets at the images.

MLflow loads it in every process that uses ``mlflow.data``, so it imports nothing heavy before it is asked to. It reads
``from_images``'s return annotation as a class, so annotations here are not postponed.
"""

from typing import TYPE_CHECKING, Any, Literal

from mlflow.data.dataset import Dataset
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.evaluation_dataset import EvaluationDataset
from mlflow.data.pyfunc_dataset_mixin import PyFuncConvertibleDatasetMixin

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fmce_mlflow.method.image_inputs import ImageInputs, InputShape


class ImageDataset(Dataset, PyFuncConvertibleDatasetMixin):
    """Images for MLflow: to log with ``mlflow.log_input``, to evaluate models on with ``mlflow.models.evaluate``."""

    inputs: "ImageInputs"


class ImageEvaluationDataset(EvaluationDataset):
    """What evaluators are given of an :class:`ImageDataset`: images are read when they are asked for."""

    inputs: "ImageInputs"


def from_images(
    images: Any,
    targets: "ArrayLike | None" = None,
    *,
    name: str | None = None,
    digest: str | None = None,
    source: "str | DatasetSource | None" = None,
    layout: Literal["auto", "NCHW", "NHWC"] = "auto",
    unreadable: Literal["raise", "skip"] = "raise",
    preprocessing: Any = None,
) -> ImageDataset:
    """Images as an MLflow dataset. ``mlflow.data.from_images`` is this function."""
    raise NotImplementedError


def inputs_of(
    dataset: EvaluationDataset, *, input_shape: "InputShape | None", image_column: str | None = None
) -> "ImageInputs":
    """The images and targets that an evaluator was given.

    Args:
        dataset: Made by :func:`from_images`; a DataFrame with a column of images (arrays, paths, encoded bytes); or a 2-D
            array with an image's values in each row.
        input_shape: Channels, height and width of the model's signature; 2-D data needs them.
        image_column: The column that holds the images; by default the only one that looks like it.

    Returns:
        The images. Their targets are those that ``evaluate`` was given.

    Raises:
        DataError: If there are no images in it, or it is unclear which column holds them.
    """
    raise NotImplementedError
