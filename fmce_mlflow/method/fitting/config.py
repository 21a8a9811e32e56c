"""Bags of an FMCS-dataset, reduced to their statistics.

Maps are read one (run, snapshot, module) at a time and let go; what stays is less than a kilobyte per bag, and of many
bags it stays on disk. The probe images are cut in two parts once and for all, so that every protocol can be scored on
images that the network was not trained on.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmce_mlflow.errors import ConfigError, PredictorError


@dataclass(frozen=True, slots=True, kw_only=True)
class BagConfig:
    """How bags are drawn.

    Attributes:
        bag_size: Images in a bag, at least 2; fewer where a part has fewer.
        bags_per_map: Bags drawn of each part of a feature-map file.
        test_share: Share of the probe images that is never in a training bag, in (0, 1).
        seed: Draws images and channels.

    Raises:
        ConfigError: Names every value that is out of range.
    """

    bag_size: int = 64
    bags_per_map: int = 6
    test_share: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        if self.bag_size < 2:
            problems.append(f"bag-size must be at least 2, got {self.bag_size}")
        if self.bags_per_map < 1:
            problems.append(f"bags-per-map must be at least 1, got {self.bags_per_map}")
        if not 0 < self.test_share < 1:
            problems.append(f"test-share must be in (0, 1), got {self.test_share}")
        if self.seed < 0:
            problems.append(f"seed must not be negative, got {self.seed}")
        if problems:
            raise ConfigError(problems)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)

    def images(self, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which of n probe images are for training bags, and which for test bags.

        Raises:
            PredictorError: If either part has fewer than two.
        """
        order = np.random.default_rng(self.seed).permutation(n)
        test = round(n * self.test_share)
        if min(test, n - test) < 2:
            raise PredictorError(
                f"{n} probe images cannot be cut in two parts of at least 2 at a test-share of {self.test_share}. "
                "Record runs with a larger --probe-size."
            )
        return np.sort(order[test:]), np.sort(order[:test])

    def bag(self, row: int, number: int, n: int) -> NDArray[np.int64]:
        """Which images are in a bag.

        Args:
            row: Position of the row in the table of labelled rows.
            number: 0 … 2·bags_per_map − 1; the second half are bags of test images.
            n: Probe images.

        Returns:
            Positions of images, ascending, at most ``bag_size`` of them.
        """
        images = self.images(n)[number // self.bags_per_map]
        return np.sort(np.random.default_rng([self.seed, row, number]).permutation(images)[: self.bag_size])


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """How FMCE-Net is fitted.

    Attributes:
        epochs: Most passes over the bags.
        patience: Passes without a better validation error after which a fold stops.
        folds: Most validation folds; no more than there are groups. Below 2, nothing is held out: no early stopping,
            and the interval is not calibrated.
        batch_size: Bags, or images for the outline, per step.
        lr: Peak learning rate of AdamW, on a cosine schedule with a tenth of warm-up.
        weight_decay: Weight decay.
        label_width: Deviation of the belief that a label stands for, in units of FMCS.
        averaging: Decay per step of the moving average of weights that is kept, in [0, 1); 0 keeps the last.
        noise: Deviation of the noise added to standardised features.
        seed: Initial weights, order and draws.

    Raises:
        ConfigError: Names every value that is out of range.
    """

    epochs: int = 160
    patience: int = 40
    folds: int = 4
    batch_size: int = 32
    lr: float = 2e-3
    weight_decay: float = 1e-2
    label_width: float = 0.05
    averaging: float = 0.98
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [
            f"{name.replace('_', '-')} must be at least 1, got {value}"
            for name in ("epochs", "patience", "batch_size")
            if (value := getattr(self, name)) < 1
        ]
        problems += [
            f"{name.replace('_', '-')} must be above 0, got {value}"
            for name in ("lr", "label_width")
            if not ((value := getattr(self, name)) > 0 and math.isfinite(value))
        ]
        problems += [
            f"{name.replace('_', '-')} must not be negative, got {value}"
            for name in ("folds", "weight_decay", "noise", "seed")
            if not (value := getattr(self, name)) >= 0
        ]
        if not 0 <= self.averaging < 1:
            problems.append(f"averaging must be in [0, 1), got {self.averaging}")
        if problems:
            raise ConfigError(problems)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)
