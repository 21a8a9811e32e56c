"""What the weights of a model's modules tell without images: no score, but which were never trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from fmce_mlflow.evaluation.findings import UNTRAINED, ModelFacts
from fmce_mlflow.runs.metric_names import metric_name
from fmce_mlflow.wording import some


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleWeights:
    """What the weights of one functional module tell."""

    name: str
    untouched: float | None  # share that looks as an initialisation left it, in [0, 1]; None where none can be judged
    never_trained: bool = False  # whether that is beyond doubt
    alpha: float = math.nan  # mean spectral alpha of its matrices; NaN where none has a spectrum
    parameters: int = 0
    said: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What there is to say, in a sentence or a few."""
        if not self.parameters:
            return "It has no weights, so without images nothing is known of it."
        if self.untouched is None:
            return " ".join(["Its weights are too few to be judged.", *self.said])
        what = f"{self.untouched:.0%} of its weights look as an initialisation left them."
        return " ".join([f"{UNTRAINED[0].upper()}{UNTRAINED[1:]}." if self.never_trained else what, *self.said])


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFindings:
    """What the weights of a model tell."""

    run_id: str  # the evaluation's
    model: ModelFacts
    modules: tuple[ModuleWeights, ...]  # in the order in which the network has them; at least one
    choices: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """Which modules were never trained, in a sentence or two."""
        judged = [one for one in self.modules if one.untouched is not None]
        names = [one.name for one in judged if one.never_trained]
        if not judged:
            return "None of these modules has weights that can be judged."
        if len(names) == len(judged):
            who = f"All {len(judged)} modules were" if len(judged) > 1 else f"{names[0]} was"
            return f"{who} never trained: weights as an initialisation left them."
        if names:
            were = "were" if len(names) > 1 else "was"
            return (
                f"{some(names, 8)} {were} never trained, though other modules were: weights as an initialisation left "
                "them."
            )
        are = f"the {len(judged)} modules" if len(judged) > 1 else judged[0].name
        if doubtful := [one.name for one in judged if one.untouched == 1]:
            return f"{some(doubtful, 8)} may never have been trained: nothing shows that their weights moved."
        return f"The weights of {are} have been trained, at least in part; how far, images and a predictor tell."

    @property
    def metrics(self) -> dict[str, float]:
        """What is logged, by name."""
        shares = {one.name: one.untouched for one in self.modules if one.untouched is not None}
        found = {f"fmce_untouched/{metric_name(name)}": share for name, share in shares.items()}
        return found | ({"fmce_untouched": max(shares.values())} if shares else {})

    @property
    def summary(self) -> str:
        """All of it in lines for a console."""
        return "\n".join([*(f"{one.name}: {one.text}" for one in self.modules), self.verdict])

    def table(self) -> pd.DataFrame:
        """A row per module."""
        rows = [
            {
                "module": one.name,
                "untouched": one.untouched,
                "alpha": one.alpha,
                "parameters": one.parameters,
                "told": one.text,
            }
            for one in self.modules
        ]
        return pd.DataFrame(rows).astype({"untouched": float, "alpha": float})
