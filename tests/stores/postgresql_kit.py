"""Real PostgreSQL servers for tests, on loopback, in folders of their own, as the user ``postgres``
when the tests run as root; and a proxy that loses what comes before or after a commit."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from cxlocal_sync.postgresql.store import PostgresqlStore

START_SECONDS = 30.0
QUICK = ("-c", "shared_buffers=16MB", "-c", "max_connections=40", "-c", "autovacuum=off")


@cache
def programs() -> Path:
    """The folder of the newest server's programs."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_basebackup"))
    if not versions:  # elsewhere than on Debian they are in the PATH
        versions = [Path(shutil.which("pg_basebackup") or "pg_basebackup").resolve()]
    return versions[-1].parent


def as_server() -> dict[str, Any]:
    """How a process that refuses to run as root is started."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if not os.getuid() else {}


def command(program: str, *arguments: str | Path) -> None:
    done = subprocess.run(
        [str(programs() / program), *map(str, arguments)],
        capture_output=True, check=False, cwd="/", **as_server(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()


def new_folder() -> Path:
    """An empty folder that the server's user owns. pytest's own ones belong to root alone."""
    folder = Path(tempfile.mkdtemp(prefix="cxlocal-pg-"))
    if not os.getuid():
        shutil.chown(folder, "postgres", "postgres")
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def initialise(folder: Path) -> Path:
    """A fresh data folder."""
    data = folder / "data"
    command(
        "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8",
        "--no-locale",
    )  # fmt: skip
    return data


class Server:
    """One server process over one data folder; the port stays the same over restarts."""

    def __init__(self, data: Path, *options: str, port: int = 0) -> None:
        self.data = data
        self.port = port or free_port()
        self.options = list(options)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, wait: bool = True) -> None:
        arguments = [
            str(programs() / "postgres"), "-D", str(self.data), "-p", str(self.port),
            "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
            *QUICK, *self.options, *options,
        ]  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while True:
            with open(self.data.parent / "log", "ab") as log:
                self.process = subprocess.Popen(
                    arguments, stdout=log, stderr=log, cwd="/", **as_server()
                )
            if not wait or self._answers(deadline):
                return
            # The children of a server that was killed may hold its memory for a moment.
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def _answers(self, deadline: float) -> bool:
        assert self.process is not None
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return False
            try:
                self.sql("SELECT 1")
            except psycopg.OperationalError:
                time.sleep(0.03)
            else:
                return True
        return False

    def said(self) -> str:
        return (self.data.parent / "log").read_text()[-3000:]

    def sql(self, statement: str, database: str = "postgres") -> list[Any]:
        address = f"postgresql://postgres@127.0.0.1:{self.port}/{database}"
        with psycopg.connect(address, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def stop(self, number: int = signal.SIGQUIT) -> None:
        """SIGQUIT ends it at once and without waiting for standbys."""
        if self.process is not None:
            process, self.process = self.process, None
            process.send_signal(number)
            process.wait(START_SECONDS)


class Cluster:
    """Servers in one folder, all ended and removed at the end."""

    def __init__(self) -> None:
        self.folder = new_folder()
        self.servers: list[Server] = []

    def primary(self, *options: str) -> Server:
        home = self._home("a")
        server = Server(initialise(home), *options)
        self.servers.append(server)
        server.start()
        return server

    def standby(self, of: Server, name: str, *, cluster_name: str = "") -> Server:
        """A server that follows ``of``, and is called ``name`` there."""
        home = self._home(name)
        data = home / "data"
        source = f"host=127.0.0.1 port={of.port} user=postgres application_name={name}"
        command(
            "pg_basebackup", "-D", data, "-R", "-C", "-S", f"slot_{name}", "-X", "stream",
            "--checkpoint=fast", "--no-sync", "-d", source,
        )  # fmt: skip
        server = Server(data, "-c", f"cluster_name={cluster_name or name}")
        self.servers.append(server)
        server.start()
        return server

    def restored(self, of: Server, name: str) -> Server:
        """A backup of ``of``, not started yet; it will recover and then take writes."""
        data = self._home(name) / "data"
        source = f"host=127.0.0.1 port={of.port} user=postgres"
        command(
            "pg_basebackup", "-D", data, "-X", "stream", "--checkpoint=fast", "--no-sync",
            "-d", source,
        )  # fmt: skip
        (data / "recovery.signal").touch()
        server = Server(data)
        self.servers.append(server)
        return server

    def _home(self, name: str) -> Path:
        home = self.folder / name
        home.mkdir()
        if not os.getuid():
            shutil.chown(home, "postgres", "postgres")
        return home

    def close(self) -> None:
        for server in self.servers:
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Databases:
    """One server for many tests, each with a database of its own."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.server = self.cluster.primary("-c", "fsync=off")
        self.count = 0

    def fresh(self) -> str:
        self.count += 1
        name = f"test_{self.count}"
        self.server.sql(f"CREATE DATABASE {name}")
        return self.server.url(name)

    def copy(self, url: str, to: str) -> None:
        """Put a copy of one database, which nobody uses, in the place of another."""
        name, target = (each.rpartition("/")[2] for each in (url, to))
        self.server.sql(f"DROP DATABASE IF EXISTS {target}")
        self.server.sql(f"CREATE DATABASE {target} TEMPLATE {name}")

    def close(self) -> None:
        self.cluster.close()


class CommitProxy:
    """Passes TCP on, and does as ``fault`` says when a COMMIT comes by. ``act`` is called then.

    ``before``: the commit and everything after it is not passed on. ``after``: the commit is, and
    nothing that comes back. The connection is cut with it, or left hanging where ``hang`` is set.
    While ``shut``, every connection is refused at once.
    """

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.fault = ""
        self.hang = False
        self.shut = False
        self.act: Callable[[], None] | None = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        self._sockets: list[socket.socket] = []

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                if self.shut:
                    raise ConnectionRefusedError
                server = socket.create_connection(("127.0.0.1", self.upstream))
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            state = {"lost": False}
            for source, target in ((client, server), (server, client)):
                thread = threading.Thread(
                    target=self._pass_on, args=(source, target, source is client, state),
                    daemon=True,
                )  # fmt: skip
                thread.start()
                self._threads.append(thread)

    def _pass_on(
        self, source: socket.socket, target: socket.socket, asks: bool, state: dict[str, bool]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if asks and self.fault and b"COMMIT\0" in data:
                    fault, self.fault = self.fault, ""
                    state["lost"] = True
                    self.shut = not self.hang
                    if fault == "after":
                        target.sendall(data)
                        time.sleep(0.15)  # until it is done; the answer is lost anyhow
                    if self.act is not None:
                        act, self.act = self.act, None
                        act()
                    if not self.hang:
                        break
                    continue
                if state["lost"]:
                    continue
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for each in self._sockets:
            each.close()


class FaultyDatabase:
    """A store whose ``faults`` are used up one a request, like those of ElsewhereStore: the server
    behind really is killed, and what it says is really lost on the way."""

    def __init__(self, patience: float = 0.4) -> None:
        self.cluster = Cluster()
        self.server = self.cluster.primary()
        self.proxy = CommitProxy(self.server.port)
        self.inner = PostgresqlStore(
            f"postgresql://postgres@127.0.0.1:{self.proxy.port}/postgres", Path("/")
        )
        self.url = self.inner.url
        self.patience = patience
        self.faults: list[str] = []

    def exchange(self, request: bytes, *, timeout: float) -> bytes:
        fault = self.faults.pop(0) if self.faults else ""
        if self.server.process is None:
            self.server.start()
        self.proxy.shut = False
        if fault in ("delay", "lose-reply"):
            self.proxy.fault, self.proxy.hang, timeout = "after", fault == "delay", self.patience
        elif fault in ("fail-before", "fail-after-commit"):
            self.proxy.fault = fault.split("-")[1]
            self.proxy.hang = False
            self.proxy.act = self.server.kill
        elif fault == "twice":
            self.inner.exchange(request, timeout=timeout)
        elif fault:
            raise AssertionError(fault)
        return self.inner.exchange(request, timeout=timeout)

    def close(self) -> None:
        self.inner.close()
        self.proxy.close()
        self.cluster.close()
