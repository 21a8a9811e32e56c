"""What labels say, where they are at hand: of the network's output, and of how a module's maps lie by class.

The scatter of maps within their classes against that between classes is the first sign of neural collapse (Papyan et
al. 2020, arXiv 2008.08186), here as a ratio of traces, which few images suffice for (Galanti et al. 2022, arXiv
2112.15121, take it for each pair of classes); that the nearest class mean decides like the network is the fourth.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from fmce_mlflow.method.evidence.outputs import POSITIONS, class_scores, some

LABEL_FIGURES: tuple[str, ...] = (
    "label loss",
    "label accuracy",
    "label accuracy above chance",
    "label scatter",
    "label variance",
    "label nearest mean",
)
_MOST = 10.0  # of the logarithm of a ratio, in size
_ALIKE = 1e-12  # of the largest value, squared
_MAP_POSITIONS = 64  # of each image, where each has a class
_IGNORED = 255  # what masks have where nothing is known


def label_evidence(maps: Tensor, targets: Tensor, logits: Tensor | None) -> dict[str, float]:
    """Figures of maps (n, C, H, W) and outputs (n, K) for images of known class.

    =========================== ======================================================================================
    label loss                  cross-entropy / log K, of logits or probabilities; about 1 by chance
    label accuracy              share of outputs that are right, in [0, 1]
    label accuracy above chance (accuracy − 1/K) / (1 − 1/K)
    label scatter               NC1: log of the variance within classes over that between them, in [−10, 10]
    label variance              share of the variance that classes explain, less what as many random ones would; ≤ 1
    label nearest mean          share of images to which the mean of their class, without them, is nearest; above
                                chance as the accuracy is, with the number of classes among the images for K
    =========================== ======================================================================================

    Args:
        maps: Of one module; the mean over positions is taken of each image.
        targets: Classes (n,), integers. For a dense output (n, K, H, W), (n, H, W): those outside 0 … K − 1 are left
            out, 255 and negative ones also of maps, whose positions then are the samples in place of images.
        logits: The network's output for these images, if it is known.

    Returns:
        By name of :data:`LABEL_FIGURES`, NaN where it is not known: those of the output where there is none or a target
        is none of its classes; those of maps where there are not two classes, or none of two images.

    Example:
        >>> maps = torch.tensor([1.0, 1.1, 3.0, 3.1])[:, None, None, None] ** torch.arange(2.0)[:, None, None]
        >>> found = label_evidence(maps, torch.tensor([0, 0, 1, 1]), torch.eye(2).repeat_interleave(2, 0))
        >>> found["label accuracy"], found["label nearest mean"], round(found["label variance"], 2)
        (1.0, 1.0, 1.0)
    """
    figures = dict.fromkeys(LABEL_FIGURES, float("nan"))
    if targets.is_floating_point() or targets.dtype == torch.bool:
        return figures
    targets = targets.detach().cpu().long()
    return figures | _of_output(targets, logits) | _of_maps(maps, targets)


def _of_output(targets: Tensor, logits: Tensor | None) -> dict[str, float]:
    scores = class_scores(logits)  # (n, P, K)
    if scores is None or logits is None or targets.shape != (len(logits), *logits.shape[2:]):
        return {}
    k = scores.shape[2]
    right = targets.flatten(1)[:, some(targets[0].numel(), POSITIONS)] if targets.dim() > 1 else targets[:, None]
    known = (right >= 0) & (right < k)
    if not bool(known.any() if targets.dim() > 1 else known.all()):
        return {}
    scores, right = scores[known], right[known]  # (m, K), (m,)
    accuracy = float((scores.argmax(1) == right).double().mean())
    return {
        "label loss": float(F.nll_loss(scores, right)) / math.log(k),
        "label accuracy": accuracy,
        "label accuracy above chance": _above_chance(accuracy, k),
    }


def _of_maps(maps: Tensor, targets: Tensor) -> dict[str, float]:
    samples, label, count = _samples(maps, targets)
    n, k = len(samples), len(count)
    size = float(samples.abs().amax()) if samples.numel() else 0.0
    if k < 2 or n == k or size == 0 or not math.isfinite(size):
        return {}
    samples = samples / size
    samples = samples - samples.mean(0)
    sums = torch.zeros(k, samples.shape[1], dtype=samples.dtype).index_add_(0, label, samples)
    means = sums / count[:, None]  # (k, C)
    within = float((samples - means[label]).square().sum())
    between = float((means.square() * count[:, None]).sum())
    if within + between <= _ALIKE * n:
        return {}
    ratio = math.log((within + 1e-12) / (between + 1e-12))
    return {
        "label scatter": max(-_MOST, min(_MOST, ratio)),
        "label variance": 1 - (within / (n - k)) / ((within + between) / (n - 1)),
        "label nearest mean": _above_chance(_nearest(samples, label, sums, count), k),
    }


def _samples(maps: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors float64 (m, C) of known class, their classes numbered from 0 (m,), and how many of each there are.

    An image is one, or where each position has a class, some of its positions are.
    """
    maps = maps.detach()
    if targets.shape == maps.shape[:1]:
        vectors, classes = maps.flatten(2).double().mean(2), targets
    elif targets.dim() == 3 and len(targets) == len(maps):
        at = some(maps[0, 0].numel(), _MAP_POSITIONS)
        nearest = F.interpolate(targets[:, None].double(), maps.shape[2:]).long()  # (n, 1, H, W)
        classes = nearest.flatten(1)[:, at].flatten()
        classes[classes == _IGNORED] = -1
        vectors = maps.flatten(2)[:, :, at.to(maps.device)].mT.flatten(0, 1).double()
    else:
        vectors, classes = maps.new_zeros(0, 1), targets[:0].flatten()
    known = classes >= 0
    _, label, count = classes[known].unique(return_inverse=True, return_counts=True)
    return vectors.cpu()[known], label, count


def _nearest(pooled: Tensor, label: Tensor, sums: Tensor, count: Tensor) -> float:
    """Share of images, not alone in their class, to which its mean without them is nearest."""
    own = (sums[label] - pooled) / (count[label] - 1).clamp_min(1)[:, None]  # (n, C)
    distances = torch.cdist(pooled, sums / count[:, None])  # (n, k)
    distances.scatter_(1, label[:, None], torch.linalg.vector_norm(pooled - own, dim=1)[:, None])
    right = distances.argmin(1) == label
    return float(right[count[label] > 1].double().mean())


def _above_chance(accuracy: float, classes: int) -> float:
    return (accuracy - 1 / classes) / (1 - 1 / classes)
