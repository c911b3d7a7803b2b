"""From an address to a connection, in time.

An address may name several servers, of which one is the primary. They are tried side by side, each
a moment after the one before it: one that does not answer at all must not use up the time of the
others.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from math import ceil
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from cxlocal.address import LIBPQ, database_parts
from cxlocal.clock import Clock
from cxlocal.errors import ConfigError
from cxlocal_sync.postgresql.reasons import telling
from cxlocal_sync.postgresql.session import Connection, Late

HEAD_START_SECONDS = 0.25
"""What a server gets before the next one named is tried as well."""


def read_address(url: str) -> list[dict[str, Any]]:
    """The servers named by ``url``, each as parameters of libpq. Raises ConfigError, in whose words
    nothing of the address appears: it may be a password that cannot be read."""
    try:
        parameters: dict[str, Any] = dict(conninfo_to_dict(url))
        # What was agreed to and compared is what is contacted.
        parts = database_parts(url)
        if any(_bare(parts.get(key)) != _bare(parameters.get(key)) for key in LIBPQ):
            raise ValueError
        hosts = str(parameters.get("host", "")).split(",")
        each = {name: str(parameters.get(name, "")).split(",") for name in ("port", "hostaddr")}
        if any(len(values) not in (1, len(hosts)) for values in each.values()):
            raise ValueError
    except (ValueError, psycopg.Error):
        raise ConfigError(
            "the address of the store cannot be read",
            why="it is not of the form postgresql://user@host:port/database?name=value",
            hint="write @ / ? # : % in a name as %40 %2F %3F %23 %3A %25; leave the password out and"
            " put it into the file of PGPASSFILE (see docs/postgresql.md)",
            name="bad-store-address",
        ) from None
    if len(hosts) == 1:
        return [parameters]
    return [
        parameters
        | {"host": host}
        | {name: values[min(index, len(values) - 1)] for name, values in each.items() if values[0]}
        for index, host in enumerate(hosts)
    ]


def _bare(value: object) -> str:
    """A host without the brackets of IPv6, a port without the commas of servers that name none."""
    return str(value or "").replace("[", "").replace("]", "").strip(",")


def connect(servers: list[dict[str, Any]], clock: Clock, until: float) -> Connection:
    """A connection to the first server that takes writes. Raises psycopg.Error."""
    race = _Race(clock, until)
    waiting = list(servers)
    running, failures = 0, []
    try:
        while waiting or running:
            if waiting:
                race.begin(waiting.pop(0))
                running += 1
            left = until - clock.monotonic()
            limit = min(left, HEAD_START_SECONDS) if waiting else left
            try:
                found = race.results.get(timeout=max(0.0, limit))
            except queue.Empty:
                if clock.monotonic() >= until:
                    break
                continue
            if isinstance(found, Connection):
                return found
            running -= 1
            failures.append(found)
    finally:
        race.end()
    if not failures:
        raise Late("it did not answer in time")
    # A server that says no tells more than one that cannot be reached.
    raise max(failures, key=telling)


class _Race:
    def __init__(self, clock: Clock, until: float) -> None:
        self.results: queue.Queue[Connection | Exception] = queue.Queue()
        self._clock = clock
        self._until = until
        self._lock = threading.Lock()
        self._over = False

    def begin(self, server: dict[str, Any]) -> None:
        threading.Thread(
            target=self._run, args=(server,), name="cxlocal-connecting", daemon=True
        ).start()

    def end(self) -> None:
        with self._lock:
            self._over = True
        with contextlib.suppress(queue.Empty):
            while True:
                late = self.results.get_nowait()
                if isinstance(late, Connection):
                    late.close()

    def _run(self, server: dict[str, Any]) -> None:
        try:
            made = open_connection(server, self._clock, self._until)
        except psycopg.Error as error:
            self.results.put(error)
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing was reached
            self.results.put(psycopg.OperationalError(f"{type(error).__name__}: {error}"))
            return
        with self._lock:
            if not self._over:
                self.results.put(made)
                return
        made.close()


def open_connection(server: dict[str, Any], clock: Clock, until: float) -> Connection:
    """A connection to one server. Nothing is set on it that would outlast a transaction, and nothing is
    prepared on it: behind a pooler the next transaction may have another session, and this session may
    be somebody else's then. Raises psycopg.Error."""
    limit = max(2, ceil(until - clock.monotonic()))
    ours = {
        "connect_timeout": limit, "fallback_application_name": "cxlocal",
        "target_session_attrs": "read-write",
    }  # fmt: skip
    connection = Connection.connect(
        **{**ours, **server, "client_encoding": "UTF8"}, autocommit=True, prepare_threshold=None
    )
    connection.clock, connection.until = clock, until
    return connection
