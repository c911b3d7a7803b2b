"""Machines (journals in homes of their own) and stores, shared by the tests of numbers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# The kit stands beside the contract suite; test folders are no packages.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stores"))

from bucket_kit import credentials, make_bucket_store, seaweedfs
from cxlocal_sync.postgresql.store import PostgresqlStore
from cxlocal_sync.stores.sqlite import SqliteStore
from http_kit import ServedStore, ThreadServer
from keys_kit import make_folder_store
from numbers_kit import ElsewhereStore, FaultyStore, open_journal
from postgresql_kit import Databases, FaultyDatabase

from cxlocal.clock import SystemIds
from cxlocal.journal.file import Journal


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


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FaultyStore]:
    """A store in this process that misbehaves on demand."""
    (tmp_path / "central").mkdir()
    faulty = FaultyStore(SqliteStore("sqlite:", tmp_path / "central"))
    yield faulty
    faulty.close()


POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.needs("pg_ctlcluster"))


@pytest.fixture(scope="session")
def made_databases() -> Iterator[list[Databases]]:
    """Filled at the first use: a server that no test needs is not started."""
    made: list[Databases] = []
    yield made
    for each in made:
        each.close()


@pytest.fixture
def databases(made_databases: list[Databases]) -> Databases:
    """A PostgreSQL server with a fresh database for each test."""
    if not made_databases:
        made_databases.append(Databases())
    return made_databases[0]


SERVED_POSTGRESQL = pytest.param("http-postgresql", marks=pytest.mark.needs("pg_ctlcluster"))


@pytest.fixture(
    params=["embedded", "elsewhere", "http", SERVED_POSTGRESQL, "folder", "bucket", POSTGRESQL]
)
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Each store of the contract suite."""
    home = tmp_path / "central"
    home.mkdir()
    if "postgresql" in request.param:
        address = request.getfixturevalue("databases").fresh()
    if request.param in ("http", "http-postgresql"):
        opener = None if request.param == "http" else lambda: PostgresqlStore(address, home)
        server = ThreadServer(home, opener)
        client = server.enrol(tmp_path / "client")
        yield client
        client.close()
        server.close()
        return
    if request.param == "bucket":
        server = request.getfixturevalue("seaweedfs")
        request.getfixturevalue("credentials")
    kinds: dict[str, Callable[[], Any]] = {
        "embedded": lambda: SqliteStore("sqlite:", home),
        "elsewhere": lambda: ElsewhereStore(home),
        "folder": lambda: make_folder_store(tmp_path / "share", home),
        "bucket": lambda: make_bucket_store(server, SystemIds().token(), home),
        "postgresql": lambda: PostgresqlStore(address, home),
    }
    made = kinds[request.param]()
    yield made
    made.close()


@pytest.fixture(params=["elsewhere", "http", SERVED_POSTGRESQL, POSTGRESQL])
def faulty_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Each store that stands in a process of its own, with ``faults`` used up one a request."""
    home = tmp_path / "central"
    home.mkdir()
    kinds = {
        "elsewhere": lambda: ElsewhereStore(home),
        "http": lambda: ServedStore(home),
        "http-postgresql": lambda: ServedStore(
            home, store=request.getfixturevalue("databases").fresh()
        ),
        "postgresql": FaultyDatabase,
    }
    made: Any = kinds[request.param]()
    yield made
    made.close()


__all__ = ["any_store", "credentials", "faulty_store", "machine", "seaweedfs", "store"]
