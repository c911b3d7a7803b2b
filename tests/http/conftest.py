"""Served stores, shared by the tests of HTTP."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# The kit stands beside the contract suite; test folders are no packages.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stores"))

from http_kit import CuttingProxy, ProcessServer, ThreadServer
from numbers_kit import open_journal

from cxlocal.journal.file import Journal


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreadServer]:
    """A served store in a thread."""
    made = ThreadServer(tmp_path / "central")
    yield made
    made.close()


@pytest.fixture
def process_server(tmp_path: Path) -> Iterator[ProcessServer]:
    """``cxlocal serve`` in a process of its own."""
    made = ProcessServer(tmp_path / "central")
    yield made
    made.stop()


@pytest.fixture
def proxy(server: ThreadServer) -> Iterator[CuttingProxy]:
    """A way to ``server`` that can be cut."""
    made = CuttingProxy(server.port)
    yield made
    made.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[..., Journal]]:
    """Opens the journal of a machine by name, in a home of its own."""
    opened: list[Journal] = []

    def make(name: str = "laptop", clock: Any = None) -> Journal:
        journal = open_journal(tmp_path / name, clock)
        opened.append(journal)
        return journal

    yield make
    for journal in opened:
        journal.close()
