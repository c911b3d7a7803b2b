"""What an environment's folder remembers: the version that runs, the one before, the port.

``state.json``::

    {"format": 1, "current": RELEASE | null, "previous": RELEASE | null,
     "next": RELEASE | null, "port": N}

A RELEASE is ``{"folder", "version", "run", "sha256", "command"}``; ``folder`` is relative to the
environment's folder. ``next`` is set while a version takes over the port, so that whoever comes
after a crash knows whom to look for. The file is replaced whole: a reader never sees half of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cxlocal.files import write_whole
from cxlocal.hooks.tool import ToolFailure
from cxlocal.values import NamedTuple

FILE = "state.json"
FORMAT = 1


class Release(NamedTuple):
    """One installed version of a service."""

    folder: str
    version: str
    run: str
    sha256: str
    command: tuple[str, ...]
    """What is started. A program without a slash is looked for in the virtual environment first."""


class State(NamedTuple):
    """What a folder says."""

    current: Release | None = None
    previous: Release | None = None
    port: int = 0
    """The port the service has here; 0 before the first deployment."""
    next: Release | None = None


def read_state(folder: Path) -> State:
    """The state of a service; an absent or damaged file means that nothing is known.

    Raises ToolFailure for a file that a newer cxlocal wrote.
    """
    try:
        content = json.loads((folder / FILE).read_text("utf-8"))
        if content["format"] > FORMAT:
            raise ToolFailure(f"{folder / FILE} was written by a newer cxlocal")
        return State(
            _release(content["current"]),
            _release(content["previous"]),
            int(content["port"]),
            _release(content["next"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return State()


def write_state(folder: Path, state: State) -> None:
    """Replace the state, durably."""
    content = {
        "format": FORMAT,
        "current": state.current._asdict() if state.current else None,
        "previous": state.previous._asdict() if state.previous else None,
        "next": state.next._asdict() if state.next else None,
        "port": state.port,
    }
    write_whole(folder / FILE, json.dumps(content, indent=1))


def _release(content: Any) -> Release | None:
    if content is None:
        return None
    return Release(
        str(content["folder"]),
        str(content["version"]),
        str(content["run"]),
        str(content["sha256"]),
        tuple(str(word) for word in content["command"]),
    )
