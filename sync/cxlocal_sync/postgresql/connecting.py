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

from cxlocal.address import split_user
from cxlocal.clock import Clock
from cxlocal.errors import ConfigError
from cxlocal_sync.postgresql.place import Where
from cxlocal_sync.postgresql.reasons import telling
from cxlocal_sync.postgresql.session import Connection, Late

HEAD_START_SECONDS = 0.25
"""What a server gets before the next one named is tried as well."""

SCHEMA = "cxlocal"
"""The schema that holds the tables. A database holds one store."""


def read_address(url: str) -> list[dict[str, Any]]:
    """The servers named by ``url``, each as parameters of libpq. Raises ConfigError, in whose words
    nothing of the address appears: it may be a password that cannot be read."""
    user, place = split_user(url.partition("://")[2])
    try:
        if "@" in user or "@" in place.partition("?")[0] or "/" in user:
            raise ValueError
        parameters: dict[str, Any] = dict(conninfo_to_dict(url))
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
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            self.results.put(error)
            return
        with self._lock:
            if not self._over:
                self.results.put(made)
                return
        made.close()


def open_connection(server: dict[str, Any], clock: Clock, until: float) -> Connection:
    """A connection to one server, set up for our transactions. Raises psycopg.Error."""
    limit = max(2, ceil(until - clock.monotonic()))
    ours = {
        "connect_timeout": limit, "fallback_application_name": "cxlocal",
        "target_session_attrs": "read-write",
    }  # fmt: skip
    connection = Connection.connect(
        **{**ours, **server, "client_encoding": "UTF8"}, autocommit=True
    )
    connection.clock, connection.until = clock, until
    try:
        _set_up(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: Connection) -> None:
    row: Any = connection.execute(
        "SELECT current_setting('server_encoding'), current_setting('synchronous_commit'),"
        " (SELECT system_identifier FROM pg_control_system()),"
        " pg_walfile_name(pg_current_wal_lsn()), pg_last_wal_receive_lsn() IS NOT NULL,"
        " coalesce(nullif(current_setting('cxlocal.standby', true), ''),"
        " current_setting('cluster_name')), set_config('search_path', %s, false)",
        (f"{SCHEMA}, pg_temp",),
    ).fetchone()
    encoding, commit, system, wal_file, received, name, _ = row
    if encoding != "UTF8":
        raise psycopg.NotSupportedError(f"its database is encoded in {encoding}, not in UTF8")
    if commit == "off":
        # An acknowledgement or a number that a crash of the server forgets would be worth nothing.
        connection.execute("SET synchronous_commit = on")
    # The first eight digits of the name of a WAL file are the timeline, right from the promotion
    # on; what pg_control_checkpoint() says is older.
    connection.where = Where(str(system), int(wal_file[:8], 16), 0, (), name, received)
