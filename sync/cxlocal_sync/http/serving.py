"""Running a served store: the socket, TLS, uvicorn. Called by ``cxlocal serve`` by its name."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from asyncio import constants
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from cxlocal.errors import Trouble, UsageError
from cxlocal.values import NamedTuple
from cxlocal_sync.http.app import make_app
from cxlocal_sync.http.certificate import end_of, why_refused
from cxlocal_sync.http.limits import (
    CONNECTIONS_MAX,
    CONNECTIONS_PER_ADDRESS,
    HEAD_SECONDS,
    KEEP_SECONDS,
    REQUEST_SECONDS,
    network_of,
)
from cxlocal_sync.http.members import Members
from cxlocal_sync.http.service import Service
from cxlocal_sync.http.wire import is_loopback
from cxlocal_sync.stores.answer import ServableStore

CLOSE_SECONDS = 10
"""How long requests may go on after SIGTERM."""
GOODBYE_SECONDS = 1.0
"""How long a closing TLS connection waits for the other end, which may be a pulled cable."""
HEADER_BYTES_MAX = 32 * 1024
BACKLOG = 1024
FILES_BESIDE = 200
"""Open files that are no connections."""


class Tls(NamedTuple):
    """The two files of TLS, PEM."""

    certificate: Path
    key: Path


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises Trouble."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off for sockets that say they are TCP, and for no others;
    # with it on, every second answer waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Trouble(
            f"{host}, port {port}, cannot be used",
            why=error.strerror or str(error),
            hint="cxlocal serve --port N takes another one",
            name="port",
        ) from error
    return listener


def proxy_address(text: str) -> str:
    """The address of the proxy in front, in one spelling; empty for none. Raises UsageError."""
    found = plain_address(text)
    if text and not found:
        raise UsageError(
            f"{text!r} is no address of a proxy",
            why="what stands in front is believed and answered, and nobody else: that takes the one"
            " address its connections come from",
            hint="cxlocal serve --behind-proxy 127.0.0.1, or 10.0.0.7, or 2001:db8::7",
            name="bad-proxy-address",
        )
    return found


def check_open(host: str, tls: Tls | None, behind_proxy: bool) -> None:
    """Raises UsageError where tokens would travel in the clear."""
    if tls is None and not is_loopback(host) and not behind_proxy:
        raise UsageError(
            f"{host} is reached from other machines, and there is no TLS",
            why="whoever listens on the way would read the tokens of machines",
            hint="add --cert FILE --key FILE, or --behind-proxy where a proxy does TLS",
            name="no-tls",
        )


def make_server(
    open_store: Callable[[], ServableStore],
    members: Members,
    tls: Tls | None = None,
    *,
    threads: int = 1,
    proxy: str = "",
) -> Server:
    """A server; its ``run(sockets=[...])`` answers until SIGINT or SIGTERM.

    ``threads`` is how many exchanges the store is given at once, ``proxy`` the address (``proxy_address``)
    that alone is answered, and whose word about where a request came from is believed. Raises UsageError for files of TLS that cannot be
    used.
    """
    until_ms = None if tls is None else certificate_end(tls)
    service = Service(open_store, members, threads=threads, certificate_ms=until_ms)
    return Server(_configured(make_app(service), tls, proxy), service)


def make_pages_server(pages: Any, tls: Tls | None = None, *, proxy: str = "") -> Server:
    """A server of an ASGI application that members look at, with the limits of the other. Raises as
    ``make_server``."""
    if tls is not None:
        certificate_end(tls)
    return Server(_configured(pages, tls, proxy, lifespan="off"))


def _configured(app: Any, tls: Tls | None, proxy: str, lifespan: Any = "on") -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=protocol_for(frozenset({proxy} if proxy else ())),
        loop="asyncio",
        ws="none",
        log_config=None,
        log_level="error",
        access_log=False,
        lifespan=lifespan,
        server_header=False,
        proxy_headers=bool(proxy),
        # The second is how an IPv4 address looks to a socket of IPv6.
        forwarded_allow_ips=[proxy, f"::ffff:{proxy}"] if proxy else None,
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else tls.key,
        timeout_keep_alive=KEEP_SECONDS,
        timeout_graceful_shutdown=CLOSE_SECONDS,
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
        backlog=BACKLOG,
    )
    config.load()
    _allow_connections()
    return config


def certificate_end(tls: Tls) -> int | None:
    """When the certificate ends, in milliseconds UTC. Raises UsageError for files that cannot be used."""
    try:
        return end_of(tls.certificate, tls.key)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(
            "the certificate and its key cannot be used",
            why=f"{error.strerror or error}",
            hint="both are PEM files, and the key is the one the certificate was made for",
            name="bad-certificate",
        ) from error


def why_unfit(tls: Tls, address: str, authority: str) -> str:
    """Why machines that are told ``address`` and the file ``authority`` (empty: none) would refuse the certificate;
    empty where they would not."""
    host = urlsplit(address).hostname or ""
    return why_refused(tls.certificate, tls.key, host, Path(authority) if authority else None)


class Server(uvicorn.Server):
    """uvicorn, with an eye on connections that take too long."""

    service: Service

    def __init__(self, config: uvicorn.Config, service: Service | None = None) -> None:
        super().__init__(config)
        if service is not None:
            self.service = service

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer until a signal comes."""
        watching = asyncio.create_task(watch(self.server_state.connections))
        try:
            await super().serve(sockets)
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching


def _allow_connections() -> None:
    """Let this process hold as many connections as the limits allow, and end silent handshakes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + FILES_BESIDE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    # uvicorn has no settings for these. asyncio's own limit of 60 s lets silence hold many files,
    # and its 30 s for goodbyes would let one machine that vanished hold up every restart.
    constants.SSL_HANDSHAKE_TIMEOUT = HEAD_SECONDS
    constants.SSL_SHUTDOWN_TIMEOUT = GOODBYE_SECONDS


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
