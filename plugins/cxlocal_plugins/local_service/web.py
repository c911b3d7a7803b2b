"""Asking a service on a loopback port, and whether a port is free.

The service is as new as the release: it may hang, drip or talk without end. Each question has a
limit of its own, whatever is answered.
"""

from __future__ import annotations

import http.client
import socket
import threading

LOOPBACK = "127.0.0.1"
ANSWER_SECONDS = 2.0
"""For the whole of one answer."""
ANSWER_BYTES_MAX = 64 * 1024


def free_port() -> int:
    """A loopback port nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a service could listen on a loopback port now."""
    with socket.socket() as probe:
        # As servers do: connections in TIME_WAIT of the version before must not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def look(port: int, health: str, version_path: str, version: str) -> str:
    """One look at a service; what is wrong with it, or nothing."""
    status, _ = ask(port, health)
    if status is None:
        return f"it does not answer on port {port}"
    if status >= 400:
        return f"{health} answers with status {status}"
    if version_path:
        status, body = ask(port, version_path)
        if status is None or status >= 400 or version.encode() not in body:
            return f"{version_path} does not say {version}"
    return ""


def ask(port: int, path: str) -> tuple[int | None, bytes]:
    """Status and body of one GET; None when nobody answers properly in time."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=ANSWER_SECONDS)
    # The limit of a socket counts anew with every byte; the end of the connection does not.
    alarm = threading.Timer(ANSWER_SECONDS, _cut, [connection])
    alarm.daemon = True
    alarm.start()
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException, ValueError):
        return None, b""
    finally:
        alarm.cancel()
        connection.close()


def _cut(connection: http.client.HTTPConnection) -> None:
    open_socket = connection.sock
    try:
        if open_socket is not None:
            open_socket.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # It was closed in this very moment.
