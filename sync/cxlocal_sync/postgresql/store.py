"""A store in a PostgreSQL database.

One message is one transaction, like everywhere. A store holds one connection; a server that answers
for many machines opens several stores. What a lost connection leaves open (was it committed?) needs
no question of its own: the same message is sent again, and token, nonce and hashes say what of it
was there already.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import psycopg

from cxlocal.address import public_address
from cxlocal.clock import Clock, Ids, SystemClock, SystemIds
from cxlocal.errors import CxError
from cxlocal.exchange.messages import BadMessage
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.journal.witness import FOLDER
from cxlocal.numbers.log import LogBroken
from cxlocal_sync.postgresql import reasons, tables
from cxlocal_sync.postgresql.connecting import connect, read_address
from cxlocal_sync.postgresql.place import Alone, judge_server
from cxlocal_sync.postgresql.session import Connection, PostgresqlSession
from cxlocal_sync.stores.answer import Answering, answer, refuse
from cxlocal_sync.stores.founding import check_content, check_digest
from cxlocal_sync.stores.recoveries import ENDING, Recoveries
from cxlocal_sync.stores.witness import StoreWitness

Result = TypeVar("Result")

PAUSE_SECONDS = 0.02
PAUSE_MAX_SECONDS = 0.5
"""Between two tries: doubled each time, with a part left to chance."""

UNREACHABLE_HINT = "see 'cxlocal doctor'; releases go on from the reserve"
ALONE_HINT = (
    "put the standby back on synchronous_standby_names, or let the database go on without it:"
    " cxlocal store recover"
)

BLOB_BYTES_MAX = 256 * 1024 * 1024
"""PostgreSQL keeps at most 1 GiB in a value, and several copies of it in memory meanwhile."""


class PostgresqlStore(Answering):
    """A store in a database; ``url`` as libpq understands it, also with several servers."""

    def __init__(
        self, url: str, home: Path, *, clock: Clock | None = None, ids: Ids | None = None,
        witness: Path | None = None,
    ) -> None:  # fmt: skip
        self.url = public_address(url)
        self._servers = read_address(url)
        self._clock = clock or SystemClock()
        self._ids = ids or SystemIds()
        self._connection: Connection | None = None
        self._turn = threading.Lock()
        self._witness = None if witness is None else StoreWitness(witness, "its database")
        name = sha256(self.url.encode()).hexdigest()[:32]
        self._recoveries = Recoveries(home / FOLDER / f"store-{name}{ENDING}")

    def answer(self, message: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        """The answer to one message; a refusal too. Raises StoreUnreachable."""
        return self._try(timeout, lambda connection: self._answer(connection, message))

    def _answer(self, connection: Connection, message: dict[str, Any]) -> dict[str, Any]:
        try:
            tables.prepare(connection, message, self._ids)
            witness = self._witness
            with _transaction(connection) as (session, here):
                judge = judge_server if witness is None else witness.beside(judge_server, session)
                reply = answer(session, message, here, judge, self._recoveries)
            if witness is not None:
                # Others answer for the database, too: what they handed out is seen by what one reads.
                witness.note(reply, all_seen=True)
            return reply
        except LogBroken as error:
            self._give_up(f"its grant log is damaged: {error}")
        except Alone as error:
            self._give_up(str(error), hint=ALONE_HINT)
        except CxError as error:
            if isinstance(error, StoreUnreachable):
                raise
            return refuse(error)
        except psycopg.Error as error:
            if reasons.is_unkeepable(error):
                why = error.diag.message_primary or str(error)
                return refuse(BadMessage("the message cannot be kept by this store", why=why))
            raise

    def _try(self, timeout: float, work: Callable[[Connection], Result]) -> Result:
        """What ``work`` returns, tried again as long as there is time and reason to."""
        until = self._clock.monotonic() + timeout
        pause, met = PAUSE_SECONDS, False
        with self._turn:
            while True:
                try:
                    connection = self._connect(until)
                    met = True
                    return work(connection)
                except tables.NoTables as error:
                    self._give_up(str(error))
                except psycopg.Error as error:
                    lost = self._connection is not None and self._connection.closed
                    if not reasons.is_overtaken(error):
                        self._drop()
                    # Who cannot be reached at all is not asked again at once: there is the reserve.
                    again = reasons.is_overtaken(error) or reasons.is_passing(error)
                    left = until - self._clock.monotonic()
                    if not (again or (lost and met)) or left < pause:
                        self._give_up(reasons.explain(error), error)
                except BaseException:
                    # Interrupted in the middle: whatever state the connection is in, nobody knows.
                    self._drop()
                    raise
                time.sleep(pause * (0.5 + int(self._ids.token()[:2], 16) / 255))
                pause = min(2 * pause, PAUSE_MAX_SECONDS)

    def _connect(self, until: float) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._servers, self._clock, until)
        self._connection.until = until
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def _give_up(
        self, cause: str, error: Exception | None = None, hint: str = UNREACHABLE_HINT
    ) -> NoReturn:
        raise StoreUnreachable(
            "the store cannot be reached",
            why=f"{self.url}: {cause}",
            hint=hint,
            url=self.url,
        ) from error

    def missing_blobs(self, digests: list[str], *, timeout: float) -> list[str]:
        """Which of these SHA-256 digests are not held."""
        wanted = [check_digest(digest) for digest in digests]

        def look(connection: Connection) -> set[str]:
            tables.check(connection)
            with _transaction(connection) as (session, _):
                rows = session.execute("SELECT digest FROM blob WHERE digest = ANY(?)", (wanted,))
                return {row[0] for row in rows}

        held = self._try(timeout, look)
        return [digest for digest in digests if digest not in held]

    def put_blob(self, digest: str, content: bytes, *, timeout: float) -> None:
        """Keep ``content``, durable when it returns. Raises Conflict for another digest."""
        check_content(check_digest(digest), content)
        if len(content) > BLOB_BYTES_MAX:
            raise CxError(
                "the file is too large for this store",
                why=f"{len(content)} bytes, {BLOB_BYTES_MAX} at most",
                hint="keep it where its location says; the journal holds its digest",
                name="too-long",
            )

        def keep(connection: Connection) -> None:
            tables.check(connection)
            with _transaction(connection) as (session, _):
                # Bytes that were damaged here are mended by those that are right.
                session.connection.execute(
                    "INSERT INTO blob VALUES (%s, %b) ON CONFLICT (digest) DO UPDATE"
                    " SET content = excluded.content WHERE blob.content <> excluded.content",
                    (digest, content),
                )

        self._try(timeout, keep)

    def get_blob(self, digest: str, *, timeout: float) -> bytes | None:
        """The bytes of a digest, checked, or None."""
        check_digest(digest)

        def fetch(connection: Connection) -> bytes | None:
            tables.check(connection)
            with _transaction(connection) as (session, _):
                row = session.connection.execute(
                    "SELECT content FROM blob WHERE digest = %s", (digest,), binary=True
                ).fetchone()
                return row[0] if row else None

        content = self._try(timeout, fetch)
        return content if content is not None and sha256(content).hexdigest() == digest else None

    def drop_blob(self, digest: str, *, timeout: float) -> None:
        """Have these bytes no more."""
        check_digest(digest)

        def drop(connection: Connection) -> None:
            tables.check(connection)
            with _transaction(connection) as (session, _):
                session.execute("DELETE FROM blob WHERE digest = ?", (digest,))

        self._try(timeout, drop)

    def close(self) -> None:
        """Let go of the connection."""
        self._drop()


@contextlib.contextmanager
def _transaction(connection: Connection) -> Any:
    """A transaction that is committed when the block ends well: (session, hint of where we are)."""
    session = PostgresqlSession(connection)
    try:
        yield session, session.begin()
        session.commit()
    except BaseException:
        session.rollback()
        raise
