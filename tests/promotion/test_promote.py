from __future__ import annotations

import json
import signal
import time
import warnings

import mlflow
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, LoggedModelInput, Metric

from fmce_mlflow.cli.main import main
from fmce_mlflow.errors import ConfigError, PromotionRefused, RunError
from fmce_mlflow.promotion.options import PromotionOptions, Target
from fmce_mlflow.promotion.promote import RECORD, promote
from fmce_mlflow.promotion.registry import _transition, find_model, find_version, holders, model_id_of, move
from fmce_mlflow.promotion.rules import Requirement, check_no_worse, parse_requirements
from fmce_mlflow.promotion.turns import GATE_TICKET, _tickets, one_at_a_time
from fmce_mlflow.runs.logged_models import log_saved_model, register
from fmce_mlflow.runs.metric_names import metric_name
from fmce_mlflow.runs.run import Run
from tests.conftest import new_run
from tests.helpers import promoters
from tests.helpers.faults import experiment_run
from tests.helpers.forks import FORKS
from tests.helpers.progress import until
from tests.helpers.promoters import quiet
from tests.helpers.refusing_proxy import refusing_proxy

NAME = "digits"


def save(path, description):
    path.mkdir()
    description.save(str(path / "MLmodel"))


def new_version(client, name=NAME, run_id=None, *, step=0):
    """A registered version with a logged model of no weights: a promotion reads none."""
    run_id = run_id or new_run(client, **{"fmce.role": "backbone"})
    model_id = log_saved_model(client, run_id, save, name="model", step=step)
    return client.get_model_version(name, register(client, run_id, model_id, name))


def images(digest):
    return DatasetInput(Dataset(f"images-{digest}", digest, "code", "{}"), [])


def evaluated(client, version, *, digest="aa", predictor="models:/net/1", status="FINISHED", **figures):
    """A run that looks like one of the evaluator."""
    tags = {"fmce.role": "evaluation", "fmce.predictor": predictor, "fmce.images": f"sha256:{digest} of 24"}
    run_id = new_run(client, **tags)
    client.log_batch(run_id, metrics=[Metric(name, value, 0, 0) for name, value in figures.items()])
    client.log_inputs(run_id, datasets=[images(digest)], models=[LoggedModelInput(model_id_of(version))])
    client.set_terminated(run_id, status)
    return run_id


def uri(version):
    return f"models:/{version.name}/{version.version}"


def run_promotion(client, version, *, require="fmcs_predicted>=0.9", evaluate=None, said=None, **more):
    run_id = new_run(client)
    target = {"alias": "champion"} if "stage" not in more and "alias" not in more else {}
    options = PromotionOptions(model=uri(version), require=parse_requirements([require]), **target, **more)
    decision = promote(Run(client, run_id, (said if said is not None else []).append), options, evaluate=evaluate)
    return run_id, decision


def record_of(client, run_id, tmp_path):
    with open(client.download_artifacts(run_id, RECORD, str(tmp_path))) as file:
        return json.load(file)


# Requirements


@pytest.mark.parametrize(
    ("text", "figure", "holds"),
    [
        ("m>=0.5", 0.5, True), ("m>0.5", 0.5, False), ("m<=0.5", 0.5, True), ("m<0.5", 0.5, False),
        ("m==0.5", 0.5, True), ("m>=0.5", 0.4, False), ("m < 1e-3", 1e-4, True), ("m==0.5", 0.51, False),
        ("m>=-1", float("nan"), False), ("m<1", float("nan"), False), ("m<5", float("-inf"), True),
    ],
)  # fmt: skip
def test_a_requirement_holds_or_not(text, figure, holds):
    assert Requirement.parse(text).check({"m": figure}).holds is holds


@pytest.mark.parametrize(
    "text", ["fmcs", "fmcs=0.9", "fmcs=>0.9", ">=0.9", "fmcs>=", "fmcs>=high", "a>=1>=2", "a>=nan", "a<inf"]
)
def test_a_requirement_that_cannot_be_read(text):
    with pytest.raises(ConfigError, match=r"require must be like 'fmcs_predicted>=0.9'"):
        Requirement.parse(text)


def test_requirements_are_all_read_before_any_is_complained_of():
    assert [str(r) for r in parse_requirements(["a>=1,b<2", "", "a>=1"])] == ["a>=1", "b<2"]
    with pytest.raises(ConfigError) as raised:
        parse_requirements(["a", "b>1,c"])
    assert len(raised.value.problems) == 2


@pytest.mark.parametrize(
    ("require", "mine", "theirs", "tolerance", "holds"),
    [
        ("m>=0", 0.8, 0.8, 0, True), ("m>=0", 0.79, 0.8, 0, False), ("m>=0", 0.79, 0.8, 0.02, True),
        ("m<1", 0.2, 0.3, 0, True), ("m<1", 0.4, 0.3, 0, False), ("m<1", 0.4, 0.3, 0.2, True),
        ("m>=0", float("nan"), 0.8, 0, False), ("m>=0", 0.1, float("nan"), 0, True),
        ("m>=0", float("nan"), float("nan"), 0, False),
    ],
)  # fmt: skip
def test_no_worse_is_told_by_the_direction_of_the_requirement(require, mine, theirs, tolerance, holds):
    (check,) = check_no_worse(parse_requirements([require]), {"m": mine}, "version 1", {"m": theirs}, tolerance)
    assert check.holds is holds and "of version 1" in check.requirement


@pytest.mark.parametrize(
    ("mine", "theirs", "unsure", "holds", "told"),
    [
        ((0.8, 0.78, 0.82), (0.8, 0.79, 0.81), "keep", True, "so it is not worse"),
        ((0.5, 0.4, 0.6), (0.9, 0.85, 0.95), "replace", False, "so it is worse"),
        ((0.7, 0.5, 0.9), (0.8, 0.6, 1.0), "figures", False, "open: the figures decide"),
        ((0.78, 0.5, 0.9), (0.8, 0.6, 1.0), "figures", True, "open: the figures decide"),
        ((0.78, 0.5, 0.9), (0.8, 0.6, 1.0), "keep", False, "open: the holder is kept"),
        ((0.7, 0.5, 0.9), (0.8, 0.6, 1.0), "replace", True, "open: the holder is replaced"),
        ((0.7, 0.7, 0.7), (0.8, 0.6, 1.0), "replace", False, ""),  # a net that gives no interval
    ],
)
def test_intervals_of_both_scores_tell_whether_one_is_worse(mine, theirs, unsure, holds, told):
    figures = [dict(zip(("fmcs_predicted", "fmcs_low", "fmcs_high"), one, strict=True)) for one in (mine, theirs)]
    (check,) = check_no_worse((), figures[0], "version 1", figures[1], 0.05, unsure)
    assert check.holds is holds and check.note.endswith(told) and bool(check.note) is bool(told)


def test_the_interval_of_a_difference_is_that_of_two_independent_scores():
    """Of symmetric intervals: their half-widths as the sides of a right angle."""
    one = {"fmcs_predicted": 0.5, "fmcs_low": 0.2, "fmcs_high": 0.8}
    other = {"fmcs_predicted": 0.4, "fmcs_low": 0.0, "fmcs_high": 0.8}
    (check,) = check_no_worse((), one, "version 1", other)
    assert check.note.startswith("90% interval of the difference -0.40 to +0.60,")


def test_without_a_direction_the_predicted_score_is_compared():
    (check,) = check_no_worse(
        parse_requirements(["classes==10"]), {"fmcs_predicted": 0.5, "classes": 10}, "1", {"fmcs_predicted": 0.6}
    )
    assert check.metric == "fmcs_predicted" and not check.holds


# What a promotion does


@pytest.mark.parametrize("target", [{"alias": "champion"}, {"stage": "production"}])
def test_a_mature_version_becomes_the_holder_and_the_record_says_why(client, tmp_path, target):
    first, second = new_version(client), new_version(client)
    _, before = run_promotion(client, first, evaluation_run=evaluated(client, first, fmcs_predicted=0.95), **target)
    evaluation, said = evaluated(client, second, fmcs_predicted=0.97, val_accuracy=0.8), []
    run_id, decision = run_promotion(client, second, evaluation_run=evaluation, said=said, **target)
    assert before.before == () and decision.before == ("1",) and decision.verdict == "promoted"
    assert holders(client, NAME, decision.target) == ["2"]
    if "stage" in target:
        assert client.get_model_version(NAME, "1").current_stage == "Archived"
    tags = client.get_model_version(NAME, "2").tags
    assert tags["fmce.promotion.decision"] == "promoted" and tags["fmce.promotion.target"] == str(decision.target)
    assert tags["fmce.promotion.evaluation_run"] == evaluation and tags["fmce.promotion.run"] == run_id
    assert tags["fmce.promotion.requirements"] == "fmcs_predicted>=0.9"
    assert json.loads(tags["fmce.promotion.figures"]) == {"fmcs_predicted": 0.97}
    record = record_of(client, run_id, tmp_path)
    assert record["decision"] == "promoted" and record["version"] == "2" and record["held_before_by"] == ["1"]
    assert record["requirements"] == [
        {"requirement": "fmcs_predicted>=0.9", "metric": "fmcs_predicted", "figure": 0.97, "holds": True}
    ]
    assert record["figures"] == {"fmcs_predicted": 0.97, "val_accuracy": 0.8} and record["evaluation_run"] == evaluation
    run = client.get_run(run_id)
    assert run.data.tags["fmce.role"] == "promotion" and run.data.tags["fmce.promotion.decision"] == "promoted"
    assert run.data.metrics == {"fmcs_predicted": 0.97} and run.data.params["version"] == "2"
    assert [one.model_id for one in run.inputs.model_inputs] == [model_id_of(second)]
    assert "  fmcs_predicted>=0.9: met, it is 0.97" in said
    assert find_model(client, NAME).tags == {}, "no ticket is left behind"


def test_a_refusal_names_each_unmet_requirement_with_its_figure_and_moves_nothing(client, tmp_path):
    version = new_version(client)
    evaluation = evaluated(client, version, fmcs_predicted=0.31, val_accuracy=0.99, **{"focus/layer4": float("nan")})
    with pytest.raises(PromotionRefused) as raised:
        run_promotion(
            client, version, evaluation_run=evaluation, require="fmcs_predicted>=0.9,val_accuracy>0.9,focus/layer4>0"
        )
    assert str(raised.value) == (
        "Version 1 of digits as alias champion is refused:\n"
        "  - fmcs_predicted>=0.9: not met, it is 0.31\n"
        "  - focus/layer4>0: not met, it is nan\n"
        f"The figures are those of run {evaluation}, on images-aa."
    )
    assert raised.value.exit_code == 3
    assert holders(client, NAME, Target("alias", "champion")) == []
    tags = client.get_model_version(NAME, "1").tags
    assert tags["fmce.promotion.decision"] == "refused"
    record = record_of(client, tags["fmce.promotion.run"], tmp_path)
    assert [one["holds"] for one in record["requirements"]] == [False, True, False]
    assert record["requirements"][2]["figure"] == "nan" and record["figures"]["focus/layer4"] is None


def test_a_dry_run_decides_and_leaves_the_registry_as_it_is(client, tmp_path):
    version = new_version(client)
    good, bad = evaluated(client, version, fmcs_predicted=0.95), evaluated(client, version, fmcs_predicted=0.5)
    run_id, decision = run_promotion(client, version, evaluation_run=good, dry_run=True)
    assert decision.verdict == "promoted" and record_of(client, run_id, tmp_path)["dry_run"] is True
    with pytest.raises(PromotionRefused):
        run_promotion(client, version, evaluation_run=bad, dry_run=True)
    assert client.get_model_version(NAME, "1").tags == {} and find_model(client, NAME).aliases == {}


def test_it_evaluates_now_where_no_run_is_named(client):
    version = new_version(client)
    asked = []

    def evaluate(model):
        asked.append(model)
        return evaluated(client, version, fmcs_predicted=0.95)

    _, decision = run_promotion(client, version, evaluate=evaluate)
    assert asked == ["models:/digits/1"] and decision.verdict == "promoted"
    with pytest.raises(ConfigError, match=r"evaluation-run is empty.*fmce evaluate"):
        run_promotion(client, version)


def test_a_version_can_be_named_by_its_alias(client):
    version = new_version(client)
    client.set_registered_model_alias(NAME, "candidate", "1")
    options = PromotionOptions(
        model="models:/digits@candidate",
        alias="champion",
        evaluation_run=evaluated(client, version, fmcs_predicted=1.0),
    )
    promote(quiet(client, new_run(client)), options)
    assert holders(client, NAME, Target("alias", "champion")) == ["1"]


@pytest.mark.parametrize(
    ("model", "number"),
    [("models:/digits/latest", "11"), ("models:/digits/LATEST", "11"), ("digits@latest", "11"),
     ("models:/digits/staging", "10"), ("models:/digits/Staging", "10"), ("models:/digits/Production", "1")],
)  # fmt: skip
def test_a_version_is_named_in_every_way_that_mlflow_knows(client, model, number):
    """As MLflow does, by number: version 11 is later than version 9."""
    client.create_registered_model(NAME)
    for _ in range(11):
        client.create_model_version(NAME, "/somewhere/model")
    for stage, one in (("Staging", "9"), ("Staging", "10"), ("Production", "1")):
        _transition(client, NAME, one, stage, archive=False)
    assert str(find_version(client, model).version) == number
    uri = model if model.startswith("models:/") else f"models:/{model}"
    name, known = mlflow.store.artifact.utils.models.get_model_name_and_version(client, uri)
    assert (name, str(known)) == (NAME, number)


def test_nobody_is_told_that_stages_are_deprecated_who_asked_for_one(client):
    version = new_version(client)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_promotion(client, version, stage="Staging", evaluation_run=evaluated(client, version, fmcs_predicted=1.0))
    assert client.get_model_version(NAME, "1").current_stage == "Staging"


# Which figures count


def test_metrics_of_a_training_count_for_the_model_of_their_step_alone(client):
    """An early checkpoint does not pass by the final figures of the run that trained both."""
    run_id = new_run(client, **{"fmce.role": "backbone"})
    for step, value in ((0, 0.1), (9, 0.98)):
        client.log_metric(run_id, "val_accuracy", value, step=step)
    early, final = new_version(client, run_id=run_id, step=0), new_version(client, run_id=run_id, step=9)
    client.set_terminated(run_id)
    with pytest.raises(PromotionRefused, match=r"val_accuracy>=0.9: not met, it is 0\.1\n"):
        run_promotion(client, early, require="val_accuracy>=0.9", evaluation_run=run_id)
    run_promotion(client, final, require="val_accuracy>=0.9", evaluation_run=run_id)
    assert holders(client, NAME, Target("alias", "champion")) == ["2"]


def test_a_version_without_a_logged_model_is_known_by_its_uri(client):
    client.create_registered_model("old")
    client.create_model_version("old", "/somewhere/model")
    run_id = new_run(client, **{"fmce.model_uri": "models:/old/1"})
    client.log_metric(run_id, "fmcs_predicted", 0.93)
    client.set_terminated(run_id)
    options = PromotionOptions(model="old/1", alias="champion", evaluation_run=run_id)
    assert promote(quiet(client, new_run(client)), options).verdict == "promoted"


@pytest.mark.parametrize(
    "kind", ["other version", "nothing", "FAILED", "KILLED", "RUNNING", "SCHEDULED", "deleted", "missing"]
)
def test_a_run_that_does_not_evaluate_the_version_is_not_taken(client, kind):
    version, other, empty = new_version(client), new_version(client), new_run(client)
    client.set_terminated(empty)
    run_id, expected = {
        "other version": lambda: (evaluated(client, other, fmcs_predicted=1.0), f"is about {model_id_of(other)}"),
        "nothing": lambda: (empty, "names no model"),
        "deleted": lambda: (evaluated(client, version, fmcs_predicted=1.0), "is deleted"),
        "missing": lambda: ("0" * 32, "There is no run"),
    }.get(kind, lambda: (evaluated(client, version, status=kind, fmcs_predicted=1.0), f"is {kind}"))()
    if kind == "deleted":
        client.delete_run(run_id)
    with pytest.raises(RunError, match=expected):
        run_promotion(client, version, evaluation_run=run_id)
    assert client.get_model_version(NAME, "1").tags == {}


@pytest.mark.parametrize("name", ["a@b", "a_b", "blocks/p3", "x" * 300])
def test_a_metric_is_named_by_its_module_or_as_it_was_logged(client, name):
    version, holder = new_version(client), new_version(client)
    client.set_registered_model_alias(NAME, "champion", "2")
    figures = {metric_name("a@b"): 0.1, "a_b": 0.2, metric_name("blocks/p3"): 0.3, metric_name("x" * 300): 0.4}
    figures = {f"focus/{key}": value for key, value in figures.items()}
    run_id, other = evaluated(client, version, **figures), evaluated(client, holder, **figures)
    wanted = figures[f"focus/{metric_name(name)}"]
    for metric in (f"focus/{name}", f"focus/{metric_name(name)}"):
        promotion, decision = run_promotion(
            client, version, require=f"{metric}>={wanted}", evaluation_run=run_id, alias="next", compare_to="champion",
            compare_run=other,
        )  # fmt: skip
        assert decision.checks[0].figure == wanted
        logged = client.get_run(promotion).data.metrics
        assert logged[f"focus/{metric_name(name)}"] == wanted
    with pytest.raises(PromotionRefused, match=f"is {wanted}"):
        run_promotion(client, version, require=f"focus/{name}>{wanted}", evaluation_run=run_id)


def test_a_version_none_of_whose_modules_the_predictor_knows_is_refused(client, tmp_path):
    """Such an evaluation has no `fmcs_predicted`; what a module scores can still be asked for, and is doubted."""
    version, holder = new_version(client), new_version(client)
    run_id = evaluated(client, version, **{"fmcs_predicted/conv1": 0.97, "fmcs_predicted/a_b": 0.97})
    known = evaluated(client, holder, fmcs_predicted=0.2)
    client.set_tag(run_id, "fmce.unknown_modules", "conv1,a_b")
    client.set_registered_model_alias(NAME, "champion", "2")
    with pytest.raises(PromotionRefused, match="not met, it is nan: the predictor knows none of the modules"):
        run_promotion(client, version, evaluation_run=run_id)
    said = []
    run_promotion(client, version, evaluation_run=run_id, require="fmcs_predicted/conv1>=0.9", alias="x", said=said)
    assert "fmcs_predicted/conv1>=0.9: met, it is 0.97 (the predictor does not know this module" in "".join(said)
    with pytest.raises(PromotionRefused, match=r"no worse than 0\.2"):
        run_promotion(
            client, version, evaluation_run=run_id, require="fmcs_predicted/conv1==0.97,fmcs_predicted/a_b==0.97",
            compare_to="champion", compare_run=known,
        )  # fmt: skip


def test_unknown_names_are_told_with_the_near_ones(client):
    version = new_version(client)
    client.set_registered_model_alias(NAME, "champion", "1")
    run_id = evaluated(client, version, fmcs_predicted=1.0)
    for model, expected in (
        ("models:/digit/1", "no registered model 'digit'.*Did you mean digits"),
        ("models:/digits/7", "no version '7'. Its latest: 1"),
        ("models:/digits/first", "no version 'first'"),
        ("models:/digits@champoin", "no alias 'champoin'. Did you mean champion"),
    ):
        with pytest.raises(RunError, match=expected):
            promote(quiet(client, new_run(client)), PromotionOptions(model=model, alias="a"))
    with pytest.raises(RunError, match=r"no metric 'fmcs_predict'. Did you mean fmcs_predicted"):
        run_promotion(client, version, require="fmcs_predict>0.5", evaluation_run=run_id)
    with pytest.raises(RunError, match=r"no alias 'champoin' to compare with. Did you mean champion"):
        run_promotion(client, version, alias="prod", compare_to="champoin", evaluation_run=run_id)


def test_all_wrong_options_are_told_at_once():
    with pytest.raises(ConfigError) as raised:
        PromotionOptions(model="models:/digits", stage="Prodution", require=(), compare_run="a", tolerance=-1)
    assert len(raised.value.problems) == 6
    assert "Did you mean Production" in str(raised.value) and "models:/NAME/VERSION" in str(raised.value)
    for target in ({}, {"alias": "a", "stage": "Staging"}):
        with pytest.raises(ConfigError, match="name one of alias and stage"):
            PromotionOptions(model="m/1", **target)
    for alias in ("latest", "v3", "a b", "x" * 256):
        with pytest.raises(ConfigError, match="alias must be"):
            PromotionOptions(model="m/1", alias=alias)


# Comparison with the holder


def test_the_first_holder_has_nobody_to_be_compared_with(client, tmp_path):
    version, compared = new_version(client), []
    for told in ("Nobody holds alias champion yet, so", "Version 1 holds alias champion itself"):
        evaluation, said = evaluated(client, version, fmcs_predicted=0.95), []
        run_id, _ = run_promotion(client, version, compare_to="champion", evaluation_run=evaluation, said=said)
        assert any(told in text for text in said)
        compared.append(record_of(client, run_id, tmp_path)["comparison"]["version"])
    assert compared[0] is None


@pytest.mark.parametrize(("figure", "tolerance", "promoted"), [(0.97, 0, True), (0.93, 0, False), (0.93, 0.05, True)])
def test_a_version_must_be_no_worse_than_the_holder_on_the_same_images(client, tmp_path, figure, tolerance, promoted):
    holder, version = new_version(client), new_version(client)
    client.set_registered_model_alias(NAME, "champion", "1")
    evaluated(client, holder, digest="bb", fmcs_predicted=0.99)  # on other images, and later than the right one
    evaluated(client, holder, predictor="models:/net/2", fmcs_predicted=0.99)
    same = evaluated(client, holder, fmcs_predicted=0.96)
    run_id = new_run(client)
    options = PromotionOptions(
        model=uri(version), alias="champion", compare_to="champion", tolerance=tolerance,
        evaluation_run=evaluated(client, version, fmcs_predicted=figure),
    )  # fmt: skip
    if promoted:
        promote(quiet(client, run_id), options)
    else:
        with pytest.raises(
            PromotionRefused, match=r"no worse than 0.96 of version 1, alias champion: not met, it is 0.93"
        ):
            promote(quiet(client, run_id), options)
    assert holders(client, NAME, options.target) == ["2" if promoted else "1"]
    record = record_of(client, run_id, tmp_path)
    assert record["comparison"]["evaluation_run"] == same and record["comparison"]["version"] == "1"


def test_both_are_evaluated_where_no_run_is_named(client):
    versions = {"models:/digits/1": new_version(client), "models:/digits/2": new_version(client)}
    figures = {"models:/digits/1": 0.99, "models:/digits/2": 0.95}
    client.set_registered_model_alias(NAME, "champion", "1")

    def evaluate(model):
        return evaluated(client, versions[model], fmcs_predicted=figures[model])

    with pytest.raises(PromotionRefused, match=r"no worse than 0\.99 of version 1"):
        run_promotion(client, versions["models:/digits/2"], compare_to="champion", evaluate=evaluate)


def test_a_promotion_may_have_no_bar_but_the_holder(client):
    holder, version = new_version(client), new_version(client)
    client.set_registered_model_alias(NAME, "champion", "1")
    runs = [evaluated(client, one, fmcs_predicted=0.3) for one in (holder, version)]
    options = PromotionOptions(
        model=uri(version), alias="champion", require="none", compare_to="champion", evaluation_run=runs[1]
    )
    promote(quiet(client, new_run(client)), options)
    assert holders(client, NAME, Target("alias", "champion")) == ["2"]
    with pytest.raises(ConfigError, match="require is empty"):
        PromotionOptions(model="m/1", alias="a", require="none")


def test_metrics_of_the_run_that_trained_the_version_count_beside_its_evaluation(client):
    training = new_run(client, **{"fmce.role": "backbone"})
    for name, value in (("val_accuracy", 0.8), ("fmcs_predicted", 0.99), ("focus/stage", 0.99)):
        client.log_metric(training, name, value)
    version = new_version(client, run_id=training)
    run_id = evaluated(client, version, fmcs_predicted=0.3)
    client.set_tag(run_id, "fmce.low", "0.25")
    require = "val_accuracy>=0.8,fmcs_predicted<=0.3,fmcs_low>0.2"
    run_promotion(client, version, require=require, evaluation_run=run_id)
    with pytest.raises(RunError, match="no metric 'focus/stage'"):
        run_promotion(client, version, require="focus/stage>0", evaluation_run=run_id)


def test_what_cannot_be_compared_is_told(client):
    holder, version = new_version(client), new_version(client)
    client.set_registered_model_alias(NAME, "champion", "1")
    own = evaluated(client, version, fmcs_predicted=0.95)
    with pytest.raises(RunError, match=r"Version 1 of digits has no finished evaluation on the images of run"):
        run_promotion(client, version, compare_to="champion", evaluation_run=own)
    for more, expected in (({"digest": "bb"}, "different images"), ({"predictor": "x"}, "different predictors")):
        other = evaluated(client, holder, fmcs_predicted=0.9, **more)
        with pytest.raises(RunError, match=expected):
            run_promotion(client, version, compare_to="champion", evaluation_run=own, compare_run=other)
    with pytest.raises(RunError, match="does not evaluate version 1 of digits"):
        run_promotion(client, version, compare_to="champion", evaluation_run=own, compare_run=own)


@pytest.mark.parametrize("tag", [None, "a77421ba 64 60d2dbc3f02b"], ids=["of others", "of an earlier release"])
@pytest.mark.parametrize("which", ["own", "other", "both"])
def test_images_that_are_not_named_by_their_content_are_not_taken_for_the_same(client, tag, which):
    """MLflow's digest leaves out columns of arrays and bytes, so equal digests prove nothing."""
    holder, version = new_version(client), new_version(client)
    client.set_registered_model_alias(NAME, "champion", "1")
    runs = {"other": evaluated(client, holder, fmcs_predicted=0.9), "own": evaluated(client, version, fmcs_predicted=1)}
    for name in runs if which == "both" else [which]:
        if tag is None:
            client.delete_tag(runs[name], "fmce.images")
        else:
            client.set_tag(runs[name], "fmce.images", tag)
    with pytest.raises(RunError, match="does not say by their content on which images it evaluated"):
        run_promotion(client, version, compare_to="champion", evaluation_run=runs["own"], compare_run=runs["other"])


@pytest.mark.parametrize(
    ("text", "aliases", "expected"),
    [
        ("production", {}, Target("stage", "Production")),
        ("production", {"production": "1"}, Target("alias", "production")),
        ("stage:staging", {}, Target("stage", "Staging")),
        ("alias:Production", {}, Target("alias", "Production")),
        ("champion", {}, Target("alias", "champion")),
    ],
)
def test_compare_to_names_an_alias_or_a_stage(client, text, aliases, expected, tmp_path):
    version = new_version(client)
    for alias, number in aliases.items():
        client.set_registered_model_alias(NAME, alias, number)
    _, decision = run_promotion(
        client, version, compare_to=text, evaluation_run=evaluated(client, version, fmcs_predicted=0.95)
    )
    assert decision.comparison.target == expected


# Two at once


def test_two_promotions_at_once_leave_one_holder(client):
    """To an alias, to a stage, and each compared with the present holder, when the better version has it at the end."""
    versions = [new_version(client) for _ in range(3)]
    figures = (0.91, 0.99, 0.95)
    runs = [evaluated(client, v, fmcs_predicted=f) for v, f in zip(versions, figures, strict=True)]
    kinds = [{"alias": "champion"}, {"stage": "Production"}, {"alias": "champion", "compare_to": "champion"}] * 3
    targets = [Target("stage", "Production") if "stage" in kind else Target("alias", "champion") for kind in kinds]
    rounds = [tuple({"model": uri(versions[i]), "evaluation_run": runs[i], **kind} for i in (1, 2)) for kind in kinds]
    found = []

    def before(i):
        if "compare_to" in kinds[i]:
            client.set_registered_model_alias(NAME, "champion", "1")
        elif targets[i].kind == "alias":
            client.delete_registered_model_alias(NAME, "champion")
        else:
            for number in ("2", "3"):
                _transition(client, NAME, number, "None", archive=False)

    experiment = client.get_experiment_by_name("tests").experiment_id
    said = promoters.race(
        client, experiment, rounds, before, after=lambda i: found.append(holders(client, NAME, targets[i]))
    )
    for kind, held, results in zip(kinds, found, said, strict=True):
        if "compare_to" in kind:
            assert held == ["2"] and "promoted" in results
            assert all(r == "promoted" or "no worse than 0.99 of version 2" in r for r in results)
        else:
            assert len(held) == 1 and results == ["promoted", "promoted"]
    assert find_model(client, NAME).tags == {}


class Stalls(MlflowClient):
    """A client whose server answers one request so late that, meanwhile, ``meanwhile`` happens."""

    def stall(self, method, meanwhile):
        call = getattr(self, method)

        def stalled(*args, **kwargs):
            setattr(self, method, call)
            meanwhile()
            return call(*args, **kwargs)

        setattr(self, method, stalled)


@pytest.mark.parametrize("method", ["set_model_version_tag", "log_artifact"])
def test_a_promotion_that_was_taken_for_dead_looks_again_before_it_moves(client, method):
    """Its turn passes to one that promotes a better version: it compares anew, and is refused."""
    old, worse, better = (new_version(client) for _ in range(3))
    runs = [evaluated(client, v, fmcs_predicted=f) for v, f in ((old, 0.91), (worse, 0.93), (better, 0.99))]
    client.set_registered_model_alias(NAME, "champion", "1")
    stalling, said = Stalls(client.tracking_uri), []

    def meanwhile():
        for ticket in _tickets(client, NAME):
            client.delete_registered_model_tag(NAME, ticket)
        run_promotion(client, better, evaluation_run=runs[2], compare_to="champion")

    stalling.stall(method, meanwhile)
    with pytest.raises(PromotionRefused, match=r"no worse than 0\.99 of version 3"):
        run_promotion(stalling, worse, evaluation_run=runs[1], compare_to="champion", said=said)
    assert holders(client, NAME, Target("alias", "champion")) == ["3"]
    assert any("came first in the meantime" in text for text in said)
    assert client.get_model_version(NAME, "2").tags["fmce.promotion.decision"] == "refused"
    assert client.get_model_version(NAME, "3").tags["fmce.promotion.decision"] == "promoted"
    assert find_model(client, NAME).tags == {}


def test_a_move_that_outlasts_its_turn_is_told(client, tmp_path):
    """Nothing can be looked at while the registry moves a version, so it is afterwards."""
    first, second = new_version(client), new_version(client)
    runs = [evaluated(client, v, fmcs_predicted=0.95) for v in (first, second)]
    stalling = Stalls(client.tracking_uri)

    def meanwhile():
        for ticket in _tickets(client, NAME):
            client.delete_registered_model_tag(NAME, ticket)
        run_promotion(client, second, evaluation_run=runs[1])

    stalling.stall("set_registered_model_alias", meanwhile)
    run_id = new_run(client)
    options = PromotionOptions(model=uri(first), alias="champion", evaluation_run=runs[0])
    with pytest.raises(RunError, match=r"Version 1 of digits holds alias champion, but .* which of them is to hold it"):
        promote(quiet(stalling, run_id), options)
    record = record_of(client, run_id, tmp_path)
    assert record["decision"] == "promoted" and "its turn had passed" in record["problem"]


def test_a_stage_that_another_program_shared_out_has_one_holder_after_a_move(client):
    for _ in range(3):
        new_version(client)
    for number in ("1", "2"):
        _transition(client, NAME, number, "Production", archive=False)
    assert holders(client, NAME, Target("stage", "Production")) == ["1", "2"]
    move(client, NAME, "3", Target("stage", "Production"))
    assert holders(client, NAME, Target("stage", "Production")) == ["3"]


def test_the_turn_of_a_process_that_died_is_passed_on(client):
    new_version(client)
    process = FORKS.Process(target=promoters.die_in_turn, args=(client.tracking_uri, NAME))
    process.start()
    while not any(v != "0" for v in _tickets(client, NAME).values()) and process.is_alive():
        time.sleep(0.02)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL and len(_tickets(client, NAME)) == 1
    said = []
    with one_at_a_time(client, NAME, say=said.append, dead_after=0.5):
        pass
    assert any("considered dead" in text for text in said)
    assert _tickets(client, NAME) == {}


def test_a_turn_that_another_machine_has_passes_on_once_it_does_not_move(client):
    new_version(client)
    client.set_registered_model_tag(NAME, f"fmce.promoting.{'0' * 32}", "1")
    said = []
    with one_at_a_time(client, NAME, say=said.append, dead_after=0.3):
        pass
    assert said == [f"A promotion of {NAME} has not moved for 0 s and is considered dead."]


def test_the_ticket_of_a_gate_moves_while_it_works(client):
    new_version(client)
    with one_at_a_time(client, NAME, kind="gate", dead_after=0.2) as still_mine:
        (ticket,) = _tickets(client, NAME, GATE_TICKET)
        until(lambda: find_model(client, NAME).tags[ticket] not in ("1", "1.1"))
        assert _tickets(client, NAME, GATE_TICKET) == {ticket: 1} and still_mine()
        with one_at_a_time(client, NAME):  # a promotion has turns of its own
            pass
    assert find_model(client, NAME).tags == {}


def test_versions_are_found_whatever_the_name_holds(client):
    version = new_version(client, "it's a model")
    assert find_version(client, uri(version)).name == "it's a model"


def test_over_a_running_server_and_one_that_refuses(own_mlflow, tmp_path, server):
    client = MlflowClient(server)
    experiment_run(client)  # the experiment is there
    version = new_version(client)
    run_id = evaluated(client, version, fmcs_predicted=0.95)
    run_promotion(client, version, stage="Production", evaluation_run=run_id)
    promotion, decision = run_promotion(client, version, compare_to="production", evaluation_run=run_id)
    assert "itself" in decision.comparison.note and holders(client, NAME, decision.target) == ["1"]
    assert record_of(client, promotion, tmp_path)["decision"] == "promoted"
    other = new_version(client)
    with pytest.raises(PromotionRefused, match=r"not met, it is 0\.2"):
        run_promotion(client, other, evaluation_run=evaluated(client, other, fmcs_predicted=0.2))
    words = ["--experiment", "tests", "promote", "--model", uri(version), "--evaluation-run", run_id]
    for refused, told in (
        ("runs/log-batch", "says:"),
        ("model-versions/set-tag", "says:"),
        ("mlflow-artifacts/artifacts", "The artifact store of run"),
    ):
        with refusing_proxy(server, {refused}) as proxy:
            result = CliRunner().invoke(main, ["--tracking-uri", proxy, *words, "--alias", "second"])
        assert result.exit_code == 1 and isinstance(result.exception, SystemExit), refused
        assert told in result.stderr and "Permission denied" in result.stderr, result.stderr
        assert holders(client, NAME, Target("alias", "second")) == [], refused
    for refused, target in (
        ("registered-models/alias", ("--alias", "second")),
        ("model-versions/transition-stage", ("--stage", "Staging")),
    ):
        with refusing_proxy(server, {refused}) as proxy:
            result = CliRunner().invoke(main, ["--tracking-uri", proxy, *words, *target])
        assert result.exit_code == 1 and "Permission denied" in result.stderr, result.stderr
        experiment = client.get_experiment_by_name("tests").experiment_id
        (run,) = client.search_runs([experiment], "tags.`fmce.role` = 'promotion'", max_results=1)
        record = record_of(client, run.info.run_id, tmp_path)
        assert record["decision"] == "failed" and "Permission denied" in record["problem"]
        tags = client.get_model_version(NAME, "1").tags
        assert run.data.tags["fmce.promotion.decision"] == tags["fmce.promotion.decision"] == "failed"
        assert tags["fmce.promotion.run"] == run.info.run_id and run.info.status == "FAILED"
