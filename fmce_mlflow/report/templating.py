"""HTML and Markdown from the package's templates; whatever is put into HTML is escaped."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from fmce_mlflow.safety.credentials import hide_credentials
from fmce_mlflow.version import __version__
from fmce_mlflow.wording import counted

_BLOCK = re.compile(r"^[-+](?=[\s-])|^#|^\d+[.)](?=\s|$)")  # what begins a list, a rule or a heading
_MARKUP = re.compile(r"[\\`*\[\]<>&|~@]|(?<![^\W_])_|_(?![^\W_])|:(?=\S)|(?<=www)\.", re.IGNORECASE)


def render(template: str, **values: Any) -> str:
    """A template of ``templates/`` with values in it: HTML, text in which is escaped, or Markdown of a ``….md.j2``."""
    return _environment().get_template(template).render(version=__version__, **values)


def script(name: str) -> tuple[Markup, str]:
    """A script of ``templates/`` as it stands in a page, and the source by which the page's policy lets it run."""
    found = resources.files("fmce_mlflow.report").joinpath("templates", name).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(found.encode()).digest()).decode()
    return Markup(found), f"'sha256-{digest}'"


def code(text: str) -> Markup:
    """Text in which what stands in backquotes is set as code.

    Example:
        >>> code("use `a<b`")
        Markup('use <code>a&lt;b</code>')
    """
    text = hide_credentials(text)
    parts = text.split("`")
    if len(parts) % 2 == 0:  # an odd backquote: part of a name
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def plain(text: object) -> str:
    """Text, without credentials, for one line of Markdown, such as of a run's description in MLflow's UI.

    Nothing in it becomes a link, a picture, a heading or HTML there, and no character is lost.

    Example:
        >>> plain("![x](http://host/x.png) is layer_4, see www.host")
        '!&#91;x&#93;(http&#58;//host/x.png) is layer_4, see www&#46;host'
    """
    line = _MARKUP.sub(_entity, " ".join(hide_credentials(text).split()))
    return _BLOCK.sub(lambda found: found[0][:-1] + _entity(found[0][-1]), line, count=1)


def broken(name: str) -> Markup:
    """A dotted name that may be broken after its dots, as at the head of a narrow column.

    Example:
        >>> broken("layer4.<0>")
        Markup('layer4.<wbr>&lt;0&gt;')
    """
    return Markup(".<wbr>").join(hide_credentials(name).split("."))


def _two(number: float) -> Markup:
    """A number with two decimals, in which there is nothing to escape."""
    return Markup(f"{number:.2f}")


def _entity(found: re.Match[str] | str) -> str:
    return f"&#{ord(found[0])};"


def _shown(value: Any) -> Any:
    """What is put into a page: all text is without credentials; what is markup already was made here."""
    return hide_credentials(value) if type(value) is str else value


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("fmce_mlflow.report"),
        autoescape=lambda name: name is None or ".md." not in name,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"code": code, "counted": counted, "plain": plain, "broken": broken, "two": _two}
    environment.tests["finite"] = math.isfinite
    return environment
