"""Writes what repeats the options: MLproject, and the tables in the docs. ``python -m fmce_mlflow.cli.reference``.

A table stands in a page of ``docs/`` between two comments, the first of which says whose options it lists::

    <!-- options of: fmce train-backbone TrainingConfig -->
    <!-- end of options -->

Here those of a command which are also fields of a class; without a class, all that the command has. A class alone gives
the keys that Python and ``evaluator_config`` take.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.cli.main import main
from fmce_mlflow.evaluation.options import EvaluatedOn, EvaluationConfig, EvaluationImages
from fmce_mlflow.fmcs_dataset.options import SourceOptions
from fmce_mlflow.gate.options import GateOptions
from fmce_mlflow.gate.policy import Policy
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.images.config import ImageOptions, SplitOptions
from fmce_mlflow.method.training.config import TrainingConfig
from fmce_mlflow.predictor.options import CalibrationOptions, NetOptions
from fmce_mlflow.promotion.options import PromotionOptions
from fmce_mlflow.runs.uploads.options import UploadOptions
from fmce_mlflow.safety.options import Row, all_rows
from fmce_mlflow.tuning.options import TuneOptions

ROOT = Path(__file__).parents[2]
CLASSES: dict[str, Any] = {
    one.__name__: one
    for one in (
        BackboneOptions, SplitOptions, ImageOptions, TrainingConfig, ConvergenceConfig, UploadOptions, SourceOptions,
        NetOptions, CalibrationOptions, TuneOptions, EvaluationConfig, EvaluationImages, EvaluatedOn,
        PromotionOptions, GateOptions, Policy,
    )
}  # fmt: skip
_TABLE = re.compile(r"(<!-- options of: (.+?) -->\n).*?(<!-- end of options -->)", re.DOTALL)
_HEAD = """\
# Written by `python -m fmce_mlflow.cli.reference` from the options of the `fmce` command of the same name.
name: fmce-mlflow

conda_env: conda.yaml

entry_points:
"""


def mlproject() -> str:
    """The text of MLproject: an entry point for each script in ``entrypoints/``."""
    names = [name for name in main.commands if (ROOT / "entrypoints" / f"{_key(name)}.py").exists()]
    return _HEAD + "\n".join(_entry_point(name) for name in names)


def page(text: str) -> str:
    """A page of the docs with its tables of options written anew."""
    return _TABLE.sub(lambda found: f"{found[1]}{_table(found[2].split())}{found[3]}", text)


def files() -> Iterator[tuple[Path, str]]:
    """Each file that repeats options, and what it is to say."""
    yield ROOT / "MLproject", mlproject()
    for path in sorted((ROOT / "docs").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if (written := page(text)) != text or _TABLE.search(text):
            yield path, written


def _key(name: str) -> str:
    return name.replace("-", "_")


def _options(command: str) -> list[click.Option]:
    return [one for one in main.commands[command].params if isinstance(one, click.Option)]


def _entry_point(name: str) -> str:
    lines = [f"  {_key(name)}:", "    parameters:"]
    words = [f"python -m entrypoints.{_key(name)}"]
    for one in main.commands[name].params:
        declared = {"type": "string", "default": "" if one.multiple else one.default}
        flow = yaml.safe_dump(declared, default_flow_style=True, sort_keys=False, width=10_000).strip()
        lines.append(f"      {one.name}: {flow}")
        words.append(f"{one.opts[0]} {{{one.name}}}" if isinstance(one, click.Option) else f"{{{one.name}}}")
    glued = " ".join(word.replace(" ", "\0") for word in words)  # an option and its value stay on one line
    folded = textwrap.wrap(glued, 112, break_long_words=False, break_on_hyphens=False)
    lines += ["    command: >-", *(f"      {line}" for line in folded)]
    return "\n".join(lines).replace("\0", " ") + "\n"


def _table(words: Sequence[str]) -> str:
    stated = [row for word in words if word in CLASSES for row in all_rows(CLASSES[word])]
    if words[0] != "fmce":
        return _markdown(
            "key", [(f"`{row.field}`", _code(row.default), _values(row), _for_python(row)) for row in stated]
        )
    named = {row.key for row in stated}
    cells = []
    for one in _options(words[1]):
        if not named or one.name in named:
            row: Row | None = getattr(one, "row", None)
            values = _values(row) if row else ", ".join(f"`{choice}`" for choice in getattr(one.type, "choices", ()))
            default = "" if one.multiple else one.default
            cells.append((f"`{one.opts[0]}`", _code(default), values, str(one.help).partition("  [default:")[0]))
    return _markdown("option", cells)


def _for_python(row: Row) -> str:
    """The help, which says how a command line writes None, with None."""
    return re.sub(r"; (auto|empty): ", "; None: ", row.option.help) if row.default is None else row.option.help


def _values(row: Row) -> str:
    if row.choices:
        return ", ".join(f"`{choice}`" for choice in row.choices)
    return row.range or row.option.must or {bool: "`true`, `false`", int: "whole number"}.get(row.kind, "")


def _code(default: object) -> str:
    return "" if default in ("", ()) else f"`{default}`"


def _markdown(first: str, cells: Sequence[tuple[str, ...]]) -> str:
    lines = [(first, "default", "values", "what it decides"), ("---",) * 4, *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("|  |", "| |").replace("|  |", "| |")


if __name__ == "__main__":
    for path, text in files():
        path.write_text(text, encoding="utf-8")
