"""What a backbone run came to; loads no torch, so that a process which does not train need not."""

from __future__ import annotations

from dataclasses import dataclass

from fmce_mlflow.method.convergence.verdict import Convergence


@dataclass(frozen=True, slots=True)
class BackboneResult:
    """What a backbone run came to.

    Attributes:
        convergence: By the run's signal; for ``drift``, of its first module.
        disagreement: A sentence if training and eval-mode losses say different things.
        val_accuracy: At the last snapshot, in [0, 1].
        model_uri: The final model's URI; empty on other processes than the first.
    """

    run_id: str
    convergence: Convergence
    disagreement: str | None
    val_accuracy: float
    model_uri: str
