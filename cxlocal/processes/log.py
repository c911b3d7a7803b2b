"""The log of one stage: a file, its digest, and what people see of it meanwhile.

The journal keeps path, size and SHA-256 of each log. All three are taken while writing, so a log of
any size costs no memory and is never read again. Secrets are masked before anything else sees the
bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxlocal.domain import path_part
from cxlocal.errors import Trouble
from cxlocal.private import make_folder
from cxlocal.processes.log_times import TimesWriter
from cxlocal.processes.mask import Masker
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.processes.echo import Echo

CAP_BYTES = 512 * 1024 * 1024
"""A log stops growing here: a stage that prints in a circle must not fill the disk. The largest
logs of real builds (browsers, kernels with all warnings) stay below 200 MiB."""

_ATTEMPTS_MAX = 10_000
"""Log files of one stage in one run folder. A run retries a stage a few times."""

_TAIL_BYTES = 64 * 1024
LINE_BYTES = 4096
"""Of a line that is held back until it is whole; a longer one is shown in parts."""
LAST_LINES_BYTES = 4096
"""Of the last lines that are kept apart: a screen full, whatever one line is as long as."""


class LogEntry(NamedTuple):
    """What the journal keeps of a log."""

    path: Path
    sha256: str
    size: int
    """Bytes in the file."""
    capped: bool
    """More came than was kept."""
    problem: str
    """Why the file is incomplete (a full disk); empty when it is not."""
    lines: int = 0
    times_sha256: str = ""
    """Digest of the index beside it (``log_times``); empty where there is none."""

    def facts(self, home: Path) -> dict[str, Any]:
        """What is recorded of the log; its path from ``home`` on, where it lies there."""
        path = self.path.relative_to(home) if self.path.is_relative_to(home) else self.path
        told = {
            "path": str(path), "size": self.size, "sha256": self.sha256, "capped": self.capped,
            "lines": self.lines,
        }  # fmt: skip
        return {**told, "times_sha256": self.times_sha256} if self.times_sha256 else told

    def last_lines(self, lines: int) -> bytes:
        """The last lines, at most ``LAST_LINES_BYTES``: plain text, masked as the log is. Nothing where
        the log cannot be read."""
        if not lines or not self.path.is_file():
            return b""
        end = tail(self.path, lines).encode()[-LAST_LINES_BYTES:]
        return end.decode("utf-8", "ignore").encode()


class StageLog:
    """Takes a child's output: masks, writes, digests, shows. A ``Sink`` of the supervisor."""

    def __init__(
        self, path: Path, fd: int, masker: Masker | None, echo: Echo | None, cap_bytes: int,
        times: TimesWriter | None = None,
    ) -> None:  # fmt: skip
        self.path = path
        self.size = 0
        self.lines = 0
        self.capped = False
        self.problem = ""
        self._fd = fd
        self._mask = masker.stream() if masker else None
        self._masker = masker
        self._echo = echo
        self._midline = False
        self._begun = b""
        """The beginning of a line whose rest the masker holds back: both come out together."""
        self._times = times
        self._left = cap_bytes
        self._cap = cap_bytes
        self._digest = hashlib.sha256()

    @classmethod
    def create(
        cls,
        folder: Path,
        stage: str,
        *,
        masker: Masker | None = None,
        echo: Echo | None = None,
        cap_bytes: int = CAP_BYTES,
        now_ms: Callable[[], int] | None = None,
    ) -> StageLog:
        """A new log file ``<stage>.log`` in ``folder``; a retry gets ``<stage>.2.log`` and so on. With
        ``now_ms`` it is noted beside it when each line came.

        A log that the journal already refers to is never opened again. Raises Trouble.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            make_folder(folder)
            for attempt in range(1, _ATTEMPTS_MAX):
                ending = ".log" if attempt == 1 else f".{attempt}.log"
                path = folder / (path_part(stage) + ending)
                try:
                    fd = os.open(path, flags, 0o600)
                except FileExistsError:
                    continue
                times = None if now_ms is None else TimesWriter(path, now_ms)
                return cls(path, fd, masker, echo, cap_bytes, times)
        except OSError as error:
            raise Trouble(
                f"the log of stage {stage} cannot be written",
                why=f"{error.filename}: {error.strerror}",
                hint="make room or permission there, or set another 'home'",
                name="log-not-writable",
            ) from error
        raise Trouble(
            f"{folder} holds {_ATTEMPTS_MAX} logs of stage {stage}",
            why="each attempt has a log of its own, and none is written over",
            hint="remove old ones, for example with 'cxlocal prune'",
            name="too-many-logs",
        )

    def write(self, chunk: bytes) -> None:
        """Take output of the stage. A line of which the masker holds back a part is held back whole."""
        if self._mask is not None:
            chunk, self._begun = self._begun + self._mask.feed(chunk), b""
            if self._mask.holds:
                whole = 1 + max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
                if len(chunk) - whole <= LINE_BYTES:
                    chunk, self._begun = chunk[:whole], chunk[whole:]
        if chunk:
            self._take(chunk)

    def note(self, text: str) -> None:
        """Add a line of our own, marked as such, to the log and to what people see. What was written before is
        over: for one that comes while somebody writes there is ``note_amid``."""
        self.settle()
        self.note_amid(text)

    def note_amid(self, text: str) -> None:
        """The same amid what is written: what the masker holds back stays held back, as a note must not cut a secret
        in two."""
        if self._masker is not None:
            text = self._masker.text(text)
        line = "\n".join(f"[cxlocal] {one}" for one in text.splitlines() or [""])
        start = "\n" if self._midline else ""
        self._store(f"{start}{line}\n".encode("utf-8", "backslashreplace"), ours=True)
        self._midline = False
        if self._echo is not None:
            for one in line.splitlines():
                self._echo.note(one)

    def settle(self) -> None:
        """Write and show what was held back: nothing follows that could belong to it."""
        rest = self._begun + (self._mask.end() if self._mask is not None else b"")
        self._begun = b""
        if rest:
            self._take(rest)

    def close(self) -> LogEntry:
        """Write what was held back; path, digest and size for the journal."""
        self.settle()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._times is not None:
            self._times.close()
        if self._echo is not None:
            self._echo.end()
        return LogEntry(
            self.path, self._digest.hexdigest(), self.size, self.capped, self.problem,
            self.lines + self._midline, self._times.sha256 if self._times else "",
        )  # fmt: skip

    def _take(self, chunk: bytes) -> None:
        if len(chunk) <= self._left:
            self._left -= len(chunk)
            self._store(chunk)
            self._midline = not chunk.endswith(b"\n")
        elif not self.capped:
            self._store(chunk[: self._left])
            self._left, self.capped, self._midline = 0, True, True
            self.note_amid(f"the log ends here: it has reached its limit of {self._cap} bytes")
        if self._echo is not None:
            self._echo.write(chunk)

    def _store(self, content: bytes, *, ours: bool = False) -> None:
        """Write to the file and the digest. A full disk ends the log, not the stage."""
        if self._times is not None:
            self._times.note(self.size, content, fresh=not self._midline, ours=ours)
        self.lines += content.count(b"\n")
        view = memoryview(content)
        while view and not self.problem:
            try:
                written = os.write(self._fd, view)
            except OSError as error:
                self.problem = f"the log is incomplete: {error.strerror}"
                return
            self._digest.update(view[:written])
            self.size += written
            view = view[written:]


def tail(path: Path, lines: int = 20) -> str:
    """The last lines of a log, for a message: plain text, whatever the stage printed."""
    from cxlocal.processes.echo import plain

    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            content = file.read(_TAIL_BYTES)
    except OSError as error:
        return f"({path}: {error.strerror})"
    return "\n".join(plain(content).decode().splitlines()[-lines:])
