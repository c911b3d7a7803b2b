"""A part of a page that takes too long says so, and everything else stands where it stood."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest
from datasette_cxlocal import home, journals, parts, story

from cxlocal.projection.queries import QUERIES

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"
LATE = {
    "board": "What is live could not be found out in time",
    "last": "could not be found out in time",
    "disputed deployments": "Whether there are disputed deployments could not be found out in time.",
    "conflicting numbers": "Whether there are conflicting numbers could not be found out in time.",
    "unconfirmed numbers": "Whether there are unconfirmed numbers could not be found out in time.",
}
IN_TIME = {
    "board": "1.0.101",
    "last": "the last thing it heard of",
    "disputed deployments": "2 deployments claim a place",
    "conflicting numbers": "2 runs hold a number",
    "unconfirmed numbers": "2 numbers in use, not yet confirmed",
}


def slow_down(patch: pytest.MonkeyPatch, part: str) -> None:
    if part in ("board", "last"):
        patch.setattr(home, f"{part.upper()}_SQL", ENDLESS)
        return
    slowed = tuple(
        (what, ENDLESS if what == part else sql, words) for what, sql, words in home.COUNTED
    )
    assert slowed != home.COUNTED
    patch.setattr(home, "COUNTED", slowed)


@pytest.mark.parametrize("part", LATE)
def test_home_without_one_part(full_pages: Any, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setattr(journals, "PART_LIMIT_MS", 100)
    slow_down(monkeypatch, part)
    for address in ("/", "/journal"):
        page = full_pages.one(address)
        text = " ".join(page.text.split())
        section = text[text.index('class="cx-home"') :].partition("</section>")[0]
        assert page.status == 200
        for name, words in IN_TIME.items():
            wanted = LATE[part] if name == part else words
            assert wanted in section, (name, section)


def test_a_story_whose_head_is_late_keeps_its_rows(
    full_pages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "PART_LIMIT_MS", 100)
    monkeypatch.setattr(story, "HEAD_SQL", ENDLESS)
    page = full_pages.one("/journal/story?run=1.0.2")
    assert page.status == 200 and "could not be found out in time" in page.text
    assert "test_slow" not in page.text and "PASSED_TEST" in page.text


def test_our_pages_answer_when_nothing_at_all_is_in_time(
    full_pages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part of its own; the limit of a millisecond stands for a long history on a busy machine."""
    monkeypatch.setattr(journals, "PART_LIMIT_MS", 1)
    for part in LATE:
        slow_down(monkeypatch, part)
    monkeypatch.setattr(story, "HEAD_SQL", ENDLESS)
    home_page, journal, of_run = full_pages.get("/", "/journal", "/journal/story?run=1.0.2")
    assert {home_page.status, journal.status, of_run.status} == {200}
    for page in (home_page, journal):
        text = " ".join(page.text.split())
        assert [words for words in LATE.values() if words not in text] == []


PAGES = {
    "board": "board", "diary": "diary?day=2026-11-27", "product": "product?deliverable=webshop", "run": "run/4.1.100",
    "way": "way/2.7.100", "difference": "difference?older=2.7.6&newer=2.7.100&deliverable=webshop",
    "then": "then?at=2026-11-27T12:00&known=2026-11-27T09:00", "unusual": "unusual",
    "figures": "figures?deliverable=webshop", "machines": "machines", "evidence": "evidence/2.7.100",
}  # fmt: skip
WHOLE = {("run", "one-run"), ("way", "one-run"), ("difference", "one-run"), ("evidence", "one-run")}
"""Parts without which nothing is known of what the page is about."""
QUIET = {("figures", "runs")}
"""Asked only whether there is such a product."""
CHANGED = {
    ("board", "board"): {"live", "list"}, ("board", "waiting"): {"live"}, ("board", "failed-runs"): {"failed"},
    ("run", "stages"): {"made", "failed"}, ("way", "way"): {"steps"}, ("then", "live-at"): {"rows"},
    ("figures", "figures"): {"s1", "s2", "s3", "s4", "s5"},
    ("evidence", "evidence"): {"s1", "s2", "s3", "s4", "s5", "s6", "s7"},
}  # fmt: skip
"""Sections that a part fills or has a say in, where that is not the one that says it is late."""


class Standing:
    """A clock by which two pages are of the same moment."""

    def now_ms(self) -> int:
        return 1_796_000_000_000


def sections_of(text: str) -> dict[str, str]:
    """The sections of a page by the name of their heading."""
    return {
        name: " ".join(body.split())
        for name, body in re.findall(
            r'<section[^>]*aria-labelledby="([^"]+)"[^>]*>(.*?)</section>', text, re.DOTALL
        )
    }


@pytest.mark.parametrize("page", PAGES)
def test_a_page_without_any_one_of_its_parts_has_all_others(
    outage: Any, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    """Each stored question that the page asks is late in turn; every section but its own stands as it was."""
    address = f"/journal/-/{PAGES[page]}"
    asked: list[str] = []
    late = ""
    ask = parts.rows_of

    async def rows_of(datasette: Any, database: str, sql: str, given: Any = None) -> Any:
        name = next(one for one, query in QUERIES.items() if sql.startswith(query.sql))
        asked.append(name)
        return None if name == late else await ask(datasette, database, sql, given)

    monkeypatch.setattr(parts, "rows_of", rows_of)
    monkeypatch.setattr(sys.modules["datasette_cxlocal.routes"], "SystemClock", Standing)
    whole = sections_of(outage.one(address).text)
    assert whole
    for late in dict.fromkeys(asked):
        got = outage.one(address)
        assert got.status == 200, late
        said = "could not be found out in time" in got.text
        assert said or (page, late) in QUIET, f"nothing says that {late} is left out"
        if (page, late) in WHOLE:
            continue
        now = sections_of(got.text)
        changed = {name for name in whole if now.get(name) != whole[name]}
        own = {name for name in changed if "found out in time" in now.get(name, "")}
        assert changed == CHANGED.get((page, late), own), late
        assert len(own) <= 1 or (page, late) in CHANGED, (late, own)
