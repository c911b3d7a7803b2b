"""Registers the shipped stores through the same hook as anybody else's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from cxlocal.exchange.store import Store
from cxlocal.hooks.specs import hookimpl
from cxlocal_sync.stores.sqlite import SqliteStore


@hookimpl
def cxlocal_register_stores() -> Mapping[str, Callable[[str, Path], Store]]:
    """``sqlite:``: the embedded store, a file beside the journal or elsewhere on this machine.
    ``https:`` and, on this machine, ``http:``: a store that somebody serves."""
    return {"sqlite": SqliteStore, "https": _served, "http": _served}


def _served(url: str, home: Path) -> Store:
    # Imported for who uses it: the embedded store needs none of it.
    from cxlocal_sync.http.client import HttpStore

    return HttpStore(url, home)
