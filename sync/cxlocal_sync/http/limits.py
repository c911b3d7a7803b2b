"""What a server allows: how often, how much at once, how long. Every limit has its reason here."""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict

from cxlocal.clock import Clock
from cxlocal.errors import Trouble
from cxlocal.values import NamedTuple

STORE_SECONDS = 10.0
"""What the store gets for one answer. Machines wait 2 s; a large first push may take longer."""
HEAD_SECONDS = 10.0
"""From the first byte of a request to the end of its header; also an open, silent connection."""
REQUEST_SECONDS = 60.0
"""From the first byte of a request to the last byte of its answer on the way. 64 MiB in a minute
is about 9 Mbit/s; who is slower sends smaller things."""
KEEP_SECONDS = 30
"""How long an idle connection is kept; longer than clients use one again (20 s)."""
CONNECTIONS_MAX = 2000
"""At once, in all: about 100 KiB of memory each at the worst, and below usual file limits."""
CONNECTIONS_PER_ADDRESS = 500
"""At once from one address: a site behind one address stays within it, and cannot take it all."""
WAITING_MAX = 128
"""Requests waiting for the store. At 3 ms each the last one is answered within half a second."""
MESSAGES_BYTES_MAX = 64 * 1024 * 1024
"""Of all messages in memory at once."""
BLOBS_BYTES_MAX = 192 * 1024 * 1024
"""Of all blobs in memory at once, coming and going: they must not keep messages out."""
PATIENCE_SECONDS = 1.5
"""How long a message may have to wait for the store. Machines wait 2 s for an answer: what could only be
answered later is turned away at once, or the store would work for nobody."""
ALWAYS_WAITING = 4
"""So many may wait in any case: a few long messages must not shut everybody else out."""
AFTER_SECONDS_MAX = 300
"""The longest that anybody is told to stay away."""
LEFT_FREE = 0.2
"""Of the time of the store: it stays for those who come without having been turned away, as releases do."""
REQUESTS_PER_SECOND = 200.0
"""Of one member, after a burst of ``BURST``: a machine that pushes as fast as it can stays below."""
BURST = 2000
CODES_PER_SECOND = 0.2
"""Wrong codes of one address, after a burst of ``CODES_BURST``. A code has 80 random bits and lives
a day: 17,000 guesses in that time find it with a chance of 1 in 10**20."""
CODES_BURST = 5
WRONG_CODE_SECONDS = 1.0
"""A wrong code is answered this late."""
WRONG_CODES_AT_ONCE = 50
"""Wrong codes being answered late at once; further ones are answered at once, with 429."""
ADDRESSES_MAX = 10_000
"""Addresses remembered for limits; the one longest unseen is forgotten first."""


class Busy(Trouble):
    """The server has as much to do as it takes on. The same request will do later."""

    default_name = "busy"

    def __init__(self, why: str, *, after_seconds: int = 1) -> None:
        super().__init__(
            "the store has too much to do", why=why, hint="run the command again", name="busy"
        )
        self.after_seconds = after_seconds


class TooOften(Busy):
    """One sender asks more often than it may."""


class Appointments:
    """When whoever is turned away had better come again: one after the other, as fast as the store answers.

    Told the same time they would all come back at once, and all but the first be turned away again. Used
    by the event loop only.
    """

    def __init__(self, clock: Clock, at_once: int) -> None:
        self._clock = clock
        self._at_once = at_once
        self._taken = 0.0
        self._last = 0.0

    def took(self, seconds: float) -> None:
        """Note how long the store had for an answer; what it usually takes follows slowly."""
        self._taken += (seconds - self._taken) / 16

    def has_room(self, waiting: int, patience_seconds: float) -> bool:
        """Whether one more behind ``waiting`` others would get its turn within so many seconds."""
        in_time = waiting * self._taken / self._at_once <= patience_seconds
        return waiting < ALWAYS_WAITING or in_time

    def next_seconds(self, waiting: int) -> int:
        """How long the next one is to stay away, in whole seconds, behind ``waiting`` others."""
        now = self._clock.monotonic()
        each = self._taken / self._at_once / (1 - LEFT_FREE)
        latest = now + AFTER_SECONDS_MAX
        self._last = min(max(self._last, now + waiting * each) + each, latest)
        return max(1, math.ceil(self._last - now))


class _Bucket(NamedTuple):
    left: float
    at: float


class Rate:
    """Token buckets by key: ``burst`` at once, ``per_second`` in the long run."""

    def __init__(self, clock: Clock, per_second: float, burst: int) -> None:
        self._clock = clock
        self._per_second = per_second
        self._burst = burst
        self._buckets: OrderedDict[object, _Bucket] = OrderedDict()

    def left(self, key: object) -> float:
        """How many ``key`` may still do now."""
        now = self._clock.monotonic()
        found = self._buckets.get(key)
        if found is None:
            return float(self._burst)
        return min(self._burst, found.left + (now - found.at) * self._per_second)

    def spend(self, key: object) -> None:
        """Count one of ``key``."""
        self._buckets[key] = _Bucket(self.left(key) - 1, self._clock.monotonic())
        self._buckets.move_to_end(key)
        if len(self._buckets) > ADDRESSES_MAX:
            self._buckets.popitem(last=False)

    def take(self, key: object, why: str) -> None:
        """Spend one, or raise TooOften."""
        if self.left(key) < 1:
            raise TooOften(why, after_seconds=max(1, round(1 / self._per_second)))
        self.spend(key)


class Budget:
    """Bytes in memory at once, half of them of one member at most. Counted as they come: what is
    only announced takes nobody's place. Used by the event loop only."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0
        self._by_member: dict[int, int] = {}

    def hold(self, member: int, size: int) -> None:
        """Count ``size`` more of a member. Raises Busy."""
        own = self._by_member.get(member, 0) + size
        if self.held + size > self.most or own > self.most // 2:
            raise Busy("it holds as many bytes as it may")
        self.held += size
        self._by_member[member] = own

    def release(self, member: int, size: int) -> None:
        """Count ``size`` less of a member."""
        self.held -= size
        own = self._by_member.pop(member, 0) - size
        if own:
            self._by_member[member] = own


def network_of(address: str) -> str:
    """What limits count for one sender: an IPv4 address, or the /64 an IPv6 address lies in, all
    of which belong to one subscriber."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False))
    except ValueError:
        return address
