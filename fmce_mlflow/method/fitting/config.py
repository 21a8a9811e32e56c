"""How bags are drawn, which images are kept for testing, and how FMCE-Net is fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from fmce_mlflow.errors import PredictorError
from fmce_mlflow.safety.options import Option, Options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Protocol = Literal["images", "run", "architecture", "dataset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BagConfig(Options):
    """How bags are drawn."""

    bag_size: Annotated[int, Option("Images in a bag; all if there are fewer.", ge=2)] = 64
    bags_per_map: Annotated[int, Option("Bags drawn of each feature-map file, for training and for scoring.", ge=1)] = 6
    test_share: Annotated[float, Option("Share of the probe images that is in no training bag.", gt=0, lt=1)] = 0.5
    seed: Annotated[int, Option("Weights, bags, and the group that is held out.", ge=0)] = 0

    def images(self, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which of n probe images are for training bags, and which for test bags; at least two each, or an error."""
        import numpy as np  # not above: --help needs this class, and numpy would take half its time

        order = np.random.default_rng(self.seed).permutation(n)
        test = round(n * self.test_share)
        if min(test, n - test) < 2:
            raise PredictorError(
                f"{n} probe images cannot be cut in two parts of at least 2 at a test-share of {self.test_share}. "
                "Record runs with a larger --probe-size."
            )
        return np.sort(order[test:]), np.sort(order[:test])

    def bag(self, row: int, number: int, n: int) -> NDArray[np.int64]:
        """Which of n images are in a bag of a row: positions, ascending, at most ``bag_size`` of them.

        Args:
            row: Position of the row in the table of labelled rows.
            number: 0 … 2·bags_per_map − 1; the second half are bags of test images.
            n: Probe images.
        """
        import numpy as np

        images = self.images(n)[number // self.bags_per_map]
        return np.sort(np.random.default_rng([self.seed, row, number]).permutation(images)[: self.bag_size])


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig(Options):
    """How FMCE-Net is fitted."""

    epochs: Annotated[int, Option("Most passes over the bags.", ge=1)] = 160
    patience: Annotated[int, Option("Passes without a better validation error after which a fold stops.", ge=1)] = 40
    folds: Annotated[
        int,
        Option(
            "Most validation folds within the training groups. Below 2 nothing is held out: no early stopping, and the "
            "interval is not calibrated.",
            ge=0,
        ),
    ] = 4
    batch_size: Annotated[int, Option("Bags, or images for the outline net, per step.", ge=1)] = 32
    lr: Annotated[float, Option("Peak learning rate of AdamW, on a cosine schedule with a tenth of warm-up.", gt=0)] = (
        2e-3
    )
    weight_decay: Annotated[float, Option("Weight decay.", ge=0)] = 1e-2
    label_width: Annotated[
        float, Option("Deviation of the belief that a label stands for, in units of FMCS.", gt=0)
    ] = 0.05
    averaging: Annotated[
        float, Option("Decay per step of the moving average of weights that is kept; 0 keeps the last.", ge=0, lt=1)
    ] = 0.98
    noise: Annotated[float, Option("Deviation of the noise added to standardised figures.", ge=0)] = 0.0
    seed: Annotated[int, Option("Initial weights, order and draws.", ge=0)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationConfig(Options):
    """How FMCE-Net is fitted to recorded runs of the architecture that it will score."""

    passes: Annotated[
        int, Option("Passes over the bags of one run, or trees; of several runs, it is chosen on those held out.", ge=0)
    ] = 20
    most: Annotated[int, Option("Most passes that can be chosen.", ge=1, command=False)] = 40
    lr: Annotated[float, Option("Learning rate of Adam, constant.", gt=0, command=False)] = 5e-4
    shrinkage: Annotated[
        float, Option("How much of what a tree finds is added, where the net is one of trees.", gt=0, command=False)
    ] = 0.1
    pull: Annotated[
        float,
        Option("By how much of the learning rate weights are drawn back to where they began.", ge=0, command=False),
    ] = 1.0
    batch_size: Annotated[int, Option("Bags per step.", ge=1, command=False)] = 32
    label_width: Annotated[
        float, Option("Deviation of the belief that a label stands for, in units of FMCS.", gt=0, command=False)
    ] = 0.05
    seed: Annotated[int, Option("Order and draws.", ge=0, command=False)] = 0
