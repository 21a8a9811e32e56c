#!/usr/bin/env bash
# PyTorch 2.14.1: removing a parametrization from a deep copy takes the weight away from the original.
#
# register_parametrization gives a module a class of its own, with `weight` as a property. copy.deepcopy copies the
# module and not that class, and remove_parametrizations deletes the property from the class that both share. The copy
# is right then; the original still says that it is parametrized, has no `weight`, and cannot be called. One expects a
# deep copy to be independent. (Whoever needs plain weights of a copy has to undo this, or to rebuild the module.)
# Output seen:
#   before    copy True original True
#   removed   copy True original False
#   original is parametrized: True; calling it: AttributeError
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2>/dev/null | tee seen.txt
import copy

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

original = parametrizations.weight_norm(nn.Linear(3, 2))
other = copy.deepcopy(original)
print("before    copy", hasattr(other, "weight"), "original", hasattr(original, "weight"))
parametrize.remove_parametrizations(other, "weight")
print("removed   copy", hasattr(other, "weight"), "original", hasattr(original, "weight"))
try:
    original(torch.ones(1, 3))
    outcome = "works"
except Exception as error:
    outcome = type(error).__name__
print(f"original is parametrized: {parametrize.is_parametrized(original, 'weight')}; calling it: {outcome}")
PYTHON
diff seen.txt - <<'SEEN' && echo "Copies still share their class."
before    copy True original True
removed   copy True original False
original is parametrized: True; calling it: AttributeError
SEEN
