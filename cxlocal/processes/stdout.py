"""Standard output belongs to the data of a command; whatever else is printed goes to standard error.

``eval "$(cxlocal run start)"`` executes what stands there, and a program reads ``--json``. So before
the first plugin is imported, descriptor 1 is pointed to where standard error goes: a ``print`` at
import or in a hook, ``os.write(1, …)``, a thread and a child process all land there. The commands
write their data to ``data()``.

Only the process of the command line does this (``begin``); in somebody else's process, and in the
workers of tools, standard output is left alone.
"""

from __future__ import annotations

import errno
import os
import sys

TYPE_CHECKING = False
"""As type checkers know it: ``typing`` would be a sixth of ``cxlocal --version``."""
if TYPE_CHECKING:
    from typing import TextIO

GONE = (errno.EPIPE, errno.EIO, errno.EBADF)
"""How the system says that nobody is there any more: a pipe, a terminal, a closed descriptor."""

_FIRST_FREE = 3
"""Descriptors below have a meaning to every program."""


class _State:
    ours = False
    """This process is the command line."""
    data: TextIO | None = None
    """The real standard output, once it is set aside."""


def begin() -> None:
    """This process is the command line. Descriptors that we were started without (``>&-``) are
    opened to nowhere: the first file that is opened must not become standard output."""
    for descriptor in range(_FIRST_FREE):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # It gets the lowest number that is free.
    if sys.stdout is None:
        sys.stdout = _stream(1)
    if sys.stderr is None:
        sys.stderr = _stream(2)
    _State.ours = True


def is_ours() -> bool:
    """Whether this process is the command line."""
    return _State.ours


def data() -> TextIO:
    """Where the data of a command goes."""
    return _State.data or sys.stdout


def set_aside() -> None:
    """Keep standard output for ``data``. A second call does nothing."""
    if not _State.ours or _State.data is not None:
        return
    import fcntl

    before = sys.stdout
    try:
        before.flush()
    except OSError:
        pass  # Whoever is gone is noticed at the next line, too.
    _State.data = _stream(
        fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE), before.encoding, before.errors
    )
    os.dup2(2, 1)
    sys.stdout = sys.stderr


def give_back() -> None:
    """What comes now is a plugin's own command, or a page of help: its output is the data."""
    _State.ours = False
    if _State.data is not None:
        os.dup2(_State.data.fileno(), 1)
        sys.stdout, _State.data = _State.data, None


def let_go(stream: TextIO) -> None:
    """Nobody reads ``stream`` any more: what is still in it, and what comes, goes nowhere. Python
    would complain while it exits, and change the exit code."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno(), inheritable=stream.fileno() < _FIRST_FREE)
    except (OSError, ValueError):
        pass  # It is closed already.
    finally:
        os.close(nowhere)


def _stream(descriptor: int, encoding: str = "utf-8", errors: str | None = None) -> TextIO:
    # Lines go out as they are written where somebody may be looking on.
    return open(
        descriptor, "w", encoding=encoding, errors=errors or "backslashreplace",
        buffering=1 if os.isatty(descriptor) else -1, closefd=False,
    )  # fmt: skip
