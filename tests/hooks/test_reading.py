"""What a reader of reports may answer, and what is made of it: never more green than it was."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxlocal.hooks.reading import TEXT_CHARACTERS_MAX, checked, read_report
from cxlocal.hooks.report import OUTCOMES, Case, Report

NOBODY = Path("nobody")


def case(**other: Any) -> Any:
    return Case(
        **{"suite": "s", "name": "b", "outcome": "passed", "seconds": 0.5, "message": ""} | other
    )


def report(*cases: Any, **other: Any) -> Any:
    return Report(**{"format": "x", "suite": "x", "cases": cases, "problem": ""} | other)


class Impostor(NamedTuple):
    suite: str = "s"
    name: str = "b"
    outcome: str = "passed"
    seconds: float | None = None
    message: str = ""


def test_a_right_answer_is_kept() -> None:
    cases = tuple(case(name=outcome, outcome=outcome, seconds=None) for outcome in OUTCOMES)
    assert checked(report(*cases), "acme", "unit") == Report("acme", "unit", cases)
    assert checked(report(case(seconds=3)), "acme", "unit").cases[0].seconds == 3.0
    assert checked(report(cases=[case()]), "acme", "unit").cases == (case(),), "a list will do"


@pytest.mark.parametrize(
    ("one", "kept"),
    [
        # An outcome that nobody knows is none.
        *((case(outcome=word), False) for word in
          ("fail", "FAILED", "ok", "", "passed ", None, 1, True, ["failed"], {"a": 1})),
        *((case(seconds=value), True) for value in
          ("0.1", "", True, -0.1, float("nan"), float("inf"), 1e9, 10**400, [1], 1j, b"1")),
        *((case(name=value), True) for value in (None, 7, b"b", ["b"])),
        *((case(suite=value), True) for value in (None, 7)),
        *((case(message=value), True) for value in (None, 7, ValueError("x"))),
        *((value, False) for value in
          (None, "b passed", ("s", "b", "passed", None, ""), Impostor(), {"outcome": "failed"}, 3)),
    ],
)  # fmt: skip
def test_a_wrong_case_makes_the_report_unreadable(one: Any, kept: bool) -> None:
    found = checked(report(case(name="a"), one), "acme", "unit")
    assert "the reader of acme is wrong: " in found.problem and found.outcome == "error"
    assert len(found.cases) == (2 if kept else 1)
    for sound in found.cases:
        assert [type(value) for value in (sound.suite, sound.name, sound.message)] == [str] * 3
        assert sound.outcome in OUTCOMES and isinstance(sound.seconds, float | None)
    # What did fail is a failure, whatever else is wrong.
    assert checked(report(one, case(outcome="failed")), "acme", "unit").outcome == "failure"


@pytest.mark.parametrize(
    "answer",
    [None, "passed", [case()], {"cases": []}, 0, Report, ("acme", "unit", (), ""),
     report(cases=None), report(cases="passed"), report(cases={case()}), report(cases=case),
     report(cases=(one for one in [case()])), report(problem=None), report(problem=OSError("x"))],
)  # fmt: skip
def test_a_wrong_report_is_an_unreadable_one(answer: Any) -> None:
    found = checked(answer, "acme", "unit")
    assert found.problem and found.outcome == "error" and found[:3] == ("acme", "unit", ())


def test_the_words_name_the_mistake_and_how_many_more() -> None:
    found = checked(report(case(name="pays", outcome="fail"), case(seconds="1")), "acme", "unit")
    assert "the outcome of 'pays' is 'fail', not one of passed, failed" in found.problem
    assert found.problem.endswith("(and 1 more)")
    both = checked(report(case(seconds="1"), problem="half of it"), "acme", "unit").problem
    assert both.startswith("half of it; the reader of acme is wrong: seconds of 'b'")


def test_texts_are_bounded_and_can_be_written() -> None:
    found = checked(
        report(case(name="\udcff" + "x" * 9999, message="y" * 9999), problem="\ud800" * 9999),
        "acme", "unit",
    )  # fmt: skip
    for text in (found.problem, found.cases[0].name, found.cases[0].message):
        assert len(text.encode()) <= 4 * TEXT_CHARACTERS_MAX


class Reader:
    format = "acme"

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer

    def read(self, path: Path, *, suite: str) -> Any:
        return self.answer()


class Liar(Report):
    """Says of itself whatever it likes."""

    @property
    def outcome(self) -> str:
        return "success"

    def count(self, outcome: Any) -> int:
        return 0


class Trap(Report):
    @property
    def cases(self) -> Any:
        raise SystemExit(0)


class Unspeakable:
    def __repr__(self) -> str:
        raise KeyError("repr")


def fall() -> Any:
    raise ValueError("bad \udcff bytes")


@pytest.mark.parametrize(
    "answer",
    [fall, lambda: sys.exit(0), lambda: Trap("a", "b", ()), Unspeakable,
     lambda: report(case(outcome=Unspeakable())), lambda: 1 / 0],
)  # fmt: skip
def test_nothing_a_reader_raises_goes_further(answer: Callable[[], Any]) -> None:
    found = read_report(Reader(answer), "acme", NOBODY, "unit")
    assert found.problem.startswith("the reader of acme failed: ") and found.outcome == "error"
    found.problem.encode()


def test_a_report_that_lies_about_itself_is_made_anew() -> None:
    answer = Liar("x", "x", (case(outcome="failed"),))
    assert answer.outcome == "success"
    found = read_report(Reader(lambda: answer), "acme", NOBODY, "unit")
    assert (type(found), found.outcome, found.count("failed")) == (Report, "failure", 1)


ANYTHING = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary()
)


@given(
    st.lists(
        st.builds(
            Case, ANYTHING, ANYTHING, ANYTHING | st.sampled_from(OUTCOMES), ANYTHING, ANYTHING
        )
    ),
    ANYTHING,
)
def test_no_answer_is_greener_than_what_stands_in_it(cases: list[Any], problem: Any) -> None:
    found = checked(Report("x", "x", tuple(cases), problem), "acme", "unit")
    if found.outcome == "success":
        assert found.cases == tuple(cases) and all(
            one.outcome in ("passed", "skipped", "flaky") for one in cases
        )
