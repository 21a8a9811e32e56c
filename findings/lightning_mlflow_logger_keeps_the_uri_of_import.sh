#!/usr/bin/env bash
# Lightning 2.6.6, MLflow 3.17.2: MLFlowLogger takes MLflow's tracking URI as it was when Lightning was imported.
#
# The default of its argument `tracking_uri` is os.getenv("MLFLOW_TRACKING_URI"), which Python works out once, at the
# import. mlflow.set_tracking_uri(...) sets that variable, so that it counts for a logger made later only if Lightning
# is imported later still. One expects the order of imports not to matter, and a logger to use the URI that MLflow has
# when the logger is made: its documentation says "defaults to `MLFLOW_TRACKING_URI` environment variable if set".
# Instead it falls back to the folder ./mlruns, which this MLflow refuses (an older one fills it: the run is then in a
# store where nobody looks). Passing tracking_uri=mlflow.get_tracking_uri() helps.
# Output seen:
#   URI set, then Lightning imported   1 run in runs.db
#   Lightning imported, then URI set   MlflowException: The filesystem tracking backend (e.g., './mlruns')
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 lightning==2.6.6 mlflow==3.17.2
cd "$work"
unset MLFLOW_TRACKING_URI
cat > order.py <<'PYTHON'
import sys

import mlflow

if sys.argv[1] == "lightning first":
    import lightning
mlflow.set_tracking_uri("sqlite:///runs.db")
from lightning.pytorch.loggers import MLFlowLogger

order = {"uri first": "URI set, then Lightning imported", "lightning first": "Lightning imported, then URI set"}
print(order[sys.argv[1]], end="   ")
try:
    MLFlowLogger("a").run_id  # makes the run
    print(len(mlflow.search_runs(experiment_names=["a"])), "run in runs.db")
except mlflow.MlflowException as error:
    print(f"MlflowException: {str(error).split(' is ')[0]}")
PYTHON
for first in "uri first" "lightning first"; do
    "$work/venv/bin/python" order.py "$first" 2>/dev/null
done | tee seen.txt
diff seen.txt - <<'SEEN' && echo "The logger still keeps the URI of the import."
URI set, then Lightning imported   1 run in runs.db
Lightning imported, then URI set   MlflowException: The filesystem tracking backend (e.g., './mlruns')
SEEN
