"""Asks instances whether they are well, in a process of its own. Started by its path.

One argument, JSON: ``addresses`` (``host:port`` or a URL), ``health`` (a path, or ``tcp``), ``within`` (seconds in
which all must be well), ``hold`` (seconds for which they must stay so). The last line of output says why not.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
from threading import Event
from typing import NoReturn
from urllib.parse import urlsplit

from cxlocal.clock import Clock, SystemClock

ASK_SECONDS = 5.0
"""For one answer."""
AGAIN_SECONDS = (0.02, 0.5)
"""Between two questions: at first, and at most."""
HOLD_SECONDS = 1.0
"""Between two questions while it is watched."""
SICK_STATUS = 400


def main(argument: str) -> NoReturn:
    """Ask until all are well, then watch them; exit 1 with the reason where they are not."""
    asked, clock = json.loads(argument), SystemClock()
    addresses, health = asked["addresses"], asked["health"]
    problem = _await(addresses, health, clock, asked["within"])
    until = clock.monotonic() + asked["hold"]
    while not problem and (left := until - clock.monotonic()) > 0:
        _pause(min(HOLD_SECONDS, left))
        problem = _first_problem(addresses, health)
    os.write(1, f"{problem or 'well'}\n".encode("utf-8", "backslashreplace"))
    raise SystemExit(1 if problem else 0)


def _pause(seconds: float) -> None:
    Event().wait(seconds)


def _await(addresses: list[str], health: str, clock: Clock, within: float) -> str:
    pause, until = AGAIN_SECONDS[0], clock.monotonic() + within
    while (problem := _first_problem(addresses, health)) and clock.monotonic() < until:
        _pause(pause)
        pause = min(pause * 2, AGAIN_SECONDS[1])
    return problem


def _first_problem(addresses: list[str], health: str) -> str:
    if not health:
        return ""
    return next((why for one in addresses if (why := _ask(one, health))), "")


def _ask(address: str, health: str) -> str:
    """Why one is not well; empty when it is."""
    url = urlsplit(address if "://" in address else f"http://{address}")
    try:
        host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
        if health == "tcp":
            socket.create_connection((host, port), ASK_SECONDS).close()
            return ""
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        connection = kind(host, port, timeout=ASK_SECONDS)
        try:
            connection.request("GET", health)
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{address} does not answer: {error or type(error).__name__}"
    return f"{address}{health} answers {status}" if status >= SICK_STATUS else ""


if __name__ == "__main__":
    main(sys.argv[1])
