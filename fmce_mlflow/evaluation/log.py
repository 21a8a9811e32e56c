"""Log what an evaluation found: tables, figure and report as artifacts, figures as metrics of run and model."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow.entities import Metric, RunTag
from mlflow.models.evaluation.base import EvaluationArtifact

from fmce_mlflow.errors import ArtifactError, RunError
from fmce_mlflow.evaluation.findings import Findings, ModelFacts
from fmce_mlflow.evaluation.page import evaluation_page
from fmce_mlflow.evaluation.verdict import badge
from fmce_mlflow.evaluation.weight_findings import WeightFindings
from fmce_mlflow.evaluation.weights_page import weights_page
from fmce_mlflow.promotion.version_tags import FMCS, HIGH, LOW, VERDICT
from fmce_mlflow.report.templating import plain
from fmce_mlflow.runs.run import ROLE_TAG, Run
from fmce_mlflow.safety.credentials import hide_credentials, without_credentials

if TYPE_CHECKING:
    from mlflow.data.evaluation_dataset import EvaluationDataset

MODULES, SAMPLES, SALIENCY, REPORT = "fmce_modules", "fmce_samples", "fmce_saliency", "fmce_report"
EVIDENCE, WEIGHTS = "fmce_evidence", "fmce_weights"
NOTE = "**FMCE**"  # how the run's description begins where it is ours
_NOTE_TAG = "mlflow.note.content"  # what the MLflow UI shows as the run's description
_TABLES_TAG = "mlflow.loggedArtifacts"  # what the MLflow UI shows as tables


class TableArtifact(EvaluationArtifact):
    """A table, in the JSON that ``mlflow.load_table`` reads; its content is a DataFrame."""

    def _save(self, output_artifact_path: str) -> None:
        Path(output_artifact_path).write_text(table_json(self._content), encoding="utf-8")

    def _load_content_from_file(self, local_artifact_path: str) -> pd.DataFrame:
        values = json.loads(Path(local_artifact_path).read_text(encoding="utf-8"))
        table = pd.DataFrame(values["data"], columns=values["columns"])
        for name in table.columns[table.isna().all()]:
            table[name] = table[name].astype(float)
        self._content = table
        return table


class PageArtifact(EvaluationArtifact):
    """An HTML page; its content is the text."""

    def _save(self, output_artifact_path: str) -> None:
        Path(output_artifact_path).write_text(self._content, encoding="utf-8")

    def _load_content_from_file(self, local_artifact_path: str) -> str:
        self._content: str = Path(local_artifact_path).read_text(encoding="utf-8")
        return self._content


def log_findings(run: Run, findings: Findings) -> dict[str, EvaluationArtifact]:
    """Log tables, figure and report, and tag the run; gives the artifacts by name, as ``EvaluationResult`` has them.

    Artifacts of an earlier evaluation in the same run are replaced. A run that has a role keeps it.

    Raises:
        ArtifactError: If the server does not take them; says where they are kept.
    """
    tables = {MODULES: findings.module_table(), SAMPLES: findings.sample_table()}
    if len(evidence := findings.evidence_table()):
        tables[EVIDENCE] = evidence
    tags = _tags(findings)
    told = (*findings.summary.splitlines(), *findings.warnings)
    picture = findings.saliency.png if findings.saliency is not None else None
    return _log(run, tables, evaluation_page(findings), tags, told, picture)


def log_weights(run: Run, found: WeightFindings) -> dict[str, EvaluationArtifact]:
    """Log what the weights of a model tell, as :func:`log_findings` does for an evaluation on images, and metrics.

    Raises:
        ArtifactError: If the server does not take the artifacts; says where they are kept.
        RunError: If it refuses the metrics.
    """
    tags = _tags_of(found.model) | {"fmce.modules": ",".join(one.name for one in found.modules)[:5000]}
    told = (*found.summary.splitlines(), *found.warnings)
    artifacts = _log(run, {WEIGHTS: found.table()}, weights_page(found), tags, told)
    log_values(run, found.metrics, {"model_id": found.model.model_id or None}, WEIGHTS)
    return artifacts


def _log(
    run: Run,
    tables: Mapping[str, pd.DataFrame],
    page: str,
    tags: Mapping[str, str],
    told: Sequence[str],
    picture: bytes | None = None,
) -> dict[str, EvaluationArtifact]:
    """Tables, the page and the picture as artifacts; tags; and what is told in the run's description."""
    logged = run.fetch()
    root = logged.info.artifact_uri.rstrip("/")
    artifacts: dict[str, EvaluationArtifact] = {
        name: TableArtifact(f"{root}/{name}.json", table)  # type: ignore[no-untyped-call]
        for name, table in tables.items()
    }
    artifacts[REPORT] = PageArtifact(f"{root}/{REPORT}.html", page)  # type: ignore[no-untyped-call]
    with ExitStack() as cleared:
        folder = tempfile.mkdtemp(prefix=f"fmce_evaluation_{run.id}_")
        cleared.callback(shutil.rmtree, folder, ignore_errors=True)
        for artifact in artifacts.values():
            artifact._save(str(Path(folder, Path(artifact.uri).name)))
        if picture is not None:
            path = Path(folder, f"{SALIENCY}.png")
            path.write_bytes(picture)
            from mlflow.models.evaluation.artifacts import ImageEvaluationArtifact  # imports pyplot

            artifacts[SALIENCY] = ImageEvaluationArtifact(f"{root}/{SALIENCY}.png")
            artifacts[SALIENCY]._load(str(path))
        try:
            run.client.log_artifacts(run.id, folder)
            tags = {**tags, **_common_tags(tables, told, logged.data.tags)}
            run.client.log_batch(run.id, tags=[RunTag(k, hide_credentials(v)) for k, v in tags.items()])
        except Exception as error:  # each kind of store has errors of its own, such as a package that is not there
            cleared.pop_all()  # it stays where it is, for a copy could fail as well
            raise ArtifactError(
                f"The tracking server at {without_credentials(run.client.tracking_uri)} does not take the evaluation: "
                f"{hide_credentials(error)} Its tables, figure and report are kept in {folder}."
            ) from error
    return artifacts


def log_metrics(run: Run, findings: Findings, dataset: EvaluationDataset, known: Collection[str] = ()) -> None:
    """Log the figures to the run, tied to the logged model and the dataset, but for those that it has.

    Raises:
        RunError: If the server refuses them; the artifacts have them all.
    """
    tied: dict[str, Any] = {"model_id": findings.model.model_id or None}
    if dataset.digest:
        tied |= {"dataset_name": dataset.name, "dataset_digest": dataset.digest}
    new = {name: value for name, value in findings.metrics.items() if name not in known}
    log_values(run, new, tied, MODULES)


def log_values(run: Run, values: Mapping[str, float], tied: Mapping[str, Any], table: str) -> None:
    """Log metrics, tied to what they are of; if the server refuses, a RunError says which table has them."""
    now = int(time.time() * 1000)
    try:
        metrics = [Metric(name, value, now, 0, run_id=run.id, **tied) for name, value in values.items()]
        run.client.log_batch(run.id, metrics)
    except Exception as error:
        raise RunError(
            f"The tracking server at {without_credentials(run.client.tracking_uri)} refuses the metrics: "
            f"{hide_credentials(error)} "
            f"The figures are in the artifacts {table}.json and {REPORT}.html of run {run.id}."
        ) from error


def table_json(table: pd.DataFrame) -> str:
    """A table as MLflow's ``log_table`` writes it, but for blanks; NaN becomes null."""
    return str(table.to_json(orient="split", index=False))


def _tags(findings: Findings) -> dict[str, str]:
    """Model, modules, predictor and images."""
    return (
        _tags_of(findings.model)
        | {
            "fmce.modules": ",".join(module.name for module in findings.modules)[:5000],
            "fmce.least_mature": findings.least.name if findings.deciding else "",
            "fmce.first_immature": findings.fallen[0].name if findings.fallen else "",
            "fmce.unknown_modules": ",".join(module.name for module in findings.modules if not module.known)[:5000],
            "fmce.predictor": findings.predictor.identity,
            "fmce.images": findings.images.identity,
            "fmce.image_set": findings.images.text[:5000],
            VERDICT: badge(findings),
        }
        | ({} if not findings.deciding else {tag: f"{value:.6g}" for tag, value in _of_least(findings).items()})
    )


def _of_least(findings: Findings) -> dict[str, float]:
    least = findings.least
    return {FMCS: least.fmcs, LOW: least.low, HIGH: least.high}


def _tags_of(model: ModelFacts) -> dict[str, str]:
    return {"fmce.model_uri": model.uri, **({"fmce.model_id": model.model_id} if model.model_id else {})}


def _common_tags(names: Iterable[str], told: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """The role, which artifacts are tables, and the run's description, where it is not somebody else's."""
    try:
        tables = json.loads(known.get(_TABLES_TAG, "[]"))
    except ValueError:
        tables = []  # not what MLflow wrote
    tables = tables if isinstance(tables, list) else []
    for name in names:
        entry = {"path": f"{name}.json", "type": "table"}
        if entry not in tables:
            tables.append(entry)
    tags = {_TABLES_TAG: json.dumps(tables)}
    if known.get(_NOTE_TAG, NOTE).startswith(NOTE):
        tags[_NOTE_TAG] = "\n\n".join([NOTE, *map(plain, told), f"More in the artifact `{REPORT}.html`."])[:5000]
    return tags if ROLE_TAG in known else {ROLE_TAG: "evaluation", **tags}
