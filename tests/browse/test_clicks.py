"""What people ask of the pages, and how few clicks it takes from the board: each answer stands on the board
or on a page that the board leads to."""

from __future__ import annotations

import re
from html import unescape
from typing import Any, NamedTuple

import pytest

BOARD = "/journal/-/board"


class Question(NamedTuple):
    """One question, the way to its answer, and what the answer says."""

    asked: str
    links: tuple[str, ...]
    """Accessible names of the links that are followed; none where the board answers."""
    answer: tuple[str, ...]


QUESTIONS = (
    Question("what is live now", (), ("Billing 4.1.1", "4.1.0", "Web shop 2.7.101", "2.7.100")),
    Question(
        "what went out on the day of the outage",
        ("27 (Fri 27 Nov)",),
        ("1 in an emergency", "2.7.100", "Payments are down"),
    ),
    Question(
        "why is a number missing",
        ("Web shop",),
        ("8 to 9 1.0 – skipped passed over, and no reason was recorded",),
    ),
    Question("who released it", (), ("Jonas, approved by Mara",)),
    Question("who approved it", ("2.7.100",), ("Released was given by Mara (“looked at staging”)",)),
    Question(
        "what changed between two versions",
        ("what changed with 2.7.101 in Staging",),
        ("Web shop: what changed From 2.7.100 to 2.7.101: 4 commits", "SHOP-141"),
    ),
    Question(
        "what failed where it was to go live, and why, with the log",
        ("4.1.1 failed here after it",),
        ("port 8080 is in use", "bind: address already in use"),
    ),
    Question(
        "what failed before that, and why, with the log",
        ("Web shop 2.7.4",),
        ("at unit (1 of 10 failed).", "FAILED tests/test_pay.py::test_refund", "The whole log:"),
    ),
    Question("how long from commit to live", ("Figures",), ("Half of its commits were live within 1 h 57 min",)),
)  # fmt: skip
CLICKS_MAX = 1


def links_of(page: Any) -> dict[str, str]:
    """Addresses by the name that a person hears; of several of one name the first."""
    found: dict[str, str] = {}
    for address, text in re.findall(
        r'<a\b[^>]*\bhref="([^"]*)"[^>]*>(.*?)</a>', page.text, re.DOTALL
    ):
        name = " ".join(unescape(re.sub(r"<[^>]+>", "", text)).split())
        found.setdefault(name, unescape(address))
    return found


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: one.asked.replace(" ", "-"))
def test_an_answer_is_one_click_from_the_board_at_most(small: Any, question: Question) -> None:
    page = small.one(BOARD)
    for name in question.links:
        page = small.one(links_of(page)[name])
    assert page.status == 200
    for words in question.answer:
        assert words in page.words, page.words
    assert len(question.links) <= CLICKS_MAX


def test_a_day_with_more_than_is_counted_says_so(small: Any) -> None:
    from datasette_cxlocal.lately import counts_of

    counted = counts_of({"went_out": 20, "rolled_back": 19, "did_not_go_out": 0, "unusual": None})
    assert [(state.word, count) for state, count in counted] == [
        ("went out", "20+"),
        ("rolled back", "19"),
    ]
    assert counts_of({}) == []


def test_days_are_those_of_the_zone(small: Any) -> None:
    """The emergency was late on Thursday in London and on Friday in Tokyo."""
    for zone, day in (("Europe/London", "26 (Thu 26 Nov)"), ("Asia/Tokyo", "27 (Fri 27 Nov)")):
        page = small.one(f"{BOARD}?zone={zone}")
        assert day in links_of(page), zone
        [field] = re.findall(r"<td[^>]*>(?:(?!</td>).)*out of the ordinary", page.text, re.DOTALL)
        assert day.partition(" ")[2][1:-1] in field
