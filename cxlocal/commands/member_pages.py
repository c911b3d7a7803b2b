"""``cxlocal serve --pages``: the history of a served store as pages, for its members.

A process of its own: nothing that readers do keeps machines from being answered. It asks the store as
anybody who looks, and lets browsers in as the file of members says.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.commands.browse import make_datasette, zone_here
from cxlocal.commands.context import App
from cxlocal.commands.doors import Asgi, Front, ReadOnly, Scope, Sealed, answer
from cxlocal.commands.replicas import Names, Replicas, Source
from cxlocal.commands.served import server_part
from cxlocal.exchange.store import Store

COOKIE = "cxlocal-pages"
WAIT_SECONDS = 1.0
"""How long a page waits for what is new."""
AT_ONCE, AT_ONCE_OF_ONE = 8, 2
"""Requests that are answered at once, in all and of one member: Datasette asks the file of a replica three
questions at a time, and one of them is always left for somebody else."""
WAITING_OF_ONE = 12
"""Requests of one member that are answered or wait; a browser asks for six at once."""
FEEDS = ("journal/-/diary.ics", "journal/-/diary.atom")
STRANGERS = (
    b"These pages are for members of the store. On a machine that is enrolled, in a project:\n\n"
    b"  cxlocal browse --store\n\nIt prints an address that opens them once, within ten minutes.\n"
)
MAKING = (
    b"The pages are being made: what you may read is fetched from the store for the first time.\n"
    b"This page looks again every 3 s.\n"
)


class MemberDoor:
    """The pages, each member's own. ASGI.

    ``visits`` says who a cookie and a key are (``cxlocal_sync.http.visits``), ``members`` what everybody
    may read.
    """

    def __init__(
        self, visits: Any, members: Callable[[], list[Names]], replicas: Replicas, *, below: str,
        secure: bool, cookie_seconds: int, opened: Callable[[str], None],
    ) -> None:  # fmt: skip
        """``below``: the path of all pages; ``opened`` is told whose browser came in."""
        self.visits, self.members, self.replicas, self.below = visits, members, replicas, below
        self.attributes = f"Path={below}; HttpOnly; SameSite=Lax; Max-Age={cookie_seconds}"
        self.attributes += "; Secure" if secure else ""
        self.opened = opened
        self._all = asyncio.Semaphore(AT_ONCE)
        self._each: dict[int, asyncio.Semaphore] = {}
        self._here: Counter[int] = Counter()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        path = str(scope["path"]).removeprefix(self.below.rstrip("/")).lstrip("/")
        given = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        keys = [value for name, value in given if name == "key"]
        rest = urlencode([pair for pair in given if pair[0] != "key"])
        member = None
        if keys and path in FEEDS:
            member = await asyncio.to_thread(self.visits.by_feed_key, keys[0])
            scope = {**scope, "query_string": rest.encode()}
        elif keys:
            await self._open(keys[0], path, rest, send)
            return
        else:
            member = await asyncio.to_thread(self._of_cookie, scope)
        if member is None:
            await answer(send, 403, STRANGERS, NEVER_KEPT)
        elif member.rights.read == frozenset():
            await answer(send, 403, b"You may read nothing of this store.\n", NEVER_KEPT)
        elif path.startswith("-/") and not path.startswith("-/static"):
            # Pages of Datasette about itself: threads, files and versions are the server's own.
            await answer(send, 404, b"There is no such page.\n")
        else:
            wait = 0.0 if path.startswith("-/static") else WAIT_SECONDS
            await self._in_turn(member, wait, scope, receive, send)

    def _of_cookie(self, scope: Scope) -> Any:
        headers = [value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie"]
        pairs = (part.strip().partition("=") for one in headers for part in one.split(";"))
        given = (value for name, _, value in pairs if name == COOKIE)
        return next(filter(None, map(self.visits.by_cookie, given)), None)

    async def _open(self, key: str, path: str, rest: str, send: Any) -> None:
        cookie = await asyncio.to_thread(self.visits.open, key)
        if cookie is None:
            await answer(send, 403, STRANGERS, NEVER_KEPT)
            return
        member = await asyncio.to_thread(self.visits.by_cookie, cookie)
        self.opened(member.name if member else "")
        # Always below our own path: two slashes at the beginning would lead to another host.
        place = self.below + quote(path, safe="/~") + (f"?{rest}" if rest else "")
        away = [
            (b"location", place.encode()),
            (b"set-cookie", f"{COOKIE}={cookie}; {self.attributes}".encode()),
            *NEVER_KEPT,
        ]
        await answer(send, 303, b"Opened.\n", away)

    async def _in_turn(
        self, member: Any, wait: float, scope: Scope, receive: Any, send: Any
    ) -> None:
        """One member takes a part of the server at most, however much it asks."""
        if self._here[member.id] >= WAITING_OF_ONE:
            await answer(send, 429, b"You ask for very much at once.\n", [(b"retry-after", b"1")])
            return
        self._here[member.id] += 1
        try:
            own = self._each.setdefault(member.id, asyncio.Semaphore(AT_ONCE_OF_ONE))
            async with own, self._all:
                await self._show(member.rights.read, wait, scope, receive, send)
        finally:
            self._here[member.id] -= 1
            if not self._here[member.id]:
                del self._here[member.id]
                self._each.pop(member.id, None)

    async def _show(self, names: Names, wait: float, scope: Scope, receive: Any, send: Any) -> None:
        if names not in self.replicas:
            self.replicas.keep([*await asyncio.to_thread(self.members), names])
        pages = await self.replicas.pages(names, wait)
        if pages is None:
            await answer(send, 503, MAKING, [(b"refresh", b"3"), *NEVER_KEPT])
            return
        await pages(scope, receive, send)


NEVER_KEPT = [(b"cache-control", b"no-store")]


def make_pages_server(
    app: App,
    store: str,
    open_store: Callable[[], Store],
    roll: Path,
    address: str,
    tls: Any,
    proxy: str,
) -> Any:
    """A server of the pages of ``store`` for those who are in the file of members ``roll``; it is reached
    at ``address``. Its ``run`` ends as that of the store's server. Raises Trouble and UsageError."""
    roster, management, visits, service, serving, diary = map(
        server_part, ("members", "management", "visits", "service", "serving", "diary")
    )
    members, clock, ids = roster.Members(roll), SystemClock(), SystemIds()
    members.set_value(management.PAGES, address)
    log, below, zone = diary.Diary(clock), below_of(address), zone_here(app)

    def made(path: Path) -> Asgi:
        datasette = make_datasette({path: store}, below, app.blocked, zone, store=store)
        return Sealed(ReadOnly(Front(datasette.app(), below, f"{below}journal/-/board")))

    source = Source(
        open_store, lambda: str(members.value(service.LINEAGE)), clock, ids,
        lambda why: log.say("not-fresh", why=why),
    )  # fmt: skip
    door = MemberDoor(
        visits.Visits(roll, clock=clock, ids=ids), members.reading,
        Replicas(roll.with_name(f"{roll.name}.pages"), source, made), below=below,
        secure=address.startswith("https:"), cookie_seconds=visits.COOKIE_SECONDS,
        opened=lambda name: log.say("opened", member=name),
    )  # fmt: skip
    return serving.make_pages_server(door, tls, proxy=proxy)


def below_of(address: str) -> str:
    """The path of all pages at ``address``, with a slash at both ends. Pure."""
    path = urlsplit(address).path.strip("/")
    return f"/{path}/" if path else "/"
