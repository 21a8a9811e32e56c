"""What a promotion decided, and the record of it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from fmce_mlflow.promotion.evidence import Evidence
from fmce_mlflow.promotion.options import Target
from fmce_mlflow.promotion.rules import Check
from fmce_mlflow.version import __version__

FORMAT_VERSION = 1
Outcome = Literal["promoted", "refused", "promoting", "failed"]
"""What became of a decision: ``promoting`` until it has moved, ``failed`` where the registry did not move it."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A version held against the holder of a stage or alias."""

    target: Target
    holder: str | None  # its version; None where nobody holds the target
    evidence: Evidence | None  # the holder's; None without a holder, or where it is the version itself
    checks: tuple[Check, ...]  # one per metric
    note: str  # for the user

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "target": asdict(self.target),
            "version": self.holder,
            "evaluation_run": self.evidence.run_id if self.evidence else None,
            "requirements": [check.to_dict() for check in self.checks],
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of a promotion."""

    name: str
    version: str
    target: Target
    evidence: Evidence  # the run and the figures that decided
    checks: tuple[Check, ...]  # the requirements
    comparison: Comparison | None
    before: tuple[str, ...]  # who held the target when it was decided
    dry_run: bool
    policy: str = ""  # digest of what a gate decided by; empty where none did

    @property
    def all_checks(self) -> tuple[Check, ...]:
        """Requirements and comparison together."""
        return self.checks + (self.comparison.checks if self.comparison else ())

    @property
    def unmet(self) -> tuple[Check, ...]:
        """The requirements that are not met."""
        return tuple(check for check in self.all_checks if not check.holds)

    @property
    def verdict(self) -> Literal["promoted", "refused"]:
        """One word."""
        return "refused" if self.unmet else "promoted"

    def to_dict(self, outcome: Outcome, problem: str = "") -> dict[str, Any]:
        """JSON values, with what became of it; a figure that is NaN or infinite is null."""
        figures = sorted(self.evidence.figures.items())
        return {
            "format_version": FORMAT_VERSION,
            "fmce_mlflow": __version__,
            "decision": outcome,
            **({"problem": problem} if problem else {}),
            "dry_run": self.dry_run,
            **({"policy": self.policy} if self.policy else {}),
            "model": self.name,
            "version": self.version,
            "target": asdict(self.target),
            "held_before_by": list(self.before),
            "evaluation_run": self.evidence.run_id,
            "images": self.evidence.image_set,
            "requirements": [check.to_dict() for check in self.checks],
            "comparison": self.comparison and self.comparison.to_dict(),
            "figures": {name: value if math.isfinite(value) else None for name, value in figures},
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
