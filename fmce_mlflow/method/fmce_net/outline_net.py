"""The ``outline`` kind of FMCE-Net, after the published outline (arXiv 2405.04041).

Its widths and depths are ours, since the outline leaves them open.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from fmce_mlflow.errors import PredictorError
from fmce_mlflow.method.fmce_net.belief import Prediction
from fmce_mlflow.method.fmce_net.config import Kind, OutlineConfig
from fmce_mlflow.method.fmce_net.statistics import check_bag


class OutlineNet(nn.Module):
    """Predicts the level of one image's feature map: convolution, then self-attention over positions.

    It reads channels by their place, so it can only score runs it was trained on; a bag's score is the mean of its
    images'.

    Example:
        >>> net = OutlineNet(OutlineConfig(channels=16, height=4, width=4))
        >>> net(torch.rand(8, 16, 4, 4)).shape
        torch.Size([8, 5])
    """

    kind: Kind = "outline"
    wants_reference = False
    calibrated = False

    def __init__(self, config: OutlineConfig) -> None:
        super().__init__()
        self.config = config
        d = config.features
        self.norm = nn.BatchNorm2d(config.channels)
        self.inward = nn.Conv2d(config.channels, d, 1)
        self.blocks = nn.ModuleList(_residual(d) for _ in range(config.blocks))
        self.place = nn.Parameter(torch.randn(1, config.height * config.width, d) * 0.02)
        self.before = nn.LayerNorm(d)
        self.attention = nn.MultiheadAttention(d, config.heads, batch_first=True)
        self.head = nn.Sequential(nn.LayerNorm(d), nn.Dropout(config.dropout), nn.Linear(d, config.levels))

    def forward(self, maps: Tensor) -> Tensor:
        """Logits of the levels, (n, K), from maps (n, C, H, W), float32."""
        x = self.inward(self.norm(maps))  # (n, d, H, W)
        for block in self.blocks:
            x = F.relu(x + block(x))
        tokens = x.flatten(2).transpose(1, 2) + self.place  # (n, H·W, d)
        seen = self.before(tokens)
        tokens = tokens + self.attention(seen, seen, seen, need_weights=False)[0]
        logits: Tensor = self.head(tokens.mean(1))
        return logits

    @torch.no_grad()
    def predict(self, maps: Tensor | NDArray[Any]) -> Prediction:
        """Score one bag (n, C, H, W) by the mean of its images' levels; ``std`` is the deviation of that belief.

        Raises:
            PredictorError: Another C, H or W than it was trained on, fewer than two images, or NaN or infinite values.
        """
        bag = check_bag(torch.as_tensor(maps))
        c = self.config
        if bag.shape[1:] != (c.channels, c.height, c.width):
            raise PredictorError(
                f"This outline net reads maps of {c.channels}×{c.height}×{c.width}, got "
                f"{'×'.join(map(str, bag.shape[1:]))}. Nets of the kind `set` read any: train or name one."
            )
        levels = self(bag).softmax(1).mean(0).double().numpy()  # (K,)
        scores = np.arange(c.levels) / (c.levels - 1)
        fmcs = float(levels @ scores)
        return Prediction.normal(fmcs, float(np.sqrt(levels @ (scores - fmcs) ** 2)), levels, self.decide)

    def score(self, maps: Tensor | NDArray[Any], reference: Tensor | None = None) -> tuple[Prediction, float]:
        """As :meth:`SetNet.score`, without a reference; it does not know how far a bag lies from its corpus: NaN."""
        return self.predict(maps), float("nan")

    @staticmethod
    def decide(levels: NDArray[np.float64]) -> int:
        """The most probable level, as published."""
        return int(levels.argmax())


def _residual(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
    )
