"""Two pipes to a child beside its output, for messages of one line each.

The parent never blocks on it: what cannot be written yet waits in ``unsent``, and what comes in is
cut into lines as it comes. A child that sends a line without end is not believed any further.
"""

from __future__ import annotations

import os
from collections.abc import Callable

MESSAGE_BYTES = 4 * 1024 * 1024
"""Longest message of a child. The largest honest one is a list of artifacts with their details."""


class Channel:
    """The parent's side. The child gets ``passed``: where it reads, where it writes."""

    def __init__(self, on_line: Callable[[bytes], None]) -> None:
        """``on_line`` gets each message without its line end. It may call ``send``."""
        child_reads, self.outgoing = os.pipe()
        self.incoming, child_writes = os.pipe()
        os.set_blocking(self.outgoing, False)
        os.set_blocking(self.incoming, False)
        self.passed: tuple[int, ...] = (child_reads, child_writes)
        self.unsent = bytearray()
        self.problem = ""
        """Why nothing more is taken from this child."""
        self._on_line = on_line
        self._partial = bytearray()

    def send(self, message: bytes) -> None:
        """Queue one message; the supervisor writes it as soon as the child reads."""
        self.unsent += message + b"\n"

    def preface(self, message: bytes) -> None:
        """Put one message before those that wait."""
        self.unsent[:0] = message + b"\n"

    def receive(self, chunk: bytes) -> None:
        """Take bytes of the child."""
        if self.problem:
            return
        self._partial += chunk
        *lines, rest = self._partial.split(b"\n")
        for line in lines:
            self._on_line(bytes(line))
        self._partial = rest
        if len(rest) > MESSAGE_BYTES:
            self.problem = f"it sent a message of more than {MESSAGE_BYTES} bytes"
            self._partial = bytearray()

    def flush(self) -> bool:
        """Write what the child takes now; whether something is left."""
        while self.unsent and self.outgoing >= 0:
            try:
                del self.unsent[: os.write(self.outgoing, self.unsent[:65536])]
            except BlockingIOError:
                return True
            except BrokenPipeError:
                # The child is gone or no longer listens; its end tells the rest.
                self.unsent.clear()
        return False

    def release(self) -> None:
        """Close the child's ends, once the child has them."""
        for descriptor in self.passed:
            os.close(descriptor)
        self.passed = ()

    def close(self) -> None:
        """Close everything that is still open here."""
        self.release()
        for descriptor in (self.incoming, self.outgoing):
            if descriptor >= 0:
                os.close(descriptor)
        self.incoming = self.outgoing = -1
