"""The probe: the fixed, ordered images whose feature maps are recorded at every snapshot."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from fmce_mlflow.errors import DataError
from fmce_mlflow.method.saliency.history import IMAGES
from fmce_mlflow.runs.feature_index import Probe

NO_LABEL = -1


@dataclass(frozen=True, slots=True, eq=False)
class ProbeImages:
    """Probe images as a network takes them.

    Attributes:
        batches: Inputs (b, C, H, W), or tuples and lists that begin with them; iterated over at every snapshot.
        labels: int64 (n,), their classes; -1 if they have none.
        sha256: Hash over images and labels, in order.
        name: Where they come from.
        shown: The first few inputs, (m, C, H, W), on the CPU: what Grad-CAM looks at.
        pictures: The same as they look, uint8 (m, H, W, 3).
        classes: Names of the classes; labels are indices into them.
    """

    batches: Iterable[Any]
    labels: NDArray[np.int64]
    sha256: str
    name: str
    shown: Tensor
    pictures: NDArray[np.uint8]
    classes: tuple[str, ...] = ()

    @property
    def identity(self) -> Probe:
        """What the index of the feature maps says of them."""
        return Probe(self.name, len(self.labels), self.sha256)

    def class_name(self, label: int) -> str:
        """What a figure calls a class."""
        return self.classes[label] if label < len(self.classes) else str(label)


def probe_images(
    images: Tensor | NDArray[Any] | Iterable[Any],
    labels: ArrayLike | None = None,
    *,
    name: str = "images",
    classes: Sequence[str] = (),
    batch_size: int = 256,
) -> ProbeImages:
    """The probe from images, which are kept on the CPU.

    Args:
        images: Inputs of the network, (n, C, H, W), at least two; or batches of them, as tensors or as pairs of tensor
            and labels, such as those of a ``DataLoader``.
        labels: Their classes, n whole numbers; None: those of the batches, or unknown if those have none.
        name: Where they come from.
        classes: Names of the classes.
        batch_size: Images per forward pass, if ``images`` is one tensor or array.

    Raises:
        DataError: If there are fewer than two images, they have another form, or there is not one label for each.

    Example:
        >>> probe = probe_images(torch.zeros(5, 3, 8, 8), [0, 1, 2, 1, 0], batch_size=2)
        >>> [len(batch) for batch in probe.batches], probe.identity.n, probe.shown.shape
        ([2, 2, 1], 5, torch.Size([5, 3, 8, 8]))
    """
    if isinstance(images, np.ndarray | Tensor):
        pairs: list[Any] = list(torch.as_tensor(images).split(batch_size))
    else:
        pairs = list(images)
    batches = [torch.as_tensor(p[0] if isinstance(p, (tuple, list)) else p).detach().cpu() for p in pairs]
    wrong = next((b for b in batches if b.dim() != 4), None)
    if wrong is not None or sum(map(len, batches)) < 2:
        found = f"a tensor of shape {tuple(wrong.shape)}" if wrong is not None else f"{sum(map(len, batches))} images"
        raise DataError(f"The probe has to be at least 2 images, shape (n, C, H, W), or batches of such; got {found}.")
    if labels is None and all(isinstance(p, (tuple, list)) and len(p) > 1 for p in pairs):
        labels = np.concatenate([np.asarray(torch.as_tensor(p[1]).cpu()) for p in pairs])
    n = sum(map(len, batches))
    classes_of = np.full(n, NO_LABEL) if labels is None else np.asarray(labels)
    if classes_of.shape != (n,) or not np.issubdtype(classes_of.dtype, np.integer):
        raise DataError(f"The probe's labels have to be {n} whole numbers; got shape {classes_of.shape}.")
    known = classes_of.astype(np.int64)
    few = list(itertools.islice((image for batch in batches for image in batch), IMAGES))
    shown = torch.stack(list(itertools.takewhile(lambda image: image.shape == few[0].shape, few))).float()
    return ProbeImages(batches, known, _sha256(batches, known), name, shown, _pictures(shown), tuple(classes))


def _sha256(batches: Sequence[Tensor], labels: NDArray[np.int64]) -> str:
    """Hash over the images, one by one, so that their number per batch does not matter, and the labels."""
    found = hashlib.sha256()
    for batch in batches:
        for image in batch:
            found.update(f"{image.dtype}{tuple(image.shape)}".encode())
            found.update(image.contiguous().view(torch.uint8).numpy().data)
    found.update(labels.tobytes())
    return found.hexdigest()


def _pictures(inputs: Tensor) -> NDArray[np.uint8]:
    """Inputs as pictures: each stretched between its least and greatest value, grey unless it has three channels."""
    low, high = inputs.amin((1, 2, 3), keepdim=True), inputs.amax((1, 2, 3), keepdim=True)
    x = (inputs - low) / (high - low).clamp(min=1e-12)
    x = x if x.shape[1] == 3 else x.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    return (x * 255).round().byte().permute(0, 2, 3, 1).numpy()
