#!/usr/bin/env bash
# Lightning 2.6.6: after Ctrl-C in prepare_data() or setup() the process ignores every later Ctrl-C.
#
# At KeyboardInterrupt the trainer sets SIGINT to "ignore" for the time of its shutdown and then raises SystemExit(1).
# Interrupted in a training step, it puts the former handler back. It has noted that handler only after setup, however:
# interrupted before (while data are downloaded, the likeliest moment), nothing puts it back. A notebook or a sweep that
# catches SystemExit, and goes on, can't be interrupted any more. One expects the handler back in each case.
# Output seen (handler of SIGINT after fit):
#   prepare_data   SystemExit(1), then ignored
#   setup          SystemExit(1), then ignored
#   training_step  SystemExit(1), then as before
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 lightning==2.6.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2>/dev/null | tee seen.txt
import signal

import lightning
import torch
from torch.utils.data import DataLoader


class Net(lightning.LightningModule):
    def __init__(self, interrupted):
        super().__init__()
        self.layer, self.interrupted = torch.nn.Linear(2, 1), interrupted

    def prepare_data(self): self.reach("prepare_data")
    def setup(self, stage): self.reach("setup")
    def configure_optimizers(self): return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch, index):
        self.reach("training_step")
        return self.layer(batch).mean()

    def reach(self, name):
        if name == self.interrupted:
            signal.raise_signal(signal.SIGINT)  # what Ctrl-C does


quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
for name in ("prepare_data", "setup", "training_step"):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        lightning.Trainer(max_epochs=1, accelerator="cpu", **quiet).fit(Net(name), DataLoader(torch.ones(4, 2)))
    except SystemExit as end:
        handler = signal.getsignal(signal.SIGINT)
        states = {signal.SIG_IGN: "ignored", signal.default_int_handler: "as before"}
        print(f"{name:14} SystemExit({end.code}), then {states.get(handler, handler)}")
PYTHON
diff seen.txt - <<'SEEN' && echo "Lightning still leaves Ctrl-C ignored."
prepare_data   SystemExit(1), then ignored
setup          SystemExit(1), then ignored
training_step  SystemExit(1), then as before
SEEN
