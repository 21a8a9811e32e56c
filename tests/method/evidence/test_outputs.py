from __future__ import annotations

import dataclasses
import math
from collections import OrderedDict, namedtuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fmce_mlflow.method.evidence.outputs import (
    OUTPUT_FIGURES,
    POSITIONS,
    class_output,
    class_scores,
    output_evidence,
    some,
)


def logits_of(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_figures_by_hand():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], dtype=torch.float64)
    found = output_evidence(p.log() + 5)
    assert tuple(found) == OUTPUT_FIGURES

    def entropy(*values):
        return -sum(v * math.log(v) for v in values)

    mean = (entropy(0.7, 0.2, 0.1) + entropy(0.1, 0.8, 0.1)) / 2 / math.log(3)
    assert found["output entropy"] == pytest.approx(mean)
    assert found["output confidence"] == pytest.approx((0.75 - 1 / 3) / (2 / 3))
    assert found["output margin"] == pytest.approx((0.5 + 0.7) / 2)
    assert found["output information"] == pytest.approx(entropy(0.4, 0.5, 0.1) / math.log(3) - mean)
    assert found["output classes"] == pytest.approx(1)  # two predictions, two classes
    logs = p.log() - p.log().mean(1, keepdim=True)
    assert found["output spread"] == pytest.approx(math.log1p(logs.square().mean().sqrt()))
    assert found["output variation"] == pytest.approx(1 - float(logs.mean(0).square().mean() / logs.square().mean()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_probabilities_are_recognised(dtype):
    logits = logits_of(0, 12, 10)
    as_logits, as_shares = output_evidence(logits), output_evidence(logits.softmax(1).to(dtype))
    assert as_shares == pytest.approx(as_logits, abs=0.02 if dtype != torch.float32 else 1e-5)
    assert output_evidence(torch.eye(4))["output confidence"] == pytest.approx(1)


def test_a_constant_output_tells_nothing_however_sure_it_is():
    found = output_evidence(torch.tensor([[20.0, 0.0, 0.0]]).expand(8, 3))
    assert found["output confidence"] > 0.99
    assert found["output information"] == found["output variation"] == pytest.approx(0, abs=1e-12)
    assert found["output classes"] == pytest.approx(1 / 3)
    assert output_evidence(torch.zeros(8, 3))["output variation"] == 0


@pytest.mark.parametrize(
    "output",
    [
        torch.zeros(4, 1),
        torch.zeros(4),
        torch.zeros(4, 5, 6),
        torch.zeros(0, 3),
        torch.zeros(4, 1, 5, 5),
        torch.zeros(4, 3, dtype=torch.long),
        torch.tensor([[1.0, float("nan")]]),
        torch.tensor([[1.0, float("inf")]]),
    ],
    ids=lambda output: f"{tuple(output.shape)} {output.dtype}",
)
def test_other_outputs_are_not_known(output):
    assert list(output_evidence(output)) == list(OUTPUT_FIGURES)
    assert all(math.isnan(value) for value in output_evidence(output).values())


def test_a_dense_output_is_read_at_each_position():
    dense = logits_of(1, 3, 5, 2, 4)
    flat = dense.permute(0, 2, 3, 1).reshape(-1, 5)
    assert output_evidence(dense) == pytest.approx(output_evidence(flat))


def test_of_many_positions_the_same_ones_are_looked_at():
    dense = logits_of(2, 2, 3, 40, 40)
    scores = class_scores(dense)
    assert scores.shape == (2, POSITIONS, 3)
    assert torch.equal(class_scores(dense.flip(0)), scores.flip(0))
    columns = some(40 * 40, POSITIONS) % 40
    assert len(columns.unique()) == 40


@given(st.integers(0, 1000), st.floats(-50, 50), st.integers(2, 12))
@settings(deadline=None, max_examples=25)
def test_neither_order_nor_a_constant_matters(seed, shift, classes):
    logits = 3 * logits_of(seed, 9, classes).double()
    draw = torch.Generator().manual_seed(seed)
    images, channels = torch.randperm(9, generator=draw), torch.randperm(classes, generator=draw)
    found = output_evidence(logits)
    assert output_evidence(logits[images][:, channels] + shift) == pytest.approx(found, abs=1e-9)
    assert all(math.isfinite(value) for value in found.values())
    assert all(-1e-9 <= found[name] <= 1 + 1e-9 for name in OUTPUT_FIGURES if name != "output spread")


def test_class_scores_are_found_among_other_outputs():
    logits, other = torch.zeros(2, 3), torch.zeros(2, 8)
    named = namedtuple("named", ["logits", "aux"])
    made = dataclasses.make_dataclass("made", ["hidden", "logits"])
    for output in (
        logits,
        (logits,),
        [logits, torch.zeros(2, dtype=torch.long)],
        {"aux": other, "out": logits},
        OrderedDict(loss=None, logits=logits, hidden=other),
        named(logits, other),
        made(other, logits),
    ):
        assert class_output(output) is logits
    assert class_output((logits, other)) is class_output({"a": logits, "b": other}) is class_output([]) is None
