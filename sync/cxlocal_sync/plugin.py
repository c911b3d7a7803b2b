"""Registers the shipped stores through the same hook as anybody else's."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from cxlocal.exchange.store import Store
from cxlocal.extras import module_of
from cxlocal.hooks.specs import hookimpl
from cxlocal.journal.witness import FOLDER, witness_folder
from cxlocal_sync.stores.sqlite import SqliteStore, path_of


@hookimpl
def cxlocal_register_stores() -> Mapping[str, Callable[[str, Path], Store]]:
    """``sqlite:``: the embedded store, a file beside the journal or elsewhere on this machine.
    ``https:`` and, on this machine, ``http:``: a store that somebody serves. ``folder:`` and ``s3:``:
    a shared folder or a bucket, without a server. ``postgresql:``: a database."""
    return {
        "sqlite": _in_file, "https": _served, "http": _served, "folder": _in_folder,
        "s3": _in_bucket, "postgresql": _postgresql,
    }  # fmt: skip


def _in_file(url: str, home: Path) -> Store:
    # What watches over a file lies elsewhere than the file.
    inside = path_of(url, home).is_relative_to(home)
    folder = witness_folder(os.environ, home) if inside else home / FOLDER
    return SqliteStore(url, home, witness=folder)


# Imported for who uses them: the embedded store needs none of it.


def _served(url: str, home: Path) -> Store:
    from cxlocal_sync.http.client import HttpStore

    return HttpStore(url, home)


def _in_folder(url: str, home: Path) -> Store:
    from cxlocal_sync.keys.open import folder_store

    return folder_store(url, home)


def _in_bucket(url: str, home: Path) -> Store:
    from cxlocal_sync.keys.open import object_store

    return object_store(url, home)


def _postgresql(url: str, home: Path) -> Store:
    module = module_of("postgresql", "cxlocal_sync.postgresql.store", "a store in PostgreSQL")
    store: Store = module.PostgresqlStore(url, home, witness=home / FOLDER)
    return store
