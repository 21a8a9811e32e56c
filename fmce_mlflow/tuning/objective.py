"""What a study of FMCE-Net minimises: the error of a ``set`` net over its own validation folds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmce_mlflow.errors import RunError
from fmce_mlflow.method.fitting.bags import Bags
from fmce_mlflow.method.fitting.config import BagConfig
from fmce_mlflow.method.fitting.fit_set import fit_set
from fmce_mlflow.method.fitting.protocols import GROUP_COLUMN, splits
from fmce_mlflow.tuning.options import Fixed
from fmce_mlflow.tuning.search_space import DEFAULT_SPACE, Space, suggest

if TYPE_CHECKING:
    from optuna import Trial

    from fmce_mlflow.tuning.worker import ReportStep

BagSource = Callable[[BagConfig], Bags]


@dataclass(frozen=True, slots=True)
class NetObjective:
    """Mean absolute error of a ``set`` net on validation groups, at its best pass; reported after each pass.

    The test group and the test images are in no trial.
    """

    bags: BagSource
    fixed: Fixed = field(default_factory=Fixed)
    space: Space = field(default_factory=lambda: dict(DEFAULT_SPACE))

    def __call__(self, trial: Trial, report: ReportStep) -> float:
        """Fit a trial's net to all validation folds side by side; an ``ArithmeticError`` where training diverged."""
        values = suggest(trial, self.space)
        bag_config, net_config, fit_config = self.fixed.configs(values, levels=5)  # levels do not matter to the loss
        bags = self.bags(bag_config)
        train = tuning_rows(bags.table, self.fixed)[bags.row] & ~bags.test_images
        curve: list[float] = []

        def after(number: int, figures: Mapping[str, float]) -> None:
            error = figures["validation_mae"]
            if not math.isfinite(error):
                raise ArithmeticError(f"the validation error of pass {number} is {error}: training diverged")
            curve.append(error)
            report(number, error)
            if number == fit_config.epochs or number - int(np.argmin(curve)) > fit_config.patience:
                raise _Validated  # what follows is the fit of the net itself, which a trial can do without

        try:
            groups = bags.column(GROUP_COLUMN[self.fixed.protocol])
            fit_set(bags, train, groups, net_config, fit_config, report=after)
        except _Validated:
            pass
        return min(curve)


def tuning_rows(table: pd.DataFrame, fixed: Fixed) -> NDArray[np.bool_]:
    """Rows that trials may see, bool (rows,): all but the test group's, of at least two groups, or a ``RunError``."""
    split = splits(table, fixed.protocol, cross_validate=False, seed=fixed.seed)[0]
    column = GROUP_COLUMN[fixed.protocol]
    left = table.loc[split.train, column].nunique()
    if left < 2:
        held = " besides the one that is kept for the test" if split.held_out else ""
        raise RunError(
            f"Tuning under protocol {fixed.protocol} validates on each {column} in turn and needs at least 2 of "
            f"them{held}; the FMCS-dataset has {left}. Build it from more runs with `fmce build-fmcs`, or choose "
            "another --protocol."
        )
    return split.train


class _Validated(Exception):
    """Raised by a trial's own report once its validation is over."""
