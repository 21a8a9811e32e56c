#!/usr/bin/env bash
# MLflow 3.17.2: a script that dies of an exception leaves its run FINISHED, as if all had gone well.
#
# mlflow.start_run() without `with` is ended at the interpreter's exit, by a function that knows nothing of the
# exception and so ends it with the default status. One expects FAILED, which `with mlflow.start_run():` gives for the
# same exception, or at least not the status of a success: whoever searches for status = 'FINISHED' to compare trainings
# gets those that broke among them.
# Output seen (exit code of the script, status of its run):
#   start_run()        1 FINISHED
#   with start_run()   1 FAILED
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check mlflow==3.17.2
cd "$work"
export MLFLOW_TRACKING_URI="sqlite:///runs.db"
cat > plain.py <<'PYTHON'
import mlflow

mlflow.start_run(run_name="plain")
mlflow.log_metric("loss", 1.0)
raise ValueError("the training broke")
PYTHON
cat > block.py <<'PYTHON'
import mlflow

with mlflow.start_run(run_name="block"):
    mlflow.log_metric("loss", 1.0)
    raise ValueError("the training broke")
PYTHON
for name in plain block; do
    code=0; "$work/venv/bin/python" $name.py 2>/dev/null || code=$?
    "$work/venv/bin/python" - $name $code 2>/dev/null <<'PYTHON'
import sys

import mlflow

name, code = sys.argv[1:]
runs = mlflow.search_runs(experiment_names=["Default"], filter_string=f"run_name = '{name}'", output_format="list")
print({"plain": "start_run()       ", "block": "with start_run()  "}[name], code, *(run.info.status for run in runs))
PYTHON
done | tee seen.txt
diff seen.txt - <<'SEEN' && echo "MLflow still calls it finished."
start_run()        1 FINISHED
with start_run()   1 FAILED
SEEN
