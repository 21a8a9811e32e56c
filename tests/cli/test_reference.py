"""MLproject and the tables of options in the docs are what the options' classes say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fmce_mlflow.cli import reference
from fmce_mlflow.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]


def test_files_that_repeat_options_are_written_anew():
    for path, text in reference.files():
        told = f"{path.name} is not what the options say: run python -m fmce_mlflow.cli.reference"
        assert path.read_text(encoding="utf-8") == text, told


def test_every_entry_point_has_its_script_and_its_options():
    names = re.findall(r"^  (\w+):$", reference.mlproject(), flags=re.MULTILINE)
    assert names == [path.stem for name in names for path in [ROOT / "entrypoints" / f"{name}.py"] if path.is_file()]
    scripts = {path.stem for path in (ROOT / "entrypoints").glob("*.py")} - {"__init__"}
    assert set(names) == scripts


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_the_first_sentence_of_their_help(name):
    first = str(main.commands[name].help).partition("\n\n")[0].replace("\n", " ")
    assert first == f"{COMMANDS[name][1]}."


def test_a_table_lists_choices_bounds_and_defaults():
    text = "<!-- options of: fmce train-backbone TrainingConfig -->\nold\n<!-- end of options -->\n"
    page = reference.page(text)
    assert "| `--epochs` | `8` | at least 1 | Passes over the training images. |\n" in page
    assert "| `--optimizer` | `adamw` | `sgd`, `adamw` | Optimizer. |\n" in page
    assert "--probe-size" not in page and "old" not in page and reference.page(page) == page
    keys = reference.page("<!-- options of: EvaluationConfig -->\n<!-- end of options -->")
    assert "| `batch_size` | `64` | at least 1 | Images per forward pass. |\n" in keys and "`image_column`" in keys
