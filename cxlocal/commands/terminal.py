"""Words for people: standard error, colours, and foreign text made harmless.

Data goes to standard output (``cxlocal.commands.output``), everything said about it goes here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TextIO

import click

from cxlocal import text
from cxlocal.processes.stdout import GONE, let_go

harmless = text.harmless
"""Foreign text as a terminal may have it."""

# Fallback where neither COLUMNS nor the terminal says how wide it is: the width of the docs.
DEFAULT_COLUMNS = 80


def use_color(choice: str, environ: Mapping[str, str], stream: TextIO) -> bool:
    """Whether to colour ``stream``: the flag, then NO_COLOR, then FORCE_COLOR, then a terminal.

    ``choice`` is ``auto``, ``always`` or ``never``.
    """
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and environ.get("TERM") != "dumb"


def is_live(choice: str, environ: Mapping[str, str], stream: TextIO) -> bool:
    """Whether a line on ``stream`` may be drawn over: a terminal, no CI, not ``plain``."""
    if choice == "plain" or environ.get("CI") or environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def columns(stream: TextIO) -> int:
    """The width of the terminal behind ``stream``, in characters."""
    try:
        wanted = int(os.environ.get("COLUMNS", ""))
    except ValueError:
        wanted = 0
    if wanted > 0:
        return wanted
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_COLUMNS
    except (OSError, ValueError):
        return DEFAULT_COLUMNS


def say(text: str = "", *, verbosity: int = 0, color: str | None = None) -> None:
    """One line (or more) for the person, on standard error.

    Shown when the command line's verbosity (-q is -1, -v is 1) is at least ``verbosity``. Foreign
    text in it must have passed ``harmless`` only if it may hold line breaks of its own: every
    other control character is written out here.
    """
    context = click.get_current_context(silent=True)
    settings = context.find_root().params if context is not None else {}
    if verbosity > settings.get("verbose", 0) - settings.get("quiet", 0):
        return
    text = harmless(text, keep="\n\t")
    if color is not None:
        choice = settings.get("color", "auto")
        # Words carry the meaning; colour only repeats it.
        text = click.style(text, fg=color) if use_color(choice, os.environ, sys.stderr) else text
    _tell(sys.stderr, text + "\n")


def _tell(stream: TextIO, text: str) -> None:
    """Write words. If nobody is there any more to hear them, the work goes on all the same."""
    try:
        stream.write(text)
        stream.flush()
    except OSError as problem:
        if problem.errno not in GONE:
            raise
        let_go(stream)


def warn(text: str) -> None:
    """Say ``Warning: …``, also under ``-q``."""
    say(f"Warning: {text}", verbosity=-1, color="yellow")


def warn_once(text: str) -> None:
    """``warn``, unless this command has said the same words before: each of its steps loads plugins."""
    context = click.get_current_context(silent=True)
    said: set[str] = set() if context is None else context.find_root().meta.setdefault(_SAID, set())
    if text not in said:
        said.add(text)
        warn(text)


_SAID = "cxlocal.warned"


class Progress:
    """One line on standard error that says what is going on.

    On a terminal it is drawn over; in CI, in a pipe and with ``--progress plain`` nothing is
    drawn over, and ``now`` says nothing: only ``done`` lines appear, one after the other.
    """

    def __init__(self, *, stream: TextIO | None = None, live: bool | None = None) -> None:
        self.stream = stream or sys.stderr
        context = click.get_current_context(silent=True)
        choice = context.find_root().params.get("progress", "auto") if context else "auto"
        self.live = is_live(choice, os.environ, self.stream) if live is None else live

    def now(self, text: str) -> None:
        """Show ``text`` until the next call."""
        if self.live:
            room = max(columns(self.stream) - 1, 10)
            _tell(self.stream, "\r\x1b[K" + harmless(text)[:room])

    def done(self, text: str) -> None:
        """Write ``text`` as a lasting line."""
        self.clear()
        _tell(self.stream, harmless(text, keep="\t") + "\n")

    def clear(self) -> None:
        """Take away what ``now`` showed."""
        if self.live:
            _tell(self.stream, "\r\x1b[K")
