"""A logged image model as MLflow's default evaluator of classifiers wants it: images in, a class for each out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mlflow.pyfunc import PyFuncModel, load_model
from numpy.typing import NDArray

from fmce_mlflow.errors import ModelError
from fmce_mlflow.image_dataset.column import ImageColumn
from fmce_mlflow.image_dataset.tables import images_of_array, images_of_frame
from fmce_mlflow.method.images.input_batches import Batch, InputBatches
from fmce_mlflow.method.images.inputs import image_inputs
from fmce_mlflow.method.images.preprocessing import as_preprocessing
from fmce_mlflow.runs.torch_models import torch_model_of

if TYPE_CHECKING:
    from fmce_mlflow.method.images.readers import ImageInputs

BATCH = 64


class ImageClassifier(PyFuncModel):
    """A model whose ``predict`` gives the class with the highest score; see :func:`image_classifier`."""

    def __init__(self, model: PyFuncModel, preprocessing: Any, batch_size: int) -> None:
        super().__init__(model.metadata, model._model_impl, model_id=model.model_id)
        self._model = model
        found = torch_model_of(model)
        self._shape = found.input_shape
        self._batch_size = found.fixed_batch or batch_size
        self._classes, self._takes_bytes, self._entry = found.facts.classes, found.takes_bytes, found.entry
        wanted = preprocessing if preprocessing is not None else found.facts.preprocessing
        self._preprocessing = as_preprocessing(wanted, input_shape=self._shape)

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> NDArray[Any]:
        """The class of each image by number, shape (n,); or what the model gives, if that is one value for each image.

        Where the images name the classes that their labels count, and the model names all of these, classes have the
        numbers that the labels have; others of the model follow after them.

        It takes what ``mlflow.data.from_images`` made or takes, or a DataFrame with a column of images.
        """
        inputs, indices, preprocessing = self._images(data)
        batches = InputBatches(
            inputs,
            batch_size=self._batch_size,
            preprocessing=preprocessing,
            input_shape=self._shape,
            unreadable="raise",  # a skipped image would shift all later classes
            indices=indices,
            takes_bytes=self._takes_bytes,
        )
        found = np.concatenate([_classes(self._model.predict(self._entered(batch), params)) for batch in batches])
        return self._as_counted_by(inputs.classes or (), found)

    def _entered(self, batch: Batch) -> Any:
        """Images as the model's signature has them."""
        pixels = batch.pixels.permute(0, 2, 3, 1) if self._entry.channels_last else batch.pixels
        images = np.ascontiguousarray(pixels.numpy())
        return images if self._entry.name is None else {self._entry.name: images}

    def _as_counted_by(self, theirs: Sequence[str], found: NDArray[Any]) -> NDArray[Any]:
        """Classes of the model as images count them."""
        ours = self._classes
        if not theirs or tuple(theirs) == ours or not set(theirs) <= set(ours) or found.dtype.kind not in "iu":
            return found
        others = [name for name in ours if name not in theirs]
        places = {name: place for place, name in enumerate((*theirs, *others))}
        return np.array([places[ours[one]] for one in found.tolist()], dtype=found.dtype)

    def _images(self, data: Any) -> tuple[ImageInputs, NDArray[np.int64] | None, Any]:
        if not isinstance(data, pd.DataFrame):
            is_table = isinstance(data, np.ndarray) and data.ndim == 2
            inputs = images_of_array(data, None, self._shape) if is_table else image_inputs(data)
            return inputs, None, self._preprocessing
        columns = [frame.array for _, frame in data.items() if isinstance(frame.array, ImageColumn)]
        if len(columns) == 1:
            return columns[0].inputs, columns[0].indices, self._preprocessing or columns[0].preprocessing
        return images_of_frame(data, None, self._shape), None, self._preprocessing


def image_classifier(
    model: str | PyFuncModel, *, preprocessing: Any = None, batch_size: int = BATCH
) -> ImageClassifier:
    """Make a logged image model ready for MLflow's default evaluator of classifiers.

    That evaluator passes all images to ``predict`` at once and wants a class for each. A PyTorch model gives scores,
    and many images at once may not fit into memory. What this returns reads and preprocesses the images in batches and
    gives the class with the highest score::

        mlflow.models.evaluate(
            image_classifier("models:/digits/1"),
            mlflow.data.from_images(images, targets),
            model_type="classifier",
            evaluators=["default", "fmce"],
        )

    Args:
        model: A URI, or what ``mlflow.pyfunc.load_model`` gave.
        preprocessing: For 8-bit images, as of ``as_preprocessing``; by default what the model's metadata says, else
            what ``from_images`` was given.
        batch_size: Images per forward pass.

    Raises:
        ModelError: If it is no PyTorch model.
        ConfigError: If the preprocessing is none.
    """
    return ImageClassifier(load_model(model) if isinstance(model, str) else model, preprocessing, batch_size)


def _classes(output: Any) -> NDArray[Any]:
    scores = np.asarray(output)
    if scores.ndim == 2:
        return scores[:, 0] if scores.shape[1] == 1 else scores.argmax(1)
    if scores.ndim != 1:
        raise ModelError(
            f"The model gives an output of shape {scores.shape}; expected scores (n, classes). A model that is no "
            "classifier of images is evaluated with evaluators='fmce', model_type='fmce' alone."
        )
    return scores
