from __future__ import annotations

import base64
import hashlib
import hmac
import json
from email.message import Message

import pytest

from fmce_mlflow.errors import WebhookRefused
from fmce_mlflow.gate.webhook import DELIVERY, MAX_AGE, SIGNATURE, TIMESTAMP, Announced, announced

SECRET, NOW = "a secret", 1_700_000_000
EVENT = {"entity": "model_version", "action": "created", "data": {"name": "it's a model", "version": "3"}}


def request(event=EVENT, *, secret=SECRET, sent=str(NOW)):
    """Headers and body as MLflow signs them."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    digest = hmac.new(secret.encode(), f"7e1c.{sent}.".encode() + body, hashlib.sha256).digest()
    headers = Message()
    for name, value in ((DELIVERY, "7e1c"), (TIMESTAMP, sent), (SIGNATURE, f"v1,{base64.b64encode(digest).decode()}")):
        headers[name.lower()] = value
    return headers, body


def test_a_version_is_announced():
    assert announced(*request(), SECRET, now=NOW + MAX_AGE) == Announced("it's a model", "3")
    assert announced(*request({**EVENT, "action": "deleted"}), SECRET, now=NOW) is None


@pytest.mark.parametrize(
    ("made", "secret", "expected"),
    [
        (request(secret="another"), SECRET, "signature"),
        (request(), "", "no secret"),
        ((Message(), b"{}"), SECRET, "signature"),
        ((request()[0], request()[1] + b" "), SECRET, "signature"),
        (request(sent=str(NOW - 301)), SECRET, "not of the last 300 s"),
        (request(sent=str(NOW + 301)), SECRET, "not of the last 300 s"),
        (request(sent="yesterday"), SECRET, "not of the last 300 s"),
        (request(b"no JSON"), SECRET, "no event"),
        (request([1]), SECRET, "no event"),
        (request({**EVENT, "data": None}), SECRET, "no event"),
    ],
)
def test_what_is_not_of_the_tracking_server_is_refused(made, secret, expected):
    with pytest.raises(WebhookRefused, match=expected):
        announced(*made, secret, now=NOW)
