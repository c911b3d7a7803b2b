"""Which elements of a JUnit file are one test, and what the tests are called. Pure.

A test is an element. Producers write more than one for a test in three cases only, and these are
folded: a call that failed and the error of its clean-up; the attempts of a test that was run again;
and, in reports of pytest, where a test has one name, every further element of it. Everything else
that bears the same name is another test: rows of a table, the same scenario in another suite.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Container

from cxlocal.hooks.report import Case
from cxlocal.text import cut_name
from cxlocal.values import NamedTuple

CASES_MAX = 200_000
"""Cases kept of one file."""
BAD_CASES_MAX = 10_000
"""Failed and erroneous cases kept beyond that: a failure must not hide behind many passes."""
KEPT_BYTES_MAX = 96 * 1024 * 1024
"""Of all names and messages of one file together, as they lie in memory: characters beyond U+FFFF
make every character of a text take four bytes. With CASES_MAX it bounds the memory."""
NAME_CHARACTERS_MAX = 1024
"""Of a suite or test name; a longer one is cut and told apart by a digest of the whole."""

BAD = ("failed", "error")
GOOD = ("passed", "flaky")


class Suite(NamedTuple):
    """One suite element. Two of one name are two suites: a producer that runs a test again writes
    the attempts into one suite."""

    number: int
    """Its place in the file; 0 stands for none."""
    path: tuple[str, ...]
    host: str


class Element(NamedTuple):
    """One ``testcase`` element."""

    suite: Suite
    classname: str
    name: str
    place: tuple[str, str]
    """File and line of the test, where the producer says so."""
    outcome: str
    seconds: float | None
    message: str


class Tests:
    """The tests of one file, made of its elements in their order."""

    def __init__(self) -> None:
        self.left_out = 0
        self._cases: list[Case | None] = []
        self._suites: list[Suite] = []
        self._last: dict[tuple[int, str, str, tuple[str, str]], int] = {}
        """The newest test of everything that makes an element what it is."""
        self._attempt_before: dict[int, int] = {}
        """Bad elements of one name that no good one has followed yet, linked from the newest."""
        self._cleaned_up: set[int] = set()
        """Failed tests whose clean-up has had its error."""
        self._kept_bytes = 0
        self._kept = 0
        self._bad_kept = 0

    def __len__(self) -> int:
        return self._kept

    def add(self, element: Element, *, one_name: bool) -> None:
        """Take the next element. ``one_name``: the producer gives no two tests the same name."""
        case = Case(
            element.classname or (element.suite.path[-1] if element.suite.path else ""),
            element.name, element.outcome, element.seconds, element.message,
        )  # fmt: skip
        key = (element.suite.number, element.classname, element.name, element.place)
        index = self._last.get(key)
        known = None if index is None else self._cases[index]
        if index is not None and known is not None:
            if self._is_clean_up(index, known, case):
                return
            again = _attempted_again(known, case, one_name=one_name)
            if again is not None:
                self._take_up(index, again)
                return
        self._keep(key, element.suite, case, index if known and known.outcome in BAD else None)

    def _is_clean_up(self, index: int, known: Case, case: Case) -> bool:
        """An error after a failure is that of the same call's clean-up, once."""
        if (known.outcome, case.outcome) != BAD or index in self._cleaned_up:
            return False
        self._cleaned_up.add(index)
        return True

    def _take_up(self, index: int, case: Case) -> None:
        """The newest attempt stands for the test; the bad ones before it are attempts of it."""
        self._cases[index] = case
        earlier = self._attempt_before.pop(index, None) if case.outcome in GOOD else None
        while earlier is not None and (attempt := self._cases[earlier]) is not None:
            self._cases[index] = case = case._replace(message=attempt.message or case.message)
            self._cases[earlier] = None
            self._kept -= 1
            earlier = self._attempt_before.pop(earlier, None)

    def _keep(
        self,
        key: tuple[int, str, str, tuple[str, str]],
        suite: Suite,
        case: Case,
        before: int | None,
    ) -> None:
        if not self._has_room(case):
            self.left_out += 1
            return
        self._kept += 1
        self._kept_bytes += _bytes(case.suite, case.name, case.message, *key[-1])
        if not self._suites or self._suites[-1] is not suite:
            self._kept_bytes += _bytes(suite.path, suite.path[-1] if suite.path else "", suite.host)
        index = self._last[key] = len(self._cases)
        if before is not None and case.outcome in BAD:
            self._attempt_before[index] = before
        self._cases.append(case)
        self._suites.append(suite)

    def _has_room(self, case: Case) -> bool:
        """Whether one more case is kept; of those that failed, some more."""
        if self._kept < CASES_MAX and self._kept_bytes < KEPT_BYTES_MAX:
            return True
        if case.outcome not in BAD or self._bad_kept >= BAD_CASES_MAX:
            return False
        self._bad_kept += 1
        return True

    def end(self) -> tuple[Case, ...]:
        """Every test once, in the order of the file, each by a name of its own. What was held is
        given away: nothing can be added afterwards."""
        suites = [suite for case, suite in zip(self._cases, self._suites, strict=True) if case]
        cases = [case for case in self._cases if case]
        self._last, self._cases, self._suites = {}, [], []
        # A host is another with every run of a CI: it is named only where nothing else helps.
        for words in (_of_suite, _of_host):
            often = _more_than_once(cases)
            for index, suite in enumerate(suites) if often else ():
                if cases[index][:2] in often and self._kept_bytes < KEPT_BYTES_MAX:
                    full = named(words(cases[index], suite))
                    self._kept_bytes += _bytes(full)
                    cases[index] = cases[index]._replace(suite=full)
        _number(cases, _more_than_once(cases))
        return tuple(cases)


def _bytes(*values: object) -> int:
    return sum(map(sys.getsizeof, values))


def _attempted_again(known: Case, case: Case, *, one_name: bool) -> Case | None:
    """The test after another attempt; None where ``case`` is another test.

    Who runs a test again stops as soon as it passes. pytest's attempts look passed all the same:
    only the last one tells how it ended.
    """
    if case.outcome in GOOD and known.outcome in BAD:
        return case._replace(outcome="flaky", message=known.message)
    if one_name and known.outcome in GOOD:
        return case._replace(outcome="flaky") if case.outcome == "passed" else case
    return None


def _more_than_once(cases: list[Case]) -> set[tuple[str, ...]]:
    counts = Counter(case[:2] for case in cases)
    return {name for name, count in counts.items() if count > 1}


def _of_suite(case: Case, suite: Suite) -> str:
    return " / ".join([*(one for one in suite.path if one and one != case.suite), case.suite])


def _of_host(case: Case, suite: Suite) -> str:
    return f"{case.suite} on {suite.host}" if suite.host else case.suite


def _number(cases: list[Case], often: Container[tuple[str, ...]]) -> None:
    """Count tests that nothing tells apart: ``adds``, ``adds (2)``."""
    numbers: Counter[tuple[str, ...]] = Counter()
    taken = {case[:2] for case in cases} if often else set()
    for index, case in enumerate(cases):
        if case[:2] not in often:
            continue
        numbers[case[:2]] += 1
        number = numbers[case[:2]]
        if number == 1:
            continue
        while (case.suite, name := named(f"{case.name} ({number})")) in taken:
            number += 1
        numbers[case[:2]] = number
        taken.add((case.suite, name))
        cases[index] = case._replace(name=name)


def named(text: str) -> str:
    """A name of bounded length; two long ones that differ stay different."""
    return cut_name(text, NAME_CHARACTERS_MAX)
