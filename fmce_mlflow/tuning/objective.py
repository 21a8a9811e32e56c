"""What a study of FMCE-Net minimises: the error of a ``set`` net over its own validation folds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmce_mlflow.errors import ConfigError, RunError
from fmce_mlflow.method.fitting.bags import Bags
from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
from fmce_mlflow.method.fitting.fit_set import fit_set
from fmce_mlflow.method.fitting.protocols import GROUP_COLUMN, PROTOCOLS, Protocol, splits
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.tuning.search_space import DEFAULT_SPACE, Space, part, suggest

if TYPE_CHECKING:
    from optuna import Trial

    from fmce_mlflow.tuning.trials import Report

BagSource = Callable[[BagConfig], Bags]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """What is the same in all trials of a study.

    Attributes:
        protocol: What the test group and the validation folds hold out.
        folds: Validation folds, at least 2.
        patience: Passes without a better validation error after which a trial ends.
        members: Networks in the ensemble of the net that is fitted at the end.
        test_share: Share of the probe images that no trial sees.
        seed: Draws the test group, bags and initial weights.

    Raises:
        ConfigError: Names every value that is out of range.
    """

    protocol: Protocol = "run"
    folds: int = 4
    patience: int = 40
    members: int = 4
    test_share: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        if self.protocol not in PROTOCOLS:
            problems.append(f"protocol must be one of {', '.join(PROTOCOLS)}; got {self.protocol!r}")
        if self.folds < 2:
            problems.append(f"folds must be at least 2 to have a validation error, got {self.folds}")
        for config in (BagConfig, SetConfig, FitConfig):
            try:
                config(**part({**asdict(self), "folds": 2}, config))
            except ConfigError as error:
                problems += [p for p in error.problems if p not in problems]
        if problems:
            raise ConfigError(problems)

    def configs(self, values: Mapping[str, Any], levels: int) -> tuple[BagConfig, SetConfig, FitConfig]:
        """The configs of a trial's values."""
        whole = {**asdict(self), "levels": levels, **values}
        return (
            BagConfig(**part(whole, BagConfig)),
            SetConfig(**part(whole, SetConfig)),
            FitConfig(**part(whole, FitConfig)),
        )


@dataclass(frozen=True, slots=True)
class NetObjective:
    """Mean absolute error of a ``set`` net on validation groups, at its best pass; reported after each pass.

    The test group and the test images are in no trial.

    Attributes:
        bags: Gives the bags; such as are of test images are left alone.
        fixed: What is the same in all trials.
        space: What is not.
    """

    bags: BagSource
    fixed: Fixed = field(default_factory=Fixed)
    space: Space = field(default_factory=lambda: dict(DEFAULT_SPACE))

    def __call__(self, trial: Trial, report: Report) -> float:
        """Fit a trial's net to all validation folds side by side.

        Raises:
            ArithmeticError: If the error is NaN or infinite.
        """
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
    """Rows that trials may see: all but the test group's.

    Args:
        table: Rows with run_id, backbone and dataset.
        fixed: Protocol and seed.

    Returns:
        bool (rows,).

    Raises:
        RunError: If fewer than two groups are left to validate on.
    """
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
