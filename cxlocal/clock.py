"""Time and chance: the only module that reads a clock or draws random bytes.

Everything else gets a ``Clock`` and an ``Ids`` passed in, so that tests decide what time it is and
which ids come next.
"""

from __future__ import annotations

import os
import time

from cxlocal.values import Protocol


class Clock(Protocol):
    """Wall time for display and storage, monotonic time for measuring."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z by the wall clock."""

    def monotonic(self) -> float:
        """Seconds since some fixed point; never goes back."""


class Ids(Protocol):
    """Where fresh ids come from."""

    def uuid(self) -> str:
        """A random UUID (version 4, RFC 9562) as text."""

    def token(self) -> str:
        """128 random bits as 32 hexadecimal digits."""


class SystemClock:
    """The clock of this machine."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


class SystemIds:
    """Ids from the operating system's random source, read afresh at each use.

    Nothing is kept between calls: a process image that is resumed twice must not repeat itself.
    """

    def uuid(self) -> str:
        raw = bytearray(os.urandom(16))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        text = raw.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def token(self) -> str:
        return os.urandom(16).hex()
