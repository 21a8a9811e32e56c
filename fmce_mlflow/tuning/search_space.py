"""The hyperparameters that a study may choose, as Optuna's distributions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.safety.options import build
from fmce_mlflow.safety.reading import parse_json
from fmce_mlflow.wording import did_you_mean

Space = Mapping[str, BaseDistribution]
MAX_TEXT = 2**20

DEFAULT_SPACE: Space = {
    "statistics": CategoricalDistribution(["both", "all", "channels", "bag"]),
    "reference": CategoricalDistribution([False, True]),
    "scaling": CategoricalDistribution(["standard", "quantile"]),
    "width": CategoricalDistribution([32, 64, 128, 256]),
    "depth": IntDistribution(1, 3),
    "dropout": FloatDistribution(0.0, 0.5),
    "input_dropout": FloatDistribution(0.0, 0.5),
    "bag_size": CategoricalDistribution([32, 64, 128]),
    "bags_per_map": CategoricalDistribution([4, 8]),
    "lr": FloatDistribution(3e-4, 1e-2, log=True),
    "weight_decay": FloatDistribution(1e-4, 0.3, log=True),
    "batch_size": CategoricalDistribution([16, 32, 64]),
    "label_width": FloatDistribution(0.02, 0.12),
    "averaging": CategoricalDistribution([0.0, 0.9, 0.98, 0.995]),
    "noise": FloatDistribution(0.0, 0.3),
    "epochs": CategoricalDistribution([40, 80, 160]),
}
"""What is searched unless a study says otherwise. ``members`` is not among them: validation fits one member per fold,
so the validation error knows nothing of it."""


def suggest(trial: Trial, space: Space) -> dict[str, Any]:
    """A trial's values, by hyperparameter."""
    return {name: _suggest(trial, name, distribution) for name, distribution in space.items()}


def largest(distribution: BaseDistribution) -> Any:
    """The largest value of a hyperparameter's range or choices."""
    return max(_edges(distribution))


def canonical(space: Space) -> dict[str, str]:
    """The space as JSON by hyperparameter, as :func:`parse_space` reads it; the same text for the same choices.

    Example:
        >>> canonical(DEFAULT_SPACE)["depth"]
        '{"high": 3, "low": 1}'
    """
    return {name: json.dumps(_plain(space[name]), sort_keys=True) for name in sorted(space)}


def parse_space(text: str) -> Space:
    """The default space with some hyperparameters changed.

    Args:
        text: JSON object by hyperparameter: a list of choices, ``{"low": …, "high": …}`` with ``"log": true`` or
            ``"step": …`` where wanted, or one value that is kept.

    Raises:
        ConfigError: Names everything that cannot be read or is out of range.

    Example:
        >>> space = parse_space('{"width": [32, 64], "depth": 2, "lr": {"low": 1e-3, "high": 1e-2, "log": true}}')
        >>> space["lr"]
        FloatDistribution(high=0.01, log=True, low=0.001, step=None)
    """
    if len(text) > MAX_TEXT:
        raise ConfigError(f"space has {len(text):,} characters; at most {MAX_TEXT:,} are read")
    try:
        given = parse_json(text)
    except ValueError as error:
        raise ConfigError(f"space is no JSON: {error}. An example: " + '{"width": [32, 64], "depth": 2}') from None
    if not isinstance(given, dict):
        raise ConfigError(f"space must be a JSON object by hyperparameter, got {text.strip()[:60]!r}")
    space, problems = dict(DEFAULT_SPACE), []
    for name, value in given.items():
        if name not in DEFAULT_SPACE:
            known = f"There are {', '.join(DEFAULT_SPACE)}."
            problems.append(
                f"{name!r} is no hyperparameter of the search." + did_you_mean(name, DEFAULT_SPACE, how_to_list=known)
            )
            continue
        try:
            space[name] = _distribution(name, value)
            for edge in _edges(space[name]):
                for config in (BagConfig, SetConfig, FitConfig):
                    build(config, {name: edge})
        except (ConfigError, TypeError, ValueError, OverflowError) as error:
            problems.append(f"space of {name}: {error}")
    if problems:
        raise ConfigError(problems)
    return space


def _distribution(name: str, value: Any) -> BaseDistribution:
    if isinstance(value, list):
        return CategoricalDistribution(value)
    if not isinstance(value, dict):
        return CategoricalDistribution([value])
    unknown = set(value) - {"low", "high", "log", "step"}
    if unknown or not {"low", "high"} <= set(value):
        raise ValueError(f"expected low and high, and log or step where wanted; got {', '.join(value) or 'nothing'}")
    example = _edges(DEFAULT_SPACE[name])[0]
    if isinstance(example, str):
        raise ValueError("expected a list of choices")
    return IntDistribution(**value) if isinstance(example, int) else FloatDistribution(**value)


def _plain(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    extra: dict[str, Any] = {"log": True} if distribution.log else {}
    if distribution.step not in (None, 1):
        extra["step"] = distribution.step
    return {"low": distribution.low, "high": distribution.high, **extra}


def _edges(distribution: BaseDistribution) -> list[Any]:
    """The values that decide whether all of a distribution's are in range."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return [distribution.low, distribution.high]


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
