"""A connection to PostgreSQL, every wait of which ends in time, and the transaction that answers a
message on it.

Messages are answered side by side. Those about the same chain, line or run take turns by advisory
locks, taken before anything is read and in one order for all, so that they cannot wait for each
other. Positions of the feed are handed out under the lock of the counter row from the first append
to the commit: a reader that has seen one has seen all below it. Each statement sees what was
committed before it (READ COMMITTED), so what is read after a lock is what the lock protects.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

import psycopg

from cxlocal.clock import Clock, SystemClock
from cxlocal_sync.postgresql.place import Where, all_confirming, where_text
from cxlocal_sync.stores.session import Rows

IDLE_MS = 5000
"""After so long without a word from the client its transaction is ended by the server: a machine
that vanished in the middle must not keep all others waiting."""


_EVENT_TYPES = (
    "int8", "int8", "int8", "int8", "text", "text", "int8", "int8", "bytea", "bytea", "bytea", "text",
    "text", "bytea", "int8",
)  # fmt: skip
"""Of the columns of ``event``."""

SCHEMA = "cxlocal"
"""The schema that holds the tables. A database holds one store."""

# An acknowledgement or a number that a crash of the server forgets would be worth nothing.
_COMMIT = "coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on')"
_WAITS_FOR = f"current_setting('synchronous_standby_names'), {_COMMIT}"  # sql: a constant of ours
# The first eight digits of the name of a WAL file are the timeline, right from the promotion on; what
# pg_control_checkpoint() says is older.
_WHERE = """
(SELECT system_identifier FROM pg_control_system())::text,
left(pg_walfile_name(pg_current_wal_lsn()), 8),
coalesce((SELECT c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = %s AND c.relname = 'store' AND c.relkind = 'r'), 0),
coalesce(nullif(current_setting('cxlocal.standby', true), ''), current_setting('cluster_name')),
pg_last_wal_receive_lsn() IS NOT NULL
"""


class Late(psycopg.OperationalError):
    """The server did not answer in time."""


class Unconfirmed(psycopg.OperationalError):
    """A commit that a standby should have confirmed, and nobody knows whether it did."""


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose waits end at ``until``."""

    clock: Clock = SystemClock()
    until = float("inf")
    checked = False
    """Whether the tables were found to be there, and of this release."""

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """What ``gen`` returns. Raises Late."""
        return super().wait(self._bounded(gen), *args, **options)

    def _bounded(self, gen: Any) -> Generator[Any, Any, Any]:
        """``gen``, ended at the deadline. It is called at least ten times a second."""
        try:
            state = next(gen)
            while True:
                ready = yield state
                if self.clock.monotonic() > self.until:
                    gen.close()
                    raise Late("it did not answer in time")
                state = gen.send(ready)
        except StopIteration as done:
            return done.value


@cache
def _in_their_words(sql: str) -> str:
    return sql.replace("?", "%s")


def _key(name: tuple[str, ...]) -> int:
    # Two names with one key would only wait for each other.
    text = "\0".join(("cxlocal", *name))
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big", signed=True)


EVERYTHING = _key(())


class PostgresqlSession:
    """One transaction; see ``cxlocal_sync.stores.session``."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.warnings: list[str] = []
        self.waits_for: tuple[str, ...] = ()
        self.where: Where | None = None
        """The server this transaction is carried out on."""

    def begin(self) -> str:
        """Begin the transaction. Where the store finds itself, as a hint.

        All that is set holds for this transaction, and where it is carried out is asked in it: a pooler
        may lead each one to another session, and after a failover to another server.
        """
        connection = self.connection
        connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE")
        left = connection.until - connection.clock.monotonic()
        limit = max(1, int(left * 1000)) if left < 1e6 else 0
        row: Any = connection.execute(
            "SELECT set_config('statement_timeout', %s, true),"
            " set_config('idle_in_transaction_session_timeout', %s, true),"
            " set_config('search_path', %s, true),"
            f" set_config('synchronous_commit', {_COMMIT}, true),"
            f" {_WAITS_FOR}, current_setting('server_encoding'), {_WHERE}",
            (str(limit), str(IDLE_MS), f"{SCHEMA}, pg_temp", SCHEMA),
        ).fetchone()
        standbys, commit, encoding, system, timeline, tables, name, received = row[4:]
        if encoding != "UTF8":
            raise psycopg.NotSupportedError(f"its database is encoded in {encoding}, not in UTF8")
        self.waits_for = all_confirming(standbys, commit)
        self.where = Where(
            system, int(timeline, 16), tables, self.waits_for, name, received
        )  # fmt: skip
        return where_text(self.where)

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Rows:
        """Carry out one statement."""
        return self.connection.execute(_in_their_words(sql), parameters)

    def append_events(self, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows of ``event``; many by COPY."""
        with self.connection.cursor() as cursor:
            if len(rows) == 1:
                cursor.execute(f"INSERT INTO event VALUES ({', '.join(['%s'] * 15)})", rows[0])
                return
            # As bytes, which neither side turns into text and back.
            with cursor.copy("COPY event FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(_EVENT_TYPES)
                for row in rows:
                    copy.write_row(row)

    def hold(self, names: Collection[tuple[str, ...]]) -> None:
        """Take turns with others about the same; without a name, with everybody."""
        if not names:
            self.connection.execute("SELECT pg_advisory_xact_lock(%s)", (EVERYTHING,))
            return
        keys = sorted({_key(name) for name in names})
        self.connection.execute(
            "SELECT pg_advisory_xact_lock_shared(%s)"
            " UNION ALL SELECT pg_advisory_xact_lock(key) FROM unnest(%s::bigint[]) AS key",
            (EVERYTHING, keys),
        )

    def hold_feed(self) -> tuple[int, bytes] | None:
        """Lock the counter row."""
        row: Any = self.connection.execute("SELECT position, hash FROM store FOR UPDATE").fetchone()
        return row[0], row[1]

    def commit(self) -> None:
        """Raises Unconfirmed where the server committed without the standby that should have
        confirmed it. It says so in a warning only, as when somebody ends the wait for it, or not at
        all, where the list of standbys was changed while it waited."""
        connection = self.connection
        connection.add_notice_handler(self._note)
        try:
            status = connection.execute("COMMIT").statusmessage
        finally:
            connection.remove_notice_handler(self._note)
        if status != "COMMIT":
            raise Unconfirmed(f"the transaction ended with {status}")
        if self.warnings:
            raise Unconfirmed(self.warnings[0])
        if self.waits_for:
            row: Any = connection.execute(f"SELECT {_WAITS_FOR}").fetchone()
            if all_confirming(*row) != self.waits_for:
                raise Unconfirmed("the standbys it waits for were changed meanwhile")

    def rollback(self) -> None:
        """End the transaction, or the connection where that does not work."""
        connection = self.connection
        try:
            if not connection.closed:
                connection.execute("ROLLBACK")
        except psycopg.Error:
            connection.close()

    def _note(self, said: psycopg.errors.Diagnostic) -> None:
        if said.severity_nonlocalized == "WARNING":
            self.warnings.append(said.message_primary or "a warning")
