"""Looking after the members of a store that this machine serves, without going through the server.

The way in when nobody who may invite is left, and before anybody is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any

from cxlocal.address import public_address
from cxlocal.allocation.lender import left_to_lend, lend
from cxlocal.errors import Refused, UsageError
from cxlocal.exchange.messages import BadMessage
from cxlocal.exchange.rights import rights_from_json
from cxlocal.journal.file import Journal
from cxlocal.numbers.schemes import Scheme
from cxlocal_sync.http.members import Members
from cxlocal_sync.stores.answer import Answering, refuse
from cxlocal_sync.stores.sqlite import path_of

ADDRESS = "address"
"""The value under which a server remembers where machines reach it."""

LENDS = "lends"
"""The value that is not empty where numbers are lent and no store is served."""


def members_path(url: str, home: Path) -> Path:
    """Where the members of a served store are kept: beside an embedded store, else in ``home``."""
    if url.startswith("sqlite:"):
        path = path_of(url, home)
        return path.with_name(f"{path.name}.members")
    return home / f"served-{sha256(public_address(url).encode()).hexdigest()[:16]}.members"


class LocalManagement:
    """What ``HttpStore`` offers for members, on the file itself."""

    def __init__(self, url: str, path: Path) -> None:
        self.url = public_address(url)
        if not path.is_file():
            raise UsageError(
                "this machine does not serve that store",
                why=f"there is no {path}",
                hint="cxlocal serve --store URL   begins to; elsewhere name its https:// address",
                name="not-served",
            )
        self._members = Members(path)

    def members(self) -> dict[str, Any]:
        """Who is enrolled, and which machines were in contact when."""
        return self._members.listing()

    def invite(self, name: str, rights: Mapping[str, Any]) -> dict[str, Any]:
        """A one-time code, and the address to use it at."""
        code = self._members.invite(name, rights_from_json(rights))
        return {"name": name, "code": code, "url": self._members.value(ADDRESS)}

    def revoke(self, name: str) -> dict[str, Any]:
        """End a member and its machines."""
        return {"name": name, "machines": self._members.revoke(name)}

    def close(self) -> None:
        """Let go of the file."""
        self._members.close()


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
