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
        ("at its stage unit (1 of 10 failed).", "FAILED tests/test_pay.py::test_refund", "The whole log:"),
    ),
    Question("how long from commit to live", ("Figures",), ("Half of its commits were live within 1 h 57 min",)),
)  # fmt: skip
OUTAGE = (
    Question("what is live now", (), ("Billing 4.1.101", "Web shop 2.7.121", "4.1.1 1 newer release")),
    Question(
        "what went out on the day of the outage",
        ("27 (Fri 27 Nov)",),
        ("3 versions went out, 1 rolled back, 1 did not go out and 3 in an emergency", "Payments are down",
         "↩ rolled back Web shop 2.7.6 Live Mara"),
    ),
    Question(
        "why is a number missing",
        ("Web shop",),
        ("8 to 99 2.7 – skipped passed over: number 101 is in use; it was taken while the store could not be reached",
         "102 to 119 2.7 – skipped laptop-mara gave it up: exchanged for a newer reserve"),
    ),
    Question("who released it, who approved it", (), ("Jonas, approved by Mara",)),
    Question(
        "who answers for what was out of the ordinary",
        ("Unusual",),
        ("3 releases were out of the ordinary; nobody has answered for any of them.",
         "2.7.100 Web shop", "unplanned, without the store, a decision was passed over"),
    ),
    Question(
        "what changed between what was live and what is",
        ("what changed with 2.7.121 in Live",),
        ("From 2.7.120 to 2.7.121: 2 commits; 1 artifact is different.", "SHOP-161"),
    ),
    Question(
        "what failed where it was to go live, and why, with the log",
        ("4.1.100 failed here after it",),
        ("at its stage live (no room on the disk)", "No space left on device", "The whole log:"),
    ),
    Question("what waits for whom", (), ("4.1.101 waits here for: Approved for release",)),
    Question("how long from commit to live, and how often it goes wrong", ("figures of Web shop",),
             ("Half of its commits were live within", "1 of 8 went wrong; it was put right within 38 min.")),
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


@pytest.mark.parametrize(
    ("journal", "question"),
    [*(("small", one) for one in QUESTIONS), *(("outage", one) for one in OUTAGE)],
    ids=lambda one: one if isinstance(one, str) else one.asked.replace(" ", "-"),
)
def test_an_answer_is_one_click_from_the_board_at_most(
    request: pytest.FixtureRequest, journal: str, question: Question
) -> None:
    pages = request.getfixturevalue(journal)
    page = pages.one(BOARD)
    for name in question.links:
        page = pages.one(links_of(page)[name])
    assert page.status == 200
    for words in question.answer:
        assert words in page.words, page.words
    assert len(question.links) <= CLICKS_MAX


def test_a_day_with_more_than_is_counted_says_so(small: Any) -> None:
    from datasette_cxlocal.lately import counts_of

    counted = counts_of({"went_out": 20, "rolled_back": 19, "did_not_go_out": 0, "unusual": None})
    assert [(state.word, count) for state, count in counted] == [
        ("deployments", "20+"),
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
