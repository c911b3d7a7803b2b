"""Served stores for tests: a server in a thread, one in a process that can be killed, a TCP
proxy that cuts requests or replies at any byte, and a listener that is no store."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cxlocal_sync.http.client import HttpStore
from cxlocal_sync.http.management import members_path
from cxlocal_sync.http.members import Members
from cxlocal_sync.http.serving import Server, Tls, listen, make_server
from cxlocal_sync.stores.answer import ServableStore
from cxlocal_sync.stores.sqlite import SqliteStore

from cxlocal.clock import SystemIds
from cxlocal.exchange.rights import Rights
from cxlocal.exchange.store import StoreUnreachable

START_SECONDS = 20.0


class ThreadServer:
    """A real server on a real socket, in a thread of the test: starts in a moment. Serves a SQLite
    store in ``home``, or what ``opener`` opens."""

    def __init__(
        self, home: Path, opener: Callable[[], ServableStore] | None = None, *,
        tls: Tls | None = None, host: str = "127.0.0.1", proxy: str = "", port: int = 0,
        members: Path | None = None,
    ) -> None:  # fmt: skip
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.members_path = members or home / "store.db.members"
        self.listener = listen(host, port)
        scheme = "https" if tls else "http"
        self.port = self.listener.getsockname()[1]
        self.url = f"{scheme}://localhost:{self.port}" if tls else f"{scheme}://{host}:{self.port}"
        self.server: Server = make_server(
            opener or (lambda: SqliteStore("sqlite:", home)),
            Members(self.members_path),
            tls,
            proxy=proxy,
        )
        self.service = self.server.service
        self.thread = threading.Thread(
            target=self.server.run, kwargs={"sockets": [self.listener]}, daemon=True
        )
        self.thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self.server.started:
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.005)

    def enrol(self, home: Path, name: str = "tester", rights: Rights | None = None) -> HttpStore:
        """A client that is let in."""
        return enrol(self.url, self.members_path, home, name, rights)

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(START_SECONDS)
        assert not self.thread.is_alive(), "the server does not end"
        self.listener.close()


def enrol(
    url: str, members_path: Path, home: Path, name: str = "tester", rights: Rights | None = None
) -> HttpStore:
    members = Members(members_path)
    code = members.invite(name, rights or Rights(manage=True))
    members.close()
    store = HttpStore(url, home)
    store.join(code)
    return store


class ProcessServer:
    """``cxlocal serve`` in a process of its own, on a port that stays the same over restarts."""

    def __init__(self, home: Path, *options: str, store: str = "") -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.store = store or f"sqlite://{home / 'store.db'}"
        self.members_path = members_path(self.store, home / "own")
        self.options = options
        self.port = 0
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [
            str(Path(sys.executable).with_name("cxlocal")), "serve", "--store",
            self.store, "--port", str(self.port), *self.options,
        ]  # fmt: skip
        env = {**os.environ, "CXLOCAL_HOME": str(self.home / "own")}
        with open(self.home / "server.err", "ab") as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, env=env, cwd=self.home
            )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().decode().strip()
        assert self.url, self.said()
        self.port = int(self.url.rpartition(":")[2])

    def said(self) -> str:
        return (self.home / "server.err").read_text()

    def enrol(self, home: Path, name: str = "tester", rights: Rights | None = None) -> HttpStore:
        return enrol(self.url, self.members_path, home, name, rights)

    def memory_mib(self) -> float:
        """What the process holds now (Linux)."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            process, self.process = self.process, None
            process.send_signal(number)
            process.wait(START_SECONDS)
            assert process.stdout is not None
            process.stdout.close()

    close = stop


class CuttingProxy:
    """Passes TCP on, and cuts the next connection after so many bytes of request or reply.

    A limit is used up by the first connection that meets it. ``hold`` keeps a reply to itself.
    ``before_reply`` is called when the first byte of the next reply has arrived.
    """

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.request_limit: int | None = None
        self.reply_limit: int | None = None
        self.hold = False
        self.before_reply: Any = None
        self.before_request: Any = None
        self.requests = 0
        self.replies = 0
        self.listener = listen("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.open = True
        self._threads: list[threading.Thread] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while self.open:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._pass_on, args=(client,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _pass_on(self, client: socket.socket) -> None:
        if self.before_request is not None:
            todo, self.before_request = self.before_request, None
            todo()
        try:
            server = socket.create_connection(("127.0.0.1", self.upstream))
        except OSError:
            client.close()
            return
        with client, server, selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            selector.register(server, selectors.EVENT_READ)
            sent = {client: 0, server: 0}
            while self.open:
                for key, _ in selector.select(0.05):
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    try:
                        data = source.recv(65536)
                        if not data or not self._forward(source, client, server, data, sent):
                            return
                    except OSError:
                        return

    def _forward(
        self, source: socket.socket, client: socket.socket, server: socket.socket, data: bytes,
        sent: dict[socket.socket, int],
    ) -> bool:  # fmt: skip
        from_client = source is client
        limit = self.request_limit if from_client else self.reply_limit
        if from_client:
            self.requests += len(data)
        else:
            self.replies += len(data)
            if self.before_reply is not None:
                todo, self.before_reply = self.before_reply, None
                todo()
            if self.hold:
                return True
        target = server if from_client else client
        sent[source] += len(data)
        if limit is not None and sent[source] > limit:
            keep = len(data) - (sent[source] - limit)
            target.sendall(data[:keep])
            if from_client:
                self.request_limit = None
            else:
                self.reply_limit = None
            return False
        target.sendall(data)
        return True

    def close(self) -> None:
        self.open = False
        # close() alone does not wake accept()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self._threads:
            thread.join(2)


class ServedStore:
    """An HttpStore whose ``faults`` are used up one a request, like those of ElsewhereStore: the
    server behind really is killed, and replies are really lost on the way."""

    def __init__(self, home: Path, patience: float = 0.4, *, store: str = "") -> None:
        self.server = ProcessServer(home, store=store)
        self.proxy = CuttingProxy(self.server.port)
        self.home = home / "client"
        enrolled = self.server.enrol(self.home)
        credential = enrolled._credential
        assert credential is not None
        enrolled.close()
        from cxlocal_sync.http.credentials import keep_credential

        keep_credential(self.home, self.proxy.url, credential)
        self.inner = HttpStore(self.proxy.url, self.home, ids=SystemIds())
        self.url = self.inner.url
        self.patience = patience
        self.faults: list[str] = []

    def exchange(self, request: bytes, *, timeout: float) -> bytes:
        fault = self.faults.pop(0) if self.faults else ""
        if self.server.process is None:
            self.server.start()
        self.proxy.hold = False
        if fault:
            self.inner.close()  # a fault meets a fresh connection
        if fault in ("delay", "lose-reply"):
            timeout = self.patience
            if fault == "delay":
                self.proxy.hold = True
            else:
                self.proxy.reply_limit = 0
        elif fault == "fail-before":
            self.proxy.before_request = self.server.kill
        elif fault == "fail-after-commit":
            self.proxy.reply_limit = 0
            self.proxy.before_reply = self.server.kill
        elif fault == "twice":
            self.inner.exchange(request, timeout=timeout)
        elif fault:
            raise AssertionError(fault)
        return self.inner.exchange(request, timeout=timeout)

    def close(self) -> None:
        self.inner.close()
        self.proxy.close()
        self.server.stop()


__all__ = ["CuttingProxy", "ProcessServer", "ServedStore", "StoreUnreachable", "ThreadServer"]


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does to each connection what ``answer`` does."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def work(connection: socket.socket) -> None:
        with connection:
            try:
                answer(connection)
            except OSError:
                return  # the client has gone
            over.wait(10)

    def accept() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=work, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
