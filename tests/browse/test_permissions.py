"""Who may see what: our pages are as closed as Datasette is told to be, and what is closed or not there is
answered on a page of ours that leads on, where there is somewhere to go."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import datasette
import pytest
from datasette.app import Datasette

OURS = (
    "board", "run/latest", "run/2.7.100", "diary", "diary.ics", "diary.atom", "product?deliverable=webshop",
    "way/latest", "difference", "then", "unusual", "figures", "machines", "evidence/latest",
)  # fmt: skip
KNOWN = ("2.7.100", "webshop", "Web shop", "Jonas", "laptop-mara")
NOBODY = {"id": "root"}
VIEWS = {"tables": {"run_board": {"allow": False}, "release_board": {"allow": False}}}
CLOSED = {
    "the server": {"allow": NOBODY},
    "the journal": {"databases": {"journal": {"allow": NOBODY}}},
    "its views": {"databases": {"journal": VIEWS}},
}


def answers(
    path: Path | list[Path], told: dict[str, Any], *addresses: str
) -> list[tuple[int, str]]:
    """Status and text, from a plain Datasette with the plugin, which is told this much."""
    name = "metadata" if datasette.__version__.startswith("0.") else "config"
    files = path if isinstance(path, list) else [path]

    async def ask() -> list[tuple[int, str]]:
        pages = Datasette([str(one) for one in files], **{name: told})
        await pages.invoke_startup()
        got = [await pages.client.get(address) for address in addresses]
        return [(one.status_code, one.text) for one in got]

    return asyncio.run(ask())


@pytest.mark.parametrize("what", CLOSED)
def test_what_is_closed_shows_nothing_on_any_page(small_file: Path, what: str) -> None:
    addresses = [f"/journal/-/{name}" for name in OURS]
    for address, (status, text) in zip(addresses, answers(small_file, CLOSED[what], *addresses), strict=True):  # fmt: skip
        assert status == 403, address
        assert [word for word in KNOWN if word in text] == [], address
    for status, text in answers(small_file, CLOSED[what], "/", "/journal"):
        assert status in (200, 403) and "2.7.100" not in text and "Release board" not in text


def test_what_is_open_is_shown_by_a_plain_datasette(small_file: Path) -> None:
    for status, text in answers(small_file, {}, *(f"/journal/-/{name}" for name in OURS[:5])):
        assert status == 200 and "2.7." in text


@pytest.mark.parametrize("address", ["/journal/nothing", "/journal/run/nothing", "/nothing"])
def test_what_is_not_there_leads_on(small_file: Path, address: str) -> None:
    [(status, text), (other, data)] = answers(small_file, {}, address, f"{address}.json")
    assert status == 404 and "There is nothing at this address" in text
    assert 'href="/journal/-/board"' in text and "To the board" in text
    assert other == 404 and "To the board" not in data, "programs are answered as before"


def test_a_page_that_is_closed_says_so_where_others_are_open(small_file: Path) -> None:
    told = {"databases": {"journal": {"tables": {"run_board": {"allow": False}}}}}
    [(status, text), (board, _)] = answers(
        small_file, told, "/journal/-/unusual", "/journal/-/board"
    )
    assert (status, board) == (403, 200) and "You may not see this page" in text
    assert 'href="/journal/-/board"' in text


def test_other_databases_keep_their_own_answers(small_file: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE t (a)")
    files = [small_file, tmp_path / "other.db"]
    [(status, text), (ours, _)] = answers(files, {}, "/other/nothing", "/journal/nothing")
    assert (status, ours) == (404, 404) and "There is nothing at this address" not in text
