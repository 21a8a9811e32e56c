"""The receiver of webhooks, behind a real tracking server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from mlflow import MlflowClient

from fmce_mlflow.gate.webhook import DELIVERY, EVENT, SIGNATURE, TIMESTAMP
from tests.helpers.evaluations import pixels, write_files
from tests.helpers.progress import line_of
from tests.helpers.registries import new_predictor, new_version
from tests.helpers.servers import tracking_server

ROOT = Path(__file__).parents[2]
SECRET = "one that both know"
CREATED = {"entity": "model_version", "action": "created", "data": {"name": "gone", "version": "1"}}


def send(url, event, *, secret=SECRET, sent=None):
    """The answer to a request that is signed as MLflow signs it, and what it says."""
    body, sent = json.dumps(event).encode(), str(int(time.time()) if sent is None else sent)
    digest = hmac.new(secret.encode(), f"7e1c.{sent}.".encode() + body, hashlib.sha256).digest()
    headers = {DELIVERY: "7e1c", TIMESTAMP: sent, SIGNATURE: f"v1,{base64.b64encode(digest).decode()}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def until_said(receiver, expected):
    """The lines of a receiver up to one."""
    said = []
    while not said or not re.search(expected, said[-1]):
        said.append(line_of(receiver))
        assert said[-1], f"{expected!r} is not in {''.join(said)}"
    return "".join(said)


@pytest.mark.slow
def test_a_version_is_evaluated_when_mlflow_announces_it(tmp_path, _empty_store):
    write_files(tmp_path / "photos", pixels(6))
    (tmp_path / "gate.yaml").write_text("alias: champion\nrequire: [val_accuracy>=0.5]")
    local = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "https,http", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true"}
    key = {"MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": Fernet.generate_key().decode()}
    with tracking_server(tmp_path, _empty_store, **local, **key) as uri:
        client = MlflowClient(uri)
        client.create_experiment("tests")
        predictor = new_predictor(client)
        receiver = subprocess.Popen(
            [sys.executable, "examples/gate_webhook.py", "0", "--policy", str(tmp_path / "gate.yaml"), "--dataset",
             f"folder:{tmp_path}/photos", "--predictor", predictor, "--saliency", "false"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
            env={**os.environ, "MLFLOW_TRACKING_URI": uri, "FMCE_WEBHOOK_SECRET": SECRET,
                 "MLFLOW_EXPERIMENT_NAME": "tests"},
        )  # fmt: skip
        try:
            port = re.search(r"port (\d+)", line_of(receiver))[1]
            url = f"http://127.0.0.1:{port}/"
            webhook = client.create_webhook("fmce-gate", url, [EVENT], secret=SECRET)
            assert (
                client.test_webhook(webhook.webhook_id).response_status == 202
            )  # of MLflow's example, a model that is gone
            assert "There is no registered model 'example_model'" in until_said(receiver, "has ended with 1")

            new_version(client, "digits", val_accuracy=0.9)
            said = until_said(receiver, "has ended with 0")
            assert "Version 1 of digits is to be evaluated." in said and "Promoted to alias champion" in said
            assert client.get_model_version_by_alias("digits", "champion").version == "1"

            assert send(url, CREATED, secret="another")[0] == 401
            assert send(url, CREATED, sent=int(time.time()) - 3600) == (
                401, "Refused: the request is not of the last 300 s; perhaps a clock is wrong.",
            )  # fmt: skip
            assert send(url, {**CREATED, "entity": "registered_model"})[0] == 200
            client.delete_model_version("digits", new_version(client, "digits", val_accuracy=0.9))
            assert "1 of 1 version evaluated" in until_said(receiver, "has ended with 0")
        finally:
            receiver.kill()
            receiver.communicate()
