"""Connections that cannot be held for ever.

uvicorn limits how long an idle connection is kept after an answer, and nothing else. Here every
connection has to deliver its request, and take its answer, within a time: who says nothing, sends
a byte a second, never ends, or does not read, is cut off. How many there are is limited too.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from ipaddress import IPv6Address, ip_address
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from cxlocal_sync.http.limits import (
    CONNECTIONS_MAX,
    CONNECTIONS_PER_ADDRESS,
    HEAD_SECONDS,
    REQUEST_SECONDS,
    network_of,
)

LOOK_SECONDS = 1.0
"""Between two looks at all connections."""


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 with a time limit on everything."""

    by_address: ClassVar[Counter[str]] = Counter()
    address = ""
    head_limit = HEAD_SECONDS
    request_limit = REQUEST_SECONDS
    peers: ClassVar[frozenset[str]] = frozenset()
    """Who may connect; empty for everybody."""
    since: float | None = None
    """When what goes on began, in the time of the loop; None while nothing does."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection; too many are closed at once."""
        super().connection_made(transport)
        self.since = self.loop.time()
        if self.peers and plain_address(self.client[0] if self.client else "") not in self.peers:
            transport.abort()
        self.address = network_of(self.client[0] if self.client else "")
        self.by_address[self.address] += 1
        crowded = self.by_address[self.address] > CONNECTIONS_PER_ADDRESS
        if crowded or len(self.connections) > CONNECTIONS_MAX:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it out."""
        self.by_address[self.address] -= 1
        if self.by_address[self.address] <= 0:
            del self.by_address[self.address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Begin to measure with the first byte of a request."""
        if self.since is None:
            self.since = self.loop.time()
        super().data_received(data)

    def look(self, now: float) -> None:
        """Cut the connection off if it takes too long."""
        if self._at_rest():
            self.since = None
        if self.since is None:
            return
        asked = self.cycle is not None and not self.cycle.response_complete
        limit = self.request_limit if asked or self._writing() else self.head_limit
        if now - self.since > limit:
            self.transport.abort()

    def _writing(self) -> bool:
        return self.transport.get_write_buffer_size() > 0

    def _at_rest(self) -> bool:
        """Between two requests, with everything sent and nothing half received."""
        answered = self.cycle is not None and self.cycle.response_complete
        idle = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        return answered and idle and not self._writing() and not self.transport.is_closing()


def plain_address(text: str) -> str:
    """An address in one spelling; an IPv4 address that came in by IPv6 as what it is. Empty for what is
    none."""
    try:
        found = ip_address(text)
    except ValueError:
        return ""
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(mapped or found)


def protocol_for(peers: frozenset[str]) -> type[GuardedProtocol]:
    """The protocol of a server that answers ``peers`` alone; everybody where there are none."""
    return type("PeersProtocol", (GuardedProtocol,), {"peers": peers})


async def watch(connections: set[Any]) -> None:
    """Look at all connections again and again."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now = loop.time()
        for connection in list(connections):
            if isinstance(connection, GuardedProtocol):
                connection.look(now)
