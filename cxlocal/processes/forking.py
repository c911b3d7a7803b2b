"""A process that stands ready and divides whenever a worker is wanted: this is its inside.

It has loaded what every worker needs and nothing else: no code of others, no secret, no environment of a stage
(``cxlocal.processes.forker`` keeps it). What a worker is to do, and in which surroundings, stands on the worker's own
pipe, which only the worker reads. So each is a process of its own, and none has anything of another.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import socket
from typing import Any

from cxlocal.processes.family import MARK
from cxlocal.values import NamedTuple

PASSED = 3
"""Descriptors that come with a wish for a worker: where it reads, where it writes, where its output goes."""
_WISH_BYTES = 65536
_READ_BYTES = 65536


class Begun(NamedTuple):
    """A worker at its beginning."""

    reads: int
    writes: int
    request: bytes
    """The first message of who wanted it."""


def serve(control: int) -> Begun:
    """Divide as often as somebody on ``control`` wishes. Returns in the workers only; this process itself ends
    when nobody is left to wish."""
    link = socket.socket(fileno=control)
    while True:
        wish, passed = _next(link)
        answer: dict[str, Any]
        if "ended" in wish:
            answer = {"status": _ended(wish["ended"])}
        else:
            for module in wish["modules"]:
                importlib.import_module(module)
            gc.freeze()  # what is loaded is shared with the workers as long as nobody looks at it
            try:
                pid = os.fork()
            except OSError as error:
                answer = {"problem": error.strerror}
            else:
                if not pid:
                    link.close()
                    return _begin(*passed)
                answer = {"pid": pid}
        for descriptor in passed:
            os.close(descriptor)
        link.sendall(json.dumps(answer).encode("ascii") + b"\n")


def _next(link: socket.socket) -> tuple[dict[str, Any], list[int]]:
    line, passed = b"", list[int]()
    while not line.endswith(b"\n"):
        chunk, descriptors, _, _ = socket.recv_fds(link, _WISH_BYTES, PASSED)
        if not chunk:
            os._exit(0)  # Who started this process is gone.
        passed += descriptors
        line += chunk
    return json.loads(line), passed


def _ended(pid: int) -> int | None:
    """The status with which a worker ended, as ``waitpid`` has it; None while it runs, -1 for one that is not ours."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return -1
    return status if found else None


def _begin(reads: int, writes: int, output: int) -> Begun:
    """Become a worker: a session, streams and surroundings of its own. Raises OSError."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    for descriptor in (nothing, output):
        os.close(descriptor)
    for descriptor in (reads, writes):
        os.set_inheritable(descriptor, False)
    surroundings, request = _first_lines(reads)
    told = json.loads(surroundings)
    _show_mark(told["variables"].get(MARK, ""))
    os.environ.update(told["variables"])
    os.chdir(told["cwd"])
    return Begun(reads, writes, request)


def _first_lines(descriptor: int) -> list[bytes]:
    """The first two lines, byte-exact: what follows belongs to whoever carries out the request."""
    read = bytearray()
    # Nothing is sent after the request until we speak, so a chunk cannot hold more.
    while read.count(b"\n") < 2:
        chunk = os.read(descriptor, _READ_BYTES)
        if not chunk:
            os._exit(0)  # The parent is gone before it said what to do.
        read += chunk
    return bytes(read).splitlines()


def _show_mark(mark: str) -> None:
    """Write the mark of a worker where the system shows the environment that a process was started with: by that its
    family is known (``cxlocal.processes.family``). This process was started with room for it."""
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_void_p
    place, room = getenv(MARK.encode()), len(os.environ.get(MARK, ""))
    if place:
        # The last words are its own; what no longer fits stands in its environment all the same.
        ctypes.memmove(place, mark[-room:].encode("ascii", "replace").ljust(room, b":"), room)
