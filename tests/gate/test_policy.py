from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.gate.policy import Policy
from fmce_mlflow.promotion.options import Target

PAGE = (Path(__file__).parents[2] / "docs" / "gate.md").read_text(encoding="utf-8")


def test_the_policies_of_the_docs_are_policies():
    texts = re.findall(r"^```yaml\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    policies = [text for text in texts if "require" in text and "jobs:" not in text]
    assert policies
    for text in policies:
        assert Policy.parse(text).target == Target("alias", "champion")


def test_what_is_kept_of_a_policy_is_the_same_policy():
    policy = Policy.parse("stage: production\nrequire: fmcs_predicted > 0.5, val_loss<=1\nnot_worse_by: 0")
    assert yaml.safe_load(policy.text) == {
        "stage": "production", "require": ["fmcs_predicted>0.5", "val_loss<=1"], "not_worse_by": 0.0,
        "unsure": "figures",
    }  # fmt: skip
    assert Policy.parse(policy.text) == policy and policy.target == Target("stage", "Production")
    assert policy.digest("a") == Policy.parse(policy.text).digest("a") != policy.digest("b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "must be keys with values"),
        ("- alias", "must be keys with values"),
        ("alias: [", "it is no YAML"),
        ("alias: a\nalias: b\nnot_worse_by: 0", "alias stands there more than once"),
        ("alias: a", "asks for nothing"),
        ("require: fmcs_predicted>=0.9", "name one of alias and stage"),
        ("alias: a\nstage: Staging\nnot_worse_by: 0", "name one of alias and stage"),
        ("stage: Prodution\nnot_worse_by: 0", "Did you mean Production"),
        ("alias: latest\nnot_worse_by: 0", "alias must be"),
        ("alias: a\nnot_worse_by: -1", "not_worse_by must not be negative"),
        ("alias: a\nnot_worse_by: true", "not_worse_by must be a number"),
        ("alias: a\nnot_worse_by: 0\nunsure: kep", "Did you mean keep"),
        ("alias: a\nrequire:\n  fmcs_predicted: 0.9", "require must be a list of texts"),
        ("alias: a\nrequire: [0.9]", "require must be a list of texts"),
        ("alias: a\nrequires: [fmcs_predicted>=0.9]", "no key 'requires'. Did you mean require"),
    ],
)
def test_a_mistake_in_a_policy_is_told(text, expected, tmp_path):
    (tmp_path / "gate.yaml").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(expected)) as raised:
        Policy.read(str(tmp_path / "gate.yaml"))
    assert all(f"{tmp_path / 'gate.yaml'}: " in problem for problem in raised.value.problems)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ConfigError) as raised:
        Policy.parse("alias: a b\nrequire: [x, 'y>1']\nnot_worse: 0.1\nunsure: no")
    assert len(raised.value.problems) == 4, raised.value


@pytest.mark.parametrize("kind", ["missing", "a folder", "not UTF-8", "too large"])
def test_a_file_that_is_no_policy_is_told(tmp_path, kind):
    path = tmp_path / "gate.yaml"
    if kind == "a folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(b"\xff\xfe" if kind == "not UTF-8" else b"#" * 70_000)
    with pytest.raises(ConfigError, match=r"policy .*gate\.yaml"):
        Policy.read(str(path))


def test_metrics_that_nobody_logs_are_told_with_the_near_ones():
    policy = Policy.parse("alias: a\nrequire: [val_acuracy>1, fmcs_predcted>0, fmcs_low>0, focus/x>0, val_loss<1]")
    with pytest.raises(ConfigError) as raised:
        policy.check_logged({"val_accuracy", "val_loss"})
    first, second = raised.value.problems
    assert "Did you mean val_accuracy" in first and "Did you mean fmcs_predicted" in second


def test_the_figures_that_are_compared_are_those_required_and_the_score():
    only = Policy.parse("alias: a\nrequire: [val_accuracy>0.5]")
    both = Policy.parse("alias: a\nrequire: [val_accuracy>0.5]\nnot_worse_by: 0.1\nunsure: keep")
    assert only.promotion("models:/x/1", "run").compare_to == ""
    options = both.promotion("models:/x/1", "run")
    assert [str(one) for one in options.require] == ["val_accuracy>0.5", "fmcs_predicted>=0"]
    assert (options.compare_to, options.tolerance, options.unsure) == ("alias:a", 0.1, "keep")
