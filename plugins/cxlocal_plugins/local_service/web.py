"""Asking a service on a loopback port, and whether a port is free.

The service is as new as the release: it may hang, drip or talk without end. Each question has a
limit of its own, whatever is answered.
"""

from __future__ import annotations

import http.client
import re
import socket
import threading

from cxlocal.hooks.carried import same_version

LOOPBACK = "127.0.0.1"
ANSWER_SECONDS = 2.0
"""For the whole of one answer."""
ANSWER_BYTES_MAX = 64 * 1024
WORDS = re.compile(r"(?<![\w.+-])v?\d[\w.+-]*\w")
"""What may be a version: a word that begins with a digit."""
WORD_CHARACTERS_MAX = 200
"""Of a version; comparing longer ones could take long."""


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
        if status is None or status >= 400 or not says(body, version):
            return f"{version_path} does not say {version}"
    return ""


def says(body: bytes, version: str) -> bool:
    """Whether an answer holds the version as a whole word, in its own spelling or PEP 440's.

    ``1.0.1`` is not said by ``1.0.10``, by ``1.0.1-rc.1`` or by ``21.0.1``. Pure.
    """
    text = body.decode("utf-8", "replace")
    own = rf"(?<![0-9A-Za-z.]){re.escape(version)}(?![.+-]?[0-9A-Za-z])"
    if re.search(own, text):
        return True
    words = WORDS.findall(text)
    return any(same_version(word, version) for word in words if len(word) <= WORD_CHARACTERS_MAX)


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
