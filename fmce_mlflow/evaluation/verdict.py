"""What the findings mean: a badge and a sentence for each module, what to do next, how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from fmce_mlflow.evaluation.evidence import lagging
from fmce_mlflow.evaluation.findings import FEW_IMAGES, UNTRAINED, Findings
from fmce_mlflow.evaluation.states import BADGES, MATURE, State, standing
from fmce_mlflow.method.scoring.module_finding import ModuleFinding

UNSEEN: Mapping[str, str] = {
    "images": "unseen images of the runs it was fitted to",
    "run": "training runs that it was not fitted to",
    "architecture": "backbones that it was not fitted to",
    "dataset": "data sets that it was not fitted to",
}
"""By protocol, what the predictor had not seen when it was measured."""


def state(module: ModuleFinding, mature: float = MATURE) -> State:
    """How a module's FMCS and interval lie to a bar: ``unknown`` where the predictor is not to be trusted."""
    if module.never_trained:
        return "untrained"
    if not module.known:
        return "unknown"
    return standing(module.fmcs, module.low, module.high, mature)


def verdict(module: ModuleFinding, mature: float = MATURE) -> str:
    """One module in a sentence or two, plain text; from an FMCS of ``mature`` it counts as trained enough.

    Example:
        >>> import numpy as np
        >>> levels = np.array([0.4, 0.6])
        >>> print(verdict(ModuleFinding(name="conv5", fmcs=0.62, std=0.07, low=0.5, high=0.74, levels=levels, level=1)))
        conv5 is about 62% of the way to convergence (90% interval 50–74%); it is not yet trained enough to build on.
    """
    if module.never_trained:
        return f"{module.name} has an FMCS of {module.fmcs:.2f}: {UNTRAINED}."
    how_sure = "the predictor gives no interval"
    if module.has_interval:
        how_sure = f"90% interval {100 * module.low:.0f}–{100 * module.high:.0f}%"
    place = "looks fully converged" if module.fmcs >= 0.995 else f"is about {module.fmcs:.0%} of the way to convergence"
    why_unknown = "it lies earlier in its network than the modules that the predictor was trained on"
    if module.far:
        why_unknown = "its feature maps are unlike those that the predictor was trained on"
    end = {
        "mature": "; it is trained enough to build on.",
        "likely": f"; it is probably trained enough to build on, though the interval reaches below the bar of "
        f"{mature:.0%}.",
        "unlikely": f"; it is probably not yet trained enough to build on, though the interval reaches the bar of "
        f"{mature:.0%}.",
        "immature": "; it is not yet trained enough to build on.",
        "unknown": f", but {why_unknown}, so this figure may be far off.",
    }
    return f"{module.name} {place} ({how_sure}){end[state(module, mature)]}"


def overall(findings: Findings) -> str:
    """The verdict on the whole model: that on the least mature of the modules that decide, and where it comes from."""
    text, every, n = verdict(findings.least, findings.mature), len(findings.modules), len(findings.deciding)
    if every == 1:
        return text
    if n == 0:
        return f"The predictor knows none of the {every} modules, so there is no verdict. The lowest score: {text}"
    if n == every:
        return f"The least mature of {every} modules: {text}{findings.inherited}"
    which = f"{n} decide; the least mature of them" if n > 1 else f"{findings.least.name} alone decides"
    return f"Of {every} modules, {which}: {text}{findings.inherited}"


def badge(findings: Findings) -> str:
    """The verdict on the whole model in two or three words."""
    return BADGES[state(findings.least, findings.mature) if findings.deciding else "unknown"]


def next_steps(findings: Findings) -> list[str]:
    """What to do with the findings, plain text with commands in backquotes, the most important first."""
    bar = f"{findings.mature:g}"
    by_state: dict[State, list[str]] = {name: [] for name in BADGES}
    begins, again = findings.begins, [module.name for module in findings.before]
    judged = [module for module in findings.modules if not module.known or module in findings.deciding]
    for module in judged:
        by_state[state(module, findings.mature)].append(module.name)
    early = [module.name for module in findings.modules if module.early and not module.known]
    far = [name for name in by_state["unknown"] if name not in early]
    follow = [module.name for module in findings.fallen[1:]]
    partly = [begins] if begins and begins.part else []
    known = [*follow, *again, *(module.name for module in partly)]
    young = [name for name in by_state["immature"] + by_state["unlikely"] if name not in known]
    unsure = by_state["likely"] + by_state["unlikely"]
    steps = []
    if fresh := by_state["untrained"] + [f"{module.name}.{module.part}" for module in partly]:
        steps.append(_train_at_all(fresh, [name for name in follow if begins], again))
    if early:
        steps.append(
            f"Score {_listed(early)} with a predictor that knows such modules: record them in runs like the model's "
            "own with `fmce build-fmcs --modules …`, then `fmce train-fmce-net`."
        )
    if far:
        steps.append(
            f"Score {_listed(far)} with a predictor that knows such models: record runs of this architecture or on "
            "such data with `fmce build-fmcs`, then `fmce train-fmce-net` on all of them."
        )
    if young:
        done = f"; {_listed(by_state['mature'])} could be frozen meanwhile" if by_state["mature"] else ""
        then = "" if begins else _following(follow)
        steps.append(f"Train {_listed(young)} further{then}, then evaluate the new version on the same images{done}.")
    if unsure:
        what = "interval of each of" if len(unsure) > 1 else "interval of"
        steps.append(
            f"The {what} {_listed(unsure)} includes the bar of {bar}: check the losses or the validation accuracy "
            "before you decide."
        )
    if len(by_state["mature"]) == len(judged):
        steps.append(
            "Let it through: `fmce promote` moves a registered version to a stage or an alias if "
            f"`fmcs_predicted>={bar}`."
        )
    if lag := [module.name for module in lagging(findings.modules)]:
        steps.append(
            f"Compute BatchNorm's statistics anew before the model is used: those of {_listed(lag)} do not fit these "
            "images. The notes say how."
        )
    judgeable = [m for m in findings.modules if state(m) not in ("unknown", "untrained")]
    steps += [_disagreement(m) for m in judgeable if not m.agrees]
    convergence = findings.training.convergence if findings.training else None
    if convergence is not None and convergence.point is None:
        steps.append("The run that trained the model has not converged by its losses: train it longer.")
    images = len(findings.images.indices)
    if images < FEW_IMAGES:
        steps.append(f"Evaluate on more images: {images} are few, and scores are steadier from {2 * FEW_IMAGES} on.")
    return steps


def trust(findings: Findings) -> list[str]:
    """How sure the predictor is, and how far the model lies from what it knows."""
    predictor = findings.predictor
    texts = [f"Trained on: {predictor.corpus.rstrip('.')}."] if predictor.corpus else []
    texts += predictor.limits
    texts += filter(None, (findings.looked_at, findings.images.depends))
    if early := [module.name for module in findings.modules if module.early and not module.known]:
        texts.append(
            f"{_listed(early)} {'lie' if len(early) > 1 else 'lies'} earlier in the network than the last feature "
            "stage, and that corpus has no such module: the score and its interval are a guess there."
        )
    far = [module.name for module in findings.modules if module.far and not module.known]
    known = [module.distance for module in findings.modules if math.isfinite(module.distance)]
    if far:
        texts.append(
            f"{_listed(far)} {'lie' if len(far) > 1 else 'lies'} outside that corpus (distance up to "
            f"{max(known, default=math.nan):.1f}; about 1 inside): the score and its interval are a guess there."
        )
    elif known:
        texts.append(
            f"By its features, the model lies within that corpus (distance {max(known):.1f}; about 1 inside). That "
            "does not prove that the predictor knows such modules: its figures below are on modules of its corpus."
        )
    else:
        texts.append("This predictor cannot tell how far the model lies from its training corpus.")
    unmeasured = [text for name, text in UNSEEN.items() if name not in predictor.figures and name != "images"]
    if unmeasured:
        texts.append(f"It has not been measured on {', nor on '.join(unmeasured)}.")
    return texts


def _following(names: list[str]) -> str:
    return f" first ({_listed(names)} may follow by {'themselves' if names[1:] else 'itself'})" if names else ""


def _train_at_all(names: list[str], follow: list[str], again: list[str]) -> str:
    """What to do about modules that were never trained."""
    after = [name for name in follow if name not in names]
    judge = f", and judge {_listed(again)} again afterwards" if again else ""
    return (
        f"Train {_listed(names)}{_following(after)}{judge}. If that was done, find out why it is not in this model: "
        f"{'they were' if names[1:] else 'it was'} frozen, or replaced, or {'their' if names[1:] else 'its'} weights "
        "were not loaded from the checkpoint."
    )


def _disagreement(module: ModuleFinding) -> str:
    return (
        f"Find out why {module.name} scores {module.fmcs:.2f} where its training says {module.measured:.2f}. "
        "If the validation loss of that run has not fallen, BatchNorm statistics lag and the score is right; otherwise "
        "trust the losses: the predictor may not know modules like this one."
    )


def _listed(names: Iterable[str]) -> str:
    """Names in a sentence; of many, how many and the first."""
    *first, last = names
    if len(first) > 2:
        return f"{len(first) + 1} modules ({', '.join(first[:3])} …)"
    return f"{', '.join(first)} and {last}" if first else last
