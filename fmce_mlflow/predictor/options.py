"""What decides an FMCE-Net run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from pydantic import BeforeValidator

from fmce_mlflow.method.fitting.config import BagConfig, FitConfig, Protocol
from fmce_mlflow.method.fmce_net.config import Kind, OutlineOptions, SetConfig
from fmce_mlflow.safety.options import Option, Options, Registered, split


@dataclass(frozen=True, slots=True, kw_only=True)
class NetOptions(Options):
    """Everything that decides an FMCE-Net run."""

    fmcs_run: Annotated[str, Option("Run with the FMCS-dataset; empty: the latest that finished.")] = ""
    kind: Annotated[Kind, Option("Kind of FMCE-Net.", name="net")] = "set"
    protocols: Annotated[
        tuple[Protocol, ...],
        BeforeValidator(split),
        Option("Held out for scoring: images, run, architecture, dataset, with commas.", name="protocol"),
    ] = ("run",)
    cross_validate: Annotated[bool, Option("Hold out each group in turn, not one only.")] = False
    baselines: Annotated[bool, Option("Fit and score the baselines too.")] = True
    register_as: Annotated[Registered, Option("Register the net under this name.", none="")] = None
    bags: BagConfig = field(default_factory=BagConfig)
    net: SetConfig = field(default_factory=SetConfig)
    outline: OutlineOptions = field(default_factory=OutlineOptions)
    fit: FitConfig = field(default_factory=FitConfig)

    def problems(self, fine: Callable[..., bool]) -> Iterator[str]:
        """What bounds do not say."""
        if fine("protocols") and not self.protocols:
            yield "protocol is empty; name at least one"

    def shape(self) -> dict[str, Any]:
        """The fields of the net's config besides those that follow from the maps."""
        return {"set": self.net, "outline": self.outline}[self.kind].to_dict()

    def flat(self) -> dict[str, str]:
        """As MLflow parameters."""
        parts = {f"bags.{k}": v for k, v in asdict(self.bags).items()}
        parts |= {f"net.{k}": v for k, v in self.shape().items() if k != "levels"}
        parts |= {f"fit.{k}": v for k, v in asdict(self.fit).items()}
        top = {"kind": self.kind, "protocols": ",".join(self.protocols), "cross_validate": self.cross_validate}
        return {k: str(v) for k, v in {**top, **parts}.items()}
