"""Begin, join or resume a study, run its trials and log what it found."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from mlflow.exceptions import MlflowException
from optuna.exceptions import DuplicatedStudyError
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from fmce_mlflow.errors import ConfigError, RunError
from fmce_mlflow.runs.run import ROLE_TAG, Run
from fmce_mlflow.safety.credentials import without_credentials
from fmce_mlflow.safety.reading import parse_json
from fmce_mlflow.tuning import results
from fmce_mlflow.tuning.mirror import RUN, WHY, TrialMirror
from fmce_mlflow.tuning.options import StudyOptions
from fmce_mlflow.tuning.storage import open_storage, shown, storage_errors
from fmce_mlflow.tuning.trials import TOTAL, best, counted_trials, reconcile, tally
from fmce_mlflow.tuning.worker import Job, Objective
from fmce_mlflow.tuning.workers import run_workers
from fmce_mlflow.wording import did_you_mean

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

Settings = Mapping[str, Mapping[str, str]]  # what a study's trials must share, as text by kind and name
SETTINGS = "fmce.settings"  # in a study's user_attrs, its settings as JSON
_OWNER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class TuneResult:
    """What a search came to."""

    run_id: str
    joined: bool  # whether another process leads the study; it then fits the best net
    best: dict[str, Any]  # hyperparameters of the best trial
    value: float  # its validation error
    model_uri: str  # the best net, fitted to all groups; empty where joined


@dataclass(frozen=True, slots=True)
class Opened:
    """A study that is there, its MLflow run, and whether another process leads it."""

    study: optuna.Study
    run: Run
    joined: bool


def tune(
    client: MlflowClient,
    options: StudyOptions,
    objective: Objective,
    settings: Settings,
    open_run: Callable[[], str],
    refit: Callable[[Run, FrozenTrial], str],
    *,
    say: Callable[[str], None] = print,
) -> TuneResult:
    """Run a study of any objective.

    Args:
        client: MLflow client.
        options: Which study, and how.
        objective: What to minimise.
        settings: What all trials must share; a study that was begun with others is refused.
        open_run: Gives the id of the MLflow run of a new study.
        refit: Takes the study's run and the best trial; logs a model and returns its id.
        say: Prints a line for the user.
    """
    opened = open_study(client, options, settings, open_run, say=say)
    job = Job(tracking_uri=client.tracking_uri, options=options, objective=objective, seed=_seed(options, opened))
    with storage_errors(options.storage):
        return (_help if opened.joined else _lead)(opened, job, refit)


def _help(opened: Opened, job: Job, refit: Callable[[Run, FrozenTrial], str]) -> TuneResult:
    """Run trials of a study that another process leads."""
    run = opened.run
    run_workers(job, run.client, job.options.workers, say=run.say)
    found = _best(opened.study)
    if run.fetch().info.status == "RUNNING":
        run.say(f"All trials have ended; the process that leads study {job.options.study_name} fits the best net.")
    else:
        run.say("All trials have ended, and so has the process that led the study: fit the best net with --resume.")
    return TuneResult(run.id, True, found.params, float(found.value or 0), "")


def _lead(opened: Opened, job: Job, refit: Callable[[Run, FrozenTrial], str]) -> TuneResult:
    """Run trials, log what was found, fit the best net, and close the study's run."""
    study, run = opened.study, opened.run
    try:
        with run.closing():
            try:
                run_workers(job, run.client, job.options.workers, say=run.say)
            finally:
                reconcile(study, TrialMirror(run))
                results.log_study(run, study)
            found = _best(study)
            model_uri = f"models:/{refit(run, found)}"
    except KeyboardInterrupt:
        run.say(f"Go on with the study by the same command and --resume: {_progress(study)}.")
        raise
    return TuneResult(run.id, False, found.params, float(found.value or 0), model_uri)


def open_study(
    client: MlflowClient,
    options: StudyOptions,
    settings: Settings,
    open_run: Callable[[], str],
    *,
    say: Callable[[str], None] = print,
) -> Opened:
    """Begin a study, join one that is running, or go on with one that has ended.

    A study that is there is joined while its MLflow run is running. With ``resume`` this process leads it from now on.

    Raises:
        ConfigError: A study that has ended without ``resume``, none with it, or settings that have changed.
        RunError: A study that is not one of FMCE-Net's, or whose run is gone.
    """
    storage = open_storage(options.storage, heartbeat=options.heartbeat, grace=options.grace)
    if options.resume:
        names = [summary.study_name for summary in optuna.get_all_study_summaries(storage)]
        if options.study_name not in names:
            hint = did_you_mean(options.study_name, names, how_to_list=f"It has {', '.join(names) or 'none'}.")
            raise ConfigError(f"There is no study {options.study_name!r} at {shown(options.storage)} to resume.{hint}")
        return _existing(client, options, settings, storage, say)
    try:
        study = optuna.create_study(storage=storage, study_name=options.study_name)
    except DuplicatedStudyError:
        return _existing(client, options, settings, storage, say)
    run = Run(client, open_run(), say)
    run.set_role("tuning")
    _log_settings(run, options, settings)
    study.set_user_attr(SETTINGS, json.dumps(settings, sort_keys=True))
    study.set_user_attr(TOTAL, options.trials)
    study.set_user_attr(RUN, run.id)  # last: where it is there, the rest is too
    run.say(f"Study {options.study_name} at {shown(options.storage)}: {options.trials} trials, run {run.id}.")
    return Opened(study, run, False)


def _existing(
    client: MlflowClient, options: StudyOptions, settings: Settings, storage: RDBStorage, say: Callable[[str], None]
) -> Opened:
    study = optuna.load_study(study_name=options.study_name, storage=storage)
    where = f"Study {options.study_name!r} at {shown(options.storage)}"
    attrs = _settled_attrs(study, where)
    before, total = _begun_with(attrs, where)
    _refuse_changes(where, before, settings)
    run = Run(client, str(attrs[RUN]), say)
    status = _status(run, where, options.study_name)
    if not options.resume:
        if status != "RUNNING":
            raise ConfigError(
                f"{where} has ended: {_progress(study)}. Go on with it by --resume (a larger --trials gives it more), "
                "or begin another one with --study-name."
            )
        say(f"Joins study {options.study_name}: {_progress(study)}. If nobody leads it any more, use --resume.")
        return Opened(study, run, True)
    if options.trials < total:
        say(f"The study keeps its total of {total} trials; --trials {options.trials} is fewer.")
    study.set_user_attr(TOTAL, max(options.trials, total))
    client.update_run(run.id, status="RUNNING")
    say(f"Goes on with study {options.study_name}: {_progress(study)}.")
    return Opened(study, run, False)


def _status(run: Run, where: str, study_name: str) -> str:
    """Of a study's run, which must be there and be that study's: whoever can write its database chooses the run."""
    try:
        found = run.fetch()
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise RunError(
            f"{where} belongs to run {run.id}, which is not on {without_credentials(run.client.tracking_uri)}. "
            "Set --tracking-uri to where it is, or begin another study with --study-name."
        ) from None
    role, name = found.data.tags.get(ROLE_TAG), found.data.params.get("study_name")
    if (role, name) != ("tuning", study_name):
        raise RunError(
            f"{where} names run {run.id}, which is not its own ({ROLE_TAG} is {role!r}, study_name {name!r}): its "
            "database was changed. Do not trust it; begin another study with another --storage."
        )
    if found.info.lifecycle_stage == "deleted":
        raise RunError(
            f"{where} belongs to run {run.id}, which is deleted. Restore it with `mlflow runs restore --run-id "
            f"{run.id}`, or begin another study with --study-name."
        )
    return str(found.info.status)


def _settled_attrs(study: optuna.Study, where: str) -> dict[str, Any]:
    """A study's attributes, once the process that begins it has written them."""
    patience = 0 if study.get_trials(deepcopy=False) else _OWNER_SECONDS
    waiting = Retrying(
        retry=retry_if_result(lambda attrs: RUN not in attrs), wait=wait_fixed(0.2), stop=stop_after_delay(patience)
    )
    try:
        return waiting(lambda: study.user_attrs)
    except RetryError:
        raise RunError(
            f"{where} has no MLflow run: it is not one of `fmce tune-fmce-net`, or the process that began it died at "
            "once. Use another --study-name."
        ) from None


def _begun_with(attrs: Mapping[str, Any], where: str) -> tuple[Settings, int]:
    """The settings of a study and how many trials it is to have, as the process that began it wrote them."""
    try:
        settings, total = parse_json(attrs[SETTINGS]), attrs[TOTAL]
        if not all(isinstance(group, dict) for group in settings.values()) or not isinstance(total, int):
            raise ValueError(f"{TOTAL} is {total!r:.80}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{where} has attributes that `fmce tune-fmce-net` did not write ({type(error).__name__}: {error!s:.200}). "
            "Begin another one with --study-name."
        ) from None
    return settings, total


def _refuse_changes(where: str, before: Settings, now: Settings) -> None:
    changed = [
        f"{kind} {name}: {before.get(kind, {}).get(name, 'absent')} in the study, {now[kind].get(name, 'absent')} now"
        for kind in now
        for name in sorted({*before.get(kind, {}), *now[kind]})
        if before.get(kind, {}).get(name) != now[kind].get(name)
    ]
    if changed:
        lines = "\n".join(f"  - {line}" for line in changed)
        raise ConfigError(
            f"{where} was begun with other settings, and its trials cannot be compared with new ones:\n{lines}\n"
            "Give the study's settings, or begin another one with --study-name."
        )


def _log_settings(run: Run, options: StudyOptions, settings: Settings) -> None:
    run.log_params(
        {
            "study_name": options.study_name,
            "storage_used": shown(options.storage),
            "sampler": "TPE",
            "pruner": "median",
            "trials": options.trials,
            "seed": options.seed,
            **{f"fixed.{k}": v for k, v in settings.get("setting", {}).items()},
            **{f"space.{k}": v for k, v in settings.get("search space", {}).items()},
        }
    )


def _seed(options: StudyOptions, opened: Opened) -> int:
    """A seed that no other process of the study has had, or it would draw the same first trials again."""
    begun = len(opened.study.get_trials(deepcopy=False))
    entropy = [options.seed, begun, *([time.time_ns()] if opened.joined else [])]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0]) if any(entropy[1:]) else options.seed


def _best(study: optuna.Study) -> FrozenTrial:
    trials = study.get_trials(deepcopy=False)
    found = best(trials)
    if found is None:
        whys = [str(t.user_attrs.get(WHY, "unknown")).rstrip(".") for t in counted_trials(trials)]
        raise RunError(
            f"No trial of study {study.study_name!r} is complete: {_progress(study)}. The last one's reason: "
            f"{whys[-1] if whys else 'none'}. Narrow the search with --space, or give it more --trials."
        )
    return found


def _progress(study: optuna.Study) -> str:
    trials = study.get_trials(deepcopy=False)
    counts = tally(trials)
    first = best(trials)
    done = counts["complete"] + counts["pruned"] + counts["failed"]
    text = f"{done} of {study.user_attrs[TOTAL]} trials ended ({counts['pruned']} pruned, {counts['failed']} failed)"
    return text + (f", best {first.value:.4f}" if first is not None else "")
