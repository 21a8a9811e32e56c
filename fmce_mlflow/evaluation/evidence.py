"""What is known of modules beside their scores, in words and figures: for warnings and for the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from fmce_mlflow.method.evidence.dropped import DROP_FIGURES
from fmce_mlflow.method.evidence.groups import UNTOUCHED
from fmce_mlflow.method.evidence.settle import GAP_FIGURES, LARGE_DRIFT
from fmce_mlflow.method.scoring.module_finding import ModuleFinding
from fmce_mlflow.wording import some

SHOWN: Mapping[str, tuple[str, str]] = {
    UNTOUCHED: ("weights as drawn", "{:.0%}"),
    "alpha": ("spectral alpha", "{:.1f}"),
    GAP_FIGURES[0]: ("change by BatchNorm’s statistics", "{:.2f}"),
    "place depth": ("depth in the network", "{:.0%}"),
    "view neighbours": ("views nearest to their image", "{:.0%}"),
    DROP_FIGURES[0]: ("output moves if channels drop", "{:.2f}"),
    "label nearest mean": ("classes told by their means", "{:.2f}"),
}
"""Figures of a module that the page has: what they are called there, and how they are written."""
_OF_OUTPUTS: Mapping[str, str] = {
    "output confidence": "confidence {:.2f}",
    "output entropy": "entropy {:.2f}",
    "label accuracy": "accuracy {:.2f}",
    "label loss": "loss {:.2f} (1 is chance)",
}


def outputs_text(modules: Sequence[ModuleFinding]) -> str:
    """What the network's outputs on the first images are like, in a line; empty where it is not known."""
    known = {name: next((m.evidence[name] for m in modules if name in m.evidence), math.nan) for name in _OF_OUTPUTS}
    said = [how.format(known[name]) for name, how in _OF_OUTPUTS.items() if math.isfinite(known[name])]
    return f"{', '.join(said)}; with BatchNorm’s statistics computed anew" if said else ""


def columns_of(modules: Sequence[ModuleFinding]) -> dict[str, str]:
    """Titles of the figures that a table of modules has: of those that some module has."""
    return {name: SHOWN[name][0] for name in SHOWN if any(written(module, name) for module in modules)}


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


def lagging(modules: Iterable[ModuleFinding]) -> list[ModuleFinding]:
    """Modules whose maps change much when BatchNorm's statistics are computed anew; none that was never trained."""
    return [m for m in modules if not m.untouched and m.evidence.get(GAP_FIGURES[0], math.nan) > LARGE_DRIFT]


def lag_warning(modules: Iterable[ModuleFinding], accuracy: float | None = None) -> str:
    """That BatchNorm's statistics are not those of the images, and what to do; empty where they are.

    ``accuracy`` is that of the model as it is.
    """
    large = lagging(modules)
    if not large:
        return ""
    names = some([module.name for module in large])
    anew = next((module.evidence.get("label accuracy", math.nan) for module in large), math.nan)
    told = ""
    if accuracy is not None and math.isfinite(anew):
        told = f" Accuracy is {accuracy:.2f} with the model's own statistics, and {anew:.2f} with those."
    change = max(module.evidence[GAP_FIGURES[0]] for module in large)
    return (
        f"BatchNorm's running statistics are not those of these images: the maps of {names} change by up to "
        f"{change:.2f} (one minus CKA) when they are computed anew. They lag behind the weights, or come from images "
        f"of another kind or preparation.{told} The scores are of the maps with statistics computed anew, so the model "
        "as it is may do worse than they say. If the images are as in its training, compute the statistics anew from a "
        "few hundred training images, as `torch.optim.swa_utils.update_bn` does, and log the model again."
    )
