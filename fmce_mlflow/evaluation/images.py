"""What is said of the images: how they were prepared, how the model counts their labels, what it makes of them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fmce_mlflow.errors import CaptureError
from fmce_mlflow.evaluation.findings import Classes
from fmce_mlflow.method.images.input_batches import InputBatches
from fmce_mlflow.method.images.preprocessing import Preprocessing
from fmce_mlflow.method.images.readers import ImageInputs
from fmce_mlflow.method.saliency.grad_cam import class_scores
from fmce_mlflow.promotion.evidence import CONTENT
from fmce_mlflow.wording import some


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The images' labels, counted as the model counts them where that can be known."""

    values: NDArray[Any] | None  # (n,), as the data has them where they cannot be matched
    classes: tuple[str, ...]  # what integers count; may be empty
    named_by: str = ""  # "model" or "data", whose names the classes are
    problem: str = ""  # why they are none of the model's, in a sentence

    def indices(self, outputs: int | None) -> NDArray[np.int64] | None:
        """Class indices of a model with so many outputs; None where labels are no such indices, or may be others."""
        values = self.values
        if values is None or self.unlike(outputs) or not np.issubdtype(values.dtype, np.integer):
            return None
        inside = outputs is None or not len(values) or 0 <= values.min() <= values.max() < outputs
        return values.astype(np.int64) if inside else None

    def unlike(self, outputs: int | None) -> str:
        """Why the labels may count other classes than the outputs do; empty where nothing speaks for it."""
        if self.problem or outputs is None or self.named_by != "data" or len(self.classes) == outputs:
            return self.problem
        return (
            f"The data has {len(self.classes)} classes ({some(self.classes)}), the model {outputs:,} outputs without "
            "names: it is unknown which of them the labels mean. Log the model with "
            "metadata={'fmce': {'classes': […]}}, or give targets that are its class indices."
        )


def labels_of(inputs: ImageInputs, known: Sequence[str]) -> Labels:
    """Labels by the names of the classes that a model knows; ``known`` is empty where it names none."""
    values = inputs.targets
    if values is None:
        return Labels(None, tuple(inputs.classes or known))
    names = _names(values, inputs.classes)
    if names is None or not known:
        return Labels(values, tuple(inputs.classes or known), "data" if names is not None else "")
    places = {name: i for i, name in enumerate(known)}
    strange = sorted({name for name in names if name not in places})
    if not strange:
        return Labels(np.array([places[name] for name in names], dtype=np.int64), tuple(known), "model")
    problem = (
        f"The labels {some(strange)} are no classes that the model names ({some(list(known))}): they are not used."
    )
    return Labels(values, tuple(inputs.classes or ()), "data", problem)


def _names(values: NDArray[Any], classes: Sequence[str] | None) -> list[str] | None:
    """The labels' names, where they are names or count some; None for bare numbers."""
    if values.dtype.kind in "OUS" or not np.issubdtype(values.dtype, np.number):
        kinds = {type(value) for value in values.tolist()}
        return [str(value) for value in values.tolist()] if kinds <= {str} else None
    if (
        not classes
        or not np.issubdtype(values.dtype, np.integer)
        or not 0 <= values.min() <= values.max() < len(classes)
    ):
        return None
    return [classes[int(value)] for value in values]


def identity(content: dict[int, bytes], labels: NDArray[Any] | None, classes: Sequence[str] | None) -> str:
    """What distinguishes images from any others: the content of those that were read, in order, and their labels."""
    found = hashlib.sha256()
    names = _names(labels, classes) if labels is not None else None
    for index, digest in sorted(content.items()):
        label = "" if labels is None else names[index] if names else str(labels[index])
        found.update(digest + f"{label}\0".encode())
    return f"{CONTENT}{found.hexdigest()[:40]} of {len(content)}"


def treatment(batches: InputBatches, preprocessing: Preprocessing | None, takes_bytes: bool, origin: str) -> str:
    """What was done to the images, in words."""
    if not batches.sizes:
        return "floats, passed as they are"
    parts = []
    if preprocessing is not None:
        parts.append(_resized(sorted(batches.sizes, key=math.prod), preprocessing))
    if takes_bytes:
        parts.append("passed as uint8, which the model scales itself by its signature")
    elif preprocessing is not None:
        parts.append("scaled to [0, 1]")
        if set(preprocessing.mean) != {0.0} or set(preprocessing.std) != {1.0}:
            mean, std = (", ".join(f"{value:.4g}" for value in v) for v in (preprocessing.mean, preprocessing.std))
            parts.append(f"normalised by mean ({mean}) and std ({std})")
    return f"{', '.join(parts)}; {origin}" if origin else ", ".join(parts)


def _resized(sizes: Sequence[tuple[int, int]], to: Preprocessing) -> str:
    wanted = f"{to.height} × {to.width}"
    if set(sizes) == {(to.height, to.width)}:
        return f"{wanted} as they are"
    stored = " to ".join(f"{height} × {width}" for height, width in dict.fromkeys((sizes[0], sizes[-1])))
    small, large = math.prod(sizes[0]), math.prod(sizes[-1])
    how = "enlarged" if large < to.height * to.width else "made smaller" if small > to.height * to.width else "resized"
    return f"{stored} {how} to {wanted}{' and cropped' if to.crop else ''}"


@dataclass(slots=True)
class Outputs:
    """The classes that a model gives images, taken while its modules are scored."""

    _seen: list[tuple[NDArray[np.int64], Tensor, Tensor, int]] = field(default_factory=list)
    """Of each batch, the images, their classes, whether all scores are finite, and how many classes there are."""
    _best: dict[int, int] = field(default_factory=dict)
    _count: int | None = None

    @property
    def best(self) -> dict[int, int]:
        """By image, the class with the highest score."""
        self._read()
        return self._best

    @property
    def count(self) -> int | None:
        """How many classes it scores; None where it gives no class scores."""
        self._read()
        return self._count

    def see(self, indices: NDArray[np.int64], parts: Sequence[Any]) -> None:
        """Take the outputs for a batch, of which several may follow each other, the last one filled up.

        They are looked at later, for a GPU would have to be waited for.
        """
        try:
            scores = torch.cat([class_scores(part) for part in parts])[: len(indices)].float()
        except (CaptureError, RuntimeError):
            return
        self._seen.append((indices, scores.argmax(1), torch.isfinite(scores).all(), scores.shape[1]))

    def _read(self) -> None:
        for indices, best, finite, count in self._seen:
            if bool(finite):
                self._count = count
                self._best.update(zip(indices.tolist(), best.tolist(), strict=True))
        self._seen.clear()

    def accuracy(self, labels: NDArray[np.int64] | None) -> float | None:
        """The share of images with labels (n,) whose class is their label."""
        if labels is None or not self.best:
            return None
        return float(np.mean([label == labels[index] for index, label in self.best.items()]))

    @property
    def classes(self) -> Classes | None:
        """The classes that the model sees in the images; None where it gives no class scores."""
        if not self.count or not self.best:
            return None
        seen = np.array(list(self.best.values()))
        return Classes(_effective(seen), self.count, by_labels=False, few=_is_few(seen, self.count))

    def warnings(self, labels: NDArray[np.int64] | None, classes: Classes | None = None) -> list[str]:
        """What the outputs, and the classes among the images, say against taking a score for the model's."""
        n = len(self.best)
        found = []
        if self.count and (accuracy := self.accuracy(labels)) is not None and labels is not None:
            truth = {index: int(labels[index]) for index in self.best}
            recalls = [
                float(np.mean([self.best[i] == label for i, label in truth.items() if label == one]))
                for one in set(truth.values())
            ]
            chance = 1 / len(recalls)
            if len(recalls) > 1 and np.mean(recalls) <= chance + 2 * math.sqrt(chance * (1 - chance) / n):
                found.append(
                    f"Accuracy on these images is {accuracy:.2f}, no better than chance for {len(recalls)} classes. If "
                    "the model is trained, the images, their labels or their preprocessing are not those of its "
                    "training, and the scores mean little."
                )
        if classes is not None and classes.few and classes.by_labels:
            found.append(
                f"The images are of {classes.text}, which are few: scores on images of few classes lie lower and are "
                "less sure."
            )
        elif (seen := self.classes) is not None and seen.few:
            found.append(
                f"The model sees about {seen.there:.0f} of its {self.count:,} classes in these {n:,} images: unless "
                "it is untrained, they are of few classes or prepared otherwise than in its training, and scores on "
                "such images lie lower."
            )
        return found


def classes_of(labels: Labels, images: NDArray[np.int64], outputs: Outputs) -> Classes | None:
    """The classes among some images: by their labels, else by the model's outputs; None where neither tells.

    They are few where there are not half as many as images drawn from all of the model's classes would have.
    """
    values = None if labels.values is None or labels.values.ndim != 1 else labels.values[images]
    kinds = set() if values is None else {type(value) for value in values.tolist()}
    if values is None or len(kinds) != 1 or not kinds <= {int, str}:
        return outputs.classes
    known = outputs.count if labels.indices(outputs.count) is not None else None
    there = len(set(values.tolist()))
    return Classes(there, known, few=there == 1 or (known is not None and _is_few(values, known)))


def _effective(values: NDArray[Any]) -> float:
    """How many different values there are, as if all were equally frequent: exp of their entropy."""
    shares = np.unique(values, return_counts=True)[1] / len(values)
    return math.exp(-float((shares * np.log(shares)).sum()))


def _is_few(values: NDArray[Any], known: int) -> bool:
    """Whether classes are not half as many as so many images drawn from ``known`` would have."""
    return _effective(values) < known * (1 - (1 - 1 / known) ** len(values)) / 2
