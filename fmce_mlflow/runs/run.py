"""A run as an object: client, id and voice, role, JSON, nested runs, and the one closing. Loads no torch."""

from __future__ import annotations

import json
import posixpath
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmce_mlflow.errors import NotStoredError
from fmce_mlflow.runs.artifacts import artifact_repository, not_stored, using_store
from fmce_mlflow.safety.credentials import enters, hide_credentials
from fmce_mlflow.safety.terminal import tell

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.entities import Run as Logged

ROLE_TAG = "fmce.role"
PARENT_TAG = "mlflow.parentRunId"
MOST_PARAM = 6000  # characters


@dataclass(frozen=True, slots=True)
class Run:
    """One MLflow run and who speaks for it.

    Attributes:
        client: MLflow client; nothing depends on the URI or the run that is active in the process.
        id: The run's id.
        say: Prints a line for the user.

    Example:
        >>> from mlflow import MlflowClient
        >>> client = MlflowClient("sqlite://")  # a database in memory
        >>> parent = Run.create(client, "0", name="study", role="tuning", say=lambda line: None)
        >>> with parent.closing(), parent.nested("trial", role="fmce_net").closing() as child:
        ...     _ = child.log_json({"rows": 3}, "counts.json")
        >>> parent.fetch().info.status, child.fetch().data.tags["mlflow.parentRunId"] == parent.id
        ('FINISHED', True)
    """

    client: MlflowClient
    id: str
    say: Callable[[str], None] = tell

    def __post_init__(self) -> None:
        enters(self.client.tracking_uri)

    @classmethod
    def create(
        cls,
        client: MlflowClient,
        experiment: str,
        *,
        role: str,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        say: Callable[[str], None] = tell,
    ) -> Run:
        """A new run in an experiment, by its id."""
        shown = {key: hide_credentials(value) for key, value in {ROLE_TAG: role, **(tags or {})}.items()}
        made = client.create_run(experiment, run_name=name and hide_credentials(name), tags=shown)
        return cls(client, made.info.run_id, say)

    def nested(self, name: str | None = None, *, role: str, tags: Mapping[str, str] | None = None) -> Run:
        """A new run below this one, which speaks with the same voice."""
        experiment = self.fetch().info.experiment_id
        below = {PARENT_TAG: self.id, **(tags or {})}
        return Run.create(self.client, experiment, role=role, name=name, tags=below, say=self.say)

    def saying_once(self) -> Run:
        """The same run, which says a line the first time only: for what is tried again."""
        said: set[str] = set()

        def say(line: str) -> None:
            if line not in said:
                said.add(line)
                self.say(line)

        return replace(self, say=say)

    def fetch(self) -> Logged:
        """What MLflow has of it now: info, params, tags, metrics and inputs."""
        return self.client.get_run(self.id)

    def set_role(self, role: str) -> None:
        """Tag it with its role, by which MLflow's search finds it."""
        self.client.set_tag(self.id, ROLE_TAG, role)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set several tags, in their order, without credentials."""
        for key, value in tags.items():
            self.client.set_tag(self.id, key, hide_credentials(value))

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters that the run does not have yet: as text without credentials, as long as MLflow takes it."""
        from mlflow.entities import Param  # here, so that a command's help loads no MLflow

        known = self.fetch().data.params
        new = [Param(key, hide_credentials(value)[:MOST_PARAM]) for key, value in params.items() if key not in known]
        self.client.log_batch(self.id, params=new)

    def log_metrics(self, metrics: Mapping[str, float], *, step: int = 0, timestamp: int = 0) -> None:
        """Log several metrics of one step; with the same timestamp, again is the same rows again."""
        from mlflow.entities import Metric

        self.client.log_batch(self.id, metrics=[Metric(key, value, timestamp, step) for key, value in metrics.items()])

    def lacking(self, metrics: Sequence[Metric]) -> list[Metric]:
        """Those metrics that the run does not have at their step."""
        names = dict.fromkeys(m.key for m in metrics)
        logged = {name: {m.step for m in self.client.get_metric_history(self.id, name)} for name in names}
        return [m for m in metrics if m.step not in logged[m.key]]

    def log_json(self, value: Any, path: str) -> bytes:
        """Log a JSON artifact, and return its bytes; NaN, which JSON lacks, is refused."""
        data = json.dumps(value, indent=1, allow_nan=False).encode()
        self.log_bytes(data, path)
        return data

    def log_bytes(self, data: bytes, path: str) -> None:
        """Log bytes as the artifact of a path; the client's own ``log_text`` would change line ends on Windows.

        Raises:
            NotStoredError: If the store does not have it then.
        """
        with tempfile.TemporaryDirectory(prefix="fmce-") as folder:
            local = Path(folder, Path(path).name)
            local.write_bytes(data)
            self.send(local, path)
        self.check_stored(artifact_repository(self.client, self.id), {path: len(data)})

    def send(self, local: Path, path: str) -> None:
        """Upload a file, which has its name, as the artifact of a path; whether it is there is not looked at."""
        with using_store(f"run {self.id}"):
            self.client.log_artifact(self.id, str(local), posixpath.dirname(path) or None)

    def check_stored(self, repository: Any, sizes: Mapping[str, int]) -> None:
        """Look whether the run's store has what was sent: files by path, with their bytes.

        Raises:
            NotStoredError: If it does not.
        """
        with using_store(f"run {self.id}"):
            missing = not_stored(repository, sizes)
        if missing:
            raise NotStoredError(missing, f"run {self.id}")

    @contextmanager
    def closing(self, *, finishes: tuple[type[BaseException], ...] = ()) -> Iterator[Run]:
        """Close the run at the end of the block: FINISHED, KILLED by Ctrl-C or SIGTERM, or else FAILED.

        Args:
            finishes: Errors that are results, such as a refused promotion: they pass on, and the run is FINISHED.

        Yields:
            Run: This run.
        """
        try:
            yield self
        except BaseException as error:
            self.end(error, finishes)
            raise
        self.client.set_terminated(self.id, "FINISHED")

    def end(self, error: BaseException, finishes: tuple[type[BaseException], ...] = ()) -> None:
        """Close it after an error, which is what the user needs to read, and not that of closing after it."""
        with suppress(Exception):
            self.client.set_terminated(self.id, "FINISHED" if isinstance(error, finishes) else status_after(error))


def status_after(error: BaseException) -> str:
    """The status of a run that ended so: KILLED by Ctrl-C or SIGTERM, else FAILED."""
    return "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
