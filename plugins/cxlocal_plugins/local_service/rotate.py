"""One version takes the place of another, and a failure changes nothing.

The new version is first tried on a port of its own beside the old one. Only when it is healthy
there the old one is ended and the new one takes over its port; if it then fails on that port, the
old one is put back. ``state.next`` names the new one meanwhile: should this process be killed, the
next one finds out who runs (``settle``).
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from cxlocal.hooks.tool import Context, ToolFailure
from cxlocal_plugins.local_service.process import (
    CLOCK,
    LOOK_SECONDS,
    end,
    is_running,
    last_words,
    start,
)
from cxlocal_plugins.local_service.state import Release, State, write_state
from cxlocal_plugins.local_service.web import free_port, is_free, look


def running(root: Path, state: State) -> Release | None:
    """The version that is alive: the current one, or one that was just taking over."""
    for release in (state.current, state.next):
        if release is not None and is_running(root / release.folder):
            return release
    return None


def settle(root: Path, state: State) -> State:
    """Bring the state to what is true after a rotation that was cut off."""
    if state.next is None:
        return state
    coming = state.next
    if running(root, state) == coming:
        state = State(coming, state.current, state.port)
    else:
        end(root / coming.folder)
        state = state._replace(next=None)
    write_state(root, state)
    return state


def try_aside(ctx: Context, root: Path, fresh: Release) -> None:
    """Start a version on a side port and see whether it is healthy. Raises ToolFailure."""
    folder, port = root / fresh.folder, free_port()
    problem = "it was interrupted"
    try:
        start(ctx, root, fresh, port)
        problem = wait_until_healthy(ctx, folder, port, fresh.version)
    finally:
        end(folder)
        if problem:
            words = last_words(folder)
            shutil.rmtree(folder, ignore_errors=True)
    if problem:
        raise ToolFailure(
            f"{fresh.version} is not healthy, nothing was changed: {problem}"
            f" (its last words: {words})"
        )


def take_over(ctx: Context, root: Path, state: State, chosen: Release) -> int:
    """End what runs and start ``chosen`` in its place; the port. Raises ToolFailure."""
    port = choose_port(ctx, root, state)
    old = state.current
    write_state(root, state._replace(next=chosen, port=port))
    try:
        if old is not None:
            end(root / old.folder)
        start(ctx, root, chosen, port)
        problem = wait_until_healthy(ctx, root / chosen.folder, port, chosen.version)
        if problem:
            raise ToolFailure(f"{chosen.version} is not healthy on port {port}: {problem}")
    except BaseException as error:
        words = _put_back(ctx, root, state, chosen)
        if isinstance(error, ToolFailure):
            raise ToolFailure(f"{error}{words}") from error
        raise
    before = old if old is not None and old.folder != chosen.folder else state.previous
    write_state(root, State(chosen, before, port))
    return port


def _put_back(ctx: Context, root: Path, state: State, chosen: Release) -> str:
    """Start what ran before; how that went, as the end of a sentence."""
    end(root / chosen.folder)
    write_state(root, state)
    old = state.current
    if old is None or not (root / old.folder).is_dir():
        return "; nothing ran before"
    try:
        start(ctx, root, old, state.port)
        problem = wait_until_healthy(ctx, root / old.folder, state.port, old.version)
    except ToolFailure as error:
        problem = str(error)
    if problem:
        return f"; {old.version} was put back and is not healthy either: {problem}"
    return f"; {old.version} was put back"


def choose_port(ctx: Context, root: Path, state: State) -> int:
    """The fixed port, else the one the service has here already, else a free one.

    A port that is known stays: others have its address. Raises ToolFailure when it is taken.
    """
    wanted = int(ctx.options.port or state.port)
    if not wanted:
        return free_port()
    ours = wanted == state.port and running(root, state) is not None
    if ours or is_free(wanted):
        return wanted
    raise ToolFailure(f"port {wanted} is in use by another program")


def wait_until_healthy(ctx: Context, folder: Path, port: int, version: str) -> str:
    """Ask the service until it answers well; what was wrong last, or nothing when it is healthy.

    Health is any answer below 400 at ``health`` and, with ``version_path``, an answer there that
    holds the version.
    """
    options = ctx.options
    deadline = CLOCK.monotonic() + options.start_timeout
    while True:
        alive = is_running(folder)
        problem = look(port, options.health, options.version_path, version)
        if not alive:
            # Whoever answered, it was not our process.
            return f"it ended by itself; its last words: {last_words(folder)}"
        if not problem or CLOCK.monotonic() >= deadline:
            return problem
        # Waiting for another process: there is nothing to be woken by.
        time.sleep(LOOK_SECONDS)
