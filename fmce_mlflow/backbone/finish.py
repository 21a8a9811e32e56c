"""Train one backbone as one MLflow run: maps, losses and convergence at every snapshot, the model at the end."""

from __future__ import annotations

from typing import Any

from fmce_mlflow.method.convergence import drift
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.verdict import assess


def run_convergence(metrics: list[dict[str, float]], config: ConvergenceConfig, modules: tuple[str, ...]) -> Any:
    """Convergence by each signal that a run's metrics hold.

    Args:
        metrics: Per snapshot, metric name → value.
        config: How convergence is told.
        modules: The modules whose drift is scored.

    Returns:
        ``{"train": Convergence, "val": Convergence, "drift": {module: Convergence}}``.
    """
    losses = {name: [m[f"{name}_loss"] for m in metrics] for name in ("train", "val")}
    drifts = {module: [m[f"drift/{module}"] for m in metrics[1:]] for module in modules}
    return {
        "train": assess(losses["train"], config, signal="train"),
        "val": assess(losses["val"], config, signal="val"),
        "drift": {module: assess(drift.drift_sequence(d), config, signal="drift") for module, d in drifts.items()},
    }
