"""Pages of feature maps that tests look at."""

from __future__ import annotations

from typing import Any

import numpy as np

from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.verdict import assess
from fmce_mlflow.method.maps.pictures import module_pictures
from fmce_mlflow.report.maps_page import MapsPage, Moment, ShownModule

MODULES = {"stem": (5, 12, 16), "stages.3": (20, 4, 4)}
SNAPSHOTS = (0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20)


def page(
    names: tuple[str, ...] = tuple(MODULES), *, pictures: bool = True, images: int = 3, **changes: Any
) -> MapsPage:
    """A recording of 21 snapshots, of which 11 are shown, for three images; it converged at snapshot 10."""
    loss = assess([2.3 * 0.6**t for t in range(21)], ConvergenceConfig(levels=5))
    drift = assess([0.3 * 0.7**t for t in range(21)], signal="drift")
    rng = np.random.default_rng(0)
    modules = []
    for name, shape in zip(names, MODULES.values(), strict=True):
        pattern = rng.normal(size=(images, *shape))
        maps = [(pattern * t / 20 + rng.normal(size=(images, *shape)) * 0.1).astype(np.float16) for t in SNAPSHOTS]
        modules.append(ShownModule(name, shape, module_pictures(maps), drift=drift))
    values: dict[str, Any] = {
        "title": "a net on digits",
        "facts": {"Run": "ab12"},
        "moments": [
            Moment(t, {"training loss": f"{loss.losses[t]:.3g}", "FMCS": f"{loss.fmcs[t]:.2f}"}) for t in SNAPSHOTS
        ],
        "modules": modules,
        "captions": ["cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay"][:images],
        "photos": rng.integers(0, 256, (images, 20, 28, 3), dtype=np.uint8) if pictures else None,
        "loss": loss,
        "verdict": loss.verdict(),
        "notes": ["11 of 21 snapshots are shown, evenly chosen."],
    }
    return MapsPage(**{**values, **changes})


def of_a_model() -> MapsPage:
    """One moment, no curves."""
    modules = [
        ShownModule(name, shape, module_pictures([np.random.default_rng(0).normal(size=(2, *shape))]))
        for name, shape in MODULES.items()
    ]
    return page(
        modules=modules, moments=[Moment(None, {})], captions=["cat", "dog"],
        photos=np.zeros((2, 9, 9, 3), np.uint8), loss=None, verdict="", notes=[],
    )  # fmt: skip


def hostile(name: str) -> MapsPage:
    """Everything that comes from outside is called so."""
    made = page((name, f"{name}2"))
    return page(
        (name, f"{name}2"), title=name, facts={"Run": name}, captions=[name] * 3, notes=[name], verdict=name,
        moments=[Moment(moment.snapshot, {name: name}) for moment in made.moments],
    )  # fmt: skip
