"""What an environment's folder remembers: the version that runs, the one before, the port.

``state.json``: ``{"current": RELEASE | null, "previous": RELEASE | null, "port": N}``, where a
RELEASE is ``{"folder", "version", "run", "sha256", "module", "port"}`` and ``folder`` is relative
to the environment's folder. It is replaced whole, so a reader never sees half of it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

FILE = "state.json"


class Release(NamedTuple):
    """One installed version of a service."""

    folder: str
    version: str
    run: str
    sha256: str
    command: tuple[str, ...]
    """What is started, after the interpreter."""


class State(NamedTuple):
    """What a folder says."""

    current: Release | None = None
    previous: Release | None = None
    port: int = 0
    """The port the service has here; 0 before the first deployment."""


def read_state(folder: Path) -> State:
    """The state of a service; an absent or unreadable file means that nothing runs."""
    try:
        content = json.loads((folder / FILE).read_text("utf-8"))
        return State(
            _release(content["current"]), _release(content["previous"]), int(content["port"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return State()


def write_state(folder: Path, state: State) -> None:
    """Replace the state, durably."""
    content = {
        "current": state.current._asdict() if state.current else None,
        "previous": state.previous._asdict() if state.previous else None,
        "port": state.port,
    }
    part = folder / f"{FILE}.part"
    with open(part, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, folder / FILE)


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
