"""Boosted trees as tensors: fitted by scikit-learn, kept in safetensors, evaluated by PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Forest(nn.Module):
    """A sum of regression trees, after Friedman (2001); values that are missing go the way that the fit chose.

    Args:
        trees: How many.
        leaves: The most leaves of one.

    Example:
        >>> Forest(2, 4)(torch.zeros(3, 5)).tolist()
        [0.0, 0.0, 0.0]
    """

    feature: Tensor  # (T, N), of the split; -1 at a leaf
    threshold: Tensor  # (T, N), up to which a value goes left
    left: Tensor  # (T, N), number of the node
    right: Tensor
    missing_left: Tensor  # (T, N)
    value: Tensor  # (T, N), of a leaf
    base: Tensor  # ()

    def __init__(self, trees: int, leaves: int) -> None:
        super().__init__()
        shape = trees, 2 * leaves - 1
        self.register_buffer("feature", torch.full(shape, -1, dtype=torch.int16))
        self.register_buffer("threshold", torch.zeros(shape))
        self.register_buffer("left", torch.zeros(shape, dtype=torch.int16))
        self.register_buffer("right", torch.zeros(shape, dtype=torch.int16))
        self.register_buffer("missing_left", torch.zeros(shape, dtype=torch.bool))
        self.register_buffer("value", torch.zeros(shape))
        self.register_buffer("base", torch.zeros(()))

    def forward(self, rows: Tensor) -> Tensor:
        """The sum over trees for rows (B, F), NaN where a value is missing: float32 (B,)."""
        trees = torch.arange(len(self.feature), device=rows.device)
        node = torch.zeros(len(rows), len(trees), dtype=torch.long, device=rows.device)  # (B, T)
        for _ in range(self.feature.shape[1] // 2):  # the deepest a tree of so many leaves can be
            feature = self.feature[trees, node].long()
            if not bool((feature >= 0).any()):
                break
            seen = rows.gather(1, feature.clamp_min(0))
            goes_left = torch.where(seen.isnan(), self.missing_left[trees, node], seen <= self.threshold[trees, node])
            child = torch.where(goes_left, self.left[trees, node], self.right[trees, node]).long()
            node = torch.where(feature >= 0, child, node)
        return self.base + self.value[trees, node].sum(1)

    @torch.no_grad()
    def take(self, model: Any) -> None:
        """The trees of a fitted ``HistGradientBoostingRegressor``, as many as there is room for."""
        self.base.fill_(float(model._baseline_prediction.ravel()[0]))
        for number, (tree,) in enumerate(model._predictors[: len(self.feature)]):
            nodes, size = tree.nodes, len(tree.nodes)
            leaf = torch.from_numpy(nodes["is_leaf"].astype(bool))
            feature = torch.from_numpy(nodes["feature_idx"].astype("int16"))
            self.feature[number, :size] = torch.where(leaf, -1, feature)
            most = torch.finfo(torch.float32).max  # in place of infinity, where missing values alone go right
            self.threshold[number, :size] = torch.from_numpy(nodes["num_threshold"]).clamp(-most, most).float()
            self.left[number, :size] = torch.from_numpy(nodes["left"].astype("int16"))
            self.right[number, :size] = torch.from_numpy(nodes["right"].astype("int16"))
            self.missing_left[number, :size] = torch.from_numpy(nodes["missing_go_to_left"].astype(bool))
            self.value[number, :size] = torch.from_numpy(nodes["value"].astype("float32"))
