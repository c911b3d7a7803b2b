"""A machine that lends numbers of its reserve, behind the server that else stands before a store."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from cxlocal.allocation.lender import left_to_lend, lend
from cxlocal.errors import Refused
from cxlocal.exchange.messages import BadMessage
from cxlocal.exchange.rights import how_to_ask, may
from cxlocal.exchange.sync import pending
from cxlocal.journal.file import Journal
from cxlocal.numbers.schemes import Scheme
from cxlocal_sync.http import wire
from cxlocal_sync.http.gate import NotAllowed
from cxlocal_sync.http.members import Member
from cxlocal_sync.stores.answer import Answering, ServableStore, refuse


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

    def unsent(self) -> int:
        """How many events of the journal wait to be sent to its store."""
        with self._open_journal() as journal:
            return pending(journal)

    def answer(self, message: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        # By the same name every store refuses what it cannot read: that is how health is asked.
        return refuse(BadMessage("no store is served here", why="this machine lends numbers"))

    def missing_blobs(self, digests: list[str], *, timeout: float) -> list[str]:
        raise _no_store()

    def put_blob(self, digest: str, content: bytes, *, timeout: float) -> None:
        raise _no_store()

    def get_blob(self, digest: str, *, timeout: float) -> bytes | None:
        raise _no_store()

    def drop_blob(self, digest: str, *, timeout: float) -> None:
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


def check_lending(member: Member, asked: Any) -> None:
    """Raises NotAllowed where the member may take no numbers of what it asks for."""
    name = asked.get("deliverable") if isinstance(asked, dict) else None
    if not isinstance(name, str):
        raise wire.BadRequest("the body names no deliverable", "numbers are of one")
    if not may(member.rights.take, name):
        raise NotAllowed(
            f"{member.name} may not take numbers of {name!r}",
            hint=how_to_ask(member.name, member.rights, name, "take"),
        )


def lending(store: ServableStore) -> LendingStore:
    """What lends. Raises Refused where this is a store."""
    if isinstance(store, LendingStore):
        return store
    raise Refused(
        "this is a store, and lends nothing",
        why="numbers are lent by a machine that holds a reserve of them",
        hint="on such a machine: cxlocal serve --lend; then set [store] lender to its address",
        name="not-lending",
    )
