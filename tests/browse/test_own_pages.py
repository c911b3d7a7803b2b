"""Board, Run and the other pages of our own, on the installed Datasette line: what they answer, and what
they do with time limits, strangers' texts and what is not there."""

from __future__ import annotations

import asyncio
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from datasette_cxlocal import journals as limits
from datasette_cxlocal.board import columns_of, verdict

from cxlocal.projection import queries

PAGES = [
    "/journal/-/board", "/journal/-/run/latest", "/journal/-/diary", "/journal/-/product",
    "/journal/-/way/latest", "/journal/-/then", "/journal/-/difference", "/journal/-/unusual",
    "/journal/-/machines", "/journal/-/evidence/latest", "/journal/-/figures",
]  # fmt: skip


def words(page: Any) -> str:
    return str(page.words)


def test_the_board_says_first_whether_all_is_well(small: Any) -> None:
    page = small.one("/journal/-/board")
    text = words(page)
    assert page.status == 200
    assert text.startswith("Release board 1 of 2 products needs a look: Billing.")
    # What needs a look stands first; the plan says that Live comes after Staging.
    assert text.index("Billing 4.1.1") < text.index("Web shop 2.7.101")
    assert [one for one in re.findall(r'<th scope="col"><bdi>([^<]*)', page.text)] == [
        "Staging",
        "Live",
    ]
    assert "✗ 4.1.1 failed here after it" in text
    assert "Jonas, approved by Mara" in text and "1 newer" in text
    assert re.search(r"2\.7\.101 waits here for: Approved for release, \d+ days?", text), text
    assert "Web shop 2.7.102 since" in text and "not heard of for an hour or more" in text


def test_a_board_without_trouble_or_without_anything_says_so(empty_pages: Any) -> None:
    assert verdict(1, 0, []) == "All is well: 1 product, nothing needs a look."
    assert verdict(9, 5, ["A", "B", "C"]) == "5 of 9 products need a look: A, B, C and 2 more."
    text = words(empty_pages.one("/journal/-/board"))
    assert (
        text.startswith("Release board Nothing is live yet.") and "This journal is empty." in text
    )


@pytest.mark.parametrize(
    ("rows", "order"),
    [
        ([("live", 3), ("staging", 2), ("test", 1)], "test staging live"),
        ([("b", None), ("a", None)], "a b"),
        ([("live", None), ("test", 1)], "test live"),
        ([("live", 1), ("live", 4), ("test", 2)], "live test"),
        ([], ""),
    ],
)
def test_environments_stand_in_the_order_of_the_plans(rows: list[Any], order: str) -> None:
    told = [{"environment": name, "position": at, "environment_title": name} for name, at in rows]
    assert " ".join(one.environment for one in columns_of(told)) == order


@pytest.mark.parametrize("search", ["web", "WEB SH", "shop"])
def test_a_product_is_found_by_a_part_of_its_title(small: Any, search: str) -> None:
    text = words(small.one(f"/journal/-/board?search={quote(search)}"))
    assert "Web shop" in text and "Billing" not in text
    none = words(small.one("/journal/-/board?search=%25"))
    assert "No product is called like “%”" in none


def test_a_run_that_went_live_in_an_emergency(small: Any) -> None:
    text = words(small.one("/journal/-/run/2.7.100"))
    assert text.startswith("Web shop 2.7.100")
    assert "✓ Went to Staging and Live, " in text
    assert "An emergency release by Mara; the store could not be reached. Reason given: “Payments are down”." in text  # fmt: skip
    assert "Released was given by Mara (“looked at staging”)." in text
    assert "perf ○ not asked for" in text
    assert "52 s, usually 52 s" in text and "Show the sum of a basket, SHOP-140" in text


def test_a_run_that_failed_says_why_and_where_the_whole_log_lies(small: Any) -> None:
    page = small.one("/journal/-/run/2.7.4")
    text = words(page)
    assert "✗ Failed, " in text and "at its stage unit (1 of 10 failed)." in text
    assert "test_refund" in text
    assert "FAILED tests/test_pay.py::test_refund - assert 409 == 200" in text
    assert re.search(r"The whole log: logs/[0-9a-f-]+/unit.log in the folder of the journal on laptop-mara", text)  # fmt: skip
    assert "staging ○ not reached" in text
    links = re.findall(r'href="(https?://[^"]*)"', page.text)
    assert (
        "https://tickets.example.org/SHOP-44" in links and "https://tickets.example.org/12" in links
    )
    assert [one for one in links if re.fullmatch(r"https://git\.example\.org/shop/commit/[0-9a-f]{40}", one)]  # fmt: skip
    assert [one for one in links if one.startswith("https://logs.example.org/?q=") and "unit&amp;from=2026" in one]  # fmt: skip
    assert "javascript" not in page.text


def test_last_lines_that_are_elsewhere_are_said_to_be(
    small_file: Path, tmp_path: Path, make_pages: Callable[[Path], Any]
) -> None:

    alone = shutil.copy(small_file, tmp_path / "journal.db")
    text = words(make_pages(Path(alone)).one("/journal/-/run/2.7.4"))
    assert "They are not on this machine" in text and "assert 409" not in text


@pytest.mark.parametrize("asked", ["no-such-run", "9.9.9", "<script>alert(1)</script>", "%00"])
def test_an_unknown_run_is_said_to_be_so(small: Any, asked: str) -> None:
    page = small.one(f"/journal/-/run/{quote(asked, safe='')}")
    assert page.status == 404 and "This machine knows of no run" in words(page)
    assert "<script" not in page.text


def test_without_any_run_the_page_says_so(empty_pages: Any) -> None:
    page = empty_pages.one("/journal/-/run/latest")
    assert page.status == 404 and "There was no run yet." in words(page)


def test_a_version_that_two_products_have_is_told_apart(small: Any, full_pages: Any) -> None:
    text = words(full_pages.one("/journal/-/run/1.0.6?deliverable=webshop"))
    assert text.startswith("Web shop 1.0.6")
    assert small.one("/journal/-/run/2.7.1?deliverable=billing").status == 404


def test_rows_of_each_part_are_one_click_away(small: Any) -> None:
    for address in PAGES:
        page = small.one(address)
        links = re.findall(r'<p class="ways">.*?</p>', page.text, re.DOTALL)
        assert links
        for each in links:
            html, as_json, as_csv = (one.replace("&amp;", "&") for one in re.findall(r'href="([^"]*)"', each))  # fmt: skip
            shown, data, table = small.get(html, as_json, as_csv)
            assert (shown.status, data.status, table.status) == (200, 200, 200), each
            assert isinstance(data.json, list)


def test_without_stored_questions_the_statement_itself_is_led_to(small_file: Path) -> None:
    """As ``datasette journal.db`` shows it to whoever has the plugin and no metadata."""

    from datasette.app import Datasette

    async def ask() -> tuple[int, int]:
        datasette = Datasette([str(small_file)])
        await datasette.invoke_startup()
        page = await datasette.client.get("/journal/-/run/latest")
        link = re.search(r'<p class="ways">.*?href="([^"]*)"', page.text, re.DOTALL)
        assert link is not None
        shown = await datasette.client.get(link[1].replace("&amp;", "&"), follow_redirects=True)
        return page.status_code, shown.status_code

    assert asyncio.run(ask()) == (200, 200)


@pytest.mark.parametrize("address", PAGES)
def test_nothing_of_a_stranger_acts_or_turns_the_text_around(hostile: Any, address: str) -> None:
    page = hostile.one(address)
    assert page.status == 200
    assert "<script" not in page.text.lower() and "javascript:" not in page.text.lower()
    assert not re.search(r"<[^>]*\son\w+=", page.text)
    assert "\u202e" not in page.text and "\u0007" not in page.text
    assert "<script>alert(1)</script>\\u202e\\x07" in words(page)
    assert "evil.example" not in page.text and "logs.example.org" not in page.text


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"


@pytest.mark.parametrize("address", PAGES)
def test_with_a_limit_of_a_millisecond_every_part_says_what_it_left_out(
    small: Any, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(limits, "PART_LIMIT_MS", 1)
    for name, query in queries.QUERIES.items():
        slow = query._replace(sql=f"SELECT * FROM ({ENDLESS}) WHERE '' IN ({', '.join(':' + one for one in query.parameters)})" if query.parameters else ENDLESS)  # fmt: skip
        monkeypatch.setitem(queries.QUERIES, name, slow)
    page = small.one(address)
    assert page.status == 200 and "could not be found out in time" in words(page)


PARTS = {
    "stages": ("What its stages did", "build ✓ went well"), "went-to": ("Where it went", "✓ took over"),
    "decisions": ("What was decided", "earned by its stages"), "commits": ("Which commits it brought", "Say why a card was refused"),
    "tests-of-version": ("Which tests ran", "10 of 10"), "artifacts": ("What it made", "shop.whl"),
    "failing-cases": ("Which tests failed", ""),
}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_a_run_without_one_part_has_all_others(
    small: Any, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(limits, "PART_LIMIT_MS", 150)
    slow = queries.QUERIES[part]._replace(sql=f"SELECT * FROM ({ENDLESS}) WHERE '' IN (:run, :deliverable)")  # fmt: skip
    monkeypatch.setitem(queries.QUERIES, part, slow)
    page = small.one("/journal/-/run/2.7.100")
    text = words(page)
    assert page.status == 200
    for name, (late, known) in PARTS.items():
        assert (f"{late} could not be found out in time." in text) == (name == part)
        assert name == part or known in text, name


def headers_of(pages: Any, address: str) -> dict[str, str]:

    async def ask() -> dict[str, str]:
        await pages.datasette.invoke_startup()
        return dict((await pages.datasette.client.get(address)).headers)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("address", "seconds"),
    [
        ("/journal/-/board", None), ("/journal/-/board?wall=1", "60"), ("/journal/-/run/latest", "60"),
        ("/journal/-/run/2.7.100", None), ("/journal/-/run/latest?hold=1", None),
    ],
)  # fmt: skip
def test_what_is_over_is_looked_at_again_only_where_it_is_asked_for(
    small: Any, address: str, seconds: str | None
) -> None:
    found = headers_of(small, address)
    assert found.get("refresh") == seconds
    assert "default-src 'none'" in found["content-security-policy"]


def test_a_run_under_way_is_looked_at_again_every_few_seconds(
    small_file: Path, tmp_path: Path, make_pages: Callable[[Path], Any]
) -> None:

    path = Path(shutil.copy(small_file, tmp_path / "journal.db"))
    with sqlite3.connect(path) as connection:  # as if all of it had come just now
        connection.execute("DROP TRIGGER IF EXISTS event_update")
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'event'").fetchall():  # fmt: skip
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("UPDATE event SET received = unixepoch() * 1000")
    connection.close()
    pages = make_pages(path)
    for address in ("/journal/-/board", "/journal/-/run/latest"):
        assert headers_of(pages, address)["refresh"] == "5"
    page = pages.one("/journal/-/run/latest")
    assert "This page looks again every 5 s." in " ".join(page.text.split())
    assert "hold=1" in page.text and "Is under way since" in words(page) and "cx-now" in page.text


@pytest.fixture
def other(tmp_path: Path, make_pages: Callable[[Path], Any]) -> Any:
    """Pages of a database that is no journal."""
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE t (run TEXT)")
    connection.close()
    return make_pages(tmp_path / "other.db")


def test_other_databases_have_no_such_pages(other: Any) -> None:
    assert other.one("/other/-/board").status == 404


def test_what_went_out_on_a_day_stands_one_click_from_its_month(small: Any) -> None:
    """The clock of these tests is UTC+05:45: what was done at 19:37 UTC is of the next day."""
    page = small.one("/journal/-/diary?month=2026-11")
    assert words(page).startswith(
        "Diary Sun 29 Nov 2026: 2 versions went out and 1 did not go out."
    )
    days = re.findall(r'href="(/journal/-/diary\?day=[^"]*)"', page.text)
    assert (
        "/journal/-/diary?day=2026-11-28" in days and "/journal/-/diary?day=2026-11-22" not in days
    )
    text = words(small.one("/journal/-/diary?day=2026-11-28"))
    assert "Sat 28 Nov 2026: 1 rolled back." in text and "01:22 ↩ rolled back Web shop" in text
    text = words(small.one("/journal/-/diary?day=2026-11-22"))
    assert "nothing was recorded." in text


@pytest.mark.parametrize(
    "asked",
    [
        "day=2026-02-31",
        "month=2026-99",
        "day=x%27%3B--",
        "month=0001-01",
        "day=9999-12-31",
        "day=0001-01-01",
    ],
)
def test_odd_days_show_nothing_of_another_day(small: Any, empty_pages: Any, asked: str) -> None:
    for pages in (small, empty_pages):
        page = pages.one(f"/journal/-/diary?{asked}")
        assert page.status == 400 and "is no time; write a" in words(page)
        assert "2.7." not in page.text


def test_the_diary_can_be_subscribed_to(small: Any, hostile: Any, empty_pages: Any) -> None:
    for pages in (small, hostile, empty_pages):
        calendar, atom = pages.get("/journal/-/diary.ics", "/journal/-/diary.atom")
        assert (calendar.status, atom.status) == (200, 200)
        assert calendar.text.startswith("BEGIN:VCALENDAR") and "\u202e" not in calendar.text
        ElementTree.fromstring(atom.text)
    assert "SUMMARY:Web shop 2.7.100 went out\\, Live" in small.one("/journal/-/diary.ics").text


def test_a_product_says_what_is_live_and_what_is_not_yet(small: Any) -> None:
    text = words(small.one("/journal/-/product?deliverable=webshop"))
    assert text.startswith("Web shop 2.7.100 in Live and 2.7.101 in Staging."), text[:200]
    assert "Not live yet: 2 commits (SHOP-141), the oldest " in text
    assert (
        "↩ rolled back" in text
        and "Numbers The picture is of line 2.7; the table has the other lines, too." in text
        and "1 of 10 failed" in text
    )
    billing = words(small.one("/journal/-/product?deliverable=billing"))
    assert (
        billing.startswith("Billing 4.1.0 in Live and 4.1.1 in Staging.")
        and "webshop" not in billing
    )
    assert "Numbers of line 4.1" in billing, "one line needs no word about others"


def test_a_number_has_a_state_of_its_own_and_a_reason_or_the_word_that_there_is_none(
    small: Any,
) -> None:
    text = words(small.one("/journal/-/product?deliverable=webshop"))
    assert "4 2.7 used taken online 2.7.4" in text, "that release failed: it is in use nowhere"
    assert "8 to 9 1.0 – skipped passed over, and no reason was recorded" in text
    assert "in use, confirmed" not in text


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("then", "Billing Live 4.1.0"),
        ("unusual", "Live: 4.1.1 failed here: port 8080 is in use"),
        ("run/4.1.1", "A deployment did not succeed (Live: failed)."),
        ("run/2.7.101", "It stopped before Live, as it should."),
        ("difference?deliverable=billing&newer=4.1.1&older=4.1.0", "deploy in Staging, after lint"),
        ("machines", "Nobody has asked on this machine yet; cxlocal doctor does."),
    ],
)
def test_what_has_a_title_is_called_by_it(small: Any, address: str, said: str) -> None:
    text = words(small.one(f"/journal/-/{address}"))
    assert said in text and "production" not in text and "webshop" not in text


def test_a_product_that_nobody_knows_is_said_to_be_so(small: Any, empty_pages: Any) -> None:
    page = small.one("/journal/-/product?deliverable=%3Cb%3E")
    assert page.status == 404 and "knows of no product “<b>”" in words(page)
    assert "Nothing was released yet." in words(empty_pages.one("/journal/-/product"))


def test_the_way_of_a_version_says_where_it_waited(small: Any) -> None:
    page = small.one("/journal/-/way/2.7.100")
    text = words(page)
    assert text.startswith("The way of Web shop 2.7.100")
    assert (
        "From its commit to Live: 23 min 2 s. Waiting for people: 8 min 45 s, 38 % of it." in text
    )
    assert "Put back into Live" in text and "looked at staging" in text
    assert small.one("/journal/-/way/9.9.9").status == 404


def test_then_tells_what_was_live_as_it_was_known(small: Any, empty_pages: Any) -> None:
    """The rollback of 28 November, an hour before it (UTC+05:45) and after."""
    text = words(small.one("/journal/-/then?at=2026-11-27T00:00"))
    assert text.startswith(
        "What was live, Fri 27 Nov 2026 00:00 What was known then is what is known now."
    )
    assert "Web shop Live 2.7.3" in text
    text = words(small.one("/journal/-/then?at=2026-11-27T05:30&known=2026-11-27T05:10"))
    assert "Web shop Live 2.7.100" in text and "only known later" in text
    assert (
        "Web shop Live 2.7.3" in text and "thought so then, and known to be otherwise now" in text
    )
    assert "This machine knew nothing before" in words(small.one("/journal/-/then?at=2020-01-01"))
    now = words(small.one("/journal/-/then"))
    assert "This is what is live now" in now and "Remark" not in now, "no column of nothing"
    seconds = small.one("/journal/-/then?at=2026-11-27T05:30:35")
    assert "What was live, Fri 27 Nov 2026 05:30:35" in words(seconds)
    assert 'value="2026-11-27T05:30:35"' in seconds.text
    for same in ("2026-11-27%2005:30", "2026-11-26T23:45Z", "2026-11-27T00:45%2B01:00"):
        assert "Web shop Live 2.7.100" in words(small.one(f"/journal/-/then?at={same}")), same
    for name in ("at", "known"):
        for wrong in ("yesterday", "30.11.2026", "2026-11-31", "2026-11-27T5"):
            odd = small.one(f"/journal/-/then?{name}={wrong}")
            assert odd.status == 400 and "is no time; write 2026-11-23" in words(odd)
            assert "2.7." not in odd.text, "nothing of another time"
    assert "Nothing was live" in words(empty_pages.one("/journal/-/then"))


def test_two_versions_are_compared(small: Any, empty_pages: Any, hostile: Any) -> None:
    text = words(small.one("/journal/-/difference?older=2.7.1&newer=2.7.3&deliverable=webshop"))
    assert "From 2.7.1 to 2.7.3: 4 commits; 1 artifact is different." in text
    assert "SHOP-43" in text and "SHOP-42" in text and "SHOP-41" not in text, "all releases between"
    assert "unit: unit tests 10 of 10 passed 10 of 10 passed the same" in text
    assert (
        "live stage deploy in Live, needs Approved for release"
        " deploy in Live, needs Approved for release the same" in text
    )
    # From the page of a run to the one before it.
    page = small.one("/journal/-/run/2.7.4")
    link = re.search(r'href="([^"]*/-/difference[^"]*)"', page.text)
    assert link is not None
    text = words(small.one(link[1].replace("&amp;", "&")))
    assert "From 4.1.0" not in text and "From 2.7.3 to 2.7.4" in text
    for asked in ("older=9.9.9", "newer=9.9.9", "older=4.1.0&newer=2.7.3"):
        assert "does not know both" in words(small.one(f"/journal/-/difference?{asked}"))
    assert "no two releases to compare" in words(empty_pages.one("/journal/-/difference"))
    assert "stage of the plan" not in words(hostile.one("/journal/-/difference"))
