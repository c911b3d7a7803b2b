"""Targets that a repository names: proposals, until somebody agreed to them on this machine."""

from __future__ import annotations

from collections.abc import Iterable

from cxlocal.errors import Refused
from cxlocal.hooks.manager import Manager
from cxlocal.hooks.registered import find_tool
from cxlocal.journal.file import Journal
from cxlocal.plan.types import Plan
from cxlocal.runner.source import Machine
from cxlocal.text import utc_text

HOLDS = """
SELECT version, found_at FROM publication WHERE deliverable = ? AND target = ? AND state = 'there'
  AND withdrawn_at IS NULL ORDER BY found_at DESC LIMIT 1
"""

OPEN = """
SELECT version, coalesce(state, 'begun') AS state, coalesce(why, '') AS why FROM publication
WHERE deliverable = ? AND target = ? AND wanted_at IS NOT NULL AND coalesce(state, '') <> 'there'
  AND withdrawn_at IS NULL
ORDER BY coalesce(found_at, begun_at, wanted_at) DESC LIMIT 1
"""


LAST_FOUND = "SELECT max(found_at) AS at FROM publication WHERE deliverable = ? AND target = ?"
_ASKED = "asked/{}/{}"
"""Local value: when a target last answered this machine. On record is only what was new then."""


def note_asked(journal: Journal, deliverable: str, target: str) -> None:
    """A target has said now what it holds."""
    with journal.write() as transaction:
        at = utc_text(journal.clock.now_ms())
        transaction.set_value(_ASKED.format(deliverable, target), at)


def held_now(journal: Journal, plan: Plan) -> dict[str, str]:
    """What each target of a plan got last, and what of it is open, by the record and not by asking, in words: with the
    time when it last answered this machine, or told another one something new. Call after ``catch_up``."""
    found = {}
    for one in plan.published_to:
        row = journal.one(HOLDS, (plan.deliverable, one.name))
        words = f"it got {row['version']} last, {row['found_at']}" if row else (
            "nothing was published there yet, as far as is known here"
        )  # fmt: skip
        half = journal.one(OPEN, (plan.deliverable, one.name))
        if half is not None:
            why = f" ({half['why']})" if half["why"] else ""
            words += f"; {half['version']} is {half['state']} there{why}"
        new = journal.one(LAST_FOUND, (plan.deliverable, one.name))
        here = journal.value(_ASKED.format(plan.deliverable, one.name))
        asked = max(filter(None, [here, new and new["at"]]), default="")
        found[one.name] = f"{words} (by the record; last asked {asked or 'never'})"
    return found


def takes_files(manager: Manager, tool: str) -> bool:
    """Whether artifacts go to targets of this tool; a tag is of the version alone."""
    return find_tool(manager, tool).place != 1


def tell_withheld(
    journal: Journal, manager: Manager, plan: Plan, withheld: Iterable[tuple[str, str]]
) -> tuple[tuple[str, str], ...]:
    """What a rehearsal leaves out and why, with what the targets hold. Call after ``catch_up``."""
    found, held = [], held_now(journal, plan) if withheld else {}
    for name, why in withheld:
        stage = plan.stage(name)
        if target := stage.publishes_to:
            if not takes_files(manager, stage.tool):
                why = f"publishes the version to {target}"
            why = f"{why}: {held[target]}"
        found.append((name, why))
    return tuple(found)


def require_agreed(machine: Machine, plan: Plan, stages: Iterable[str] = ()) -> None:
    """Raise Refused where one of ``stages`` publishes to a target, and nobody agreed here to the targets of
    the plan. Without stages: where there are targets."""
    names = list(stages)
    if names and not any(plan.stage(name).publishes_to for name in names):
        return
    from cxlocal.config.agreement import targets_digest, trusted

    digest = targets_digest({one.name: one for one in plan.published_to}, plan.secrets)
    if not digest or digest in trusted(machine.home, machine.environ):
        return
    raise Refused(
        f"nobody agreed here to publish to {', '.join(one.name for one in plan.published_to)}",
        why="a repository names its targets; that they get what is made here, and the secrets that it"
        " names with them, a person says on each machine",
        hint=f"look at them and agree: cxlocal trust; in CI: CXLOCAL_TRUST={digest}",
        name="targets-not-trusted",
        digest=digest,
    )
