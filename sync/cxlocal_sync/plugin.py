"""Registers the shipped stores through the same hook as anybody else's."""

from __future__ import annotations

from collections.abc import Mapping

from cxlocal.exchange.store import Store
from cxlocal.hooks.specs import hookimpl
from cxlocal_sync.stores.sqlite import SqliteStore


@hookimpl
def cxlocal_register_stores() -> Mapping[str, type[Store]]:
    """``sqlite:``: the embedded store, a file beside the journal or elsewhere on this machine."""
    return {"sqlite": SqliteStore}
