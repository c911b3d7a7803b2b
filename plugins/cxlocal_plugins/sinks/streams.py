"""A stretch of bytes to a TCP port, with or without TLS, and whether it arrived whole.

TCP says nothing of what the other side has read. So a stretch has a connection of its own, ends with
the end of our stream, and counts only when the receiver closes after it: one that was cut off, or
fell down before it had read all, resets the connection or stays silent.
"""

from __future__ import annotations

import fcntl
import socket
import ssl
import sys
import termios
from contextlib import suppress
from urllib.parse import urlsplit

from cxlocal.hooks.sink import Later

_ANSWER_BYTES = 65536
_ANSWER_BYTES_MAX = 1024 * 1024
"""Nobody has that much to say to a sender."""


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
    if _has_closed(connection):
        raise Later("it closed the connection before all was sent")
    connection.shutdown(socket.SHUT_WR)
    heard = 0
    while chunk := connection.recv(_ANSWER_BYTES):
        heard += len(
            chunk
        )  # some greet, some acknowledge; all close when they have read to our end
        if heard > _ANSWER_BYTES_MAX:
            raise Later("it talks without end")
    if _unacknowledged(connection):
        raise Later("it closed the connection before all had arrived")


def _has_closed(connection: socket.socket) -> bool:
    """Whether the receiver said that it is at its end, though we have not come to ours."""
    patience = connection.gettimeout()
    connection.settimeout(0)
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    finally:
        connection.settimeout(patience)


def _unacknowledged(connection: socket.socket) -> int:
    """Bytes of which the other side has not said that they arrived. Where the system does not tell
    (macOS), that it closed after us has to do."""
    if not sys.platform.startswith("linux"):
        return 0
    waiting = fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(waiting, sys.byteorder)
