"""The kinds of FMCE-Net, a row each: config, build, fit, predict and limits. Code elsewhere asks the row.

The table stands above ``fitting``, which imports the nets but never this file. What it needs of ``fitting`` is imported
where a net is fitted: scoring needs neither that nor scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fmce_mlflow.errors import ConfigError, PredictorError
from fmce_mlflow.method.fmce_net.config import Kind, OutlineConfig, SetConfig
from fmce_mlflow.method.fmce_net.outline_net import OutlineNet
from fmce_mlflow.method.fmce_net.set_net import SetNet

if TYPE_CHECKING:
    import pandas as pd

    from fmce_mlflow.method.fitting.bags import Bags, Read
    from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
    from fmce_mlflow.method.fitting.passes import Fitted
    from fmce_mlflow.method.fitting.protocols import Predicted, Split

FmceNet: TypeAlias = SetNet | OutlineNet


@dataclass(frozen=True, slots=True, eq=False)
class FitData:
    """What nets of any kind are fitted to and scored on."""

    table: pd.DataFrame  # labelled rows of an FMCS-dataset
    read: Read  # gives a row's maps (n, C, H, W)
    drawn: BagConfig
    bags: Bags | None  # None where the net needs none and no baseline is fitted

    def scored(self, split: Split) -> tuple[np.ndarray[Any, np.dtype[np.int64]], pd.DataFrame]:
        """Positions of the bags of test images that a split scores, and their rows."""
        bags = self.known_bags()
        index = np.flatnonzero(split.test[bags.row] & bags.test_images)
        return index, self.table.iloc[bags.row[index]].reset_index(drop=True)

    def training(self, split: Split) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Bags of training images that a split trains on, bool (N,)."""
        bags = self.known_bags()
        return split.train[bags.row] & ~bags.test_images

    def known_bags(self) -> Bags:
        """The bags' statistics; a ``PredictorError`` where there are none."""
        if self.bags is None:
            raise PredictorError("This needs the statistics of bags; draw them with `collect_bags`.")
        return self.bags


@dataclass(frozen=True, slots=True, kw_only=True)
class NetKind:
    """One kind of FMCE-Net; code elsewhere asks its row."""

    name: Kind  # in options, files and metrics
    config: type[SetConfig] | type[OutlineConfig]
    net: Callable[[Any], FmceNet]
    needs_bags: bool  # fitted to the statistics of bags, not to maps
    calibrates: bool  # its interval is set on groups that are held out, where there are several
    check: Callable[[pd.DataFrame], object]  # raises where rows do not fit, before maps are read
    fit: Callable[[FitData, Split | None, Mapping[str, Any], FitConfig], Fitted[Any]]  # None: to everything
    predict: Callable[[Any, FitData, Split], Predicted]
    seen: Callable[[Bags, Mapping[str, Any]], Bags]  # bags with the features that the net sees, for the baselines
    limits: tuple[str, ...]  # what it cannot do, as sentences for people

    def build(self, config: Mapping[str, Any]) -> FmceNet:
        """A new net from the dictionary of its config.

        Raises:
            PredictorError: A config that is not of this kind.
        """
        try:
            return self.net(self.config(**config))
        except (TypeError, ConfigError) as error:
            raise PredictorError(f"This is no config of a net of kind {self.name!r}: {error}.") from None


def _fit_set(data: FitData, split: Split | None, shape: Mapping[str, Any], config: FitConfig) -> Fitted[SetNet]:
    from fmce_mlflow.method.fitting.fit_set import fit_set
    from fmce_mlflow.method.fitting.protocols import GROUP_COLUMN

    bags = data.known_bags()
    if split is None:
        train, column = np.ones(len(bags.row), dtype=bool), "run_id"  # test images too
    else:
        train, column = data.training(split), GROUP_COLUMN[split.protocol]
    return fit_set(bags, train, bags.column(column), SetConfig(**shape), config)


def _predict_set(net: SetNet, data: FitData, split: Split) -> Predicted:
    from fmce_mlflow.method.fitting.fit_set import predict_bags
    from fmce_mlflow.method.fitting.protocols import Predicted

    index, rows = data.scored(split)
    return Predicted(rows, predict_bags(net, data.known_bags(), index))


def _seen_by_set(bags: Bags, shape: Mapping[str, Any]) -> Bags:
    from fmce_mlflow.method.fitting.baselines import seen_bags

    return seen_bags(bags, SetConfig(**shape))


def _check_outline(table: pd.DataFrame) -> object:
    from fmce_mlflow.method.fitting.fit_outline import outline_shape

    return outline_shape(table)


def _fit_outline(data: FitData, split: Split | None, shape: Mapping[str, Any], config: FitConfig) -> Fitted[OutlineNet]:
    from fmce_mlflow.method.fitting.fit_outline import fit_outline_split
    from fmce_mlflow.method.fitting.protocols import splits

    chosen = split or splits(data.table, "images")[0]
    return fit_outline_split(data.table, data.read, chosen, data.drawn, shape, config)


def _predict_outline(net: OutlineNet, data: FitData, split: Split) -> Predicted:
    from fmce_mlflow.method.fitting.fit_outline import predict_outline

    return predict_outline(net, data.table, data.read, split, data.drawn)


KINDS: Mapping[str, NetKind] = {
    row.name: row
    for row in (
        NetKind(
            name="set",
            config=SetConfig,
            net=SetNet,
            needs_bags=True,
            calibrates=True,
            check=lambda table: None,
            fit=_fit_set,
            predict=_predict_set,
            seen=_seen_by_set,
            limits=(),
        ),
        NetKind(
            name="outline",
            config=OutlineConfig,
            net=OutlineNet,
            needs_bags=False,
            calibrates=False,
            check=_check_outline,
            fit=_fit_outline,
            predict=_predict_outline,
            seen=lambda bags, shape: bags,
            limits=(
                "It reads channels by their place: use it on snapshots of the runs it was fitted to, on no other.",
            ),
        ),
    )
}
"""Every kind of FMCE-Net by its name."""


def kind_named(name: str) -> NetKind:
    """The row of a kind.

    Raises:
        PredictorError: If there is no such kind.

    Example:
        >>> kind_named("set").build(SetConfig(members=2).to_dict()).config.members
        2
    """
    if name not in KINDS:
        raise PredictorError(f"There is no net of kind {name!r}; there are {' and '.join(KINDS)}.")
    return KINDS[name]
