from __future__ import annotations

import pytest

from fmce_mlflow.errors import DataError
from fmce_mlflow.evaluation.options import EvaluationConfig, EvaluationImages
from fmce_mlflow.gate.ask import Question, dataset_tag
from fmce_mlflow.method.images.fingerprint import fingerprint
from fmce_mlflow.promotion.version_tags import DATASET
from tests.helpers.evaluations import pixels, write_files


def asked(client, tags=None, model_tags=None, *, dataset="cifar10", split_seed=None, **config):
    question = Question(client, EvaluationConfig(**config), EvaluationImages(dataset=dataset, split_seed=split_seed))
    return question.asked(question.known_images(tags or {}), tags or {}, model_tags or {})


def test_what_decides_the_figures_is_asked_and_nothing_else(client):
    first = asked(client)
    for same in (
        {"batch_size": 2},
        {"device": "cpu"},
        {"saliency": False},
        {"predictor": "bundled"},
        {"split_seed": 0},
    ):
        assert asked(client, **same) == first, same
    for other in ({"modules": "stage"}, {"probe_size": 8}, {"seed": 1}, {"dataset": "digits"}, {"split_seed": 1},
                  {"predictor": "models:/m-1"}, {"preprocessing": "imagenet"}):  # fmt: skip
        assert asked(client, **other) != first, other


def test_the_predictor_that_is_tied_to_a_version_goes_before_its_models(client):
    model, version = {"fmce.predictor": "models:/m-1"}, {"fmce.predictor": "models:/m-2"}
    assert asked(client, {}, model) == asked(client, predictor="models:/m-1")
    assert asked(client, version, model) == asked(client, predictor="models:/m-2")
    assert asked(client, version, model, predictor="bundled") == asked(client)


def test_a_predictors_alias_is_the_version_that_it_means_now(client):
    client.create_registered_model("fmcs")
    for _ in range(2):
        client.create_model_version("fmcs", "/somewhere/model")
    client.set_registered_model_alias("fmcs", "best", "1")
    assert asked(client, predictor="models:/fmcs@best") == asked(client, predictor="models:/fmcs/1")
    client.set_registered_model_alias("fmcs", "best", "2")
    assert asked(client, predictor="models:/fmcs@best") == asked(client, predictor="models:/fmcs/2")


def test_images_that_nobody_named_are_those_of_the_versions_tag(client, tmp_path):
    images = EvaluationImages().named("digits", "/data", 3)
    tags = {DATASET: dataset_tag(images)}
    assert asked(client, tags, dataset=None) == asked(client, dataset="digits", split_seed=3)
    assert asked(client, {DATASET: "{"}, dataset=None) == asked(client, dataset=None)
    away = {DATASET: dataset_tag(EvaluationImages().named(f"folder:{tmp_path}/away"))}
    assert asked(client, away, dataset=None) != asked(client, dataset=None)  # known, and not on this machine
    with pytest.raises(DataError, match="There is no folder"):
        asked(client, dataset=f"folder:{tmp_path}/away")


def test_a_folder_is_known_by_names_and_bytes(tmp_path):
    for name in ("train", "test"):
        (tmp_path / "split" / name).mkdir(parents=True)
        write_files(tmp_path / "split" / name / "a", pixels(2))
    write_files(tmp_path / "flat", pixels(2))
    split, flat = f"folder:{tmp_path}/split", f"folder:{tmp_path}/flat"
    before = fingerprint(split), fingerprint(flat)
    (tmp_path / "flat" / ".hidden").write_text("x")
    (tmp_path / "split" / "train" / "a" / "000.png").write_bytes(b"another")  # an evaluation reads test/ alone
    assert (fingerprint(split), fingerprint(flat)) == before
    (tmp_path / "flat" / "000.png").rename(tmp_path / "flat" / "x.png")
    (tmp_path / "split" / "test" / "a" / "000.png").write_bytes(b"another")
    assert fingerprint(split) != before[0] and fingerprint(flat) != before[1]


def test_links_are_followed_once(tmp_path):
    write_files(tmp_path / "images", pixels(2))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "images").symlink_to(tmp_path / "images")
    before = fingerprint(f"folder:{tmp_path}/linked")
    (tmp_path / "images" / "again").symlink_to(tmp_path / "linked")  # a circle
    (tmp_path / "images" / "gone.png").symlink_to(tmp_path / "nothing")
    assert fingerprint(f"folder:{tmp_path}/linked") == before
    (tmp_path / "images" / "000.png").write_bytes(b"another")
    assert fingerprint(f"folder:{tmp_path}/linked") != before
