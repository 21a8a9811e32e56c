"""The probe: the fixed, ordered images whose feature maps are recorded at every snapshot."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from fmce_mlflow.errors import DataError
from fmce_mlflow.method.networks.batches import images_in, inputs_of, on_cpu
from fmce_mlflow.method.networks.model_forms import Call
from fmce_mlflow.method.saliency.history import IMAGES
from fmce_mlflow.runs.feature_index import Probe

NO_LABEL = -1
UNNAMED = "images"  # what they are called, if nobody said where they come from


@runtime_checkable
class ReadsImages(Protocol):
    """A data set that reads and prepares its images, as ``mlflow.data.from_images`` gives."""

    name: str

    @property
    def class_labels(self) -> NDArray[np.int64] | None:
        """(n,), or None."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the labels count."""

    def pixel_batches(self, batch_size: int) -> Iterable[Tensor]:
        """Inputs of a network, (b, C, H, W)."""


@dataclass(frozen=True, slots=True, eq=False)
class ProbeImages:
    """Probe images as a network takes them.

    Attributes:
        batches: Inputs (b, C, H, W), lists of (C, H, W), pairs that begin with these, or dicts of keywords; with
            ``forward`` anything that has images in it. Iterated over at every snapshot.
        labels: int64 (n,), their classes; -1 if they have none.
        sha256: Hash over images and labels, in order.
        name: Where they come from.
        shown: The first few inputs, (m, C, H, W), on the CPU: what Grad-CAM looks at.
        pictures: The same as they look, uint8 (m, H, W, 3).
        classes: Names of the classes; labels are indices into them.
        forward: Calls the network with a batch, where it is not called with the images alone.
    """

    batches: Iterable[Any]
    labels: NDArray[np.int64]
    sha256: str
    name: str
    shown: Tensor
    pictures: NDArray[np.uint8]
    classes: tuple[str, ...] = ()
    forward: Call | None = None

    @property
    def identity(self) -> Probe:
        """What the index of the feature maps says of them."""
        return Probe(self.name, len(self.labels), self.sha256)

    @property
    def example(self) -> Any:
        """The first batch, of images that have one size the first two alone: enough to try a network with."""
        batch = next(iter(self.batches))
        found = batch if self.forward is not None else inputs_of(batch)
        return found if isinstance(found, Mapping) or self.forward is not None else found[:2]

    def class_name(self, label: int) -> str:
        """What a figure calls a class."""
        return self.classes[label] if 0 <= label < len(self.classes) else str(label)


def probe_images(
    images: Any,
    labels: ArrayLike | None = None,
    *,
    name: str = "",
    classes: Sequence[str] = (),
    batch_size: int = 256,
    forward: Call | None = None,
) -> ProbeImages:
    """The probe from images, which are kept on the CPU as they are: preprocessing is the caller's.

    ============================================= ==================================================================
    images                                        how
    ============================================= ==================================================================
    tensor or array (n, C, H, W)                  in batches of ``batch_size``
    list of tensors (C, H, W), of one size or not lists of ``batch_size``, as torchvision's detectors take them
    ``DataLoader`` or other batches               as they are: tensors, lists of tensors, pairs that begin with these
                                                  and whose second part may be labels, dicts that become keywords
    ``mlflow.data.from_images(…)``                read now, with the preprocessing that it was given
    ============================================= ==================================================================

    Args:
        images: At least two, as the network takes them.
        labels: Their classes, n whole numbers; None: those of the batches, or unknown if those have none.
        name: Where they come from.
        classes: Names of the classes.
        batch_size: Images per forward pass, where they do not come in batches.
        forward: Calls the network with a batch, as ``lambda model, batch: model(batch["pixel_values"])``.

    Raises:
        DataError: If there are fewer than two images, they have another form, or there is not one label for each.
        ConfigError: If images of ``from_images`` have 8-bit pixels, and nothing says how they are to be scaled.

    Example:
        >>> probe = probe_images(torch.zeros(5, 3, 8, 8), [0, 1, 2, 1, 0], batch_size=2)
        >>> [len(batch) for batch in probe.batches], probe.identity.n, probe.shown.shape
        ([2, 2, 1], 5, torch.Size([5, 3, 8, 8]))
        >>> probe = probe_images([torch.zeros(3, 8, 8), torch.zeros(3, 6, 9)])
        >>> [len(batch) for batch in probe.batches], probe.labels.tolist(), probe.shown.shape
        ([2], [-1, -1], torch.Size([1, 3, 8, 8]))
    """
    if isinstance(images, ReadsImages):
        labels = labels if labels is not None else images.class_labels
        name, classes = name or images.name, classes or images.class_names
        images = list(images.pixel_batches(batch_size))
    batches = _batches(images, batch_size)
    found = [images_in(batch) for batch in batches]
    n = sum(len(some) for some in found if some is not None)
    if n < 2 or any(some is None for some in found):
        raise DataError(
            "The probe has to be at least 2 images, shape (n, C, H, W), a list of images (C, H, W), or batches of "
            f"such; got {_described(images, batches, found, n)}."
        )
    if labels is None:
        beside = [mine for batch in batches if (mine := _labels_of(batch)) is not None]
        labels = np.concatenate(beside) if len(beside) == len(batches) else None
    classes_of = np.full(n, NO_LABEL) if labels is None else np.asarray(labels)
    if classes_of.shape != (n,) or not np.issubdtype(classes_of.dtype, np.integer):
        raise DataError(f"The probe's labels have to be {n} whole numbers; got shape {classes_of.shape}.")
    known, every = classes_of.astype(np.int64), [image for some in found if some is not None for image in some]
    few = every[:IMAGES]
    shown = torch.stack(list(itertools.takewhile(lambda image: image.shape == few[0].shape, few))).float()
    inputs = batches if forward is not None else [inputs_of(batch) for batch in batches]
    return ProbeImages(
        inputs, known, _sha256(every, known), name or UNNAMED, shown, _pictures(shown), tuple(classes), forward
    )


def _batches(images: Any, batch_size: int) -> list[Any]:
    """What was given, in batches, on the CPU and without gradients."""
    if isinstance(images, np.ndarray | Tensor):
        return [part.detach().cpu() for part in torch.as_tensor(images).split(batch_size)]
    if isinstance(images, (str, bytes, Mapping)) or not isinstance(images, Iterable):
        raise DataError(
            "The probe has to be images as the network takes them: a tensor (n, C, H, W), a list of images (C, H, W), "
            f"a DataLoader or other batches, or mlflow.data.from_images(…); got {type(images).__name__}."
        )
    given = [torch.as_tensor(one) if isinstance(one, np.ndarray) else one for one in images]
    if given and all(isinstance(one, Tensor) and one.dim() == 3 for one in given):
        given = [given[start : start + batch_size] for start in range(0, len(given), batch_size)]
    return [on_cpu(batch) for batch in given]


def _described(images: Any, batches: Sequence[Any], found: Sequence[Any], n: int) -> str:
    """What was given in place of images."""
    wrong = next((batch for batch, some in zip(batches, found, strict=True) if some is None), None)
    if isinstance(wrong, Tensor):
        return f"a tensor of shape {tuple(wrong.shape)}"
    if wrong is not None:
        return f"a {type(wrong).__name__} without images in it"
    return f"{n} images"


def _labels_of(batch: Any) -> NDArray[np.int64] | None:
    """The classes beside a batch's images, if there is one whole number for each."""
    beside = batch[1] if isinstance(batch, (tuple, list)) and len(batch) > 1 else None
    if isinstance(batch, Mapping):
        beside = next((batch[key] for key in ("labels", "label") if key in batch), None)
    if not isinstance(beside, Tensor | np.ndarray | list | tuple):
        return None
    if not isinstance(beside, Tensor | np.ndarray) and not all(isinstance(one, int) for one in beside):
        return None
    labels, images = np.asarray(torch.as_tensor(beside).cpu()), images_in(batch)
    fits = images is not None and labels.shape == (len(images),) and np.issubdtype(labels.dtype, np.integer)
    return labels.astype(np.int64) if fits else None


def _sha256(images: Sequence[Tensor], labels: NDArray[np.int64]) -> str:
    """Hash over the images, one by one, so that their number per batch does not matter, and the labels."""
    found = hashlib.sha256()
    for image in images:
        found.update(f"{image.dtype}{tuple(image.shape)}".encode())
        found.update(image.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    found.update(labels.tobytes())
    return found.hexdigest()


def _pictures(inputs: Tensor) -> NDArray[np.uint8]:
    """Inputs as pictures: each stretched between its least and greatest value, grey unless it has three channels."""
    low, high = inputs.amin((1, 2, 3), keepdim=True), inputs.amax((1, 2, 3), keepdim=True)
    x = (inputs - low) / (high - low).clamp(min=1e-12)
    x = x if x.shape[1] == 3 else x.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    return (x * 255).round().byte().permute(0, 2, 3, 1).numpy()
