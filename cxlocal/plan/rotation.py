"""The rule of rotation: what is done next when new instances of a component take the place of old ones.

It is asked again after every action, by whoever has the environment's turn: the command that began the
deployment, or another one, on another machine, after a kill. It remembers nothing: everything follows from
the record, from what is seen, and from the side of the cutover on which the deployment stands. Before the
cutover everything goes back, after it everything goes forward; the record decides, and never what the balancer
happens to show.

Pure: no clock, no process, no journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from cxlocal.values import NamedTuple

FULL = 100
"""The weight of all new ones together, in percent, when nothing is left to the old."""


class Phase(StrEnum):
    """On which side of its cutover a deployment stands, and where it goes."""

    RISING = "rising"
    """Before the cutover, on the way to it."""
    FALLING = "falling"
    """Before the cutover, and it is not to come to it."""
    SETTLING = "settling"
    """After the cutover."""
    RETURNING = "returning"
    """After the cutover, and the environment does not agree with it: the old ones serve again."""


class Deed(StrEnum):
    """What can be done next."""

    INTEND = "intend"
    """Draw an id and make it durable: one more instance is to be made."""
    CREATE = "create"
    """Make the instance of that id; harmless where it was made already."""
    PAUSE = "pause"
    """Stop one that is to do nothing now; it stays, and can be started again."""
    START = "start"
    """Start one again; harmless where it runs."""
    CHECK = "check"
    """Ask a new one, alone, whether it is well."""
    ROTATE = "rotate"
    """Set the weights, and write the turn beside them."""
    APPLY = "apply"
    """Have what rotates itself come to one version as a whole; harmless where it is there already."""
    HOLD = "hold"
    """Wait with these weights, then check again."""
    CUTOVER = "cutover"
    """Record that the new ones serve: the commit point. On the way back from there: that the old ones do."""
    JUDGE = "judge"
    """Ask the environment whether all is well with what serves now."""
    DRAIN = "drain"
    """Wait until nothing is under way at one that gets nothing new."""
    REMOVE = "remove"
    """Take one away; harmless where nothing is left of it."""
    GONE = "gone"
    """Record that one is gone."""
    FAIL = "fail"
    """Go back from here."""
    STOP = "stop"
    """Do nothing more: somebody else has the turn, or had one that is not known here."""
    DONE = "done"
    """Nothing is left to do."""


CHANGING = frozenset(
    {Deed.CREATE, Deed.PAUSE, Deed.START, Deed.ROTATE, Deed.APPLY, Deed.CUTOVER, Deed.REMOVE}
)
"""What nobody may do whose turn is over."""


class Wanted(NamedTuple):
    """What one deployment is to come to for one component."""

    total: int
    turn: int
    """Who may change the environment: greater ones came later."""
    known: int
    """The greatest turn that the record here knows beside this one."""
    steps: tuple[int, ...] = (FULL,)
    """Weights of the new ones together, in percent, one after the other; the last is ``FULL``."""
    overlap: bool = True
    """New ones may run beside old ones. Otherwise all of one side are stopped before one of the other begins."""
    itself: bool = False
    """It rotates itself: one place that is applied to, with no instances to make, weigh or drain. Each version that it
    was to come to is a resource of its own; while one stands that does not serve, the place may be at either."""


class Resource(NamedTuple):
    """One instance, as the record has it."""

    id: str
    fresh: bool = False
    """Made by this deployment."""
    serves: bool = False
    """The record says that it serves: an old one before the cutover, a new one after it."""
    kept: bool = False
    """It served until lately, and stays for a quick way back; or whose it is, is disputed."""
    gone: bool = False
    """The record says that it is gone, for good. Whoever sees it again removes it again: its creation was
    under way somewhere."""


class Seen(NamedTuple):
    """What was observed just now."""

    running: frozenset[str] = frozenset()
    well: Mapping[str, bool] = {}
    """Of those that were asked: whether they are well."""
    weights: Mapping[str, int] = {}
    """At the balancer; who is not named gets nothing. Of what rotates itself: the one that it is at as a whole,
    where that is known."""
    busy: frozenset[str] = frozenset()
    """Where something is still under way."""
    fence: int = 0
    """The turn that was last written at the balancer."""
    turn: int = 0
    """The greatest turn that the store and the balancer tell of; 0 where neither answered."""
    held: int = 0
    """How many steps have been held, and were well."""
    judged: bool | None = True
    """After the cutover: whether the environment is well; None: it has not been asked."""
    returned: bool = False
    """The record says that the old ones serve again."""
    shared: bool = True
    """The cutover is known wherever the next turn is drawn. Where it is not, whoever draws that goes back
    to the old ones, so they stay."""
    stopped: frozenset[str] = frozenset()
    """Those that were stopped by whoever asks. What neither was stopped nor started by them may do either."""
    started: frozenset[str] = frozenset()
    """Those that were made or started by whoever asks, and not stopped since."""


class Action(NamedTuple):
    """What to do next."""

    deed: Deed
    resource: str = ""
    weights: Mapping[str, int] = {}


def next_action(wanted: Wanted, resources: Sequence[Resource], seen: Seen, phase: Phase) -> Action:
    """The next action of a deployment for one component. ``resources`` are all of it that the record has
    and that exist, and those it has as gone that are seen nevertheless."""
    ways = {
        Phase.RISING: _rise, Phase.FALLING: _fall, Phase.SETTLING: _settle, Phase.RETURNING: _return,
    }  # fmt: skip
    action = ways[phase](wanted, resources, seen)
    if action.deed in CHANGING and seen.turn > wanted.turn:
        return Action(Deed.STOP)
    if wanted.known < seen.fence != wanted.turn:
        # Somebody was here of whom this record has not heard: what it calls old may be gone.
        return Action(Deed.STOP)
    return action


def shares(new: Sequence[str], old: Sequence[str], percent: int) -> dict[str, int]:
    """Weights of every instance where the new ones get ``percent`` of all that comes. Those of one side
    get the same; where one side is empty the other gets everything."""
    if not new or not old:
        percent = FULL if new else 0
    # Each weight of a side is multiplied by how many the other side has, so that it stays whole.
    sides = ((new, percent * max(1, len(old))), (old, (FULL - percent) * max(1, len(new))))
    return {one: weight for side, weight in sides for one in side if weight}


def _rise(wanted: Wanted, resources: Sequence[Resource], seen: Seen) -> Action:
    fresh = [one.id for one in resources if one.fresh and not one.gone]
    if any(seen.well.get(one) is False for one in fresh):
        return Action(Deed.FAIL)
    if len(fresh) < wanted.total:
        return Action(Deed.INTEND)
    if wanted.itself and (applied := _turn(wanted, seen, shares(fresh, (), FULL))):
        return applied
    if switched := _switch(wanted, resources, seen, fresh):
        return switched
    for one in fresh:
        if one not in seen.running and not wanted.itself:
            return Action(Deed.CREATE, one)
    for one in fresh:
        if one not in seen.well:
            return Action(Deed.CHECK, one)
    step = wanted.steps[min(seen.held, len(wanted.steps) - 1)]
    turned = _turn(wanted, seen, shares(fresh, _serving(resources), step))
    if turned is not None:
        return turned
    return Action(Deed.HOLD if seen.held < len(wanted.steps) else Deed.CUTOVER)


def _fall(wanted: Wanted, resources: Sequence[Resource], seen: Seen) -> Action:
    turned = _turn(wanted, seen, shares((), _serving(resources), 0))
    turned = turned or _switch(wanted, resources, seen, _serving(resources))
    return turned or _clear(wanted, (one for one in resources if one.fresh or one.gone), seen)


def _settle(wanted: Wanted, resources: Sequence[Resource], seen: Seen) -> Action:
    turned = _turn(wanted, seen, shares(_serving(resources), (), FULL))
    turned = turned or _switch(wanted, resources, seen, _serving(resources))
    if turned is not None:
        return turned
    # The old ones are still there, so this is the last moment at which the way back is short.
    if not seen.judged:
        return Action(Deed.JUDGE if seen.judged is None else Deed.FAIL)
    if not seen.shared:
        return Action(Deed.DONE)
    return _clear(wanted, (one for one in resources if not one.serves and not one.kept), seen)


def _return(wanted: Wanted, resources: Sequence[Resource], seen: Seen) -> Action:
    turned = _turn(wanted, seen, shares((), _serving(resources), 0))
    turned = turned or _switch(wanted, resources, seen, _serving(resources))
    if turned is not None:
        return turned
    if not seen.returned:
        return Action(Deed.CUTOVER)
    if not seen.shared:
        return Action(Deed.DONE)
    return _clear(wanted, (one for one in resources if one.fresh or one.gone), seen)


def _serving(resources: Sequence[Resource]) -> list[str]:
    return [one.id for one in resources if one.serves and not one.gone]


def _turn(wanted: Wanted, seen: Seen, weights: Mapping[str, int]) -> Action | None:
    """Weights are set where they are others, and also where they are right and somebody else set them:
    from then on whoever had the turn before is refused there. What rotates itself is applied to where it is not known
    to be there."""
    if wanted.itself:
        known = not weights or seen.weights == weights
        return None if known else Action(Deed.APPLY, next(iter(weights)), weights)
    if seen.weights != weights or seen.fence < wanted.turn:
        return Action(Deed.ROTATE, weights=weights)
    return None


def _switch(
    wanted: Wanted, resources: Iterable[Resource], seen: Seen, on: Sequence[str]
) -> Action | None:
    """Where old and new must not run at once: all others stop first, and only then those of ``on`` start."""
    if wanted.overlap:
        return None
    for one in resources:
        if one.id in seen.running and one.id not in seen.stopped and one.id not in on:
            return Action(Deed.PAUSE, one.id)
    for name in on:
        if name in seen.running and name not in seen.started:
            return Action(Deed.START, name)
    return None


def _clear(wanted: Wanted, resources: Iterable[Resource], seen: Seen) -> Action:
    """Take away what gets nothing new any more: each is drained first, and recorded last. Of what rotates itself
    nothing is left to be taken away where it is at something else."""
    elsewhere = wanted.itself and bool(seen.weights)
    for one in resources:
        if one.id in seen.running and not (elsewhere and one.id not in seen.weights):
            return Action(Deed.DRAIN if one.id in seen.busy else Deed.REMOVE, one.id)
        if not one.gone:
            return Action(Deed.GONE, one.id)
    return Action(Deed.DONE)
