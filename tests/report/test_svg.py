from __future__ import annotations

import re

import numpy as np

from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.verdict import assess
from fmce_mlflow.report.loss_chart import loss_chart
from fmce_mlflow.report.svg import histogram_chart, interval_chart, levels_chart, shortened
from fmce_mlflow.report.templating import code
from tests.helpers import reports


def numbers(svg, what):
    return [float(v) for v in re.findall(rf'{what}="(-?[\d.]+)"', svg)]


def test_a_histogram_counts_every_finite_value():
    svg = histogram_chart([0, 0.01, 0.5, 1.0, np.nan], quantity="q", count="images", label="l", mark=0.5)
    heights = numbers(svg, "height")
    assert len(heights) == 3 and heights[0] == 2 * heights[1] == 2 * heights[2]


def test_charts_stay_inside_themselves():
    converged = reports.convergence()
    never = assess([3.0, 2.0, 5.0, 1.0], ConvergenceConfig(threshold=1e-9))
    still = assess([1.0] * 4)
    charts = [
        *(loss_chart(c, label="l", small=small, here=1) for c in (converged, never, still) for small in (False, True)),
        levels_chart([0.5] * 21, label="l"),
        interval_chart([("m", 0.0, 0.0, 0.0, 1.0), ("n", 1.0, 1.0, 1.0, None)], mature=0.9, label="l"),
    ]
    for svg in charts:
        width, height = map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0])
        for name, most in (("x", width), ("x1", width), ("cx", width), ("y", height), ("y2", height), ("cy", height)):
            assert all(0 <= value <= most for value in numbers(svg, rf" {name}"))
        assert "nan" not in svg


def test_what_stands_in_backquotes_is_code():
    assert code("a `b` <c>") == "a <code>b</code> &lt;c&gt;" and code("a ` b") == "a ` b"
    assert code("`<x>`") == "<code>&lt;x&gt;</code>"


def test_long_names_lose_their_middle():
    assert shortened("a" * 50, 10) == "aaaa…aaaaa" and shortened("short", 10) == "short"
