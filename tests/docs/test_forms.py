"""The tables of forms in the docs say what happens."""

from __future__ import annotations

import pytest

from tests.helpers.forms import DOCS, TABLES, outcome, page

pytestmark = pytest.mark.usefixtures("tracking")


def test_the_tables_are_written_anew():
    for path in DOCS.glob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert page(text) == text, f"{path.name} is not what its forms say: run python -m tests.helpers.forms"


@pytest.mark.parametrize("form", [pytest.param(form, id=form.what) for forms in TABLES.values() for form in forms])
def test_a_form_is_read_asked_or_refused_as_the_table_says(form):
    word, said = outcome(form)
    assert (word, form.then) == (form.word, said if word == "read" else form.then)
    assert form.then in said
    if form.answer:
        assert form.evaluate(**form.answer).startswith("`")
