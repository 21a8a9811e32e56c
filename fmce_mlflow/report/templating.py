"""HTML and Markdown from the package's templates; whatever is put into HTML is escaped."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

import fmce_mlflow
from fmce_mlflow.wording import counted


def render(template: str, **values: Any) -> str:
    """A template of ``templates/`` with values in it: HTML, text in which is escaped, or Markdown of a ``….md.j2``."""
    return _environment().get_template(template).render(version=fmce_mlflow.__version__, **values)


def code(text: str) -> Markup:
    """Text in which what stands in backquotes is set as code.

    Example:
        >>> code("use `a<b`")
        Markup('use <code>a&lt;b</code>')
    """
    parts = str(text).split("`")
    if len(parts) % 2 == 0:  # an odd backquote: part of a name
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("fmce_mlflow.report"),
        autoescape=lambda name: name is None or ".md." not in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"code": code, "counted": counted}
    environment.tests["finite"] = math.isfinite
    return environment
