"""A stretch of bytes to a TCP port, with or without TLS, and whether it arrived whole.

TCP says nothing of what the other side has read. So a stretch has a connection of its own, ends with
the end of our stream, and counts only when the receiver closes after it: one that was cut off, or
fell down before it had read all, resets the connection or stays silent.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from urllib.parse import urlsplit

from cxlocal.hooks.sink import Later

_ANSWER_BYTES = 65536


def split_address(to: str) -> tuple[str, str, int]:
    """Scheme, host and port. Raises ValueError where one is missing."""
    parts = urlsplit(to)
    if not parts.hostname or not parts.port or parts.path not in ("", "/"):
        raise ValueError(f"{to} is not of the form {parts.scheme or 'scheme'}://host:port")
    return parts.scheme, parts.hostname, parts.port


def send_stretch(
    host: str, port: int, content: bytes, *, tls: bool, timeout_seconds: float
) -> None:
    """Send all of it. Raises Later, OSError."""
    with socket.create_connection((host, port), timeout=timeout_seconds) as plain:
        if not tls:
            _send(plain, content)
            return
        context = ssl.create_default_context()
        with context.wrap_socket(plain, server_hostname=host) as wrapped:
            wrapped.sendall(content)
            # Says "no more" inside TLS, and waits until the other side has said so, too.
            with suppress(ssl.SSLEOFError, ssl.SSLZeroReturnError):
                _send(wrapped.unwrap(), b"")


def _send(connection: socket.socket, content: bytes) -> None:
    connection.sendall(content)
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(_ANSWER_BYTES):
        pass  # some greet, some acknowledge; all close when they have read to our end


def words_of(problem: OSError) -> Later:
    """What went wrong on the way."""
    return Later(problem.strerror or str(problem) or type(problem).__name__)
