"""Questions that are not answered in time: our pages say so part by part, and Datasette's lead to ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from datasette.database import QueryInterrupted

from cxlocal.projection.meanings import VIEW_COLUMNS
from cxlocal.projection.queries import QUERIES
from cxlocal.projection.tables import TABLES

PAGES = (
    "board", "run/latest", "diary", "product", "way/latest", "then", "difference", "unusual", "machines",
    "evidence/latest", "figures",
)  # fmt: skip
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"
SLOW = quote(f"select * from ({ENDLESS}) where 'x' <> :x")


def limit_time(pages: Any, ms: int) -> None:
    """Datasette has read its setting already."""
    pages.datasette._settings["sql_time_limit_ms"] = pages.datasette.sql_time_limit_ms = ms


@pytest.fixture
def hurried(
    small_file: Path, make_pages: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The pages of a journal of which nothing is told in time but which tables there are: Datasette asks
    that to know who may see them."""
    pages = make_pages(small_file)
    pages.one("/")
    limit_time(pages, 20)
    database = pages.datasette.get_database("journal")
    ask = database.execute

    async def execute(sql: str, params: Any = None, *rest: Any, **given: Any) -> Any:
        if any(word in sql.lower() for word in ("sqlite_master", "sqlite_schema", "pragma")):
            limit_time(pages, 60_000)
            try:
                return await ask(sql, params, *rest, **given)
            finally:
                limit_time(pages, 20)
        raise QueryInterrupted(sqlite3.OperationalError("interrupted"), sql, params)

    monkeypatch.setattr(database, "execute", execute)
    return pages


@pytest.mark.parametrize("page", PAGES)
def test_our_pages_answer_and_say_what_they_left_out(hurried: Any, page: str) -> None:
    got = hurried.one(f"/journal/-/{page}")
    assert got.status == 200 and "could not be found out in time" in got.words
    assert "2.7." not in got.words.replace("Europe/Berlin", "")


def test_no_page_of_datasette_is_an_error(hurried: Any) -> None:
    """Each answers, or leads to how to ask for less, on a page of ours."""
    addresses = [
        "/",
        "/journal",
        *(f"/journal/{name}" for name in (*TABLES, *VIEW_COLUMNS, *QUERIES)),
    ]
    late = 0
    for address, page in zip(addresses, hurried.get(*addresses), strict=True):
        assert page.status in (200, 400), address
        if page.status == 400:
            late += 1
            assert "Asking for less" in page.words and "To the content" in page.text, address
    assert late > len(addresses) / 2


@pytest.fixture
def pages(small_file: Path, make_pages: Callable[[Path], Any]) -> Any:
    """Pages with little time for a question."""
    found = make_pages(small_file)
    found.one("/")
    limit_time(found, 60)
    return found


def test_a_question_that_takes_too_long_is_told_how_to_ask_for_less(pages: Any) -> None:
    page = pages.one(f"/journal?sql={SLOW}&x=%3Cscript%3E")
    assert page.status == 400 and "was ended after 0.06 s" in page.words
    assert "LIMIT 50" in page.words and "WITH RECURSIVE" in page.words
    assert 'href="/journal/-/board"' in page.text and "<script" not in page.text


def test_programs_are_told_so_too(pages: Any) -> None:
    answer = pages.one(f"/journal.json?sql={SLOW}&x=1")
    assert answer.status == 400 and answer.json["ok"] is False


def test_other_databases_keep_the_errors_of_datasette(
    tmp_path: Path, make_pages: Callable[[Path], Any]
) -> None:
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.execute("CREATE TABLE t (run TEXT)")
    connection.close()
    other = make_pages(tmp_path / "other.db")
    other.one("/")
    limit_time(other, 60)
    page = other.one(f"/other?sql={quote(ENDLESS)}")
    assert page.status == 400 and "cxlocal" not in page.text.split("</title>")[1]
