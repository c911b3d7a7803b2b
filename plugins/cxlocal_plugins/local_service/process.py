"""The process of one version: started, found again, ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cxlocal.hooks.running import (
    Clock,
    Identity,
    SystemClock,
    alive,
    boot,
    identity,
    stage_environment,
)
from cxlocal.hooks.tool import Context, ToolFailure
from cxlocal_plugins.local_service.install import VENV
from cxlocal_plugins.local_service.instance import Instance
from cxlocal_plugins.local_service.launch import ENDED, IDENTITY
from cxlocal_plugins.local_service.web import LOOPBACK

CLOCK: Clock = SystemClock()
LOOK_SECONDS = 0.05
"""Between two looks at a process that is starting or ending."""
BEGIN_SECONDS = 10.0
"""A new process says who it is within this time, even on a busy machine."""
END_SECONDS = 5.0
"""A service has this long to end after SIGTERM, and the system as long after SIGKILL."""
LOG = "service.log"
WORDS_BYTES = 2000


def start(ctx: Context, folder: Path, instance: Instance) -> Identity:
    """Start an installed instance. Raises ToolFailure when it does not come to life."""
    environment = _environment(ctx, folder, instance)
    command = [_program(instance.command[0], environment["PATH"]), *instance.command[1:]]
    return launch(ctx, folder, command, environment)


def launch(
    ctx: Context, folder: Path, command: Sequence[str], environment: Mapping[str, str]
) -> Identity:
    """Start a process that says who it is in ``folder``. Raises ToolFailure when it does not."""
    for mark in (IDENTITY, ENDED):
        (folder / mark).unlink(missing_ok=True)
    by = [sys.executable, "-P", str(Path(__file__).with_name("launch.py")), str(folder)]
    ctx.daemon([*by, *command], cwd=folder, env=environment, log=folder / LOG)
    deadline = CLOCK.monotonic() + BEGIN_SECONDS
    while CLOCK.monotonic() < deadline:
        found = identity_in(folder)
        if found is not None:
            return found
        # Waiting for another process: there is nothing to be woken by.
        time.sleep(LOOK_SECONDS)
    raise ToolFailure(f"it was started and never said who it is: {last_words(folder)}")


def _environment(ctx: Context, folder: Path, instance: Instance) -> dict[str, str]:
    base = stage_environment(os.environ)
    own = {
        "PATH": f"{folder / VENV / 'bin'}:{base['PATH']}",
        "VIRTUAL_ENV": str(folder / VENV),
        "HOST": LOOPBACK,
        "PORT": str(instance.port),
        "CXLOCAL_VERSION": instance.version,
        "CXLOCAL_RUN": instance.run,
        "CXLOCAL_DELIVERABLE": ctx.deliverable,
        "CXLOCAL_ENVIRONMENT": ctx.environment.name if ctx.environment else "",
    }
    # Secrets that are listed for it are for the service: there is no other way to it.
    return {**base, **ctx.variables, **ctx.secrets, **own}


def _program(name: str, path: str) -> str:
    found = shutil.which(name, path=path)
    if found is None:
        raise ToolFailure(f"there is no program {name!r}, neither in the wheel nor on PATH")
    return found


def identity_in(folder: Path) -> Identity | None:
    """The process last started in a release's folder, if it belongs to this boot."""
    try:
        said = json.loads((folder / IDENTITY).read_text())
        if said["boot"] != boot():
            return None
        return Identity(int(said["pid"]), str(said["start"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_running(folder: Path) -> bool:
    """Whether the process last started there is alive."""
    found = identity_in(folder)
    return found is not None and alive(found.pid, found.start)


def end(folder: Path) -> bool:
    """End the processes of a release: SIGTERM, then SIGKILL; whether there were any.

    Also keeps a process from coming to life that is just being started there. Raises ToolFailure
    when the system does not let go of one.
    """
    if not folder.is_dir():
        return False
    (folder / ENDED).touch()
    found = identity_in(folder)
    seen = left(found, folder) if found is not None else frozenset()
    if found is None or not seen:
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal(found, number)
        deadline = CLOCK.monotonic() + END_SECONDS
        while CLOCK.monotonic() < deadline:
            seen = frozenset(each for each in seen if alive(*each)) | left(found, folder)
            if not seen:
                return True
            # Waiting for another process: there is nothing to be woken by.
            time.sleep(LOOK_SECONDS)
    raise ToolFailure(f"process {found.pid} does not end, not even by SIGKILL")


def _signal(found: Identity, number: int) -> None:
    """To the whole group of the service; one of it was just seen alive."""
    try:
        os.killpg(found.pid, number)
    except (ProcessLookupError, PermissionError):
        # It ended in between, or only a zombie is left (EPERM on macOS).
        return


def last_words(folder: Path) -> str:
    """The end of a service's output, for a message."""
    try:
        with open(folder / LOG, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - WORDS_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return "none"
    return " / ".join(text.strip().splitlines()[-3:]) or "none"


LINUX = sys.platform.startswith("linux")
ENDED_STATES = (b"Z", b"X", b"x")
"""Of proc_pid_stat(5): nothing it could still do."""


def left(first: Identity, folder: Path) -> frozenset[Identity]:
    """What is alive of the service whose release lies in ``folder``.

    ``first`` leads the group. Where it is gone its number may be somebody else's by now, so the
    others are known by their environment, which names the folder. Only Linux tells that. A process
    that ends loses its environment first: wait for those that were seen, not for nobody to be found.
    """
    found = {first} if alive(first.pid, first.start) else set()
    if LINUX:
        found |= _group_of(first.pid, folder)
    return frozenset(found)


def _group_of(group: int, folder: Path) -> set[Identity]:
    mark = os.fsencode(folder / VENV)
    of_group = (
        identity(int(place.name))
        for place in Path("/proc").iterdir()
        if place.name.isdecimal() and _group(place) == group and mark in _variables(place)
    )
    return {each for each in of_group if each is not None}


def _group(place: Path) -> int:
    """The process group; 0 for none and for what has ended."""
    try:
        stat = (place / "stat").read_bytes()
    except OSError:
        return 0  # It ended while we looked.
    # The second field is the program's name in parentheses and may itself hold ") ".
    state, _, group = stat[stat.rfind(b")") + 2 :].split()[:3]
    return 0 if state in ENDED_STATES else int(group)


def _variables(place: Path) -> bytes:
    try:
        return (place / "environ").read_bytes()
    except OSError:
        return b""  # It ended, or it is not ours.
