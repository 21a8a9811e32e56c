"""Registries as the page of one shows them, and the same in a store of MLflow."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlflow import MlflowClient
from mlflow.entities import Metric, RunTag

from fmce_mlflow.evaluation.states import standing
from fmce_mlflow.method.fmce_net.interval import interval
from fmce_mlflow.showing.versions import Evaluation, ModuleScore, Overview, Version

LAYERS = ("layer1", "layer2", "layer3", "layer4")
START = 1_790_000_000_000  # milliseconds since 1970
UI = "http://127.0.0.1:5000"
NOT_YET = "It has not been evaluated yet."


def fmcs(version: int, module: int) -> float:
    """A score that rises over versions, later modules after earlier ones, with a step back now and then."""
    value = 1 - 0.75 * math.exp(-0.35 * version + 0.25 * module) - (0.12 if version % 7 == 5 else 0)
    return min(0.99, max(0.02, round(value, 3)))


def evaluation(version: int, modules: Sequence[str] = LAYERS, **more: str) -> Evaluation:
    """A finished one, of which the least module decides."""
    scores = []
    for place, name in enumerate(modules):
        score = fmcs(version, place)
        low, high = interval(score, 0.03 + 0.04 * (1 - score))
        scores.append(ModuleScore(name, score, low, high, standing(score, low, high)))
    told = {"predictor": "bundled", "images": f"sha256:{'3f' * 32}", "image_set": "256 images of photos, held out"}
    least = min(scores, key=lambda one: one.fmcs)
    return Evaluation(f"{version:032x}", "1", START + 3_600_000 * version, tuple(scores), least, **(told | more))


def model(
    name: str, versions: int, modules: Sequence[str] = LAYERS, missing: Sequence[int] = ()
) -> tuple[Version, ...]:
    """So many versions, the last but one the champion; some of them not evaluated."""
    return tuple(
        Version(
            model=name,
            number=number,
            aliases=("champion",) if number == max(1, versions - 1) else (),
            created=START + 3_500_000 * number,
            evaluation=None if number in missing else evaluation(number, modules),
            why=NOT_YET if number in missing else "",
        )
        for number in range(1, versions + 1)
    )


def registry(**models: tuple[Version, ...]) -> Overview:
    """An overview with links to an MLflow on this machine."""
    return Overview("sqlite:///mlflow.db", dict(models), UI)


def evaluate(client: MlflowClient, uri: str, scores: dict[str, float], *, std: float = 0.05, **tags: str) -> str:
    """A run with what an evaluation of a model logs, finished unless ``status`` says otherwise."""
    status = tags.pop("status", "FINISHED")
    experiment = client.get_experiment_by_name("tests")
    assert experiment is not None
    run_id = str(client.create_run(experiment.experiment_id).info.run_id)
    metrics = {f"fmcs_predicted/{name}": score for name, score in scores.items()}
    metrics |= {f"fmcs_std/{name}": std for name in scores}
    told = {"fmce.role": "evaluation", "fmce.model_uri": uri, "fmce.modules": ",".join(scores)}
    if scores:
        metrics["fmcs_predicted"] = min(scores.values())
        told["fmce.least_mature"] = min(scores, key=lambda name: scores[name])
    client.log_batch(
        run_id, [Metric(name, value, 0, 0) for name, value in metrics.items()],
        tags=[RunTag(name, value) for name, value in (told | tags).items()],
    )  # fmt: skip
    client.set_terminated(run_id, status)
    return run_id
