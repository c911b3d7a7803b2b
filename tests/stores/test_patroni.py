"""Failover without anybody's doing: Patroni decides by a lease in etcd (P1, P12)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from failover_kit import Machine
from postgresql_kit import as_server, free_port, new_folder, programs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.heavy,  # half a minute of waiting for a lease; test_failover.py does by hand what this waits for
    pytest.mark.needs("pg_ctlcluster", "patroni", "etcd"),
    pytest.mark.timeout(240),
]

WAIT_SECONDS = 90.0
TTL_SECONDS = 20
"""The least Patroni takes: so long after its last word a primary counts as lost."""


class Fleet:
    """One etcd, and two servers each with a Patroni beside it."""

    def __init__(self) -> None:
        self.folder = new_folder()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ports = {"n1": free_port(), "n2": free_port()}
        self.etcd = free_port()
        address = f"http://127.0.0.1:{self.etcd}"
        self.start(
            "etcd", "etcd", "--data-dir", str(self.folder / "etcd"),
            "--listen-client-urls", address, "--advertise-client-urls", address,
            "--listen-peer-urls", f"http://127.0.0.1:{free_port()}",
        )  # fmt: skip

    def start(self, name: str, *arguments: str) -> None:
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                arguments, stdout=log, stderr=log, cwd="/", **as_server()
            )

    def start_node(self, name: str) -> None:
        """A server that becomes the primary, or follows it."""
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(self._settings(name)))  # JSON is YAML
        self.start(name, "patroni", str(file))

    def _settings(self, name: str) -> dict[str, Any]:
        rest = f"127.0.0.1:{free_port()}"
        place = f"127.0.0.1:{self.ports[name]}"
        user = {"username": "postgres"}
        return {
            "scope": "cx",
            "name": name,
            "restapi": {"listen": rest, "connect_address": rest},
            "etcd3": {"hosts": f"127.0.0.1:{self.etcd}"},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL_SECONDS, "loop_wait": 1, "retry_timeout": 3,
                    "synchronous_mode": True,
                },
                "initdb": [{"encoding": "UTF8"}, "no-locale", "no-sync"],
            },
            "postgresql": {
                "listen": place,
                "connect_address": place,
                "data_dir": str(self.folder / name),
                "bin_dir": str(programs()),
                "pgpass": str(self.folder / f"{name}.pgpass"),
                "authentication": {"superuser": user, "replication": user},
                "pg_hba": [
                    "local all all trust", "host all all 127.0.0.1/32 trust",
                    "host replication all 127.0.0.1/32 trust",
                ],
                "parameters": {
                    "unix_socket_directories": str(self.folder),
                    # Patroni calls all its servers by one cluster_name.
                    "cxlocal.standby": name,
                },
            },
        }  # fmt: skip

    def sql(self, name: str, statement: str) -> list[Any]:
        """What a server says; nothing while it does not."""
        address = f"postgresql://postgres@127.0.0.1:{self.ports[name]}/postgres"
        try:
            with psycopg.connect(address, autocommit=True, connect_timeout=2) as connection:
                return connection.execute(statement.encode()).fetchall()
        except psycopg.Error:
            return []

    def wait(self, name: str, statement: str) -> None:
        """Until a server says something to ``statement``."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not self.sql(name, statement):
            said = (self.folder / f"{name}.log").read_text()[-3000:]
            assert time.monotonic() < deadline, said
            time.sleep(0.2)

    def kill(self, name: str) -> None:
        """The server and its Patroni, at once, as when its machine is gone."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()
        file = self.folder / name / "postmaster.pid"
        if file.exists():
            os.kill(int(file.read_text().split()[0]), signal.SIGKILL)

    def close(self) -> None:
        for name in sorted(self.processes, reverse=True):
            if name == "etcd":
                self.processes[name].kill()
                self.processes[name].wait()
            else:
                self.kill(name)
        time.sleep(0.5)  # what the servers had started ends by itself
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    made = Fleet()
    yield made
    made.close()


def test_p1_p12_patroni_promotes_the_standby_by_itself(fleet: Fleet) -> None:
    fleet.start_node("n1")
    fleet.wait("n1", "SELECT 1 WHERE NOT pg_is_in_recovery()")
    fleet.start_node("n2")
    fleet.wait("n1", "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
    places = ",".join(f"127.0.0.1:{port}" for port in fleet.ports.values())
    machines = [Machine(f"postgresql://postgres@{places}/postgres", each) for each in "cde"]
    machines[0].begin()
    over = threading.Event()
    threads = [threading.Thread(target=each.work_until, args=(over,)) for each in machines]
    for thread in threads:
        thread.start()
    try:
        time.sleep(2)
        fleet.kill("n1")
        before = [each.count for each in machines]
        deadline = time.monotonic() + WAIT_SECONDS
        while any(each.count < some + 10 for each, some in zip(machines, before, strict=True)):
            assert time.monotonic() < deadline, (fleet.folder / "n2.log").read_text()[-3000:]
            time.sleep(0.1)
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
    told = {nonce: number for each in machines for nonce, number in each.numbers.items()}
    kept = dict(fleet.sql("n2", "SELECT nonce, lo FROM cxlocal.grant_entry WHERE kind = 'online'"))
    hashes = {row[0] for row in fleet.sql("n2", "SELECT hash FROM cxlocal.event")}
    assert min(before) >= 5, "there was no load"
    assert len(told) == sum(each.count for each in machines), "numbers were refused"
    assert told.items() <= kept.items(), "a number that was told is not in the log"
    assert len(set(kept.values())) == len(kept), "a number was granted twice"
    assert {value for each in machines for value in each.hashes} <= hashes
    for each in machines:
        each.store.close()
