"""Machines (journals in homes of their own) and stores, shared by the tests of numbers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

# The kit stands beside the contract suite; test folders are no packages.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stores"))

from bucket_kit import credentials, make_bucket_store, seaweedfs
from cxlocal_sync.keys.open import folder_store, object_store
from cxlocal_sync.postgresql.store import PostgresqlStore
from cxlocal_sync.stores.sqlite import SqliteStore
from http_kit import ServedStore, ThreadServer
from keys_kit import make_folder_store
from numbers_kit import ElsewhereStore, FaultyStore, open_journal
from postgresql_kit import Databases, FaultyDatabase

from cxlocal.clock import SystemIds
from cxlocal.journal.file import Journal

COMPOSED = "http-postgresql"
COMPOSED_IN = {"test_contract.py", "test_comparing.py", "test_promises_of_stores.py"}
"""Where PostgreSQL behind a server is always tried; elsewhere each of the two alone, and both together with
``--all``."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What the two together add over each alone is the matter of the contract."""
    for item in items:
        here = item.path.parent == Path(__file__).parent and item.path.name not in COMPOSED_IN
        if here and f"[{COMPOSED}" in item.name:
            item.add_marker(pytest.mark.heavy)


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
    """A store in this process that misbehaves on demand, where one kind is enough."""
    (tmp_path / "central").mkdir()
    faulty = FaultyStore(SqliteStore("sqlite:", tmp_path / "central"))
    yield faulty
    faulty.close()


@pytest.fixture
def old(tmp_path: Path) -> Iterator[SqliteStore]:
    """The store of one's own."""
    (tmp_path / "own").mkdir()
    store = SqliteStore("sqlite:", tmp_path / "own")
    yield store
    store.close()


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
def open_any(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """For each kind of store: opens it, at every call as another machine of the company does."""
    home = tmp_path / "central"
    home.mkdir()
    with ExitStack() as stack:
        open_one = _opener(request, home, tmp_path, stack)

        def opened() -> Any:
            made = open_one()
            stack.callback(made.close)
            return made

        yield opened


def _opener(
    request: pytest.FixtureRequest, home: Path, folder: Path, stack: ExitStack
) -> Callable[[], Any]:
    kind: str = request.param
    numbers = count()

    def client() -> Path:
        return folder / f"client-{next(numbers)}"

    if "postgresql" in kind:
        address = request.getfixturevalue("databases").fresh()
        if kind == "postgresql":
            return lambda: PostgresqlStore(address, home)
    if "http" in kind:
        opener = None if kind == "http" else lambda: PostgresqlStore(address, home)
        server = ThreadServer(home, opener)
        stack.callback(server.close)
        # Another code for a name ends the first.
        return lambda: server.enrol(home := client(), home.name)
    if kind == "folder":
        make_folder_store(folder / "share", client()).close()
        return lambda: folder_store(f"folder://{folder / 'share'}", client())
    if kind == "bucket":
        request.getfixturevalue("credentials")
        storage, prefix = request.getfixturevalue("seaweedfs"), SystemIds().token()
        make_bucket_store(storage, prefix, client()).close()
        return lambda: object_store(storage.url(prefix), client())
    if kind == "elsewhere":
        return lambda: ElsewhereStore(home)
    return lambda: SqliteStore("sqlite:", home)


@pytest.fixture
def any_store(open_any: Callable[[], Any]) -> Any:
    """Each store of the contract suite."""
    return open_any()


@pytest.fixture
def central(any_store: Any) -> FaultyStore:
    """Each store, with requests and replies that are lost, doubled or late on demand."""
    return FaultyStore(any_store)


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
