"""Search for FMCE-Net's hyperparameters, then fit the best net and log it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import optuna
import pandas as pd
from optuna.distributions import CategoricalDistribution

from fmce_mlflow.fmcs_dataset.table import load_fmcs_dataset
from fmce_mlflow.predictor.fmcs_source import latest_fmcs_run
from fmce_mlflow.predictor.options import NetOptions
from fmce_mlflow.predictor.train import train_fmce_net
from fmce_mlflow.runs.logged_models import check_name
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety.reading import parse_json
from fmce_mlflow.tuning import results
from fmce_mlflow.tuning.objective import NetObjective, tuning_rows
from fmce_mlflow.tuning.options import TuneOptions
from fmce_mlflow.tuning.search_space import Space, canonical, largest
from fmce_mlflow.tuning.storage import open_storage
from fmce_mlflow.tuning.study import SETTINGS, TuneResult, tune
from fmce_mlflow.tuning.trial_bags import FmcsBags

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial


def tune_fmce_net(
    client: MlflowClient, options: TuneOptions, open_run: Callable[[], str], *, say: Callable[[str], None] = print
) -> TuneResult:
    """Search for the hyperparameters of a ``set`` net, then fit the best to all groups and log it.

    The study's run is closed, whatever happens, by the process that leads the study.

    Args:
        client: MLflow client.
        options: What to do.
        open_run: Gives the id of the MLflow run of a new study.
        say: Prints a line for the user.

    Raises:
        FmceError: For every mistake that a user can make.
        KeyboardInterrupt: At Ctrl-C, once what was found is logged.
    """
    check_name(client, options.register_as)
    fixed = options.fixed
    storage = open_storage(options.study.storage, heartbeat=options.study.heartbeat, grace=options.study.grace)
    source = options.fmcs_run or _source_of(storage, options.study.study_name) or latest_fmcs_run(client)
    table = load_fmcs_dataset(client, source)
    labelled = table[table["fmcs"].notna()]
    tuning_rows(labelled, fixed)  # raises where there are too few groups, before a study is made
    space = _possible(options.space, labelled, say)
    settings = {
        "search space": canonical(space),
        "setting": {"fmcs_run": source, **{k: str(v) for k, v in asdict(fixed).items()}},
    }

    def refit(run: Run, trial: FrozenTrial) -> str:
        return _refit(run, trial, options, source)

    with tempfile.TemporaryDirectory(prefix="fmce-", ignore_cleanup_errors=True) as folder:
        bags = FmcsBags.of_space(client.tracking_uri, source, space, folder)
        objective = NetObjective(bags, fixed, space)
        return tune(client, options.study, objective, settings, open_run, refit, say=say)


def _possible(space: Space, table: pd.DataFrame, say: Callable[[str], None]) -> Space:
    """The space without references, where not every module of the FMCS-dataset has maps from before training."""
    modules = table.groupby(["run_id", "module"])["snapshot"].min()
    if (modules == 0).all() or largest(space["reference"]) is False:
        return space
    run_id, module = modules[modules > 0].index[0]
    say(f"No net with a reference is tried: module {module} of run {run_id} has no maps from before training.")
    return {**space, "reference": CategoricalDistribution([False])}


def _source_of(storage: RDBStorage, study_name: str) -> str:
    """The FMCS-dataset run of a study that is there."""
    try:
        attrs = optuna.load_study(study_name=study_name, storage=storage).user_attrs
    except KeyError:
        return ""
    try:
        return str(parse_json(attrs[SETTINGS])["setting"]["fmcs_run"])
    except (LookupError, TypeError, ValueError):  # not written yet; or by somebody else, and refused later
        return ""


def _refit(run: Run, trial: FrozenTrial, options: TuneOptions, source: str) -> str:
    """Score the best hyperparameters on the test group, fit them to all groups, and log the net: a nested run."""
    bags, net, fit = options.fixed.configs(trial.params, levels=5)  # the run takes the dataset's own levels
    chosen = NetOptions(
        fmcs_run=source,
        protocols=(options.fixed.protocol,),
        register_as=options.register_as,
        bags=bags,
        net=net,
        fit=fit,
    )
    with run.nested("best net", role="fmce_net").closing() as below:
        result = train_fmce_net(below, chosen)
    model_id = result.model_uri.removeprefix("models:/")
    results.log_best_net(run, model_id, {k: v[chosen.kind].metrics for k, v in result.scores.items()})
    return model_id
