"""The front of a service: the process that has its port for good, and what it is told (``front.py``).

``route.json`` holds the turn, what is wanted, and the port; it is replaced whole, before and not after the
front acts on it, so a front that was killed is started again with what was wanted last.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cxlocal.files import write_whole
from cxlocal.hooks.running import stage_environment
from cxlocal.hooks.tool import Context, ToolFailure
from cxlocal.values import NamedTuple
from cxlocal_plugins.local_service.front import FRONT, ROUTE
from cxlocal_plugins.local_service.instance import folder_of, read_instance
from cxlocal_plugins.local_service.process import (
    CLOCK,
    LOOK_SECONDS,
    end,
    identity_in,
    is_running,
    last_words,
    launch,
)
from cxlocal_plugins.local_service.web import ANSWER_SECONDS, LOOPBACK, free_port, is_free

PLACE = "front"
BEGIN_SECONDS = 10.0
"""A front answers within this time, even on a busy machine."""


class Route(NamedTuple):
    """What the front is told."""

    turn: int = 0
    port: int = 0
    """The service's own; 0 before its first deployment."""
    wanted: Mapping[str, int] = {}
    """Weights by instance; who is not named gets nothing."""
    ports: Mapping[str, int] = {}
    """Where they answer."""


def read_route(root: Path) -> Route:
    """What was wanted last. Nothing where nobody ever wanted anything, or the file is damaged."""
    try:
        said = json.loads((root / PLACE / ROUTE).read_text("utf-8"))
        return Route(
            int(said["turn"]), int(said["port"]),
            {str(one): int(weight) for one, weight in said["wanted"].items()},
            {str(one): int(port) for one, port in said["ports"].items()},
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Route()


def set_weights(ctx: Context, root: Path) -> int:
    """Hand requests to what is wanted, and to nothing else; the port. Raises ToolFailure where a later turn was
    here, and where the port is somebody else's."""
    folder = root / PLACE
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        known = read_route(root)
        if ctx.turn < known.turn:
            raise ToolFailure(f"turn {known.turn} was here, and this is turn {ctx.turn}")
        port = _choose_port(ctx, folder, known.port)
        # What addresses say comes from history: requests go to what was started here, and nowhere else.
        there = {one: read_instance(folder_of(root, one)) for one in ctx.wanted}
        ports = {one: found.port for one, found in there.items() if found is not None}
        route = Route(ctx.turn, port, dict(ctx.wanted), ports)
        write_whole(folder / ROUTE, json.dumps(route._asdict()))
        if ctx.wanted and not _serves(folder, port):
            end(folder)
            _start(ctx, folder, port)
        return port


def _choose_port(ctx: Context, folder: Path, known: int) -> int:
    """The fixed port, else the one the service has here already, else a free one: others have its address."""
    wanted = int(ctx.options.port or known)
    if not wanted:
        return free_port()
    if _serves(folder, wanted) or is_free(wanted):
        return wanted
    raise ToolFailure(f"port {wanted} is in use by another program")


def _serves(folder: Path, port: int) -> bool:
    """Whether a front is there, at this port."""
    return is_running(folder) and _said(folder).get("port") == port


def _said(folder: Path) -> dict[str, Any]:
    """What the front that runs says of itself; nothing while it begins."""
    try:
        said = json.loads((folder / FRONT).read_text("utf-8"))
        found = identity_in(folder)
        return dict(said) if found is not None and said["pid"] == found.pid else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _start(ctx: Context, folder: Path, port: int) -> None:
    (folder / FRONT).unlink(missing_ok=True)
    program = str(Path(__file__).with_name("front.py"))
    command = [sys.executable, "-P", program, str(folder), str(port)]
    launch(ctx, folder, command, stage_environment(os.environ))
    deadline = CLOCK.monotonic() + BEGIN_SECONDS
    while _said(folder).get("port") != port:
        if not is_running(folder) or CLOCK.monotonic() > deadline:
            raise ToolFailure(f"nothing answers at port {port}: {last_words(folder)}")
        # Waiting for another process: there is nothing to be woken by.
        time.sleep(LOOK_SECONDS)


def is_served(root: Path) -> bool:
    """Whether the front runs."""
    return is_running(root / PLACE)


def wait_until_idle(root: Path, resource: str) -> None:
    """Wait until the front has nothing under way at an instance."""
    while is_served(root) and _busy(root).get(resource, 0):
        # Waiting for another process: there is nothing to be woken by.
        time.sleep(LOOK_SECONDS)


def _busy(root: Path) -> dict[str, int]:
    tells = _said(root / PLACE).get("tells")
    if not isinstance(tells, int):
        return {}
    try:
        with socket.create_connection((LOOPBACK, tells), timeout=ANSWER_SECONDS) as link:
            raw = b"".join(iter(lambda: link.recv(65536), b""))
        return {str(one): int(count) for one, count in json.loads(raw).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def take_away(root: Path) -> None:
    """End the front, and forget what was wanted."""
    folder = root / PLACE
    if folder.is_dir():
        with _locked(folder):
            end(folder)
            shutil.rmtree(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One at a time may change the front."""
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
