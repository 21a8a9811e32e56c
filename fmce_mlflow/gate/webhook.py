"""MLflow's registry webhooks: whether a request is one, and which version it announces. Loads no torch, no MLflow."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Protocol

from fmce_mlflow.errors import WebhookRefused
from fmce_mlflow.safety.reading import parse_json

SIGNATURE, TIMESTAMP, DELIVERY = "X-MLflow-Signature", "X-MLflow-Timestamp", "X-MLflow-Delivery-Id"
EVENT = "model_version.created"
"""The event to which a receiver of :func:`announced` subscribes."""
MAX_AGE = 300.0
"""Seconds; MLflow sends a request again for some two minutes, with the time of the first try."""


class Headers(Protocol):
    """Headers of a request, whose names may be in any case: as of ``http.server`` and of every web framework."""

    def get(self, name: str, /) -> str | None:
        """The value of a header."""


@dataclass(frozen=True, slots=True)
class Announced:
    """A version of a registered model that was created."""

    name: str
    version: str


def announced(headers: Headers, body: bytes, secret: str, *, now: float | None = None) -> Announced | None:
    """The version that a webhook announces; None for an event of another kind.

    Args:
        headers: Of the request.
        body: Of the request, as it came.
        secret: The one that the webhook was created with.
        now: Seconds since 1970; None: the present time.

    Raises:
        WebhookRefused: If the signature is not made with the secret, or the request is older than :data:`MAX_AGE`.

    Example:
        >>> body = b'{"entity": "model_version", "action": "created", "data": {"name": "digits", "version": "3"}}'
        >>> headers = {DELIVERY: "7e1c", TIMESTAMP: "1700000000"}
        >>> headers[SIGNATURE] = "v1,AkoonTko1l2RdeTN+C9lYPk+djuKiQE8N5AMXhjWrvg="
        >>> announced(headers, body, "a secret", now=1700000001.0)
        Announced(name='digits', version='3')
    """
    if not secret:
        raise WebhookRefused("there is no secret to check the signature with: create the webhook with one")
    sent = headers.get(TIMESTAMP) or ""
    signed = f"{headers.get(DELIVERY) or ''}.{sent}.".encode() + body
    expected = base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
    if not hmac.compare_digest(f"v1,{expected}".encode(), (headers.get(SIGNATURE) or "").encode()):
        raise WebhookRefused("the signature is not made with this receiver's secret")
    if not sent.isdecimal() or abs((time.time() if now is None else now) - int(sent)) > MAX_AGE:
        raise WebhookRefused(f"the request is not of the last {MAX_AGE:.0f} s; perhaps a clock is wrong")
    try:
        found = parse_json(body)
        if f"{found['entity']}.{found['action']}" != EVENT:
            return None
        return Announced(str(found["data"]["name"]), str(found["data"]["version"]))
    except (ValueError, LookupError, TypeError) as error:
        raise WebhookRefused(f"the request is no event of MLflow's: {error!r:.100}") from None
