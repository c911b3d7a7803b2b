"""What people see of a stage while it runs.

A stage that is alone on a terminal is passed through as it is (``raw``). In every other case
(several stages at once, a CI log, a file) whole lines are shown with the stage's name before them,
and terminal escapes and control characters are taken out: a build must not be able to move the
cursor over somebody else's lines or to retitle a terminal. The log file keeps the bytes as they
came.
"""

from __future__ import annotations

import re
from typing import BinaryIO

ECHO_BYTES = 16 * 1024 * 1024
"""Shown of one stage. CI servers cut logs at a few MiB; the log file has the rest."""

LINE_BYTES = 8192
"""A longer line is shown in pieces, so that output without line ends takes bounded memory."""

# Compiled when first used (re keeps it): what is passed through as it is needs no pattern.
_ESCAPE = (
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # control sequences: colours, cursor (ECMA-48)
    rb"|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # strings: titles, links, clipboard
    rb"|[ -/]*[0-~])?"  # everything else that begins with ESC
)
_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\r") + b"\x7f"


class Echo:
    """Shows one stage's output on a stream."""

    def __init__(self, stream: BinaryIO, *, prefix: str = "", raw: bool = False) -> None:
        """``prefix`` stands before every line, as ``prefix | line``. ``raw``: see above."""
        self._stream = stream
        self._prefix = f"{prefix} | ".encode() if prefix else b""
        self._raw = raw
        self._partial = b""
        self._left = ECHO_BYTES
        self.broken = False
        """The stream no longer takes anything (a closed terminal): the stage goes on unseen."""

    def write(self, chunk: bytes) -> None:
        """Show these bytes, as far as they make whole lines."""
        if self.broken or self._left <= 0:
            return
        if self._raw:
            self._put(chunk)
            return
        content = self._partial + chunk
        cut = content.rfind(b"\n") + 1
        if not cut and len(content) >= LINE_BYTES:
            cut = len(content)
        self._partial = content[cut:]
        if cut:
            self._lines(content[:cut])

    def note(self, text: str) -> None:
        """Show a line of our own."""
        self.end()
        line = self._prefix + text.encode("utf-8", "backslashreplace") + b"\n"
        if not self.broken:
            self._give(line)

    def end(self) -> None:
        """Show the last line, though it has no line end."""
        partial, self._partial = self._partial, b""
        if partial and not self.broken and self._left > 0:
            self._lines(partial)

    def _lines(self, content: bytes) -> None:
        body = plain(content)
        if body.endswith(b"\n"):
            body = body[:-1]
        self._put(self._prefix + body.replace(b"\n", b"\n" + self._prefix) + b"\n")

    def _put(self, content: bytes) -> None:
        if len(content) > self._left:
            content = content[: self._left]
            content += b"\n" + self._prefix + b"... the rest is in the log file\n"
            self._left = 0
        self._left -= len(content)
        self._give(content)

    def _give(self, content: bytes) -> None:
        try:
            self._stream.write(content)
            self._stream.flush()
        except (OSError, ValueError):
            # The reader went away (``cxlocal run | head``). The work matters more than the show.
            self.broken = True


def plain(content: bytes) -> bytes:
    """``content`` without escapes and control characters, always valid UTF-8. Pure.

    Of a line that was overwritten (progress bars end in a carriage return) the last state stays.
    """
    if b"\x1b" in content:
        content = re.sub(_ESCAPE, b"", content)
    if b"\r" in content:
        content = b"\n".join(
            line.rstrip(b"\r").rpartition(b"\r")[2] for line in content.split(b"\n")
        )
    content = content.translate(None, _CONTROL)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("utf-8", "backslashreplace")
    if not text.isascii():
        text = re.sub(_C1, "", text)
    return text.encode("utf-8")


_C1 = "[\x80-\x9f\u202a-\u202e\u2066-\u2069]"
"""Control characters in their one-character form, and those that reverse the writing direction."""
