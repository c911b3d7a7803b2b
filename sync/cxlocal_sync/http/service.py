"""What a served store does, apart from HTTP: let members in, pass messages on, keep blobs.

Works over any ``ServableStore``, which it hands the messages that came in, decoded once. Whatever goes wrong is an error of ``cxlocal.errors``.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

from cxlocal.clock import Clock, SystemClock, SystemIds
from cxlocal.errors import CxError, NotSignedIn, Refused
from cxlocal.exchange.messages import decode, encode
from cxlocal.exchange.replica import look
from cxlocal.exchange.rights import rights_from_json
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.text import is_hexadecimal, parse_utc
from cxlocal_sync.http import limits, wire
from cxlocal_sync.http.codes import check_name
from cxlocal_sync.http.diary import Diary
from cxlocal_sync.http.gate import Gate, NotAllowed
from cxlocal_sync.http.health import DAY_MS, Disk, Health, Look
from cxlocal_sync.http.lending import LendingStore, check_lending, lending
from cxlocal_sync.http.management import BACKUP, LENDS, PAGES
from cxlocal_sync.http.members import Member, Members
from cxlocal_sync.http.metrics import Metrics
from cxlocal_sync.http.threads import StoreThreads
from cxlocal_sync.http.visits import Visits
from cxlocal_sync.stores.answer import ServableStore, refuse

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
        clock: Clock | None = None, certificate_ms: int | None = None,
    ) -> None:  # fmt: skip
        self.members = members
        self.clock = clock or SystemClock()
        self._exchanges = StoreThreads(open_store, threads, self.clock, "exchange")
        self._blobs = StoreThreads(open_store, BLOB_THREADS, self.clock, "blob")
        self._requests = limits.Rate(self.clock, limits.REQUESTS_PER_SECOND, limits.BURST)
        self._codes = limits.Rate(self.clock, limits.CODES_PER_SECOND, limits.CODES_BURST)
        self._late = 0
        self.diary = Diary(self.clock)
        self.metrics = Metrics()
        self.certificate_ms = certificate_ms
        self._health: tuple[float, Health | None] = (0.0, None)
        self._telling = threading.Lock()
        self._told = max((each.id for each in members.happened(0)), default=0)
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
        return await self._exchanges.call(
            lambda store: self._exchange(store, member, request),
            patience_seconds=limits.PATIENCE_SECONDS,
        )

    def _exchange(self, store: ServableStore, member: Member, request: bytes) -> bytes:
        try:
            message = decode(request)
            gate = Gate(member, self.members)
            message = gate.enter(message)
        except StoreUnreachable:
            raise
        except CxError as error:
            return encode(self._noted(member, refuse(error)))
        contact = message["contact"]
        if not contact.get("lineage"):
            self._check_same(store)
        answer = store.answer(message, timeout=limits.STORE_SECONDS)
        if not self._lineage_known:
            self._note_lineage(answer)
        if "store" in answer:
            if message.get("recover") is not None:
                generation = answer["store"]["generation"]
                self.diary.say("recovered", by=member.name, generation=generation)
            self.diary.stops(answer["store"]["stopped"])
        return encode(self._noted(member, gate.leave(answer)))

    def _noted(self, member: Member, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer, after a refusal of the message or of a number in it was logged."""
        no = [answer.get("refusal"), *(each.get("refusal") for each in answer.get("grant", []))]
        for refusal in filter(None, no):
            name, cause = str(refusal["name"]), str(refusal["cause"])
            self.diary.refused(member.name, name, cause)
        return answer

    def _check_same(self, store: ServableStore) -> None:
        """A store that was here before and is gone (a disk that is not mounted) must not be made
        anew by the first contact that comes along: numbers would start over."""
        known = self.members.value(LINEAGE)
        if not known:
            return
        asked = encode(look(known))
        refused = decode(store.exchange(asked, timeout=limits.STORE_SECONDS)).get("refusal")
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

    async def drop(self, member: Member, digest: str) -> None:
        """Have a blob no more. Who may push one deliverable must not take away the bytes of another, and
        a store does not know whose they are. Raises NotAllowed."""
        check_digest(digest)
        if not member.rights.manage:
            raise NotAllowed(
                f"{member.name} may not remove bytes from the store",
                why="it can invite nobody either",
                hint="cxlocal sync   on a machine that may does it",
            )
        await self._blobs.call(lambda store: store.drop_blob(digest, timeout=limits.STORE_SECONDS))

    async def join(self, address: str, asked: Any) -> dict[str, Any]:
        """Enrol by a one-time code. Wrong ones are counted, answered late, and limited for each
        address. Raises NotSignedIn, TooOften."""
        code, token, name = (
            (asked.get("code"), asked.get("token_sha256"), asked.get("name"))
            if isinstance(asked, dict)
            else (None, None, None)
        )
        if name is not None and not isinstance(name, str):
            raise wire.BadRequest("the body names no member", "a name is a text")
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
            member = await asyncio.to_thread(self.members.join, code, token, name, address=address)
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
        await asyncio.to_thread(self._tell_happened)
        lends = bool(self.members.value(LENDS))
        return {"member": member.name, "rights": member.rights.as_json(), "lends": lends}

    async def invite(self, member: Member, asked: Any) -> dict[str, Any]:
        """A code for a new member. Raises NotAllowed and UsageError."""
        name, rights = self._name_in(member, asked), rights_from_json(asked.get("rights", {}))
        code = await asyncio.to_thread(
            self.members.invite, check_name(name), rights, by=member.name
        )
        await asyncio.to_thread(self._tell_happened)
        return {"name": name, "code": code}

    async def grant(self, member: Member, asked: Any) -> dict[str, Any]:
        """Other rights for a member, which keeps its token. Raises NotAllowed, UsageError and
        Refused."""
        name, rights = self._name_in(member, asked), rights_from_json(asked.get("rights", {}))
        before = await asyncio.to_thread(self.members.grant, name, rights, by=member.name)
        await asyncio.to_thread(self._tell_happened)
        return {"name": name, "rights": rights.as_json(), "before": before.as_json()}

    async def revoke(self, member: Member, asked: Any) -> dict[str, Any]:
        """End a member. Raises NotAllowed, UsageError and Refused."""
        name = self._name_in(member, asked)
        count = await asyncio.to_thread(self.members.revoke, name, by=member.name)
        await asyncio.to_thread(self._tell_happened)
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

    async def pages(self, member: Member, asked: Any) -> dict[str, Any]:
        """An address that opens the pages once, or those of the feeds. Raises NotAllowed, UsageError and
        Refused, name ``no-pages``."""
        feed = asked.get("feed") if isinstance(asked, dict) else None
        if not isinstance(feed, bool):
            raise wire.BadRequest("the body does not say what it wants", "feed is true or false")
        if member.rights.read == frozenset():
            raise NotAllowed(f"{member.name} may read nothing")
        return await asyncio.to_thread(self._pages, member, feed)

    def _pages(self, member: Member, feed: bool) -> dict[str, Any]:
        base = self.members.value(PAGES)
        if not base:
            raise Refused(
                "nobody shows the pages of this store",
                why="they are a server of their own, beside the one that answers machines",
                hint="on the server: cxlocal serve --pages --store URL",
                name="no-pages",
            )
        visits = Visits(self.members.path, clock=self.clock, ids=SystemIds())
        try:
            draw = visits.new_feed_key if feed else visits.new_key
            return {"address": base, "key": draw(member)}
        finally:
            visits.close()

    async def health(self) -> Health:
        """How everything is. Anybody may ask, so it is looked at once a second at most."""
        now = self.clock.monotonic()
        at, known = self._health
        if known is None or now - at >= HEALTH_SECONDS:
            self._health = now, known  # whoever asks meanwhile is told what was
            known = await self._look()
            self._health = now, known
        return known

    async def _look(self) -> Health:
        at_ms = self.clock.now_ms()
        health = Health(at_ms, None, certificate_ms=self.certificate_ms)
        try:
            health = await asyncio.to_thread(self._look_around, health)
        except (
            OSError,
            sqlite3.Error,
        ):  # the folder is gone: who cannot invite does not answer well
            return health
        try:
            return await self._exchanges.call(lambda store: self._ask_store(store, health))
        except CxError:
            return health

    def _look_around(self, health: Health) -> Health:
        """What is known beside the store. Raises OSError and sqlite3.Error."""
        usage = shutil.disk_usage(self.members.path.parent)
        backup = self.members.value(BACKUP)
        return health._replace(
            contacts=self.members.contacts(health.at_ms - DAY_MS),
            disk=Disk(usage.free, usage.total),
            backup_ms=parse_utc(backup) if backup else None,
        )

    def _ask_store(self, store: ServableStore, health: Health) -> Health:
        if isinstance(store, LendingStore):
            return health._replace(unsent=store.unsent())
        asked = encode(look(self.members.value(LINEAGE)))
        answer = decode(store.exchange(asked, timeout=limits.STORE_SECONDS))
        told = answer.get("look")
        if told is None:  # another store, or one that was damaged
            return health
        self.diary.stops(answer["store"]["stopped"])
        return health._replace(look=Look(**told))

    async def flush(self) -> None:
        """Write what is kept in memory for people, again and again."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            # Whoever holds the file lets go of it some time; what was not written is kept.
            with contextlib.suppress(sqlite3.Error):
                await asyncio.to_thread(self.members.flush)
                await asyncio.to_thread(self._tell_happened)

    def _tell_happened(self) -> None:
        """Log what happened to members since the last time, also by commands beside the server."""
        with self._telling:
            happened = self.members.happened(self._told)
            self._told = max([self._told, *(each.id for each in happened)])
        self.diary.tell(happened)

    def close(self) -> None:
        """Finish what waits, and let go of everything."""
        self._exchanges.close()
        self._blobs.close()
        self.members.close()

    @staticmethod
    def _name_in(member: Member, asked: Any) -> str:
        """Whom a request of somebody who may manage is about."""
        if not member.rights.manage:
            raise NotAllowed(
                f"{member.name} may not invite or revoke members",
                hint="do it on a machine that may, or on the server with --store",
            )
        name = asked.get("name") if isinstance(asked, dict) else None
        if not isinstance(name, str):
            raise wire.BadRequest("the body names no member", "it needs a name")
        return name


def check_digest(digest: object) -> None:
    """Raises UsageError for what is no digest."""
    if not isinstance(digest, str) or not is_hexadecimal(digest, 64):
        raise wire.BadRequest("a digest is 64 hexadecimal digits", str(digest)[:80], "bad-digest")
