"""Text that is put where Markdown is read stays text; text that is put into pages has no secrets."""

from __future__ import annotations

import html
import re

import pytest

from fmce_mlflow.report.templating import code, plain, render

LINES = [
    "conv5: FMCS 0.50 ± 0.07, level 2 of 4; 0.62 by its training",
    "![x](http://host.example/x.png)",
    "![x][y]",
    "[x]: http://host.example/x.png",
    "[a](javascript:alert(1))",
    "<img src=http://host.example/x.png>",
    "<!-- x",
    "http://host.example/x and www.host.example",
    "me@host.example and @champion",
    ":octocat: and a:octocat:b",
    "# heading",
    "- item",
    "+ item",
    "- - -",
    "1. item",
    "2) item",
    "> quoted",
    "```",
    "`code`",
    "*a* _b_ __c__ **d** ~~e~~ layer_4.conv_1",
    "| a | b |",
    "&#33;[x](y) &lt; \\![x](y)",
    "-0.12",
]


@pytest.mark.parametrize("line", LINES)
def test_nothing_in_a_line_of_markdown_is_markup(line):
    shown = plain(line)
    assert html.unescape(shown) == line
    rest = re.sub(r"&#\d+;", "", shown)
    assert not re.search(r"[`*\[\]<>|~@\\&]|://|\bwww\.|\b_|_\b|:octocat", rest), shown
    assert not re.match(r"([-+#>]|\d+[.)])(\s|$)", shown), shown


def test_ordinary_lines_stay_readable():
    assert plain(LINES[0]) == LINES[0] and plain("layer_4.conv_1 of digits-9/3: -0.12") == (
        "layer_4.conv_1 of digits-9/3: -0.12"
    )


def test_a_line_stays_one_line():
    assert plain("a\n\n# b\r\n    code\t") == "a # b code"
    assert plain("\n- x") == "&#45; x"


def test_cells_of_a_model_card_are_text():
    hostile = "![x](http://host.example/x.png) | `b`\n# c"
    row = {"backbone": hostile, "dataset": hostile, "module": hostile, "runs": 1, "maps": 9, "channels": 3, "height": 1}
    card = render(
        "model_card.md.j2", kind="set", corpus=[row], corpus_rows=[list(row.values())], fmcs_run="3f`2a",
        columns=["predictor", "MAE"], figures={"run": [[hostile, "0.12"]]}, meaning={"run": "unseen runs"},
        calibrated=True, held=[], fails=0.2, failures={"run": [(hostile, hostile, 1, "0.31", "-0.20")]},
        known_failures=[hostile], limits=[], unmeasured=[],
        calibration={"said": hostile, "model": hostile, "modules": [hostile]},
    )  # fmt: skip
    assert "![" not in card and "http://" not in card and "\n# c" not in card and "run `3f2a`" in card
    tables = [line for line in card.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {3, 6, 8} and "| -0.20 |" in card


def test_text_in_pages_has_no_secrets():
    uri = "http://me:s3cr't0kn@host/x?token=t0kn"
    assert "t0kn" not in plain(f"at {uri}") + code(f"at `{uri}`") + code(f"odd ` {uri}")
