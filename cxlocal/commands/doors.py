"""Doors in front of the pages of ``browse``: who may pass, with which name, to do what. ASGI."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from cxlocal.clock import Ids

Scope = Any
Asgi = Callable[[Scope, Any, Any], Awaitable[None]]


class WithKey:
    """The pages, for browsers that came by the printed address once: the port is open to every user of
    the machine, the journal to one.

    The address holds a key that opens once, since an address stands in arguments of programs, where
    others see it; what it leaves behind is a cookie that pages and other sites cannot read.
    """

    def __init__(
        self, pages: Asgi, name: str, path: str, ids: Ids, opened: Callable[[str], None]
    ) -> None:
        """``name`` and ``path`` are those of the cookie; ``opened`` is told the key of the next address."""
        self.pages, self.name, self.path, self.ids, self.opened = pages, name, path, ids, opened
        self.key, self._cookie = ids.token(), ids.token()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """ASGI."""
        if scope["type"] != "http" or self._has_cookie(scope):
            await self.pages(scope, receive, send)
            return
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        keys = [value for name, value in query if name == "key"]
        if not any(_same(one, self.key) for one in keys):
            body = (
                b"These pages are those of one person. Open the address that cxlocal browse printed; each"
                b" opens once, and the next one is printed then.\n"
            )
            await answer(send, 403, body)
            return
        self.key = self.ids.token()
        rest = urlencode([pair for pair in query if pair[0] != "key"])
        path = scope.get("raw_path") or scope["path"].encode()
        # Two slashes at the beginning would lead to another host.
        place = b"/" + path.split(b"?")[0].lstrip(b"/\\") + (f"?{rest}".encode() if rest else b"")
        cookie = f"{self.name}={self._cookie}; Path={self.path}; HttpOnly; SameSite=Strict"
        away = [
            (b"location", place),
            (b"set-cookie", cookie.encode()),
            (b"cache-control", b"no-store"),
        ]
        await answer(send, 303, b"Opened.\n", away)
        self.opened(self.key)

    def _has_cookie(self, scope: Scope) -> bool:
        headers = [value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie"]
        pairs = (part.strip().partition("=") for one in headers for part in one.split(";"))
        return any(name == self.name and _same(value, self._cookie) for name, _, value in pairs)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


class OwnHost:
    """The pages, for those who ask this machine by one of its own names.

    A web page elsewhere can point a name of its own at 127.0.0.1 and read whatever answers there
    (DNS rebinding); its name then stands in the Host header.
    """

    NAMES = ("127.0.0.1", "localhost", "[::1]")

    def __init__(self, pages: Asgi, further: Sequence[str] = ()) -> None:
        """``further``: names of a proxy that passes requests on."""
        self.pages = pages
        self.names = {*self.NAMES, *(name.lower() for name in further)}

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """ASGI."""
        if scope["type"] != "http" or self.is_own(dict(scope["headers"]).get(b"host", b"")):
            await self.pages(scope, receive, send)
            return
        body = (
            b"This is the journal of one machine: open it as http://127.0.0.1 or localhost."
            b" Behind a proxy: cxlocal browse --name HOST\n"
        )
        await answer(send, 421, body)

    def is_own(self, header: bytes) -> bool:
        """Whether a Host header names this machine, with or without a port."""
        whole = header.decode("latin-1").lower()
        name, colon, port = whole.rpartition(":")
        return (name if colon and port.isdigit() else whole) in self.names


class Sealed:
    """The pages, which no page of another site shows inside of itself, and which load nothing from
    elsewhere. What a page says of this itself, as ours do, stays."""

    POLICY = (
        b"default-src 'self' 'unsafe-inline' data: blob:; object-src 'none'; base-uri 'self';"
        b" form-action 'self'; frame-ancestors 'none'"
    )
    HEADERS = (
        (b"content-security-policy", POLICY),
        (b"x-frame-options", b"DENY"),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),
    )

    def __init__(self, pages: Asgi) -> None:
        self.pages = pages

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """ASGI."""

        async def sealed(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                named = {bytes(name).lower() for name, _ in given}
                more = [one for one in self.HEADERS if one[0] not in named]
                message = {**message, "headers": [*given, *more]}
            await send(message)

        await self.pages(scope, receive, sealed)


class Front:
    """The pages, where the first one is the board of the only journal: the list of databases that
    Datasette begins with counts rows, and nobody came for it."""

    def __init__(self, pages: Asgi, first: str, board: str) -> None:
        """``board``: its address; empty where there are several journals."""
        self.pages, self.first, self.board = pages, first, board

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """ASGI."""
        if self.board and scope["type"] == "http" and scope["path"] == self.first:
            away = [(b"location", self.board.encode())]
            await answer(send, 302, b"The board is at " + self.board.encode() + b"\n", away)
            return
        await self.pages(scope, receive, send)


class ReadOnly:
    """The pages, for requests that only read: whoever reaches them through a proxy, or a plugin that
    brings a form, changes nothing."""

    METHODS = ("GET", "HEAD", "OPTIONS")

    def __init__(self, pages: Asgi) -> None:
        self.pages = pages

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] in self.METHODS:
            await self.pages(scope, receive, send)
            return
        await answer(send, 405, b"These pages only read.\n", [(b"allow", b"GET, HEAD, OPTIONS")])


async def answer(
    send: Any, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """A short answer in plain text."""
    plain = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": plain})
    await send({"type": "http.response.body", "body": body})
