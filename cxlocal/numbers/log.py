"""The rules of the grant log: what a store may hand out. Pure.

A store keeps one log for each (deliverable, line). Entry k says who got which numbers::

    k  kind     lo..hi     why
    1  online     0..0     a run asked while the store could be reached
    2  reserve  100..102   a kept machine holds these for the day it can not
    3  online     1..1
    4  raise      2..100   the emergency number 100 became known; 2 to 99 were passed over

Everything else is a fold over these entries. There are two cursors, ``online`` and ``high``, and
both only rise. Nothing here reads a clock, and nothing derives a range from a setting: entries
carry their bounds. Each entry's hash covers the one before it, so a store that forgot or changed
an entry cannot present a log that a machine who remembers (k, hash) would take for the same one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

from cxlocal.values import NamedTuple

ONLINE = "online"
RESERVE = "reserve"
RAISE = "raise"
KINDS = (ONLINE, RESERVE, RAISE)

ROOT = "0" * 64
"""What the first entry of a log names as the hash before it."""

COUNT_MAX = 100
"""Numbers in one reserve. Far above need (the default is 3); bounds what one request can burn."""

AHEAD_MAX = 500
"""How far ahead a reserve may lie. A store that is recovered from a backup goes on 1,000 above all it
knows; a reserve that only the lost history knew must lie below that, and be far from it."""


class LogBroken(ValueError):
    """An entry does not follow from the log before it."""


class Entry(NamedTuple):
    """One entry of a grant log."""

    k: int
    kind: str
    lo: int
    hi: int
    node: str
    run: str
    nonce: str
    generation: int
    why: str
    previous: str
    hash: str


class Held(NamedTuple):
    """Numbers granted as a reserve."""

    lo: int
    hi: int
    node: str
    k: int


class LogState(NamedTuple):
    """What a log amounts to."""

    online: int = -1
    """The online cursor: every number up to here is granted, or passed over."""
    high: int = -1
    """The highest number in any entry."""
    reserves: tuple[Held, ...] = ()
    """Reserves that reach above the online cursor, by number."""
    k: int = 0
    hash: str = ROOT


EMPTY = LogState()


def entry_hash(lineage: str, deliverable: str, line: str, entry: Entry) -> str:
    """The SHA-256 of an entry, which covers where it stands and the hash before it."""
    parts = [
        "cxlocal grant 1", lineage, deliverable, line, entry.k, entry.kind, entry.lo, entry.hi,
        entry.node, entry.run, entry.nonce, entry.generation, entry.why, entry.previous,
    ]  # fmt: skip
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def make_entry(
    state: LogState, address: tuple[str, str, str], kind: str, lo: int, hi: int, *,
    node: str, run: str = "", nonce: str = "", generation: int = 1, why: str = "",
) -> Entry:  # fmt: skip
    """The entry that follows ``state``; ``address`` is (lineage, deliverable, line)."""
    bare = Entry(state.k + 1, kind, lo, hi, node, run, nonce, generation, why, state.hash, "")
    return bare._replace(hash=entry_hash(*address, bare))


def apply(state: LogState, entry: Entry) -> LogState:
    """The state after ``entry``. Raises LogBroken when the entry breaks a rule."""
    if entry.k != state.k + 1 or entry.previous != state.hash:
        raise LogBroken(f"entry {entry.k} does not follow entry {state.k}")
    if not 0 <= entry.lo <= entry.hi:
        raise LogBroken(f"entry {entry.k} spans {entry.lo} to {entry.hi}")
    online, reserves = state.online, state.reserves
    if entry.kind == ONLINE:
        if entry.lo != entry.hi or entry.lo <= online or holder(state, entry.lo):
            raise LogBroken(f"entry {entry.k} grants {entry.lo} a second time")
        online = entry.hi
    elif entry.kind == RESERVE:
        if entry.lo <= max(state.high, online):
            raise LogBroken(f"entry {entry.k} reserves {entry.lo}, which is not above all others")
        reserves = (*reserves, Held(entry.lo, entry.hi, entry.node, entry.k))
    elif entry.kind == RAISE:
        if entry.lo != online + 1:
            raise LogBroken(f"entry {entry.k} does not raise the cursor from {online}")
        online = entry.hi
    else:
        raise LogBroken(f"entry {entry.k} is of the unknown kind {entry.kind!r}")
    left = tuple(held for held in reserves if held.hi > online)
    return LogState(online, max(state.high, entry.hi), left, entry.k, entry.hash)


def fold(entries: Iterable[Entry], state: LogState = EMPTY) -> LogState:
    """The state after all ``entries``. Raises LogBroken."""
    for entry in entries:
        state = apply(state, entry)
    return state


def holder(state: LogState, number: int) -> Held | None:
    """The reserve above the online cursor that ``number`` lies in."""
    for held in state.reserves:
        if held.lo <= number <= held.hi:
            return held
    return None


def next_online(state: LogState) -> int:
    """The lowest number above the online cursor that lies in no grant."""
    number = state.online + 1
    for held in sorted(state.reserves):
        if held.lo <= number <= held.hi:
            number = held.hi + 1
    return number


def place_reserve(state: LogState, count: int, ahead: int) -> tuple[int, int]:
    """Where a reserve of ``count`` numbers goes: ``ahead`` above the online cursor and above
    every other grant."""
    lo = max(state.online + max(ahead, 1), state.high + 1)
    return lo, lo + count - 1


def exchange_due(state: LogState, held: tuple[int, int] | None, ahead: int) -> bool:
    """Whether a machine should get a new reserve: it has none, or the online cursor came within
    half of ``ahead`` of what is left of it."""
    return held is None or held[0] - state.online <= ahead // 2


def raise_range(state: LogState, number: int) -> tuple[int, int] | None:
    """The span of a raise entry that lifts the online cursor to ``number``, if it is below."""
    return (state.online + 1, number) if number > state.online else None


def granted(entries: Sequence[Entry], number: int) -> Entry | None:
    """The entry that granted ``number``: an online or reserve entry, else the raise over it."""
    passed = None
    for entry in entries:
        if entry.lo <= number <= entry.hi:
            if entry.kind != RAISE:
                return entry
            passed = passed or entry
    return passed
