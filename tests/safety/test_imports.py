from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from fmce_mlflow.safety.imports import quick_imports


def test_what_was_imported_is_not_looked_through_for_garbage_and_lightning_can_still_be_imported():
    code = """
import gc, sys
from fmce_mlflow.safety.imports import quick_imports
with quick_imports():
    import mlflow.pytorch
    assert not gc.isenabled()
assert gc.isenabled() and gc.get_freeze_count() > 100_000, gc.get_freeze_count()
assert "pytorch_lightning" not in sys.modules
import pytorch_lightning
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_where_little_is_imported_or_it_fails_everything_is_as_before():
    frozen, lightning = gc.get_freeze_count(), sys.modules.get("pytorch_lightning")
    with pytest.raises(ModuleNotFoundError), quick_imports():
        import no_such_module  # noqa: F401
    assert gc.isenabled() and gc.get_freeze_count() == frozen
    assert sys.modules.get("pytorch_lightning") is lightning
