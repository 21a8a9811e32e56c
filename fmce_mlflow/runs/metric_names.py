"""What metrics of a functional module are called, in evaluations, recordings and promotions alike. Loads no torch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

OF_MODULES = ("fmcs_predicted", "fmcs_std", "focus", "drift", "weight_change", "fmce_untouched")
"""Metrics of a module: each is logged as ``<one of these>/<module>``."""
_LONGEST = 250 - len("fmcs_predicted/")  # MLflow takes 250 characters
_OTHER = re.compile(r"[^\w.\-: ]", re.ASCII)  # nor "/", which MLflow takes for a folder
_HASHED = re.compile(r"-[0-9a-f]{12}\Z")


def metric_name(module: str) -> str:
    """A module's name as metrics have it: itself, where it is of MLflow's alphabet and fits; never that of another.

    Other characters become ``_``, the middle of a long name is left out, and 12 digits of the SHA-256 of the whole name
    follow. A name that ends like that by itself gets them too, so no two modules share a name.

    Example:
        >>> metric_name("backbone.layer4")
        'backbone.layer4'
        >>> metric_name("blocks.p3@fine//1")
        'blocks.p3_fine__1-7823b3c5398e'
        >>> len(metric_name("block." * 100))
        235
    """
    if len(module) <= _LONGEST and not _OTHER.search(module) and not _HASHED.search(module):
        return module
    digits = hashlib.sha256(module.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    text, room = _OTHER.sub("_", module), _LONGEST - len(digits) - 1
    if len(text) > room:
        text = f"{text[: room // 2]}--{text[len(text) - (room - room // 2 - 2) :]}"
    return f"{text}-{digits}"


def renamed(modules: Iterable[str]) -> list[str]:
    """What the user is to be told of modules whose metrics have another name.

    Example:
        >>> renamed(["layer4", "head@1"])
        ['The metrics of module head@1 are called …/head_1-e45802bedbae.']
    """
    names = {module: metric_name(module) for module in modules}
    return [f"The metrics of module {a} are called …/{b}." for a, b in names.items() if a != b]


def logged_name(metric: str) -> str:
    """A metric as it is logged: ``focus/a@b`` by the name of its module, any other as it is.

    Example:
        >>> logged_name("drift/layer4"), logged_name("team/a@b")
        ('drift/layer4', 'team/a@b')
    """
    kind, slash, module = metric.partition("/")
    return f"{kind}/{metric_name(module)}" if slash and kind in OF_MODULES else metric


def loop_metric(name: str) -> str:
    """A metric of somebody's loop as MLflow takes it: characters that it refuses become ``_``, long names are cut.

    Example:
        >>> loop_metric("val/mAP@50(B)"), loop_metric("top-1 acc."), loop_metric("a//../b")
        ('val/mAP_50_B_', 'top-1 acc.', 'a/_/_/b')
    """
    parts = [_OTHER.sub("_", part) for part in name.split("/")]
    fitting = "/".join("_" if part in ("", ".", "..") else part for part in parts)
    return fitting if len(fitting) <= _LONGEST else metric_name(name)
