"""The embedded store: one SQLite file on this machine.

It lives by the journal's file rules (rollback journal in TRUNCATE mode, ``synchronous=FULL``,
every message one ``BEGIN IMMEDIATE`` transaction), and is spoken to in encoded messages like any
other store: no ATTACH, no shared connection. Whatever keeps the file from answering (gone, locked,
read-only, damaged, too slow) is ``StoreUnreachable`` with its cause in words.

The file of a home is made at the first contact of a journal that belongs to no store yet. One that
was asked for by an address is made by ``cxlocal store create`` alone: an empty place there is what an
unmounted disk looks like. A journal that belongs to a store never gets a fresh file in its place:
numbers would start over.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cxlocal.clock import Clock, Ids, SystemClock, SystemIds
from cxlocal.errors import CxError, Refused, UsageError
from cxlocal.exchange.messages import read_part
from cxlocal.exchange.open import is_own
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.files import write_whole
from cxlocal.journal.file import make_durable
from cxlocal.journal.whereabouts import file_hint
from cxlocal.numbers.log import LogBroken
from cxlocal.private import FILE, close, make_file, make_folder
from cxlocal.text import quoted
from cxlocal_sync.stores.answer import Answering, answer, judge_file, refuse
from cxlocal_sync.stores.feed import read_store
from cxlocal_sync.stores.founding import check_content, check_digest, found, may_found
from cxlocal_sync.stores.recoveries import ENDING, Recoveries
from cxlocal_sync.stores.schema import APPLICATION_ID, FORMAT, create_tables, sqlite_steps
from cxlocal_sync.stores.session import SqliteSession
from cxlocal_sync.stores.witness import StoreWitness

FILE_NAME = "store.db"

CREATE_SECONDS = 10.0
"""How long making the file may take."""
_STEPS = 20_000
"""SQLite instructions between two looks at the time: about every millisecond."""


class SqliteStore(Answering):
    """A store in a file. ``sqlite:`` is ``store.db`` in the home folder; ``sqlite:///path`` any."""

    def __init__(
        self,
        url: str,
        home: Path,
        *,
        clock: Clock | None = None,
        ids: Ids | None = None,
        witness: Path | None = None,
    ) -> None:
        self.url = url or "sqlite:"
        self.path = path_of(self.url, home)
        self._own = is_own(self.url)
        self._clock = clock or SystemClock()
        self._ids = ids or SystemIds()
        self._connection: SqliteSession | None = None
        self._inode = 0
        self._begins = False
        """Set while the store is created."""
        self._witness = None if witness is None else StoreWitness(witness, "the store's file")
        self._recoveries = Recoveries(self.path.with_name(self.path.name + ENDING))

    def answer(self, message: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        """The answer to one message; a refusal too. Raises StoreUnreachable."""
        deadline = self._clock.monotonic() + timeout
        try:
            connection = self._open(message, timeout)
            # sql: a number, and PRAGMA takes no parameters
            connection.execute(f"PRAGMA busy_timeout={max(1, int(timeout * 1000))}")
            connection.set_progress_handler(lambda: self._clock.monotonic() > deadline, _STEPS)
            return self._carry_out(connection, message)
        except sqlite3.Error as error:
            self.close()
            raise self._unreachable(explain(error)) from error
        except OSError as error:
            self.close()
            raise self._unreachable(error.strerror or str(error)) from error

    def _carry_out(self, connection: SqliteSession, message: dict[str, Any]) -> dict[str, Any]:
        connection.execute("BEGIN IMMEDIATE")
        try:
            witness = self._witness
            judge = judge_file if witness is None else witness.beside(judge_file, connection)
            reply = answer(connection, message, file_hint(self.path), judge, self._recoveries)
            connection.execute("COMMIT")
            if witness is not None:
                witness.note(reply, all_seen=False)
        except LogBroken as error:
            raise sqlite3.DatabaseError(f"its grant log is damaged: {error}") from error
        except StoreUnreachable:
            raise
        except CxError as error:
            return refuse(error)
        finally:
            # Whatever did not reach COMMIT must not stay open: it would lock everybody out. An
            # outcome that SQLite itself does not know is settled by closing (see exchange).
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        return reply

    def _open(self, message: dict[str, Any], timeout: float) -> SqliteSession:
        try:
            inode = os.stat(self.path).st_ino
        except FileNotFoundError:
            inode = 0
        if self._connection is not None:
            if inode == self._inode:
                return self._connection
            self.close()
        if not inode and not self._may_found(message):
            raise self._missing(message, "gone")
        if not inode:
            make_folder(self.path.parent)
        if self._own:  # one that is shared has the rights that its folder gives
            close(self.path, FILE) if inode else make_file(self.path)
        # A file that vanishes right now must not come back empty: only a first contact creates.
        mode = "rw" if inode else "rwc"
        connection = sqlite3.connect(
            f"file:{_uri_path(self.path)}?mode={mode}",
            uri=True,
            timeout=timeout,
            isolation_level=None,
            cached_statements=128,
            factory=SqliteSession,
        )
        try:
            self._prepare(connection, message)
            self._inode = os.stat(self.path).st_ino
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _prepare(self, connection: SqliteSession, message: dict[str, Any]) -> None:
        make_durable(connection)
        if connection.execute("PRAGMA user_version").fetchone()[0] < FORMAT:
            self._prepare_tables(connection, message)
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if application != APPLICATION_ID:
            raise sqlite3.DatabaseError("its file is a database of another program")
        if version != FORMAT:
            raise sqlite3.DatabaseError(f"its file has format {version}, this cxlocal {FORMAT}")

    def _prepare_tables(self, connection: SqliteSession, message: dict[str, Any]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
            if empty and not self._may_found(message):
                raise self._missing(message, "empty")
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            done = connection.execute("PRAGMA user_version").fetchone()[0]
            if empty or (application == APPLICATION_ID and done < FORMAT):
                create_tables(connection, sqlite_steps(done))
                # sql: numbers of ours, and PRAGMA takes no parameters
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version={FORMAT}")
            if empty:
                found(connection, message, self._ids, file_hint(self.path))
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def create(self, granter: str = "", *, lineage: str = "") -> str:
        """Make the store's file; its lineage, which is ``lineage`` where that is given. Raises Refused,
        UsageError and StoreUnreachable."""
        if granter or is_own(self.url):
            raise UsageError(
                f"the store {self.url} needs no creating" if not granter else "no folder is synced",
                why="it is made at the first use" if not granter else "the store is a file",
                hint="run 'cxlocal sync'" if not granter else "leave out --synced",
                name="no-creating",
            )
        if self.path.exists():
            raise Refused(
                "there is a file already",
                why=str(self.path),
                hint="set [store] url to it and run 'cxlocal sync'; or choose another place",
                name="store-exists",
            )
        try:
            self._begins = True
            session = self._open({"contact": {"lineage": lineage}}, CREATE_SECONDS)
            return str(read_store(session).lineage)
        except sqlite3.Error as error:
            raise self._unreachable(explain(error)) from error
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from error
        finally:
            self._begins = False

    def _may_found(self, message: dict[str, Any]) -> bool:
        recovers = read_part(message, "recover") is not None
        return self._begins or recovers or (is_own(self.url) and may_found(message))

    def _missing(self, message: dict[str, Any], how: str) -> StoreUnreachable:
        told = message.get("contact")
        if is_own(self.url) or (isinstance(told, dict) and told.get("lineage")):
            return self._unreachable(f"its file is {how}, and the journal belongs to it")
        made = f"'cxlocal store create {quoted(self.url)}'"
        return self._unreachable(
            f"its file is {how}; where there never was a store, {made} begins one",
            "bring the file back, or mount the disk it is on; releases go on from the reserve",
        )

    def _unreachable(self, cause: str, hint: str = "") -> StoreUnreachable:
        return StoreUnreachable(
            "the store cannot be reached",
            why=f"{self.path}: {cause}",
            hint=hint or "see 'cxlocal doctor'; releases go on from the reserve",
            url=self.url,
        )

    def missing_blobs(self, digests: list[str], *, timeout: float) -> list[str]:
        """Which of these SHA-256 digests are not held."""
        self._check_there()
        return [digest for digest in digests if not self._blob(digest).is_file()]

    def put_blob(self, digest: str, content: bytes, *, timeout: float) -> None:
        """Keep ``content``, durable when it returns. Raises Conflict for another digest."""
        self._check_there()
        check_content(digest, content)
        target = self._blob(digest)
        try:
            make_folder(target.parent)
            write_whole(target, content)
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from error

    def get_blob(self, digest: str, *, timeout: float) -> bytes | None:
        """The bytes of a digest, checked, or None."""
        self._check_there()
        try:
            content = self._blob(digest).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from error
        return content if sha256(content).hexdigest() == digest else None

    def drop_blob(self, digest: str, *, timeout: float) -> None:
        """Have these bytes no more."""
        self._check_there()
        try:
            self._blob(digest).unlink(missing_ok=True)
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from error

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _blob(self, digest: str) -> Path:
        check_digest(digest)
        return self.path.with_name(f"{self.path.name}.blobs") / digest[:2] / digest

    def _check_there(self) -> None:
        if not self.path.is_file():
            raise self._unreachable("its file is gone")


def path_of(url: str, home: Path) -> Path:
    """The file of a ``sqlite:`` address; ``sqlite:NAME`` lies in the home folder. Raises UsageError for two
    slashes before what is no whole path."""
    named = url.removeprefix("sqlite:")
    rest = named.removeprefix("//")
    if "%" in rest:
        rest = unquote(rest)
    if rest and rest != named and not rest.startswith("/"):
        raise UsageError(
            f"{url} names no whole path",
            why=f"two slashes stand before a path that begins with one; {rest} does not",
            hint=f"sqlite:///{rest} is the file /{rest}; sqlite:{rest} is {home / rest}",
            name="bad-store-url",
        )
    return home / (rest or FILE_NAME)


def _uri_path(path: Path) -> str:
    # The empty host is written out: a path may begin with two slashes, and what follows
    # "file://" is taken for the name of a machine.
    escaped = str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return f"//{escaped}"


_CAUSES = {
    sqlite3.SQLITE_BUSY: "another process has it locked",
    sqlite3.SQLITE_LOCKED: "another process has it locked",
    sqlite3.SQLITE_READONLY: "its file or folder cannot be written",
    sqlite3.SQLITE_PERM: "its file or folder cannot be written",
    sqlite3.SQLITE_CANTOPEN: "its file or folder cannot be opened",
    sqlite3.SQLITE_CORRUPT: "its file is damaged",
    sqlite3.SQLITE_NOTADB: "its file is damaged: it is not a database",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk reported an error",
    sqlite3.SQLITE_INTERRUPT: "it did not answer in time",
}


def explain(error: sqlite3.Error) -> str:
    """An SQLite error in words an operator can act on."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    cause = _CAUSES.get(code)
    return f"{cause} ({error})" if cause else str(error)
