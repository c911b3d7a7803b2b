"""NDJSON: appended to a file, given to a command, or sent to a TCP port (logstash, Vector and others)."""

from __future__ import annotations

import json
import os
import shlex
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cxlocal.domain import SINK_KINDS
from cxlocal.hooks.sink import Later, Sink
from cxlocal_plugins.sinks.form import as_line, as_object
from cxlocal_plugins.sinks.streams import send_stretch, split_address

MODE = 0o600
"""Of a file that this makes: what stages print is not everybody's business."""


class File(Sink):
    """Appends a line for each record to a file."""

    name = "file"
    schemes = ("file",)
    takes = frozenset(SINK_KINDS)
    asked_at = schemes

    def __init__(self, to: str, options: Any, **more: Any) -> None:
        super().__init__(to, options, **more)
        self.path = Path(to.removeprefix("file:").removeprefix("//"))
        if not self.path.is_absolute():
            raise ValueError(f"{to}: a file is named by its whole path, file:/var/log/cx.ndjson")

    def deliver(self, batch: Sequence[Any]) -> int:
        """All of it or, where the disk is full, nothing."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        descriptor = os.open(self.path, flags, MODE)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise Later(f"{self.path} is no plain file")
            # Of whoever was killed while writing half a line stays: what comes next is none of it.
            cut = found.st_size > 0 and os.pread(descriptor, 1, found.st_size - 1) != b"\n"
            lines = (as_line(as_object(one)) for one in batch)
            content = memoryview(b"".join([b"\n" if cut else b"", *lines]))
            try:
                while content:
                    content = content[os.write(descriptor, content) :]
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, found.st_size)  # no half line stays
                raise
        finally:
            os.close(descriptor)
        return len(batch)

    def find(self, run: str, stage: str, stage_run: str) -> Iterator[tuple[str, str]]:
        """Read the file from its beginning to its end."""
        with self.path.open("rb") as file:
            for line in file:
                try:
                    said = json.loads(line)
                except ValueError:
                    continue  # half a line of a crash, or somebody else's
                line_of = isinstance(said, dict) and said.get("kind") == "line"
                yield (str(said.get("cx_id")), str(said.get("text"))) if line_of else ("", "")


class Command(Sink):
    """Gives a line for each record to a command; what it ends with 0 after is taken."""

    name = "command"
    schemes = ("command",)
    takes = frozenset(SINK_KINDS)

    def __init__(self, to: str, options: Any, **more: Any) -> None:
        super().__init__(to, options, **more)
        self.words = shlex.split(to.removeprefix("command:"))
        if not self.words or ("/" in self.words[0] and not self.words[0].startswith("/")):
            raise ValueError(
                f"{to}: a command is a program of the PATH, or named by its whole path"
            )

    def deliver(self, batch: Sequence[Any]) -> int:
        """One start of the command for each batch."""
        self.run(self.words, b"".join(as_line(as_object(one)) for one in batch))
        return len(batch)


class JsonLines(Sink):
    """Sends a line for each record to a TCP port, plain or with TLS."""

    name = "json-lines"
    schemes = ("json+tcp", "json+tls")
    takes = frozenset(SINK_KINDS)

    def __init__(self, to: str, options: Any, **more: Any) -> None:
        super().__init__(to, options, **more)
        self.scheme, self.host, self.port = split_address(to)

    def deliver(self, batch: Sequence[Any]) -> int:
        """A connection for each batch, which counts when the receiver has closed it."""
        content = b"".join(as_line(as_object(one)) for one in batch)
        send_stretch(
            self.host, self.port, content, tls=self.scheme.endswith("tls"),
            timeout_seconds=self.timeout_seconds,
        )  # fmt: skip
        return len(batch)
