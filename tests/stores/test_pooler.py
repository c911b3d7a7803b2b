"""PostgreSQL behind a pooler: each transaction may have another session, and each session is others',
too."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cxlocal_sync.postgresql.store import PostgresqlStore
from numbers_kit import request
from postgresql_kit import Databases, as_server, free_port, new_folder

from cxlocal.allocation.allocator import obtain_number
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import pending, synchronise
from cxlocal.journal.file import Journal

Machine = Callable[..., Journal]
pytestmark = pytest.mark.needs("pgbouncer", "pg_ctlcluster")
START_SECONDS = 20.0

SETTINGS = "search_path", "synchronous_commit", "statement_timeout", "default_transaction_isolation"


class Pooler:
    """pgbouncer before a database."""

    def __init__(self, database: str, mode: str, sessions: int) -> None:
        found = psycopg.conninfo.conninfo_to_dict(database)
        self.folder, self.port = new_folder(), free_port()
        self.user, self.name = found["user"], found["dbname"]
        (self.folder / "users").write_text(f'"{self.user}" ""\n')
        (self.folder / "ini").write_text(
            f"[databases]\n{self.name} = host=127.0.0.1 port={found['port']} dbname={self.name}"
            f" user={self.user}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nauth_type = any\n"
            f"auth_file = {self.folder}/users\npool_mode = {mode}\ndefault_pool_size = {sessions}\n"
            "server_reset_query =\nunix_socket_dir =\n"
        )
        self.log = self.folder / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["pgbouncer", str(self.folder / "ini")], stdout=log, stderr=log, cwd="/",
                **as_server(),
            )  # fmt: skip
        self.url = f"postgresql://{self.user}@127.0.0.1:{self.port}/{self.name}"
        deadline = time.monotonic() + START_SECONDS
        while "listening on" not in self.log.read_text():
            assert time.monotonic() < deadline and self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(START_SECONDS)


@pytest.fixture
def pooled(databases: Databases) -> Iterator[Callable[..., Pooler]]:
    made: list[Pooler] = []

    def make(mode: str, sessions: int = 1) -> Pooler:
        made.append(Pooler(databases.fresh(), mode, sessions))
        return made[-1]

    yield make
    for each in made:
        each.close()


def _settings(url: str) -> dict[str, Any]:
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        shown = {name: connection.execute(f"SHOW {name}".encode()).fetchone() for name in SETTINGS}
        locks = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        ).fetchone()
        prepared = connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
    return {**shown, "locks": locks, "prepared": prepared}


@pytest.mark.parametrize(
    ("mode", "sessions"), [("transaction", 1), ("transaction", 3), ("session", 4)]
)
def test_machines_share_few_sessions(
    pooled: Callable[..., Pooler], machine: Machine, tmp_path: Path, mode: str, sessions: int
) -> None:
    pooler = pooled(mode, sessions)
    before = _settings(pooler.url)
    journals = [machine(f"m{index}") for index in range(3)]
    stores = [PostgresqlStore(pooler.url, journal.home) for journal in journals]
    numbers = []
    # More often than a driver waits before it prepares what it is asked.
    for turn in range(8):
        for index, (journal, store) in enumerate(zip(journals, stores, strict=True)):
            found = obtain_number(journal, store, request(f"m{index}-r{turn}"))
            assert found.online, turn
            numbers.append(found.number)
    assert sorted(numbers) == list(range(24))
    for journal, store in zip(journals * 2, stores * 2, strict=True):
        assert synchronise(journal, store, use_breaker=False, budget_seconds=20).reached
    assert [pending(journal) for journal in journals] == [0, 0, 0]
    for store in stores:
        store.close()
    assert _settings(pooler.url) == before, "what was set for a store must not be met by others"


def test_a_pooler_without_transactions_is_named(
    pooled: Callable[..., Pooler], machine: Machine
) -> None:
    pooler = pooled("statement")
    journal = machine()
    store = PostgresqlStore(pooler.url, journal.home)
    report = synchronise(journal, store, use_breaker=False)
    assert not report.reached
    assert "pooling mode" in report.why
    with pytest.raises(StoreUnreachable):
        store.missing_blobs([], timeout=5)
    store.close()
