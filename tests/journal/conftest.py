"""Journals with a settable clock, and histories of several machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cxlocal.clock import SystemIds
from cxlocal.journal.file import Journal

START_MS = 1_795_400_000_000


class SetClock:
    """A wall clock that stands still until told otherwise; monotonic time runs with it."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def make_journal(tmp_path: Path, clock: SetClock) -> Iterator[Callable[..., Journal]]:
    """Opens a journal in a folder of its own, named by the caller."""
    opened: list[Journal] = []

    def make(name: str = "one", *, at: SetClock = clock) -> Journal:
        journal = Journal.open(tmp_path / name / "journal.db", clock=at, ids=SystemIds())
        opened.append(journal)
        return journal

    yield make
    for journal in opened:
        journal.close()


@pytest.fixture
def journal(make_journal: Callable[..., Journal]) -> Journal:
    return make_journal()
