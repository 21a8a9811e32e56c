"""Train and score FMCE-Net as one MLflow run: figures by protocol beside the baselines', plots, the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
from mlflow.entities import Metric, Param
from numpy.typing import NDArray
from tqdm import tqdm

from fmce_mlflow.errors import ConfigError, IntegrityError, RunError
from fmce_mlflow.fmcs_dataset.log import log_input
from fmce_mlflow.fmcs_dataset.table import load_fmcs_dataset
from fmce_mlflow.method.fitting.bags import Bags, Read, collect_bags
from fmce_mlflow.method.fitting.baselines import as_predictions, run_baselines
from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
from fmce_mlflow.method.fitting.fit_outline import fit_outline_split, outline_shape, predict_outline
from fmce_mlflow.method.fitting.fit_set import PART, fit_set, predict_bags
from fmce_mlflow.method.fitting.protocols import GROUP_COLUMN, PROTOCOLS, Protocol, Scores, Split, score, splits
from fmce_mlflow.method.fitting.row_store import let_go, new_rows
from fmce_mlflow.method.fitting.spectral_alpha import monotone_alpha
from fmce_mlflow.method.fmce_net.belief import Prediction
from fmce_mlflow.method.fmce_net.config import Kind, OutlineConfig, SetConfig
from fmce_mlflow.method.fmce_net.kinds import FmceNet
from fmce_mlflow.method.fmce_net.set_net import seen_features
from fmce_mlflow.predictor import card as model_card
from fmce_mlflow.predictor import flavor
from fmce_mlflow.predictor.figures import confusion_figure, predictions_figure
from fmce_mlflow.predictor.flavor import Predictor
from fmce_mlflow.predictor.logged_weights import snapshot_alphas
from fmce_mlflow.runs.feature_maps import FeatureMapReader
from fmce_mlflow.runs.logged_models import register
from fmce_mlflow.runs.run import set_role
from fmce_mlflow.safety.credentials import without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient

RESULTS = "results.json"
BY_RUN = "results_by_run.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetOptions:
    """Everything that decides an FMCE-Net run.

    Attributes:
        fmcs_run: The run with the FMCS-dataset; empty for the latest that finished.
        kind: ``set`` or ``outline``.
        protocols: What to hold out for scoring; each is scored by itself.
        cross_validate: Hold out each group in turn instead of one.
        baselines: Fit and score the baselines too.
        register_as: Register the net under this name.
        bags: How bags are drawn.
        net: Shape of a ``set`` net.
        outline: Fields of :class:`~fmce_mlflow.method.fmce_net.config.OutlineConfig` besides shape and levels.
        fit: How to fit.

    Raises:
        ConfigError: Names every value that cannot be used.
    """

    fmcs_run: str = ""
    kind: Kind = "set"
    protocols: tuple[Protocol, ...] = ("run",)
    cross_validate: bool = False
    baselines: bool = True
    register_as: str | None = None
    bags: BagConfig = field(default_factory=BagConfig)
    net: SetConfig = field(default_factory=SetConfig)
    outline: Mapping[str, Any] = field(default_factory=dict)
    fit: FitConfig = field(default_factory=FitConfig)

    def __post_init__(self) -> None:
        problems = [
            f"protocol must be one of {', '.join(PROTOCOLS)}; got {name!r}"
            for name in self.protocols
            if name not in PROTOCOLS
        ]
        if not self.protocols:
            problems.append("protocol is empty; name at least one")
        if self.kind not in get_args(Kind):
            problems.append(f"net must be one of {', '.join(get_args(Kind))}; got {self.kind!r}")
        try:
            OutlineConfig(channels=1, height=1, width=1, **self.outline)
        except ConfigError as error:
            problems += error.problems
        if problems:
            raise ConfigError(problems)

    def flat(self) -> dict[str, str]:
        """As MLflow parameters."""
        parts = {f"bags.{k}": v for k, v in asdict(self.bags).items()}
        shape = asdict(self.net) if self.kind == "set" else dict(self.outline)
        parts |= {f"net.{k}": v for k, v in shape.items() if k != "levels"}
        parts |= {f"fit.{k}": v for k, v in asdict(self.fit).items()}
        top = {"kind": self.kind, "protocols": ",".join(self.protocols), "cross_validate": self.cross_validate}
        return {k: str(v) for k, v in {**top, **parts}.items()}


@dataclass(frozen=True, slots=True)
class NetResult:
    """What an FMCE-Net run came to.

    Attributes:
        run_id: The MLflow run.
        model_uri: The net fitted to all groups.
        scores: By protocol and predictor: the net's kind, then the baselines.
    """

    run_id: str
    model_uri: str
    scores: dict[Protocol, dict[str, Scores]]


def latest_fmcs_run(client: MlflowClient) -> str:
    """The FMCS-dataset run that finished last.

    Raises:
        RunError: If there is none.
    """
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(
        experiments,
        "tags.`fmce.role` = 'fmcs_dataset' and attributes.status = 'FINISHED'",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    if not found:
        where = without_credentials(client.tracking_uri)
        raise RunError(f"There is no finished FMCS-dataset on {where}. Build one with `fmce build-fmcs`.")
    return str(found[0].info.run_id)


def train_fmce_net(
    client: MlflowClient, run_id: str, options: NetOptions, *, say: Callable[[str], None] = print
) -> NetResult:
    """Score FMCE-Net by its protocols, then fit it to all groups and log it.

    Under every protocol the net is scored on bags of images, and but for ``images`` of groups, that it was not fitted
    to. The net that is logged is fitted to all of them; its model card says so.

    Args:
        client: MLflow client.
        run_id: The run, with role ``fmce_net`` from here on; the caller closes it.
        options: What to do.
        say: Prints a line for the user.

    Returns:
        The figures and the model.

    Raises:
        FmceError: For every mistake that a user can make.
    """
    return _Run(client, run_id, options, say).train()


def artifact_reader(client: MlflowClient) -> Read:
    """Reads the maps of an FMCS-dataset's rows from their runs, each file checked against the row's sha256.

    Args:
        client: MLflow client.

    Returns:
        A function from a row to maps, float16 (n, C, H, W).
    """

    @lru_cache(maxsize=8)  # the rows of a run stand together, and an index of many maps is large
    def reader_of(run_id: str) -> FeatureMapReader:
        return FeatureMapReader(client, run_id)

    def read(row: Any) -> NDArray[np.floating[Any]]:
        reader = reader_of(row.run_id)
        maps, _ = reader.read(row.module, int(row.snapshot))
        entry = reader.index.entries[row.module, int(row.snapshot)]
        if entry.sha256 != row.sha256:
            raise IntegrityError(f"{entry.path} of run {row.run_id}", row.sha256, entry.sha256)
        return maps

    return read


class _Run:
    def __init__(self, client: MlflowClient, run_id: str, options: NetOptions, say: Callable[[str], None]) -> None:
        self.client, self.run_id, self.options, self.say = client, run_id, options, say

    def train(self) -> NetResult:
        self._begin()
        scores = {protocol: self._score(protocol) for protocol in self.options.protocols}
        self._log_tables(scores)
        net, curve = self._fit_all()
        info = model_card.describe(self.table, self.source, self.options.flat(), scores)
        card = model_card.render(info, net)
        predictor = Predictor(net, info, card)
        now = 0
        self.client.log_batch(
            self.run_id, metrics=[Metric("validation_mae", v, now, i + 1) for i, v in enumerate(curve)]
        )
        model_id = flavor.log_predictor(self.client, self.run_id, predictor)
        self.client.log_text(self.run_id, card, "model_card.md")
        if self.options.register_as:
            version = register(self.client, self.run_id, model_id, self.options.register_as)
            self.say(f"Registered as {self.options.register_as}, version {version}.")
        return NetResult(self.run_id, f"models:/{model_id}", scores)

    def _begin(self) -> None:
        """Everything up to the bags: the dataset, the run's tags and parameters."""
        options, client = self.options, self.client
        set_role(client, self.run_id, "fmce_net")
        self.source = options.fmcs_run or latest_fmcs_run(client)
        table = load_fmcs_dataset(client, self.source)
        log_input(client, self.run_id, table, self.source)
        self.table = table[table["fmcs"].notna()].reset_index(drop=True)
        levels = self.table["level"].max()
        if pd.isna(levels) or levels < 1:
            raise RunError(
                f"The FMCS-dataset {self.source} has no labelled marker snapshot. Build it from converged runs."
            )
        self.levels = int(levels) + 1
        known = client.get_run(self.run_id).data.params
        params = {**options.flat(), "fmcs_run_used": self.source, "levels": str(self.levels)}
        client.log_batch(self.run_id, params=[Param(k, v[:6000]) for k, v in params.items() if k not in known])
        for protocol in options.protocols:
            splits(self.table, protocol, seed=options.fit.seed)  # too few groups are told before maps are read
        if options.kind == "outline":
            outline_shape(self.table)
        runs = self.table["run_id"].nunique()
        self.say(f"FMCS-dataset {self.source}: {len(self.table)} labelled maps of {runs} runs, {self.levels} levels.")
        self.read = artifact_reader(client)
        self.bags: Bags | None = None
        if options.kind == "set" or options.baselines:
            with tqdm(
                total=len(self.table), desc="Bags", unit="map", mininterval=0.5, leave=False, disable=None
            ) as bar:
                self.bags = collect_bags(self.table, self.read, options.bags, progress=bar.update)
        if options.baselines:
            with tqdm(desc="Weights", unit="model", mininterval=0.5, leave=False, disable=None) as bar:
                self.alphas = snapshot_alphas(client, self.table, progress=bar.update)  # (rows,)

    def _score(self, protocol: Protocol) -> dict[str, Scores]:
        options = self.options
        rows: dict[str, list[pd.DataFrame]] = {}
        predictions: dict[str, list[Prediction]] = {}
        images: list[float] = []
        folds = splits(self.table, protocol, cross_validate=options.cross_validate, seed=options.fit.seed)
        for split in tqdm(folds, desc=f"Protocol {protocol}", unit="fold", leave=False, disable=None):
            for name, (part, found) in self._predict(split, images).items():
                rows.setdefault(name, []).append(part)
                predictions.setdefault(name, []).extend(found)
        scores = {
            name: score(pd.concat(rows[name], ignore_index=True), predictions[name], self.levels) for name in rows
        }
        for name, one in scores.items():
            maps = pd.concat(rows[name])[["run_id", "module", "snapshot"]].drop_duplicates()
            one.metrics["maps"] = float(len(maps))  # spectral alpha has fewer than the others
        if images:
            scores[options.kind].metrics["image_accuracy"] = float(np.mean(images))
        self._log(protocol, scores, pd.concat(rows[options.kind], ignore_index=True), predictions[options.kind])
        held = f", {split.held_out} held out" if len(folds) == 1 and split.held_out else ""
        self.say(f"Protocol {protocol}, {len(folds)} fold{'s' if len(folds) > 1 else ''}{held}:")
        for name, one in scores.items():
            m = one.metrics
            self.say(
                f"  {name:<21} accuracy {m.get('accuracy', np.nan):.3f}  within one {m.get('within_one', np.nan):.3f}  "
                f"MAE {m['mae']:.3f}  ρ {m['spearman']:.3f}"
                + (f"  90 % interval holds {m['coverage']:.1%}" if "coverage" in m else "")
                + (f"  on {m['maps']:.0f} maps" if m["maps"] < scores[options.kind].metrics["maps"] else "")
            )
        return scores

    def _predict(self, split: Split, images: list[float]) -> dict[str, tuple[pd.DataFrame, list[Prediction]]]:
        """Fit to a split's training part and predict its test part, the net first, then the baselines."""
        options, bags = self.options, self.bags
        found: dict[str, tuple[pd.DataFrame, list[Prediction]]] = {}
        if options.kind == "outline":
            net, _ = fit_outline_split(self.table, self.read, split, options.bags, self._outline(), options.fit)
            outline = predict_outline(net, self.table, self.read, split, options.bags)
            found["outline"] = outline.rows, outline.predictions
            images.append(outline.image_accuracy)
        if bags is None:
            return found
        train = split.train[bags.row] & ~bags.test_images
        test = np.flatnonzero(split.test[bags.row] & bags.test_images)
        rows = self.table.iloc[bags.row[test]].reset_index(drop=True)
        if options.kind == "set":
            groups = bags.column(GROUP_COLUMN[split.protocol])
            fitted = fit_set(bags, train, groups, self._shape(), options.fit)
            found["set"] = rows, predict_bags(fitted.net, bags, test)
        if options.baselines:
            for name, predicted in run_baselines(self._seen(bags), np.flatnonzero(train), test, self.levels).items():
                found[name] = rows, predicted
            found |= self._spectral_alpha(bags, train, test)
        return found

    def _seen(self, bags: Bags) -> Bags:
        """Bags with the features that the net sees and no others, for the baseline that sees the same."""
        if self.options.kind == "outline":
            return bags
        shape = self._shape()
        rows, everything = bags.rows(reference=shape.reference), np.arange(len(bags.row))
        first = seen_features(rows.take(everything[:1]), shape)
        features = new_rows(len(rows), first.shape[1])
        for part in np.array_split(everything, -(-len(everything) // PART)):
            features[part[0] : part[-1] + 1] = seen_features(rows.take(part), shape).numpy()
            let_go(features)
        return replace(bags, features=features)

    def _spectral_alpha(
        self, bags: Bags, train: NDArray[np.bool_], test: NDArray[np.int64]
    ) -> dict[str, tuple[pd.DataFrame, list[Prediction]]]:
        """The baseline that needs weights, on those snapshots alone whose models are logged; empty where none are."""
        alphas = self.alphas[bags.row]
        fit, scored = np.flatnonzero(train & ~np.isnan(alphas)), test[~np.isnan(alphas[test])]
        if not len(fit) or not len(scored):
            return {}
        found = monotone_alpha(alphas, bags.fmcs, fit, scored)
        rows = self.table.iloc[bags.row[scored]].reset_index(drop=True)
        return {"spectral_alpha": (rows, as_predictions(found, self.levels))}

    def _fit_all(self) -> tuple[FmceNet, list[float]]:
        """The net that is logged, fitted to all groups; a ``set`` net to all images too."""
        options = self.options
        if options.kind == "outline":
            everything = splits(self.table, "images")[0]
            net, _ = fit_outline_split(self.table, self.read, everything, options.bags, self._outline(), options.fit)
            return net, []
        assert self.bags is not None  # made for every set net
        groups = self.bags.column("run_id")
        fitted = fit_set(self.bags, np.ones(len(groups), dtype=bool), groups, self._shape(), options.fit)
        if not fitted.calibrated:
            self.say("There is one run only: nothing could be held out, so the net's interval is not calibrated.")
        return fitted.net, fitted.validation

    def _shape(self) -> SetConfig:
        return SetConfig(**{**asdict(self.options.net), "levels": self.levels})

    def _outline(self) -> dict[str, Any]:
        return {**self.options.outline, "levels": self.levels}

    def _log(
        self, protocol: Protocol, scores: Mapping[str, Scores], rows: pd.DataFrame, predictions: list[Prediction]
    ) -> None:
        kind = self.options.kind
        metrics: dict[str, float] = {}
        for name, one in scores.items():
            prefix = protocol if name == kind else f"{protocol}/{name}"
            kept = {k: v for k, v in one.metrics.items() if np.isfinite(v) and (name == kind or "/" not in k)}
            metrics |= {f"{prefix}/{k}": v for k, v in kept.items()}
        self.client.log_batch(self.run_id, metrics=[Metric(k, v, 0, 0) for k, v in metrics.items()])
        title = f"{kind} net, protocol {protocol}"
        figures = {
            "confusion": confusion_figure(scores[kind].confusion, title=title),
            "predictions": predictions_figure(rows, predictions, title=title),
        }
        for name, figure in figures.items():
            self.client.log_figure(self.run_id, figure, f"plots/{name}_{protocol}.png", save_kwargs={"dpi": 200})

    def _log_tables(self, scores: Mapping[Protocol, Mapping[str, Scores]]) -> None:
        names = ("accuracy", "precision", "recall", "f1", "within_one", "mae", "spearman", "coverage", "width", "maps")
        results = [
            {"protocol": protocol, "predictor": name, **{k: one.metrics.get(k, np.nan) for k in names}}
            for protocol, group in scores.items()
            for name, one in group.items()
        ]
        by_run = [
            one.by_run.assign(protocol=protocol, predictor=name)
            for protocol, group in scores.items()
            for name, one in group.items()
        ]
        self.client.log_table(self.run_id, pd.DataFrame(results), RESULTS)
        self.client.log_table(self.run_id, pd.concat(by_run, ignore_index=True), BY_RUN)
