"""What stands behind ``cxlocal serve --lend``: no store, but a journal whose reserve numbers the runs
of others. It is served by the code that serves stores, so that who may ask, how often and how much at
once is decided in one place; as a store it refuses every message."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from cxlocal.allocation.lender import left_to_lend, lend
from cxlocal.errors import Refused
from cxlocal.exchange.messages import BadMessage
from cxlocal.journal.file import Journal
from cxlocal.numbers.schemes import Scheme
from cxlocal_sync.stores.answer import Answering, refuse


class LendingStore(Answering):
    """A journal that lends. Opened anew for each request: the file may have been replaced
    (``journal recover``), and numbers are lent on bad days only."""

    url = ""

    def __init__(
        self,
        open_journal: Callable[[], AbstractContextManager[Journal]],
        find_scheme: Callable[[str], Scheme],
    ) -> None:
        self._open_journal = open_journal
        self._find_scheme = find_scheme

    def lend(self, member: str, asked: Any) -> dict[str, Any]:
        """See ``cxlocal.allocation.lender.lend``."""
        with self._open_journal() as journal:
            return lend(journal, asked, self._find_scheme, member)

    def left(self, asked: Any) -> dict[str, Any]:
        """See ``cxlocal.allocation.lender.left_to_lend``."""
        with self._open_journal() as journal:
            return left_to_lend(journal, asked)

    def answer(self, message: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        # By the same name every store refuses what it cannot read: that is how health is asked.
        return refuse(BadMessage("no store is served here", why="this machine lends numbers"))

    def missing_blobs(self, digests: list[str], *, timeout: float) -> list[str]:
        raise _no_store()

    def put_blob(self, digest: str, content: bytes, *, timeout: float) -> None:
        raise _no_store()

    def get_blob(self, digest: str, *, timeout: float) -> bytes | None:
        raise _no_store()

    def close(self) -> None:
        """Nothing is kept open."""


def _no_store() -> Refused:
    return Refused(
        "no store is served here",
        why="this machine lends numbers",
        hint="set [store] url to the store, and [store] lender to this address",
        name="no-store-here",
    )
