"""What is known of modules beside their scores, in words and figures: for warnings and for the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from fmce_mlflow.method.evidence.groups import UNTOUCHED
from fmce_mlflow.method.evidence.settle import GAP_FIGURES, LARGE_DRIFT
from fmce_mlflow.method.scoring.module_finding import ModuleFinding
from fmce_mlflow.wording import some

SHOWN: Mapping[str, tuple[str, str]] = {
    UNTOUCHED: ("weights as drawn", "{:.0%}"),
    "alpha": ("spectral alpha", "{:.1f}"),
    GAP_FIGURES[0]: ("change by BatchNorm’s statistics", "{:.2f}"),
    "place depth": ("depth in the network", "{:.0%}"),
    "output confidence": ("confidence of the output", "{:.2f}"),
    "output entropy": ("entropy of the output", "{:.2f}"),
    "view neighbours": ("views that find their image", "{:.0%}"),
    "drop 0.5 distance": ("output moves if half is dropped", "{:.2f}"),
    "label accuracy": ("accuracy, statistics computed anew", "{:.2f}"),
    "label loss": ("loss, 1 is chance", "{:.2f}"),
    "label nearest mean": ("class means tell classes", "{:.2f}"),
}
"""Figures of the page: what they are called there, and how they are written."""


_COLUMNS = (UNTOUCHED, "alpha", GAP_FIGURES[0], "place depth", "view neighbours", "drop 0.5 distance")
"""Those of them that differ between modules, for a table of several."""


def columns_of(modules: Sequence[ModuleFinding]) -> dict[str, str]:
    """Titles of the figures that a table of modules has: of those that some module has."""
    return {name: SHOWN[name][0] for name in _COLUMNS if any(written(module, name) for module in modules)}


def written(module: ModuleFinding, name: str) -> str:
    """A figure of a module as the page has it; empty where it is not known."""
    value = module.evidence.get(name, math.nan)
    return SHOWN[name][1].format(value) if math.isfinite(value) else ""


def shown(module: ModuleFinding) -> list[tuple[str, str]]:
    """The figures of a module that the page has, with their names.

    Example:
        >>> from fmce_mlflow.method.scoring.module_finding import NOTHING
        >>> evidence = {"untouched": 0.25, "alpha": math.nan}
        >>> shown(ModuleFinding(name="x", fmcs=0, std=0, low=0, high=0, levels=NOTHING, level=0, evidence=evidence))
        [('weights as drawn', '25%')]
    """
    return [(title, text) for name, (title, _) in SHOWN.items() if (text := written(module, name))]


def lag_warning(modules: Iterable[ModuleFinding], accuracy: float | None = None) -> str:
    """That BatchNorm's statistics are not those of the images, and what to do; empty where they are.

    ``accuracy`` is that of the model as it is. Of a network that was never trained there is nothing to tell.
    """
    drifts = {m: m.evidence.get(GAP_FIGURES[0], math.nan) for m in modules if not m.untouched}
    large = {module: drift for module, drift in drifts.items() if drift > LARGE_DRIFT}
    if not large:
        return ""
    names = some([module.name for module in large])
    anew = next((module.evidence.get("label accuracy", math.nan) for module in large), math.nan)
    told = ""
    if accuracy is not None and math.isfinite(anew):
        told = f" Accuracy is {accuracy:.2f} with the model's own statistics, and {anew:.2f} with those."
    return (
        f"BatchNorm's running statistics are not those of these images: the maps of {names} change by up to "
        f"{max(large.values()):.2f} (one minus CKA) when they are computed anew. They lag behind the weights, or come "
        f"from images of another kind or preparation.{told} The scores are of the maps with statistics computed anew, "
        "so the model as it is may do worse than they say. If the images are as in its training, run a few hundred "
        "training images through it in train mode under `torch.no_grad()`, and log it again."
    )
