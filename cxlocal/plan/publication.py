"""What is to be done about a file of a version at a target: one rule for every kind of target. Pure.

A target is asked, file by file, what it holds; the journal tells what was published or was about to be; from
both follows what comes next. Nothing is ever put over other bytes, nothing is put because a target could not
be asked, and what was taken away on purpose is not put back by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cxlocal.values import NamedTuple

ABSENT, SAME, OTHER, NOT_KNOWN = "absent", "same", "other", "not known"
"""What a target holds of a file."""

DONE, PUT, CONFLICTED, WAIT, WITHDRAWN = "done", "put", "conflicted", "wait", "withdrawn"
"""What comes next for a file."""

THERE, PARTLY = "there", "partly"
"""What a target holds of a version, beside the words for one file."""

NOTHING, BEGUN, PUBLISHED, TAKEN_BACK = "nothing", "begun", "published", "taken back"
"""What the journal says of a file at a target."""

CREDENTIAL, UNREACHED = "credential", "unreached"
"""Why a target could not be asked, or did not take a file."""


class Asked(NamedTuple):
    """What a target says of one file."""

    state: str
    """``ABSENT``, ``SAME``, ``OTHER`` or ``NOT_KNOWN``."""
    yanked: bool = False
    """It is there, and marked as not to be used."""


class Terms(NamedTuple):
    """What holds for all files of a target."""

    can_ask: bool = True
    """The tool can ask the target at all."""
    refuses: bool = False
    """The put itself refuses to replace other bytes, so that it may be tried unseen."""
    again: bool = False
    """A person said that it is to be put there once more."""


def next_action(asked: Asked, recorded: str, terms: Terms) -> str:
    """What comes next for one file. ``recorded``: what the journal says of it."""
    if asked.state == OTHER:
        return CONFLICTED
    gone = recorded in (PUBLISHED, TAKEN_BACK)
    if asked.state == SAME:
        left = asked.yanked or recorded == TAKEN_BACK
        if left and not terms.again:
            return WITHDRAWN
        return PUT if asked.yanked else DONE
    if asked.state == ABSENT:
        return WITHDRAWN if gone and not terms.again else PUT
    return _unseen(recorded, terms)


def _unseen(recorded: str, terms: Terms) -> str:
    """Nobody knows what the target holds. That is no reason to think that it holds nothing."""
    if recorded == TAKEN_BACK and not terms.again:
        return WITHDRAWN
    if recorded == PUBLISHED and not terms.again:
        # A tool that never can ask has nothing but the journal.
        return WAIT if terms.can_ask else DONE
    if terms.refuses or terms.again or (recorded == NOTHING and not terms.can_ask):
        return PUT
    return WAIT


def sum_up(files: Iterable[tuple[str, str]]) -> str:
    """What a target holds of a version, from what comes next for each file and what it says of it."""
    found = list(files)
    actions, states = {one for one, _ in found}, {one for _, one in found}
    for one, word in ((CONFLICTED, OTHER), (WITHDRAWN, WITHDRAWN)):
        if one in actions:
            return word
    if actions <= {DONE}:
        return THERE
    if (PUT, SAME) in found:
        return WITHDRAWN  # Whoever yanked it has to say that it counts again.
    if DONE in actions:
        return PARTLY
    return NOT_KNOWN if NOT_KNOWN in states else ABSENT


class Standing(NamedTuple):
    """How a version stands at one target, and what kept it from being there."""

    target: str
    state: str
    trouble: str = ""
    """``CREDENTIAL`` or ``UNREACHED``."""
    stopped: int = 0
    """Exit code of what a gate, a rule or a lack said before the target was asked; 0 for nothing."""
    declined: bool = False
    """The target said no to what was put, in so many words: asking again changes nothing."""


EXIT_ORDER = (10, 4, 3, 8, 1, 9)
"""Of several exit codes the first of these counts: what a person has to settle before what failed, and that
before what time may settle."""


def exit_code(standings: Iterable[Standing], beside: Iterable[int] = ()) -> int:
    """The exit code of a command that was to bring a version to targets, ``run`` as ``publish``; 0 where all
    of it is everywhere. ``beside``: the codes of what else the command did."""
    found = {*map(code_of, standings), *beside} - {0}
    return next((code for code in EXIT_ORDER if code in found), 9 if found else 0)


def code_of(one: Standing) -> int:
    """What one target alone ends in."""
    if one.stopped:
        return one.stopped
    if one.state == OTHER:
        return 10
    if one.trouble == CREDENTIAL:
        return 4
    if one.state == WITHDRAWN:
        return 3
    if one.state == THERE:
        return 0
    return 1 if one.declined and not one.trouble and one.state != NOT_KNOWN else 9


def in_words(states: Mapping[str, str], why: Mapping[str, str]) -> str:
    """How a version stands at its targets: ``3 of 4: index absent (it answers 502)``; ``why`` by target."""
    there = sum(state == THERE for state in states.values())
    missing = [
        f"{name} {state}" + (f" ({why[name]})" if why.get(name) else "")
        for name, state in states.items()
        if state != THERE
    ]
    return f"{there} of {len(states)}" + (f": {', '.join(missing)}" if missing else "")
