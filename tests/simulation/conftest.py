"""The world of the simulation, with every sign of place under its control."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# The kits stand beside their suites; test folders are no packages.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[1] / "stores")]

import cxlocal_sync.stores.sqlite
from world import World, place_of

import cxlocal.exchange.contact
import cxlocal.exchange.copies


@pytest.fixture
def make_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Makes the world of a seed."""
    for module in (cxlocal.exchange.contact, cxlocal.exchange.copies, cxlocal_sync.stores.sqlite):
        monkeypatch.setattr(module, "file_hint", place_of)
    monkeypatch.setattr(cxlocal.exchange.copies, "hint_digest", place_of)
    made: list[World] = []

    def make(seed: int, kind: str = "embedded") -> World:
        made.append(World(tmp_path / f"{seed}-{len(made)}", seed, kind))
        return made[-1]

    yield make
    for each in made:
        each.close()
