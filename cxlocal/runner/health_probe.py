"""Asks instances whether they are well, in a worker of its own: as a tool that nobody has to register."""

from __future__ import annotations

import contextlib
import socket
from threading import Event
from typing import BinaryIO
from urllib.parse import SplitResult, urlsplit

from cxlocal.clock import Clock, SystemClock
from cxlocal.hooks.tool import Context, Observed, Tool

ASK_SECONDS = 5.0
"""For one answer."""
AGAIN_SECONDS = (0.02, 0.5)
"""Between two questions: at first, and at most."""
HOLD_SECONDS = 1.0
"""Between two questions while it is watched."""
SICK_STATUS = 400
_LINE_BYTES = 65536
_LINES_MAX = 1000
"""Of what comes before an answer (``103 Early Hints``)."""


class HealthProbe(Tool):
    """Asks until all are well, then watches them."""

    name = "health"
    api = 2

    class Options(Tool.Options, frozen=True):
        """``addresses``: ``host:port`` or a URL each. ``health``: a path, or ``tcp``. ``within``: seconds in which
        all must be well. ``hold``: seconds for which they must stay so."""

        addresses: tuple[str, ...] = ()
        health: str = ""
        within: float = 0.0
        hold: float = 0.0

    def observe(self, ctx: Context) -> Observed:
        """Whether they are, and ``problem``: why not."""
        asked, clock = ctx.options, SystemClock()
        problem = _await(asked.addresses, asked.health, clock, asked.within)
        until = clock.monotonic() + asked.hold
        while not problem and (left := until - clock.monotonic()) > 0:
            _pause(min(HOLD_SECONDS, left))
            problem = _first_problem(asked.addresses, asked.health)
        ctx.progress(problem or "well")
        return Observed(healthy=not problem, details={"problem": problem})


def _pause(seconds: float) -> None:
    Event().wait(seconds)


def _await(addresses: tuple[str, ...], health: str, clock: Clock, within: float) -> str:
    pause, until = AGAIN_SECONDS[0], clock.monotonic() + within
    while (problem := _first_problem(addresses, health)) and clock.monotonic() < until:
        _pause(pause)
        pause = min(pause * 2, AGAIN_SECONDS[1])
    return problem


def _first_problem(addresses: tuple[str, ...], health: str) -> str:
    if not health:
        return ""
    return next((why for one in addresses if (why := _ask(one, health))), "")


def _ask(address: str, health: str) -> str:
    """Why one is not well; empty when it is."""
    try:
        url = urlsplit(address if "://" in address else f"http://{address}")
        with contextlib.closing(_connected(url)) as link:
            status = 0 if health == "tcp" else _status(link, url, health)
    except (OSError, ValueError) as error:
        return f"{address} does not answer: {error or type(error).__name__}"
    return f"{address}{health} answers {status}" if status >= SICK_STATUS else ""


def _connected(url: SplitResult) -> socket.socket:
    secure = url.scheme == "https"
    place = (url.hostname or "", url.port or (443 if secure else 80))
    link = socket.create_connection(place, ASK_SECONDS)
    if not secure:
        return link
    import ssl

    try:
        return ssl.create_default_context().wrap_socket(link, server_hostname=place[0])
    except BaseException:
        link.close()
        raise


def _status(link: socket.socket, url: SplitResult, path: str) -> int:
    """What a GET is answered with. Raises OSError, ValueError for what is no HTTP. The library for it would take
    longer to load than all questions of a deployment."""
    if any(one <= " " for one in path):
        raise ValueError(f"{path!r} is no path")
    lines = (f"GET {path} HTTP/1.1", f"Host: {url.netloc.rpartition('@')[2]}", "Accept: */*",
             "Connection: close", "", "")  # fmt: skip
    link.sendall("\r\n".join(lines).encode("ascii"))
    with link.makefile("rb") as answer:
        return _read_status(answer)


def _read_status(answer: BinaryIO) -> int:
    for _ in range(_LINES_MAX):
        line = answer.readline(_LINE_BYTES)
        if not line:
            raise ValueError("it closes the connection without an answer")
        word, _, rest = line.partition(b" ")
        if not word.startswith(b"HTTP/") or not rest[:3].isdigit():
            raise ValueError("what it says is no HTTP")
        status = int(rest[:3])
        if status >= 200:
            return status
        while answer.readline(_LINE_BYTES).strip():
            continue
    raise ValueError("it does not come to its answer")
