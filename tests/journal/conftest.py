"""Journals with a settable clock, and histories of several machines."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

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


@pytest.fixture(scope="session")
def journals() -> ModuleType:
    """``tests/journals.py``; the tests are no packages."""
    name, path = "cxlocal_test_journals", Path(__file__).resolve().parents[1] / "journals.py"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture
def full(tmp_path: Path, journals: ModuleType) -> Iterator[Journal]:
    """A journal with every kind of event that changes a table."""
    journal: Journal = journals.build_full_journal(tmp_path / "full")
    yield journal
    journal.close()
