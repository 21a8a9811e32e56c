"""Options of an FMCE-Net run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
from fmce_mlflow.method.fitting.protocols import PROTOCOLS, Protocol
from fmce_mlflow.method.fmce_net.config import Kind, OutlineConfig, SetConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class NetOptions:
    """Everything that decides an FMCE-Net run.

    Attributes:
        fmcs_run: The run with the FMCS-dataset; empty for the latest that finished.
        kind: ``set`` or ``outline``.
        protocols: What to hold out for scoring; each is scored by itself.
        cross_validate: Hold out each group in turn instead of one.
        baselines: Fit and score the baselines too.
        register_as: Register the net under this name.
        bags: How bags are drawn.
        net: Shape of a ``set`` net.
        outline: Fields of :class:`~fmce_mlflow.method.fmce_net.config.OutlineConfig` besides shape and levels.
        fit: How to fit.

    Raises:
        ConfigError: Names every value that cannot be used.
    """

    fmcs_run: str = ""
    kind: Kind = "set"
    protocols: tuple[Protocol, ...] = ("run",)
    cross_validate: bool = False
    baselines: bool = True
    register_as: str | None = None
    bags: BagConfig = field(default_factory=BagConfig)
    net: SetConfig = field(default_factory=SetConfig)
    outline: Mapping[str, Any] = field(default_factory=dict)
    fit: FitConfig = field(default_factory=FitConfig)

    def __post_init__(self) -> None:
        problems = [
            f"protocol must be one of {', '.join(PROTOCOLS)}; got {name!r}"
            for name in self.protocols
            if name not in PROTOCOLS
        ]
        if not self.protocols:
            problems.append("protocol is empty; name at least one")
        if self.kind not in get_args(Kind):
            problems.append(f"net must be one of {', '.join(get_args(Kind))}; got {self.kind!r}")
        try:
            OutlineConfig(channels=1, height=1, width=1, **self.outline)
        except ConfigError as error:
            problems += error.problems
        if problems:
            raise ConfigError(problems)

    def shape(self) -> dict[str, Any]:
        """The fields of the net's config besides those that follow from the maps."""
        return {"set": self.net.to_dict(), "outline": dict(self.outline)}[self.kind]

    def flat(self) -> dict[str, str]:
        """As MLflow parameters."""
        parts = {f"bags.{k}": v for k, v in asdict(self.bags).items()}
        parts |= {f"net.{k}": v for k, v in self.shape().items() if k != "levels"}
        parts |= {f"fit.{k}": v for k, v in asdict(self.fit).items()}
        top = {"kind": self.kind, "protocols": ",".join(self.protocols), "cross_validate": self.cross_validate}
        return {k: str(v) for k, v in {**top, **parts}.items()}
