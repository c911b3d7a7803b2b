"""The pages, on the installed Datasette line: each answers in time, says what it must, breaks on
no name, and shows what another process writes meanwhile."""

from __future__ import annotations

import html
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlencode

import pytest

from cxlocal.projection.meanings import VIEW_COLUMNS
from cxlocal.projection.queries import QUERIES
from cxlocal.projection.tables import TABLES

LIMIT_MS = 1000
PLUGIN = Path(__file__).resolve().parents[2] / "plugins" / "datasette_cxlocal"
ADDRESSES = ["/", "/journal", *(f"/journal/{name}" for name in (*TABLES, *VIEW_COLUMNS, "event"))]


class Elements(HTMLParser):
    """Scripts, handlers and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.handlers: list[str] = []
        self.assets: list[str] = []
        self.links: list[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self._inside = tag == "script"
        self.handlers += [given[name] or "" for name in given if name.startswith("on")]
        if tag in ("script", "img") or (tag == "link" and given.get("rel") == "stylesheet"):
            self.assets.append(given.get("src") or given.get("href") or "")
        if tag == "a":
            self.links.append(given.get("href") or "")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = False


NOTHING_OF_THE_NEWEST_RUN = {
    "tests-of-version", "waiting", "went-to", "decisions", "artifacts", "failing-cases", "not-live-yet",
    "reserves", "readiness", "gone-live", "commits-live", "incidents",
    "recorded-otherwise",
}  # fmt: skip
"""About a run that has just begun, a history whose plans are not known, or what this machine alone holds;
``test_own_pages.py``, ``test_oversight.py``, ``test_own_record.py`` and ``test_figures.py`` have others."""


def is_well(text: str) -> bool:
    return "timed out" not in text.lower() and "time limit" not in text.lower()


@pytest.mark.parametrize("which", ["full_pages", "empty_pages"])
@pytest.mark.parametrize("name", QUERIES)
def test_every_stored_query_answers_in_time(
    request: pytest.FixtureRequest, which: str, name: str
) -> None:
    pages = request.getfixturevalue(which)
    # Datasette itself ends a query at the limit, and then the page says so.
    assert pages.datasette.setting("sql_time_limit_ms") == LIMIT_MS
    page, data = pages.get(f"/journal/{name}", f"/journal/{name}.json?_shape=array")
    assert (page.status, data.status) == (200, 200), page.text[:500]
    assert is_well(page.text) and is_well(data.text)
    assert QUERIES[name].title in page.text
    if which == "empty_pages":
        assert data.json == []
    elif name not in NOTHING_OF_THE_NEWEST_RUN:
        assert data.json


def test_stored_queries_answer_what_the_sql_answers(full_pages: Any, full_file: Path) -> None:
    connection = sqlite3.connect(full_file)
    connection.row_factory = sqlite3.Row
    for name, query in QUERIES.items():
        wanted = connection.execute(query.sql, dict.fromkeys(query.parameters, "")).fetchall()
        found = full_pages.one(f"/journal/{name}.json?_shape=array").json
        assert found == [dict(row) for row in wanted], name
    connection.close()


def test_parameters_reach_the_query(full_pages: Any) -> None:
    found = full_pages.one("/journal/version-history.json?version=1.0.2&_shape=array").json
    assert [row["what"] for row in found][:2] == ["run", "promotion"]


@pytest.mark.parametrize("which", ["full_pages", "empty_pages"])
def test_every_page_opens_and_breaks_on_no_name(
    request: pytest.FixtureRequest, which: str, journals: ModuleType
) -> None:
    pages = request.getfixturevalue(which)
    for address, page in zip(ADDRESSES, pages.get(*ADDRESSES), strict=True):
        assert page.status == 200, (address, page.text[:500])
        assert is_well(page.text), address
        elements = Elements(page.text)
        assert not [text for text in elements.scripts if "alert(" in text], address
        assert "<b>bold" not in page.text and "<i>ld" not in page.text, address
        # Datasette 1.0 has handlers of its own; none may hold what comes from data.
        assert not [code for code in elements.handlers if "alert(" in code], address
        outside = [asset for asset in elements.assets if re.match("(https?:)?//", asset)]
        assert outside == [], address


def test_hostile_names_are_shown_as_they_are(full_pages: Any, journals: ModuleType) -> None:
    from html import escape

    page = full_pages.one("/journal/release_board")
    assert escape(journals.HOSTILE) in page.text.replace("&#34;", "&quot;").replace(
        "&#39;", "&#x27;"
    )


def test_row_pages_of_hostile_names_open(full_pages: Any) -> None:
    page = full_pages.one("/journal/deliverable")
    links = [link for link in Elements(page.text).links if "/journal/deliverable/" in link]
    assert len(links) == 2
    assert [answer.status for answer in full_pages.get(*links)] == [200, 200]


def test_home_begins_with_what_is_live(full_pages: Any, empty_pages: Any) -> None:
    for address in ("/", "/journal"):
        text = full_pages.one(address).text
        board = text.index("What is live where")
        assert board < text.index("journal</a>") if address == "/" else board < text.index("SQL")
        assert "1.0.101" in text and "disputed" in text
        assert "; 1.0.100 failed here after it" in text
        assert "2 numbers in use, not yet confirmed" in text
        assert "/journal/-/board" in text
        assert ">Product</th>" in text and "live, not yet confirmed by the store" in text
        assert "in use, confirmed" not in text[: text.index("cx-fresh")], "said as on the board"
        assert "Nothing is live yet" in empty_pages.one(address).text


def test_a_run_leads_to_its_story(full_pages: Any, journals: ModuleType) -> None:
    run = journals.run_id("third")
    for address in ("/journal/run_board", "/journal/deployment", "/journal/run", "/"):
        if address == "/":
            run = journals.run_id("later")  # only what is live stands there
        links = Elements(full_pages.one(address).text).links
        assert f"/journal/-/run/{run}" in links, address
    story = full_pages.one(f"/journal/-/run/{run}")
    assert story.status == 200 and "1.0.101" in story.text


def window_title(text: str) -> str:
    """What the tab of the browser shows."""
    return text[text.index("<title>") : text.index("</title>")].partition(">")[2]


def test_the_window_of_a_stored_query_has_its_title_not_its_sql(full_pages: Any) -> None:
    """Datasette writes the statement there."""
    title = window_title(full_pages.one("/journal/commits").text)
    assert "SELECT" not in title.upper() and title.endswith(": journal"), title


def test_a_story_says_first_which_run_it_is_of(full_pages: Any, journals: ModuleType) -> None:
    run = journals.run_id("third")
    rows = full_pages.one("/journal/run.json?_shape=array").json
    row = next(row for row in rows if row["id"] == run)
    for asked in (run, row["version"]):
        text = full_pages.one(f"/journal/story?run={asked}").text
        head = text[text.index('class="cx-story"') : text.index("<form")]
        assert row["version"] in head and "Laptop &lt;laptop@example.org&gt;" in head
        assert row["revision"][:12] in head and row["outcome"] in head
        assert row["version"] in window_title(text)
    assert "<b>bold" not in text


def test_a_story_of_an_unknown_run_says_so(full_pages: Any, empty_pages: Any) -> None:
    page = full_pages.one("/journal/story?run=%3Ci%3E9.9.9")
    assert page.status == 200 and "knows of no run" in page.text and "run_board" in page.text
    assert "&lt;i&gt;9.9.9" in page.text and "<i>9.9.9" not in page.text
    assert "No run yet" in empty_pages.one("/journal/story").text
    assert "cx-story" not in full_pages.one("/journal/commits").text


def test_foreign_keys_read_as_names(full_pages: Any) -> None:
    text = full_pages.one("/journal/deployment").text
    assert ">1.0.101</a>" in text and ">Web shop</a>" in text
    assert ">None<" not in text
    row = full_pages.one(f"/journal/run/{_run(full_pages)}")
    assert "stage_run" in row.text and "deployment" in row.text


def _run(pages: Any) -> str:
    rows = pages.one("/journal/run.json?version=1.0.2&_shape=array").json
    return str(rows[0]["id"])


def test_times_durations_and_digests_are_readable(full_pages: Any) -> None:
    text = full_pages.one("/journal/run_board").text
    # The tests' zone is UTC+05:45.
    assert "2026-11-28 09:33:20" in text and "03:48 UTC" in text
    assert "10 min" in text
    data = full_pages.one("/journal/run_board.json?_shape=array").json
    assert data[0]["queued_at"] == "2026-11-28T03:48:20.000Z"
    assert data[1]["duration_seconds"] == 600.0
    deployments = full_pages.one("/journal/deployment").text
    assert re.search(r'<code title="[0-9a-f]{64}">[0-9a-f]{12}…</code>', deployments)


def test_newest_first(full_pages: Any) -> None:
    rows = full_pages.one("/journal/run.json?_shape=array").json
    times = [row["queued_at"] for row in rows]
    assert times == sorted(times, reverse=True)


def test_sql_functions(full_pages: Any) -> None:
    asked = (
        "select human_duration(185) as d, hlc_time(1795400000000 << 16) as t, hlc_time('x') as n"
    )
    found = full_pages.one(
        f"/journal.json?sql={asked.replace(' ', '+').replace('<', '%3C')}&_shape=array"
    )
    assert found.json == [{"d": "3 min 5 s", "t": "2026-11-23T02:13:20.000Z", "n": None}]


def test_nothing_is_suggested_or_written(full_pages: Any) -> None:
    assert "suggested-facets" not in full_pages.one("/journal/stage_run").text
    answer = full_pages.one("/journal.json?sql=delete+from+run")
    assert answer.status >= 400 and not answer.json["ok"]


def test_quiet_on_other_databases(tmp_path: Path, make_pages: Callable[[Path], Any]) -> None:
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE t (run TEXT, started_at TEXT)")
    connection.execute("INSERT INTO t VALUES ('abcdefghijkl', '2026-11-23T02:13:20.000Z')")
    connection.commit()
    connection.close()
    pages = make_pages(other)
    for address in ("/", "/other", "/other/t"):
        page = pages.one(address)
        assert page.status == 200
        assert "cx-" not in page.text and "cxlocal.css" not in page.text
    assert "2026-11-23T02:13:20.000Z" in pages.one("/other/t").text


def test_a_stored_query_shows_fifty_rows_and_leads_to_the_next(
    full_copy: Path, make_pages: Callable[[Path], Any]
) -> None:
    connection = sqlite3.connect(full_copy)
    connection.executemany(
        "INSERT INTO flag (id, kind, text, raised_at) VALUES (?, 'tick', ?, '2026-11-01')",
        [(str(n), f"tick {n:03}") for n in range(99)],
    )
    connection.commit()
    connection.close()
    pages = make_pages(full_copy)
    first, second, third, odd = (
        pages.one(f"/journal/look-at?{given}") for given in ("", "page=2", "page=3", "page=x")
    )
    texts = [re.findall(r"tick \d{3}", page.text) for page in (first, second, third)]
    assert [len(each) for each in texts] == [48, 50, 1], "two flags were there before"
    assert len({text for each in texts for text in each}) == 99
    assert 'href="?page=2">Next 50 rows' in first.text and 'href="?page=3"' in second.text
    assert "Next 50 rows" not in third.text and odd.status == 200
    names = ("number_ledger", "run_board", "event_log")
    for page in pages.get(*(f"/journal/{name}" for name in names)):
        assert page.text.count("<tr") <= 52


def test_our_style_is_served(full_pages: Any) -> None:
    text = full_pages.one("/journal").text
    address = next(a for a in Elements(text).assets if "cxlocal.css" in a)
    style = full_pages.one(address)
    assert style.status == 200 and ".cx-board" in style.text


def test_machinery_is_hidden_from_pages() -> None:
    style = (PLUGIN / "static" / "cxlocal.css").read_text()
    for column in ("node", "lineage", "generation"):
        assert f"td.col-{column}" in style
    words = "".join(path.read_text() for path in (PLUGIN / "templates").glob("*.html"))
    assert not re.search(r"\b(node|grant|lineage)\b", words)
    assert "http" not in words and "<script" not in words and not re.search(r"\son\w+=", words)


WRITER = """
import sys, time
from pathlib import Path
from cxlocal.clock import SystemClock, SystemIds
from cxlocal.events.runs import run_flagged
from cxlocal.journal.file import Journal
journal = Journal.open(Path(sys.argv[1]), clock=SystemClock(), ids=SystemIds())
met = []
sleep = time.sleep
time.sleep = lambda seconds: (met.append(seconds), sleep(seconds))
print("ready", flush=True)
for n in range(int(sys.argv[2])):
    journal.append(run_flagged(kind="tick", subject="s", text=f"tick {n}"))
print(len(met))
"""


def test_pages_open_while_another_process_writes(
    full_copy: Path, make_pages: Callable[[Path], Any]
) -> None:
    ticks = 150
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(full_copy), str(ticks)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    pages = make_pages(full_copy)
    # On a busy machine Datasette's own questions may take longer than a reader should.
    pages.datasette._settings["sql_time_limit_ms"] = 30_000
    seen = 0
    while writer.poll() is None:
        page, rows = pages.get("/journal", "/journal/flag.json?_shape=array&_size=max")
        assert (page.status, rows.status) == (200, 200), page.text[:300]
        assert len(rows.json) >= seen
        seen = len(rows.json)
    # SQLite waits for readers by itself; only where that is not enough the journal asks again.
    assert int(writer.stdout.read()) < ticks / 10, "readers kept the writer waiting"
    writer.stdout.close()
    assert writer.returncode == 0
    assert len(pages.one("/journal/flag.json?_shape=array&_size=max").json) == ticks + 2


def test_no_page_shows_by_what_a_machine_is_known_to_its_store(
    full_copy: Path, make_pages: Callable[[Path], Any]
) -> None:
    with closing(sqlite3.connect(full_copy)) as connection, connection:
        connection.execute("DELETE FROM contact")
        connection.execute("INSERT INTO contact VALUES ('n0de', 1, 's3cret', 2, 's3cret', 'h', 1)")
        connection.execute("INSERT INTO asked VALUES ('ask1', 's3cret', 'h', 'now')")
        connection.execute("INSERT INTO carried VALUES ('n0de', 'ask1', 's3cret', 'now')")
    asked = []
    for table, columns in COLUMN.items():
        inner = f"with a as (select * from {table}) select group_concat(quote(x.value)) from a,"
        inner += f" json_each(json_array({columns})) x"
        asked += [
            f"/journal/{table}",
            f"/journal/{table}.json?_shape=array",
            f"/journal/{table}.csv",
        ]
        asked += [
            f"/journal.json?{urlencode({'sql': sql})}" for sql in (f"select * from {table}", inner)
        ]
    for address, answer in zip(asked, make_pages(full_copy).get(*asked), strict=True):
        assert "s3cret" not in answer.text, address
        assert answer.status == 200, (address, answer.text)


COLUMN = {"contact": "token, proposal", "asked": "request", "carried": "request"}


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("live-at.csv?at=30.11.2026", "is no time, write 2026-11-23"),
        ("live-at.csv?at=2026-02-31&_header=off", "is no time, write 2026-11-23"),
        (".csv?sql=select+*+from+runz", "no such table: runz"),
        (".csv?sql=select+nowhere+from+run&_dl=1", "no such column: nowhere"),
        ("nothing.csv", ""),
    ],
)
def test_an_error_is_no_empty_csv(full_pages: Any, address: str, words: str) -> None:
    """One line of Datasette answers 200 and an empty line."""
    answer = full_pages.one(f"/journal{'' if address.startswith('.') else '/'}{address}")
    assert answer.status >= 400 and words in html.unescape(answer.text)


def test_csv_without_rows_stays_csv(full_pages: Any) -> None:
    none = "/journal.csv?sql=select+id,version+from+run+where+0"
    with_names, without, rows = full_pages.get(none, f"{none}&_header=off", "/journal/live-now.csv")
    assert (with_names.status, with_names.text) == (200, "id,version\r\n")
    assert (without.status, without.text.strip()) == (200, "")
    assert rows.status == 200 and "1.0.101" in rows.text
