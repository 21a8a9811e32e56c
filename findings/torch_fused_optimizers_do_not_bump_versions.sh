#!/usr/bin/env bash
# PyTorch 2.14.1: a step of a fused optimizer changes the weights and leaves their version as it was.
#
# Every in-place operation counts up a tensor's `_version`, and so do the optimizers' plain and foreach steps. With
# fused=True the weights get the same new values and the count stays. One expects a setting that is there for speed to
# change nothing else: whoever asks `_version` whether a weight has moved since (to cache what was made from it, say) is
# told that it has not. Values have to be compared instead.
# Output seen (by how much `_version` rose in one step, the weight after it):
#   SGD    plain 1 0.9   foreach 1 0.9   fused 0 0.9
#   Adam   plain 1 0.9   foreach 1 0.9   fused 0 0.9
#   AdamW  plain 2 0.899   foreach 2 0.899   fused 0 0.899
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2>/dev/null | tee seen.txt
import torch
from torch import nn


def step(optimizer, **kind):
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    before = weight._version
    optimizer([weight], lr=0.1, **kind).step()
    return f"{weight._version - before} {weight[0].item():.3g}"


kinds = {"plain": {"foreach": False, "fused": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}
for optimizer in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
    print(f"{optimizer.__name__:6}", "   ".join(f"{name} {step(optimizer, **kind)}" for name, kind in kinds.items()))
PYTHON
diff seen.txt - <<'SEEN' && echo "Fused steps still do not count."
SGD    plain 1 0.9   foreach 1 0.9   fused 0 0.9
Adam   plain 1 0.9   foreach 1 0.9   fused 0 0.9
AdamW  plain 2 0.899   foreach 2 0.899   fused 0 0.899
SEEN
