#!/usr/bin/env bash
# Ultralytics 8.4.190, MLflow 3.17.2: once pytest is imported, a training logs nothing to MLflow.
#
# Ultralytics (AGPL-3.0; only installed and run here) takes an imported pytest as a sign that its own tests run, and its
# MLflow callback then returns unless the running test's name contains "test_mlflow". Nothing says so. One expects a
# test of one's own training to see the run that the training makes outside a test, or to be told why there is none.
# Output seen (runs in the store after one epoch, without and with `import pytest` at the top):
#   plain 1
#   pytest 0
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.14.1 ultralytics==8.4.190 mlflow==3.17.2 pytest==9.2.0
cd "$work"
export YOLO_CONFIG_DIR="$work" YOLO_OFFLINE=true MLFLOW_EXPERIMENT_NAME=yolo
unset PYTEST_CURRENT_TEST GITHUB_ACTIONS MLFLOW_RUN
cat > train.py <<'PYTHON'
import os
import sys
from pathlib import Path

if sys.argv[1] == "pytest":
    import pytest
import numpy as np
from PIL import Image

os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{sys.argv[1]}.db"
import mlflow
from ultralytics import YOLO, settings

settings.update({"mlflow": True})
for folder in ("images", "labels"):
    Path("set", folder).mkdir(parents=True, exist_ok=True)
for number in range(4):
    Image.fromarray(np.full((64, 64, 3), 60 * number, np.uint8)).save(f"set/images/{number}.png")
    Path(f"set/labels/{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
Path("set.yaml").write_text(f"path: {Path('set').resolve()}\ntrain: images\nval: images\nnames: [thing]\n")
quick = {"epochs": 1, "imgsz": 64, "batch": 4, "device": "cpu", "workers": 0, "plots": False, "verbose": False}
YOLO("yolo11n.yaml").train(data="set.yaml", project=sys.argv[1], **quick)
print(sys.argv[1], len(mlflow.search_runs(search_all_experiments=True)), file=open("counts.txt", "a"))
PYTHON
for how in plain pytest; do
    "$work/venv/bin/python" train.py $how > "$how.log" 2>&1 || { tail -5 "$how.log"; exit 1; }
done
cat counts.txt
diff counts.txt - <<'SEEN' && echo "Ultralytics still keeps silent beside pytest."
plain 1
pytest 0
SEEN
