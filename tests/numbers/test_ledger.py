"""The account of a line, without journal or store."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cxlocal.domain import NumberState
from cxlocal.numbers import log
from cxlocal.numbers.ledger import Skip, Use, account

CONFIRMED = "in use, confirmed"


def entry(k: int, kind: str, lo: int, hi: int, run: str = "") -> log.Entry:
    return log.Entry(k, kind, lo, hi, "n" * 32, run, "", 1, "why", "", "")


def test_strongest_statement_wins() -> None:
    entries = [
        entry(1, "online", 0, 0, "r0"), entry(2, "reserve", 5, 7), entry(3, "raise", 1, 5),
    ]  # fmt: skip
    uses = [Use(0, "r0", "1.0", "online", CONFIRMED, "n"), Use(5, "r5", "1.5", "reserve",
            CONFIRMED, "n")]  # fmt: skip
    skips = [Skip(5, 6, "given up by a copy", "m")]
    spans = account(entries, uses, skips, {"n" * 32: "laptop"})
    found = {n: span.state for span in spans for n in range(span.lo, span.hi + 1)}
    assert found == {
        0: NumberState.CONFIRMED, 1: NumberState.SKIPPED, 2: NumberState.SKIPPED,
        3: NumberState.SKIPPED, 4: NumberState.SKIPPED, 5: NumberState.CONFIRMED,
        6: NumberState.SKIPPED, 7: NumberState.RESERVED,
    }  # fmt: skip
    assert "laptop" in spans[-1].why
    assert account([], [], []) == []


def test_p10_two_runs_on_one_number_are_a_conflict_that_names_both() -> None:
    uses = [Use(0, run, "1.0", "reserve", CONFIRMED, "n") for run in ("a", "b")]
    [span] = account([entry(1, "reserve", 0, 0)], uses, [])
    assert span.state is NumberState.CONFLICTED
    assert "a and b" in span.why


def test_holes_in_our_copy_are_said_to_be_holes() -> None:
    spans = account([entry(3, "online", 2, 2, "r")], [], [])
    assert spans[0].state is NumberState.RESERVED
    assert "not arrived" in spans[0].why


ranges = st.tuples(st.integers(0, 30), st.integers(0, 6)).map(lambda each: (each[0], sum(each)))


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.sampled_from(log.KINDS), ranges), max_size=6),
    st.lists(st.integers(0, 40), max_size=5),
    st.lists(ranges, max_size=4),
)
def test_p7_every_number_once_whatever_is_known(
    grants: list[tuple[str, tuple[int, int]]], used: list[int], skipped: list[tuple[int, int]]
) -> None:
    entries = [entry(k, kind, *span) for k, (kind, span) in enumerate(grants, 1)]
    uses = [Use(number, f"r{number}", "t", "online", CONFIRMED, "n") for number in used]
    spans = account(entries, uses, [Skip(lo, hi, "w", "n") for lo, hi in skipped])
    numbers = [number for span in spans for number in range(span.lo, span.hi + 1)]
    top = max([-1, *used, *(hi for _, hi in skipped), *(span[1] for _, span in grants)])
    assert numbers == list(range(top + 1))
    assert all(span.why for span in spans)
