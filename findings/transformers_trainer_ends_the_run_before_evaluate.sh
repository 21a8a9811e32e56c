#!/usr/bin/env bash
# Transformers 5.24.0, MLflow 3.17.2: with report_to="mlflow", what follows train() goes into a second run.
#
# Trainer's own MLflow callback comes before one's own and ends the run in on_train_end. A later callback's
# on_train_end finds no active run, and mlflow.log_metric there, or trainer.evaluate() after train(), opens another run
# without a word. One expects the last figures of a training in its run. Starting the run oneself
# (`with mlflow.start_run():` around both) keeps it open.
# Output seen (metrics of each run):
#   active run in a callback's on_train_end: None
#   run 1 has train_loss
#   run 2 has eval_loss final
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.14.1 transformers==5.24.0 accelerate==1.15.0 mlflow==3.17.2
cd "$work"
export MLFLOW_TRACKING_URI="sqlite:///runs.db"
unset MLFLOW_RUN_ID MLFLOW_EXPERIMENT_NAME MLFLOW_NESTED_RUN
"$work/venv/bin/python" - <<'PYTHON' 2>/dev/null | grep -v "^{" | tee seen.txt
import mlflow
import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x, labels):
        out = self.layer(x)[:, 0]
        return {"loss": (out - labels).square().mean(), "logits": out}


class Last(TrainerCallback):
    def on_train_end(self, args, state, control, **kwargs):
        print("active run in a callback's on_train_end:", mlflow.active_run())
        mlflow.log_metric("final", 1.0)


data = [{"x": torch.ones(2), "labels": torch.tensor(1.0)}] * 4
quick = {"max_steps": 2, "use_cpu": True, "save_strategy": "no", "disable_tqdm": True}
arguments = TrainingArguments("out", report_to="mlflow", **quick)
trainer = Trainer(Net(), arguments, train_dataset=data, eval_dataset=data, callbacks=[Last()])
trainer.train()
trainer.evaluate()
mlflow.flush_async_logging()
mlflow.end_run()
runs = mlflow.search_runs(experiment_names=["Default"], order_by=["start_time"], output_format="list")
for number, run in enumerate(runs, 1):
    print("run", number, "has", *sorted({"train_loss", "eval_loss", "final"} & set(run.data.metrics)))
PYTHON
diff seen.txt - <<'SEEN' && echo "The run still ends too soon."
active run in a callback's on_train_end: None
run 1 has train_loss
run 2 has eval_loss final
SEEN
