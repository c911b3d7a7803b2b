"""Where an event belongs among those already held. Pure; used by machines and stores alike.

A place is (sequence, branch). An event is held, continues a branch, begins a new one beside an
event that disagrees with it, or cannot be placed because what comes before it is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from cxlocal.events.document import NO_HASH, Event

HELD = -1
GAP = -2
NEW_BRANCH = -3

Known = dict[int, list[tuple[int, bytes]]]
"""By sequence: (branch, hash) of the events held of one node around the one in question."""


def place(event: Event, known: Known) -> int:
    """The branch ``event`` goes to, or HELD, GAP or NEW_BRANCH."""
    here = known.get(event.sequence, [])
    if not here and known.get(event.sequence - 1) == [(0, event.previous)]:
        return 0  # as most do
    if any(value == event.hash for _, value in here):
        return HELD
    if event.sequence == 1:
        parents = [0] if event.previous == NO_HASH else []
    else:
        before = known.get(event.sequence - 1, [])
        parents = [branch for branch, value in before if value == event.previous]
    if not parents:
        return GAP
    taken = {branch for branch, _ in here}
    return next((branch for branch in parents if branch not in taken), NEW_BRANCH)


def all_continue(events: Sequence[Event], known: Known) -> bool:
    """Whether ``place`` puts all of ``events``, which are consecutive, at the end of branch 0."""
    first = events[0]
    held = [(0, first.previous)] if first.sequence > 1 else None
    return (
        known.get(first.sequence - 1) == held
        and len(known) == (held is not None)
        and (held is not None or first.previous == NO_HASH)
        and all(after.previous == before.hash for before, after in pairwise(events))
    )
