"""Lines that no terminal can end a training with."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

TELL = """
from fmce_mlflow.safety.terminal import tell
for i in range(3):
    tell(f'ρ … × {i}')
print('went on', file=sys.stderr)
"""


def run(code, **more):
    return subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}"], capture_output=True, env={**os.environ, **more}, check=False
    )


@pytest.mark.parametrize(
    ("coding", "line"), [("ascii", b"? ? ? 0"), ("latin-1", b"? ? \xd7 0"), ("utf-8", "ρ … × 0".encode())]
)
def test_what_a_terminal_lacks_is_replaced(coding, line):
    done = run(TELL, PYTHONIOENCODING=coding)
    assert done.returncode == 0 and done.stdout.splitlines()[0] == line


def test_nobody_reads_any_more():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-c", f"import sys\n{TELL}"], stdout=gone, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 0 and done.stderr.count("Nobody reads the output any more") == 1
    assert done.stderr.endswith("went on\n")


def test_there_is_no_output_at_all():
    assert run("sys.stdout = None\n" + TELL).returncode == 0


@pytest.mark.parametrize("coding", ["ascii", "latin-1", "utf-8"])
def test_helps_and_mistakes_are_shown_in_any_encoding(coding):
    for words in (["train-backbone", "--help"], ["evaluate", "--model", "x", "--ρ"]):
        done = subprocess.run(
            [sys.executable, "-m", "fmce_mlflow.cli", *words], capture_output=True, check=False,
            env={**os.environ, "PYTHONIOENCODING": coding},
        )  # fmt: skip
        assert b"Traceback" not in done.stderr and done.returncode == (0 if "--help" in words else 2)
