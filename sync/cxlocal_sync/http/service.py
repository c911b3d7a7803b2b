"""What a served store does, apart from HTTP: let members in, pass messages on, keep blobs.

Works over any ``ServableStore``, which it hands the messages that came in, decoded once. Whatever goes wrong is an error of ``cxlocal.errors``.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any

from cxlocal.address import public_address
from cxlocal.allocation.lender import left_to_lend, lend
from cxlocal.clock import Clock, SystemClock
from cxlocal.errors import CxError, NotSignedIn, Refused, UsageError
from cxlocal.exchange.messages import PROTOCOL, BadMessage, decode, encode
from cxlocal.exchange.rights import how_to_ask, may, rights_from_json
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.journal.file import Journal
from cxlocal.numbers.schemes import Scheme
from cxlocal.text import is_hexadecimal
from cxlocal_sync.http import limits, wire
from cxlocal_sync.http.gate import Gate, NotAllowed
from cxlocal_sync.http.members import Member, Members
from cxlocal_sync.http.threads import StoreThreads
from cxlocal_sync.stores.answer import Answering, ServableStore, refuse
from cxlocal_sync.stores.sqlite import path_of

FLUSH_SECONDS = 5.0
"""How old what people see of contacts may be."""
HEALTH_SECONDS = 1.0
"""How old what is said of the store's health may be."""
BLOB_THREADS = 2
"""Blobs have threads of their own: writing 64 MiB must not keep a number waiting."""
LINEAGE = "lineage"


class Service:
    """A served store. Methods raise errors of ``cxlocal.errors``."""

    def __init__(
        self, open_store: Callable[[], ServableStore], members: Members, *, threads: int = 1,
        clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self.members = members
        self.clock = clock or SystemClock()
        self._exchanges = StoreThreads(open_store, threads, self.clock, "exchange")
        self._blobs = StoreThreads(open_store, BLOB_THREADS, self.clock, "blob")
        self._requests = limits.Rate(self.clock, limits.REQUESTS_PER_SECOND, limits.BURST)
        self._codes = limits.Rate(self.clock, limits.CODES_PER_SECOND, limits.CODES_BURST)
        self._late = 0
        self._health = (-HEALTH_SECONDS, True)
        self._lineage_known = bool(members.value(LINEAGE))
        self.message_bytes = limits.Budget(limits.MESSAGES_BYTES_MAX)
        self.blob_bytes = limits.Budget(limits.BLOBS_BYTES_MAX)

    def admit(self, authorization: str) -> Member:
        """The member a request comes from. Raises NotSignedIn and TooOften."""
        scheme, _, token = authorization.partition(" ")
        member = self.members.by_token(token) if scheme.lower() == "bearer" else None
        if member is None:
            raise NotSignedIn(
                "the store does not know this machine",
                why="it has no token, or its member was revoked",
                hint="ask for a code ('cxlocal store invite NAME'), then: "
                "cxlocal store join URL --code CODE",
            )
        self._requests.take(member.id, f"{member.name} asks more often than it may")
        return member

    async def exchange(self, member: Member, request: bytes) -> bytes:
        """Answer a message; what is refused is said in the answer. Raises StoreUnreachable."""
        return await self._exchanges.call(lambda store: self._exchange(store, member, request))

    def _exchange(self, store: ServableStore, member: Member, request: bytes) -> bytes:
        try:
            message = decode(request)
            gate = Gate(member, self.members)
            message = gate.enter(message)
        except StoreUnreachable:
            raise
        except CxError as error:
            return encode(refuse(error))
        contact = message["contact"]
        if not contact.get("lineage"):
            self._check_same(store)
        answer = store.answer(message, timeout=limits.STORE_SECONDS)
        if not self._lineage_known:
            self._note_lineage(answer)
        return encode(gate.leave(answer))

    def _check_same(self, store: ServableStore) -> None:
        """A store that was here before and is gone (a disk that is not mounted) must not be made
        anew by the first contact that comes along: numbers would start over."""
        known = self.members.value(LINEAGE)
        if not known:
            return
        refused = decode(store.exchange(probe(known), timeout=limits.STORE_SECONDS)).get("refusal")
        if refused and refused.get("name") == "wrong-lineage":
            raise StoreUnreachable(
                "another store lies where this server's store was",
                why=str(refused.get("cause", "")),
                hint="put the right one back, or serve this one with a new --members FILE",
            )

    def _note_lineage(self, answer: dict[str, Any]) -> None:
        store = answer.get("store")
        if isinstance(store, dict):
            self._lineage_known = True
            if not self.members.value(LINEAGE):
                self.members.set_value(LINEAGE, str(store["lineage"]))

    async def missing(self, asked: Any) -> list[str]:
        """Which blobs the store lacks. Raises UsageError."""
        digests = asked.get("digests") if isinstance(asked, dict) else None
        if not isinstance(digests, list) or len(digests) > wire.DIGESTS_MAX:
            raise wire.BadRequest(
                "the body names no digests", f"a list of {wire.DIGESTS_MAX} at most"
            )
        for digest in digests:
            check_digest(digest)
        return await self._blobs.call(
            lambda store: store.missing_blobs(digests, timeout=limits.STORE_SECONDS)
        )

    @staticmethod
    def check_put(member: Member, digest: str) -> None:
        """Before the bytes are listened to. Raises NotAllowed."""
        check_digest(digest)
        if member.rights.push == frozenset():
            raise NotAllowed(f"{member.name} may push nothing")

    async def put(self, digest: str, content: bytes) -> None:
        """Keep a blob. Raises Conflict."""
        await self._blobs.call(
            lambda store: store.put_blob(digest, content, timeout=limits.STORE_SECONDS)
        )

    async def get(self, member: Member, digest: str) -> bytes:
        """A blob. Raises Refused, name ``no-such-blob``."""
        check_digest(digest)
        if member.rights.read == frozenset():
            raise NotAllowed(f"{member.name} may read nothing")
        content = await self._blobs.call(
            lambda store: store.get_blob(digest, timeout=limits.STORE_SECONDS)
        )
        if content is None:
            raise Refused(
                "the store does not have it",
                why=digest,
                hint="run 'cxlocal sync' where it was made",
                name="no-such-blob",
            )
        return content

    async def join(self, address: str, asked: Any) -> dict[str, Any]:
        """Enrol by a one-time code. Wrong ones are counted, answered late, and limited for each
        address. Raises NotSignedIn, TooOften."""
        code = asked.get("code") if isinstance(asked, dict) else None
        token = asked.get("token_sha256") if isinstance(asked, dict) else None
        if not isinstance(code, str) or not isinstance(token, str) or not is_hexadecimal(token, 64):
            raise wire.BadRequest(
                "the body names no code and no hash of a token", "both are needed"
            )
        sender = limits.network_of(address)
        if self._codes.left(sender) < 1:
            raise limits.TooOften(
                "too many wrong codes came from there",
                after_seconds=round(1 / limits.CODES_PER_SECOND),
            )
        try:
            member = await asyncio.to_thread(self.members.join, code, token)
        except NotSignedIn:
            self._codes.spend(sender)
            if self._late >= limits.WRONG_CODES_AT_ONCE:
                raise limits.TooOften("too many wrong codes are being tried") from None
            self._late += 1
            try:
                await asyncio.sleep(limits.WRONG_CODE_SECONDS)
            finally:
                self._late -= 1
            raise
        lends = bool(self.members.value(LENDS))
        return {"member": member.name, "rights": member.rights.as_json(), "lends": lends}

    async def invite(self, member: Member, asked: Any) -> dict[str, Any]:
        """A code for a new member. Raises NotAllowed and UsageError."""
        self._check_manager(member)
        name = asked.get("name") if isinstance(asked, dict) else None
        if not isinstance(name, str):
            raise wire.BadRequest("the body names no member", "it needs a name")
        rights = rights_from_json(asked.get("rights", {}))
        code = await asyncio.to_thread(self.members.invite, name, rights)
        return {"name": name, "code": code}

    async def revoke(self, member: Member, asked: Any) -> dict[str, Any]:
        """End a member. Raises NotAllowed, UsageError and Refused."""
        self._check_manager(member)
        name = asked.get("name") if isinstance(asked, dict) else None
        if not isinstance(name, str):
            raise wire.BadRequest("the body names no member", "it needs a name")
        count = await asyncio.to_thread(self.members.revoke, name)
        return {"name": name, "machines": count}

    async def lend(self, member: Member, asked: Any) -> dict[str, Any]:
        """A number for a run. Raises NotAllowed and what ``cxlocal.allocation.lender`` raises."""
        check_lending(member, asked)
        return await self._exchanges.call(lambda store: lending(store).lend(member.name, asked))

    async def left(self, member: Member, asked: Any) -> dict[str, Any]:
        """How many numbers could be lent. Raises NotAllowed, UsageError."""
        check_lending(member, asked)
        return await self._exchanges.call(lambda store: lending(store).left(asked))

    async def listing(self, member: Member) -> dict[str, Any]:
        """Members and machines; of ``member`` alone where it may not invite others."""
        only = None if member.rights.manage else member
        return await asyncio.to_thread(self.members.listing, only)

    async def healthy(self) -> bool:
        """Whether the store behind answers, and is the one that was here before.

        Anybody may ask, so the store is asked once a second at most.
        """
        now = self.clock.monotonic()
        if now - self._health[0] < HEALTH_SECONDS:
            return self._health[1]
        self._health = now, self._health[1]
        self._health = now, await self._ask_health()
        return self._health[1]

    async def _ask_health(self) -> bool:

        def ask(store: ServableStore) -> bytes:
            asked = probe(self.members.value(LINEAGE))
            return store.exchange(asked, timeout=limits.STORE_SECONDS)

        try:
            refused = decode(await self._exchanges.call(ask)).get("refusal") or {}
        except CxError:
            return False
        return refused.get("name") == "bad-message"

    async def flush(self) -> None:
        """Write what is kept in memory for people, again and again."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            # Whoever holds the file lets go of it some time; what was not written is kept.
            with contextlib.suppress(sqlite3.Error):
                await asyncio.to_thread(self.members.flush)

    def close(self) -> None:
        """Finish what waits, and let go of everything."""
        self._exchanges.close()
        self._blobs.close()
        self.members.close()

    @staticmethod
    def _check_manager(member: Member) -> None:
        if not member.rights.manage:
            raise NotAllowed(
                f"{member.name} may not invite or revoke members",
                hint="do it on a machine that may, or on the server with --store",
            )


def probe(lineage: str) -> bytes:
    """A message that every store refuses, and says by the name of the refusal whether it is the one
    of ``lineage``. It changes nothing; a store with a lineage is not made anew by it."""
    token, proposal = {"count": 0, "value": ""}, {"count": 1, "value": "probe"}
    contact = {"lineage": lineage, "node": "0" * 32, "token": token, "proposal": proposal}
    return encode({"protocol": PROTOCOL, "contact": contact, "pull": {"cursor": None}})


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


def check_digest(digest: object) -> None:
    """Raises UsageError for what is no digest."""
    if not isinstance(digest, str) or not is_hexadecimal(digest, 64):
        raise wire.BadRequest("a digest is 64 hexadecimal digits", str(digest)[:80], "bad-digest")


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
