"""The stores without a server: ``folder:`` and ``s3:``, one implementation over a key space.

There is nobody to ask, so each machine keeps a copy of the store, folded from its log, and answers
itself. It begins with one explicit act (``create``): a folder that holds no store is never taken for
a new one, because that is what an unmounted share looks like.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from cxlocal.clock import Clock, Ids, SystemClock, SystemIds
from cxlocal.errors import CxError, Refused
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.text import quoted
from cxlocal_sync.keys import names
from cxlocal_sync.keys.cache import cache_path, is_current, open_cache
from cxlocal_sync.keys.carry_out import Tools, carry_out
from cxlocal_sync.keys.follow import StoreDamaged, read_marker
from cxlocal_sync.keys.form import marker_out
from cxlocal_sync.keys.space import (
    KeySpace,
    SpaceError,
    SpaceMissing,
    claim,
    ignores_conditions,
    keep_content,
    overwrites,
)
from cxlocal_sync.keys.synced import exchange_synced
from cxlocal_sync.stores.answer import Answering, refuse
from cxlocal_sync.stores.founding import check_content, check_digest
from cxlocal_sync.stores.session import SqliteSession
from cxlocal_sync.stores.sqlite import explain

CREATE_SECONDS = 30.0
"""What making and probing a new store may take."""

MARGIN_SECONDS = 0.25
"""Kept from the time allowed, for giving up in good order before the caller does."""


class KeyStore(Answering):
    """A store in a key space. ``open_space`` opens it anew; nothing is touched before it is used."""

    def __init__(
        self, url: str, home: Path, open_space: Callable[[float], KeySpace], *,
        clock: Clock | None = None, ids: Ids | None = None,
    ) -> None:  # fmt: skip
        self.url = url
        self._open_space = open_space
        self._cache = cache_path(home, url)
        self._clock = clock or SystemClock()
        self._ids = ids or SystemIds()
        self._connection: SqliteSession | None = None
        self._inode = 0

    def answer(self, message: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        """The answer to one message; a refusal too. Raises StoreUnreachable."""
        reply: dict[str, Any] = self._patiently(timeout, lambda left: self._answer(message, left))
        return reply

    def create(self, granter: str = "", *, lineage: str = "") -> str:
        """Make a store here; its lineage. ``granter``: the one node that hands out numbers, for a
        folder that a sync program carries. Raises Refused and StoreUnreachable."""
        made = lineage or self._ids.token()
        self._patiently(CREATE_SECONDS, lambda left: self._create(made, granter, left, not lineage))
        return made

    def _create(self, lineage: str, granter: str, left: float, new: bool) -> None:
        with contextlib.closing(self._open_space(left)) as space:
            if space.get(names.MARKER) is not None:
                raise _there_already(self.url)
            if new and (space.names("log") or space.names(names.GENERATIONS)):
                raise _remains(self.url)
            wrong = ignores_conditions(space, self._ids)
            if wrong:
                raise _unfit(self.url, wrong)
            if not claim(space, names.MARKER, marker_out(lineage, granter)):
                raise _there_already(self.url)
        # Who has a copy has tried the place, and does not do so again.
        open_cache(self._cache, left).close()

    def missing_blobs(self, digests: list[str], *, timeout: float) -> list[str]:
        """Which of these SHA-256 digests are not held."""
        keys = {digest: _blob_key(digest) for digest in digests}

        def look(space: KeySpace) -> list[str]:
            folders = {key.rpartition("/")[0] for key in keys.values()}
            held = {name for folder in folders for name in space.names(folder)}
            return [digest for digest in digests if digest not in held]

        return list(self._with_space(timeout, look))

    def put_blob(self, digest: str, content: bytes, *, timeout: float) -> None:
        """Keep ``content``, durable when it returns. Raises Conflict for another digest."""
        key = _blob_key(digest)
        check_content(digest, content)
        self._with_space(timeout, lambda space: keep_content(space, key, content))

    def get_blob(self, digest: str, *, timeout: float) -> bytes | None:
        """The bytes of a digest, checked, or None."""
        key = _blob_key(digest)
        content: bytes | None = self._with_space(timeout, lambda space: space.get(key))
        held = content is not None and sha256(content).hexdigest() == digest
        return content if held else None

    def drop_blob(self, digest: str, *, timeout: float) -> None:
        """Have these bytes no more."""
        key = _blob_key(digest)
        self._with_space(timeout, lambda space: space.remove(key))

    def close(self) -> None:
        """Let go of the copy."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _with_space(self, timeout: float, work: Callable[[KeySpace], Any]) -> Any:
        def run(left: float) -> Any:
            with contextlib.closing(self._open_space(left)) as space:
                read_marker(space)
                return work(space)

        return self._patiently(timeout, run)

    def _answer(self, message: dict[str, Any], left: float) -> dict[str, Any]:
        deadline = self._clock.monotonic() + left
        with contextlib.closing(self._open_space(left)) as space:
            marker = read_marker(space)
            try:
                tools = Tools(space, self._copy(space, left), self._clock, self._ids)
                if marker.granter:
                    return exchange_synced(tools, message, marker, deadline)
                return carry_out(tools, message, deadline)
            except CxError as error:
                return refuse(error)

    def _copy(self, space: KeySpace, left: float) -> SqliteSession:
        """The copy of this machine. One that is new here tries the key space first, as its own way
        there may lead through another server; its first number must not wait for a race."""
        if self._connection is not None and not is_current(self._cache, self._inode):
            self.close()
        if self._connection is None:
            fresh = not self._cache.exists()
            wrong = overwrites(space, self._ids) if fresh else ""
            if wrong:
                raise _unfit(self.url, wrong)
            self._connection = open_cache(self._cache, left)
            self._inode = os.stat(self._cache).st_ino
        # sql: a number, and PRAGMA takes no parameters
        self._connection.execute(f"PRAGMA busy_timeout={max(1, int(left * 1000))}")
        return self._connection

    def _patiently(self, timeout: float, work: Callable[[float], Any]) -> Any:
        """``work(seconds)`` in time, and whatever goes wrong as StoreUnreachable."""
        left = max(timeout - MARGIN_SECONDS, timeout / 2)
        try:
            return within(timeout, lambda: work(left))
        except TookTooLong:
            # Its thread may go on: what it works with is left to it.
            self._connection = None
            raise self._unreachable("it did not answer in time") from None
        except StoreDamaged as error:
            hint = "restore that file from a backup, or run 'cxlocal store recover'"
            raise self._unreachable(f"it is damaged: {error}", hint) from error
        except SpaceMissing as error:
            hint = (
                "mount it; only for a new store: make the place if it is missing, then:"
                f" cxlocal store create {quoted(self.url)}"
            )
            raise self._unreachable(str(error), hint) from error
        except SpaceError as error:
            self.close()
            raise self._unreachable(str(error)) from error
        except sqlite3.Error as error:
            self.close()
            raise self._unreachable(f"this machine's copy of it: {explain(error)}") from error
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from error

    def _unreachable(self, cause: str, hint: str = "") -> StoreUnreachable:
        return StoreUnreachable(
            "the store cannot be reached",
            why=f"{self.url}: {cause}",
            hint=hint or "see 'cxlocal doctor'; releases go on from the reserve",
            url=self.url,
        )


def _blob_key(digest: str) -> str:
    return names.blob_key(check_digest(digest))


def _there_already(url: str) -> CxError:
    return Refused(
        "there is a store already",
        why=url,
        hint="set [store] url to it and run 'cxlocal sync'",
        name="store-exists",
    )


def _remains(url: str) -> CxError:
    return Refused(
        "what is left of another store lies there",
        why=f"{url} has a log, but no {names.MARKER} that says whose it is",
        hint="choose an empty place; or, for the store this journal belongs to,"
        " 'cxlocal store create --again'",
        name="store-remains",
    )


def _unfit(url: str, wrong: str) -> CxError:
    return Refused(
        "this place cannot hold a store",
        why=f"{url}: {wrong}; two machines would be given one number",
        hint="see docs/stores.md for places that can, then 'cxlocal store create' there",
        name="ignores-conditions",
    )


class TookTooLong(Exception):
    """No result within the time allowed."""


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """The result of ``work``, or its exception. Raises TookTooLong."""
    done = threading.Event()
    result: list[Any] = []
    trouble: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:  # noqa: BLE001 (every kind belongs to the one who waits)
            trouble.append(error)
        finally:
            done.set()

    # A daemon: a process that ends does not wait for a share that never answers.
    threading.Thread(target=run, daemon=True, name="store").start()
    if not done.wait(seconds):
        raise TookTooLong
    if trouble:
        raise trouble[0]
    return result[0]
