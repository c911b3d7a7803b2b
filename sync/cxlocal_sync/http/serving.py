"""Running a served store: the socket, TLS, uvicorn. Called by ``cxlocal serve`` by its name."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from asyncio import constants
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import uvicorn

from cxlocal.errors import Trouble, UsageError
from cxlocal_sync.http.app import make_app
from cxlocal_sync.http.connection import plain_address, protocol_for, watch
from cxlocal_sync.http.limits import CONNECTIONS_MAX, HEAD_SECONDS, KEEP_SECONDS
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
    service = Service(open_store, members, threads=threads)
    config = uvicorn.Config(
        make_app(service),
        http=protocol_for(frozenset({proxy} if proxy else ())),
        loop="asyncio",
        ws="none",
        log_config=None,
        log_level="error",
        access_log=False,
        lifespan="on",
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
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        service.close()
        raise UsageError(
            "the certificate and its key cannot be used",
            why=f"{error.strerror or error}",
            hint="both are PEM files, and the key is the one the certificate was made for",
            name="bad-certificate",
        ) from error
    _allow_connections()
    return Server(config, service)


class Server(uvicorn.Server):
    """uvicorn, with an eye on connections that take too long."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
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
