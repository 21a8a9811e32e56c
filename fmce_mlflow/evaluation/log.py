"""Log what an evaluation found: tables, figure and report as artifacts, figures as metrics of run and model."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow.entities import Metric, RunTag
from mlflow.models.evaluation.artifacts import ImageEvaluationArtifact
from mlflow.models.evaluation.base import EvaluationArtifact

from fmce_mlflow.errors import ArtifactError, RunError
from fmce_mlflow.evaluation.findings import Findings
from fmce_mlflow.evaluation.page import evaluation_page
from fmce_mlflow.report.templating import plain
from fmce_mlflow.runs.run import ROLE_TAG, Run
from fmce_mlflow.safety.credentials import hide_credentials, without_credentials

if TYPE_CHECKING:
    from mlflow.data.evaluation_dataset import EvaluationDataset

MODULES, SAMPLES, SALIENCY, REPORT = "fmce_modules", "fmce_samples", "fmce_saliency", "fmce_report"
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
    logged = run.fetch()
    root = logged.info.artifact_uri.rstrip("/")
    tables = {MODULES: findings.module_table(), SAMPLES: findings.sample_table()}
    artifacts: dict[str, EvaluationArtifact] = {
        name: TableArtifact(f"{root}/{name}.json", table)  # type: ignore[no-untyped-call]
        for name, table in tables.items()
    }
    artifacts[REPORT] = PageArtifact(f"{root}/{REPORT}.html", evaluation_page(findings))  # type: ignore[no-untyped-call]
    with ExitStack() as cleared:
        folder = tempfile.mkdtemp(prefix=f"fmce_evaluation_{run.id}_")
        cleared.callback(shutil.rmtree, folder, ignore_errors=True)
        for artifact in artifacts.values():
            artifact._save(str(Path(folder, Path(artifact.uri).name)))
        if findings.saliency is not None:
            path = Path(folder, f"{SALIENCY}.png")
            path.write_bytes(findings.saliency.png)
            artifacts[SALIENCY] = ImageEvaluationArtifact(f"{root}/{SALIENCY}.png")
            artifacts[SALIENCY]._load(str(path))
        try:
            run.client.log_artifacts(run.id, folder)
            tags = _tags(findings, logged.data.tags)
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
    now = int(time.time() * 1000)
    tied: dict[str, Any] = {"model_id": findings.model.model_id or None, "run_id": run.id}
    if dataset.digest:
        tied |= {"dataset_name": dataset.name, "dataset_digest": dataset.digest}
    try:
        new = {name: value for name, value in findings.metrics.items() if name not in known}
        run.client.log_batch(run.id, [Metric(name, value, now, 0, **tied) for name, value in new.items()])
    except Exception as error:
        raise RunError(
            f"The tracking server at {without_credentials(run.client.tracking_uri)} refuses the metrics: "
            f"{hide_credentials(error)} "
            f"The figures are in the artifacts {MODULES}.json and {REPORT}.html of run {run.id}."
        ) from error


def table_json(table: pd.DataFrame) -> str:
    """A table as MLflow's ``log_table`` writes it; NaN becomes null."""
    return json.dumps(json.loads(table.to_json(orient="split", index=False)))


def _tags(findings: Findings, known: dict[str, str]) -> dict[str, str]:
    """Role, model and predictor, and which artifacts are tables."""
    try:
        tables = json.loads(known.get(_TABLES_TAG, "[]"))
    except ValueError:
        tables = []  # not what MLflow wrote
    tables = tables if isinstance(tables, list) else []
    for name in (MODULES, SAMPLES):
        entry = {"path": f"{name}.json", "type": "table"}
        if entry not in tables:
            tables.append(entry)
    tags = {
        "fmce.model_uri": findings.model.uri,
        "fmce.modules": ",".join(module.name for module in findings.modules)[:5000],
        "fmce.least_mature": findings.least.name if findings.deciding else "",
        "fmce.first_immature": findings.fallen[0].name if findings.fallen else "",
        "fmce.unknown_modules": ",".join(module.name for module in findings.modules if not module.known)[:5000],
        "fmce.predictor": findings.predictor.identity,
        "fmce.images": findings.images.identity,
        "fmce.image_set": findings.images.text[:5000],
        _TABLES_TAG: json.dumps(tables),
    }
    if findings.model.model_id:
        tags["fmce.model_id"] = findings.model.model_id
    if known.get(_NOTE_TAG, NOTE).startswith(NOTE):  # not somebody else's
        told = map(plain, (*findings.summary.splitlines(), *findings.warnings))
        tags[_NOTE_TAG] = "\n\n".join([NOTE, *told, f"More in the artifact `{REPORT}.html`."])[:5000]
    return tags if ROLE_TAG in known else {ROLE_TAG: "evaluation", **tags}
