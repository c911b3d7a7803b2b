"""A part of a page that takes too long says so, and everything else stands where it stood."""

from __future__ import annotations

from typing import Any

import pytest
from datasette_cxlocal import home, journals, story

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
