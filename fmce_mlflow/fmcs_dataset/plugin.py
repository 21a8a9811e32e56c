"""Plugin ``mlflow.dataset_source``: where an FMCS-dataset lies.

MLflow loads it in every process that uses ``mlflow.data``, so it imports nothing heavy before it is asked to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlflow.data.dataset_source import DatasetSource
from mlflow.exceptions import MlflowException

if TYPE_CHECKING:
    import pandas as pd


class FmcsDatasetSource(DatasetSource):
    """The run that built an FMCS-dataset, as ``mlflow.data.get_source`` gives it back from a run's dataset input."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    @staticmethod
    def _get_source_type() -> str:
        return "fmcs_dataset"

    def load(self) -> pd.DataFrame:
        """The table, from MLflow's current tracking server.

        Raises:
            RunError: If the run has no FMCS-dataset.
            ArtifactError: If it cannot be read.
        """
        from mlflow import MlflowClient

        from fmce_mlflow.fmcs_dataset.table import load_fmcs_dataset

        return load_fmcs_dataset(MlflowClient(), self.run_id)

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        return False  # it is made from a run, never guessed from a path

    @classmethod
    def _resolve(cls, raw_source: Any) -> FmcsDatasetSource:
        raise MlflowException(f"{raw_source!r} does not name an FMCS-dataset; pass FmcsDatasetSource(run_id).")

    def to_dict(self) -> dict[str, Any]:
        """As MLflow stores it."""
        from fmce_mlflow.fmcs_dataset.table import PARQUET

        return {"uri": f"runs:/{self.run_id}/{PARQUET}", "run_id": self.run_id}

    @classmethod
    def from_dict(cls, source_dict: dict[str, Any]) -> FmcsDatasetSource:
        """From :meth:`to_dict`."""
        return cls(source_dict["run_id"])
