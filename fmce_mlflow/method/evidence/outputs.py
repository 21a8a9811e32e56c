"""What the network's own output says without labels: how sure it is, and whether it tells images apart.

Confidence and entropy of the output, and how the predicted classes are spread, are what methods that estimate accuracy
without labels start from (Guillory et al. 2021, arXiv 2107.03315; Xie et al. 2023, arXiv 2302.01018).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fmce_mlflow.method.networks.capture import parts

OUTPUT_FIGURES: tuple[str, ...] = (
    "output entropy",
    "output confidence",
    "output margin",
    "output information",
    "output classes",
    "output spread",
    "output variation",
)
POSITIONS = 256
"""The most positions of each image at which a dense output is looked at; the same ones of all images."""
_SCORES = ("logits", "out")  # names that transformers and torchvision give to class scores among other outputs
_SUMS_TO_ONE = 1e-3
_NEVER = 1e-12  # the least probability


def output_evidence(logits: Tensor) -> dict[str, float]:
    """Figures of a classifier's output (n, K), or of a dense one (n, K, H, W) at each position, with K ≥ 2 classes.

    Outputs may be logits or probabilities already. With p a prediction and p̄ the mean of all:

    ====================== ====================================================================================
    output entropy        mean of H(p) / log K, in [0, 1]
    output confidence     mean of (max p − 1/K) / (1 − 1/K), in [0, 1]
    output margin         mean difference of the two largest, in [0, 1]
    output information    H(p̄) / log K less the entropy, in [0, 1]: how much an image tells of the prediction; 0 where
                          all images give the same, sure or not
    output classes        effective number of predicted classes, over K or the number of predictions, in (0, 1]
    output spread         log(1 + s), s the root mean square over classes of the log-probabilities less their mean
    output variation      share of s² that is not common to all predictions, in [0, 1]; 0 for a constant output
    ====================== ====================================================================================

    Returns:
        By name of :data:`OUTPUT_FIGURES`; all NaN for other outputs, no image, or values that are not finite.

    Example:
        >>> found = output_evidence(torch.tensor([[9.0, 0.0], [0.0, 9.0]]))
        >>> [round(found[f"output {name}"], 3) for name in ("entropy", "information", "classes", "variation")]
        [0.002, 0.998, 1.0, 1.0]
    """
    scores = class_scores(logits)
    if scores is None:
        return dict.fromkeys(OUTPUT_FIGURES, float("nan"))
    scores = scores.flatten(0, 1)  # (m, K)
    m, k = scores.shape
    p = scores.exp()
    first, second = p.topk(2, dim=1).values.unbind(1)
    predicted = torch.bincount(scores.argmax(1), minlength=k).double() / m
    centred = scores - scores.mean(1, keepdim=True)
    total, common = float(centred.square().mean()), float(centred.mean(0).square().mean())
    entropy = float(_entropy(p).mean()) / math.log(k)
    figures = (
        entropy,
        float((first - 1 / k).mean()) / (1 - 1 / k),
        float((first - second).mean()),
        max(0.0, float(_entropy(p.mean(0))) / math.log(k) - entropy),
        float(_entropy(predicted).exp()) / min(k, m),
        math.log1p(math.sqrt(total)),
        min(1.0, max(0.0, 1 - common / total)) if total else 0.0,
    )
    return dict(zip(OUTPUT_FIGURES, figures, strict=True))


def class_output(output: Any) -> Tensor | None:
    """The class scores in what a network gave: its only tensor of floats, or the one named ``logits`` or ``out``.

    Example:
        >>> class_output({"out": torch.zeros(2, 3, 4, 4), "aux": torch.zeros(2, 3, 4, 4)}).shape
        torch.Size([2, 3, 4, 4])
    """
    for name in _SCORES:
        found = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(found, Tensor):
            return found
    floats = [value for _, value in parts(output) if value.is_floating_point()]
    return floats[0] if len(floats) == 1 else None


def class_scores(output: Tensor | None) -> Tensor | None:
    """Log-probabilities float64 (n, P, K) of an output (n, K) or (n, K, H, W), logits or probabilities.

    P is 1, or up to :data:`POSITIONS`. None for what is no output of K ≥ 2 classes, for no image, and for values that
    are not finite.
    """
    if output is None or not output.is_floating_point() or output.dim() not in (2, 4):
        return None
    if output.shape[1] < 2 or not output.numel():
        return None
    flat = output.detach().flatten(2) if output.dim() == 4 else output.detach()[:, :, None]  # (n, K, H·W)
    values = flat[:, :, some(flat.shape[2], POSITIONS).to(flat.device)].mT.double().cpu()  # (n, P, K)
    if not bool(torch.isfinite(values).all()):
        return None
    error = max(_SUMS_TO_ONE, 4 * torch.finfo(output.dtype).eps)
    if bool((values >= 0).all() and ((values.sum(2) - 1).abs() <= error).all()):
        values = values.clamp_min(_NEVER).log()
    return values.log_softmax(2)


def some(count: int, most: int) -> Tensor:
    """Which of many numbered things are looked at: all, or a draw of them that is always the same, int64, ascending."""
    if count <= most:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:most].sort().values


def _entropy(p: Tensor) -> Tensor:
    """Of distributions along the last dimension."""
    return -torch.xlogy(p, p).sum(-1)
