#!/usr/bin/env bash
# WeightWatcher 0.7.7: importing it gives the root logger a handler and a level, so a program's own logging set-up is lost.
#
# The import calls logging.basicConfig at module level. logging.basicConfig does nothing where a root handler exists, so
# a program that sets up logging after its imports, as programs do, keeps WeightWatcher's handler on standard error, and
# its own file, format and level never come into being. One expects a library to touch its own logger alone.
# Output seen:
#   before the import: 0 handlers, level WARNING
#   after the import: 1 handler, level INFO
#   the program's log file exists: False
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check weightwatcher==0.7.7 torch==2.14.1
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2>/dev/null | grep -E "import:|exists:" | tee seen.txt
import logging
import pathlib

root = logging.getLogger()
print(f"before the import: {len(root.handlers)} handlers, level {logging.getLevelName(root.level)}")
import weightwatcher

print(f"after the import: {len(root.handlers)} handler, level {logging.getLevelName(root.level)}")
logging.basicConfig(filename="program.log", level=logging.DEBUG)
logging.debug("a line of the program")
print(f"the program's log file exists: {pathlib.Path('program.log').exists()}")
PYTHON
diff seen.txt - <<'SEEN' && echo "Importing WeightWatcher still sets up logging for the whole program."
before the import: 0 handlers, level WARNING
after the import: 1 handler, level INFO
the program's log file exists: False
SEEN
