"""What `fmce sync` takes for a training's folder; that it uploads one whole is in the contract of uploads."""

from __future__ import annotations

import pytest

from fmce_mlflow.backbone.sync import sync
from fmce_mlflow.errors import RunError
from fmce_mlflow.runs.uploads.spool import Spool
from tests.conftest import new_run


@pytest.mark.parametrize("role", ["evaluation", "promotion", "tuning", None])
def test_a_folder_that_names_a_run_of_another_kind_leaves_it_as_it_is(client, tmp_path, role):
    """The folder may be anybody's: metrics in it would become evidence of a promotion."""
    run_id = new_run(client, **({"fmce.role": role} if role else {}))
    spool = Spool(tmp_path / "spool", run_id, client.tracking_uri)
    unit = spool.begin(1)
    (unit / "feature_maps").mkdir()
    (unit / "feature_maps" / "index.json").write_text("{}")
    spool.commit(unit, [("fmcs_predicted", 1.0, 0, 1)], None)
    spool.release()
    with pytest.raises(RunError, match="is no backbone run"):
        sync(client, tmp_path / "spool", say=lambda line: None)
    run = client.get_run(run_id)
    assert run.data.metrics == {} and run.info.status == "RUNNING" and (tmp_path / "spool" / "run.json").exists()
