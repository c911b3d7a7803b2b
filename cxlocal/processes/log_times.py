"""When each line of a log was written: an index beside the log, made while it grows.

One row for each chunk in which a line begins: the byte where that line begins, milliseconds since 1970
(UTC), and whose words they are (``o`` the program's output, ``n`` a note of ours). Output and errors of
a program share one pipe, so that their order is true (decision 101); they are not told apart.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path

from cxlocal.values import NamedTuple

ENDING = ".times"
"""Stands behind the name of the log."""
_FLUSH_BYTES = 16 * 1024
_ROW_BYTES = 64
"""More than a row has: for reading a bounded file."""


def times_path(log: Path) -> Path:
    """Where the index of a log lies (or would lie)."""
    return log.with_name(log.name + ENDING)


class TimesWriter:
    """Writes the index of one log, from its first row on. What cannot be written is left out: the log
    counts, not this."""

    def __init__(self, log: Path, now_ms: Callable[[], int]) -> None:
        self.sha256 = ""
        """Once it is closed: its digest; empty where there is none, as for an empty log."""
        self._now_ms = now_ms
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        self._last = -1
        self._log = log
        self._fd = -1
        self._given_up = False

    def note(self, offset: int, content: bytes, *, fresh: bool, ours: bool) -> None:
        """``content`` is written at ``offset``; ``fresh``: a line begins with it."""
        if self._given_up:
            return
        begins = 0 if fresh else content.find(b"\n") + 1
        if begins == len(content) or (begins == 0 and not fresh):
            return
        now = self._now_ms()
        if now == self._last and not ours:
            return  # the row before says the same
        self._last = -1 if ours else now
        self._buffer += b"%d %d %s\n" % (offset + begins, now, b"n" if ours else b"o")
        if len(self._buffer) >= _FLUSH_BYTES:
            self._flush()

    def close(self) -> None:
        """Write the rest."""
        self._flush()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self.sha256 = self._digest.hexdigest()

    def _flush(self) -> None:
        if self._given_up or not self._buffer:
            return
        content = bytes(self._buffer)
        self._buffer.clear()
        self._digest.update(content)
        try:
            if self._fd < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
                self._fd = os.open(times_path(self._log), flags, 0o600)
            if os.write(self._fd, content) == len(content):
                return
        except OSError:
            pass  # a full disk: the rest of the log has no times of its own
        self._given_up = True
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Times(NamedTuple):
    """The index of a log, read."""

    offsets: list[int]
    at_ms: list[int]

    def at(self, offset: int) -> int | None:
        """When the line that begins at ``offset`` was written; None where that is not known."""
        found = bisect_right(self.offsets, offset) - 1
        return self.at_ms[found] if found >= 0 else None


def read_times(path: Path, log_bytes: int) -> Times:
    """The index at ``path``, of a log of so many bytes. Empty where it cannot be read: rows that are
    no rows, and all behind them, are left aside."""
    offsets: list[int] = []
    at_ms: list[int] = []
    try:
        with path.open("rb") as file:
            content = file.read((log_bytes + 1) * _ROW_BYTES)
    except OSError:
        content = b""
    for row in content.splitlines():
        fields = row.split(b" ")
        if len(fields) != 3 or not (fields[0].isdigit() and fields[1].isdigit()):
            break
        offset, now = int(fields[0]), int(fields[1])
        if offsets and offset <= offsets[-1]:
            break
        offsets.append(offset)
        at_ms.append(now)
    return Times(offsets, at_ms)
