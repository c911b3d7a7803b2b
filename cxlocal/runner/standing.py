"""How a version stands at its targets, and what a command ends in for it: the same for ``run`` and ``publish``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from cxlocal.domain import Outcome
from cxlocal.errors import (
    Conflict,
    CxError,
    NotSignedIn,
    OutcomeFailure,
    Refused,
    Trouble,
    Undecided,
)
from cxlocal.hooks.manager import Manager
from cxlocal.hooks.registered import find_tool
from cxlocal.hooks.tool import verbs_of
from cxlocal.plan import publication as rule
from cxlocal.plan.types import Target
from cxlocal.runner.publication import ledger_of
from cxlocal.runner.record import RunRecord
from cxlocal.text import quoted
from cxlocal.values import NamedTuple

WAITS = "not-all-there"
"""Slug of the rule by which a target waits for others: what keeps those counts."""
PUBLISH, CHECK, WITHDRAW = "publish", "check", "withdraw"
"""What is done with a version at its targets."""


class Stand(NamedTuple):
    """How the version stands at one target now."""

    target: str
    state: str
    why: str
    trouble: str
    files_there: int
    files_total: int
    since: str
    code: str = ""
    """Slug of the rule that did not let it go there; empty for none."""
    hint: str = ""
    how: str = ""
    """What was done where it was taken back, or where a person can do it."""
    stopped: int = 0
    """Exit code of what kept the target from being asked; 0 for nothing."""
    declined: bool = False
    """The target said no to what was put."""
    asks: bool = True
    """Its tool can ask what it holds."""

    @property
    def standing(self) -> rule.Standing:
        """What the exit code is made of."""
        return rule.Standing(self.target, self.state, self.trouble, self.stopped, self.declined)


class Published(NamedTuple):
    """What came of it."""

    run: str
    deliverable: str
    version: str
    targets: tuple[Stand, ...]
    problems: tuple[CxError, ...]
    """Why targets were not touched."""

    @property
    def words(self) -> str:
        """How many of how many, and how it stands at the others."""
        states = {one.target: one.state for one in self.targets}
        return rule.in_words(states, {one.target: one.why for one in self.targets})


def stand_at(
    record: RunRecord, manager: Manager, name: str, problem: CxError | None, *, declined: bool
) -> Stand:
    """How the version of a run stands at a target, by the record. ``problem``: why the target was not asked;
    ``declined``: it said no."""
    ledger = ledger_of(record, name)
    row = ledger.row
    state = rule.WITHDRAWN if row.get("withdrawn_at") else row.get("state") or (
        rule.NOT_KNOWN if row.get("begun_at") else rule.ABSENT
    )  # fmt: skip
    why = row.get("withdrawn_why") or row.get("why") or ""
    code, hint, stopped = "", "", 0
    if problem is not None:
        why = f"{problem.what}: {problem.why}" if problem.why else problem.what
        hint = problem.hint
        ruled = isinstance(problem, Refused | Undecided)
        code = problem.name if ruled else ""
        state = state if ruled or state != rule.THERE else rule.NOT_KNOWN
        if code != WAITS:
            stopped = problem.exit_code if problem.exit_code in rule.EXIT_ORDER else 9
    since = row.get("withdrawn_at") or row.get("found_at") or ""
    # Of what was taken back: what is there all the same, because only a person can remove it.
    there = sum(one["state"] == rule.SAME for one in ledger.files.values()) if (
        row.get("withdrawn_at")
    ) else row.get("files_there") or 0  # fmt: skip
    return Stand(
        name, state, why, row.get("trouble") or "", there, row.get("files_total") or 0,
        since, code, hint, row.get("withdrawn_how") or "", stopped, declined,
        _asks(manager, record.plan.target(name)),
    )  # fmt: skip


def _asks(manager: Manager, target: Target) -> bool:
    """Where the tool is no more, another day may bring it."""
    try:
        return "ask" in verbs_of(find_tool(manager, target.tool), target.options)
    except CxError:
        return True


def error_of_run(
    record: RunRecord,
    manager: Manager,
    names: Iterable[str],
    outcomes: Mapping[str, str],
    problems: Mapping[str, CxError],
) -> CxError | None:
    """The error that a run ends in for what is not at its targets; None where nothing is lacking, or where
    what else it did counts before. ``names``: of the stages it was to work off; ``problems``: why stages were
    not let in."""
    targets = {stage: record.plan.stage(stage).publishes_to for stage in names}
    stands = tuple(
        stand_at(
            record, manager, target, problems.get(stage),
            declined=outcomes.get(stage) == Outcome.FAILURE and stage not in problems,
        )
        for stage, target in targets.items() if target
    )  # fmt: skip
    beside = [
        int(problems[stage].exit_code) if stage in problems else ENDS[outcome]
        for stage, outcome in outcomes.items() if not targets.get(stage) and outcome in ENDS
    ]  # fmt: skip
    code = rule.exit_code([one.standing for one in stands], beside)
    if not stands or code in (0, rule.exit_code([], beside)):
        return None
    named = tuple(one for stage, one in problems.items() if targets.get(stage))
    return as_error(Published(record.run, record.ref.deliverable, record.version, stands, named))


ENDS: dict[str, int] = {Outcome.FAILURE: 1, Outcome.ERROR: 9}
"""What a stage ends in that publishes nothing."""
KINDS: dict[int, tuple[type[CxError], str]] = {
    10: (Conflict, "other-bytes"), 4: (NotSignedIn, "credential"), 3: (Refused, "not-published"),
    8: (Undecided, "not-published"), 1: (OutcomeFailure, "declined"), 9: (Trouble, "half-published"),
}  # fmt: skip


def as_error(done: Published, act: str = PUBLISH) -> CxError | None:
    """The error a command that did ``act`` ends in; None where all of it is everywhere."""
    code = rule.exit_code(one.standing for one in done.targets)
    if len(done.problems) == 1 and code in (0, done.problems[0].exit_code) and all(
        one.state == rule.THERE or one.hint == done.problems[0].hint for one in done.targets
    ):  # fmt: skip
        return done.problems[0]
    if not code:
        return done.problems[0] if done.problems else None
    named = next((one.hint for one in done.targets if one.hint and one.code != WAITS), "")
    hints: dict[int, Callable[[], str]] = {
        10: lambda: "what is there is not of this version: release another number, or remove it there by hand",
        4: lambda: "renew the credential (the target names it in secrets or pass_env), then: "
        f"cxlocal publish {quoted(done.version)}",
        3: lambda: named or _again(done),
        8: lambda: named,
        1: lambda: f"settle what it says, then: cxlocal publish {quoted(done.version)}",
        9: lambda: _unseen(done) or (
            "run this again: what is there is not touched" if act == WITHDRAW
            else f"cxlocal publish {quoted(done.version)} puts what is missing: what is there is not touched"
        ),
    }  # fmt: skip
    kind, slug = KINDS[code]
    return kind(
        f"{done.version} is at {done.words}", hint=hints[code](), name=slug, run=done.run,
        targets=[one._asdict() for one in done.targets],
    )  # fmt: skip


def _unseen(done: Published) -> str:
    """What helps where nothing can ask: to ask once more does not. Empty where it does for one of them."""
    lacking = [one for one in done.targets if rule.code_of(one.standing)]
    if any(one.asks or one.state != rule.NOT_KNOWN or one.stopped for one in lacking):
        return ""
    first = lacking[0].target
    return (
        f"{first} cannot be asked: look there; if it lacks the version: "
        f"cxlocal publish {quoted(done.version)} --again {quoted(first)} -m WHY"
    )


def _again(done: Published) -> str:
    gone = next((one.target for one in done.targets if one.state == rule.WITHDRAWN), "TARGET")
    return f"to put it back: cxlocal publish {quoted(done.version)} --again {quoted(gone)} -m WHY"
