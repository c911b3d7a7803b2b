"""What ``--dry-run`` tells: what would run, what would be changed in place, and how the others would be turned."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxlocal.commands.context import App
from cxlocal.commands.output import Output, write_document, write_rows
from cxlocal.commands.project import make_machine
from cxlocal.commands.terminal import say, warn
from cxlocal.errors import CxError
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.components import components_in
from cxlocal.plan.render import COLUMNS, render
from cxlocal.plan.select import Selection, select
from cxlocal.plan.types import Component, Plan, Stage
from cxlocal.revision.proof import Proof
from cxlocal.revision.repository import read_file
from cxlocal.runner.facts import prove_revision
from cxlocal.runner.foresight import (
    NEVER_RAN,
    Ahead,
    look_ahead_of_run,
    not_run_yet,
    refusal_of_store,
    refusal_to_begin,
)
from cxlocal.runner.record import RunRecord
from cxlocal.runner.request import Request
from cxlocal.runner.resources import standing_in
from cxlocal.runner.resuming import find_resumable
from cxlocal.runner.source import Machine, Source, make_plan, open_source
from cxlocal.runner.targets import held_now, takes_files
from cxlocal.text import counted, duration_text, quoted
from cxlocal.values import NamedTuple


class Outlook(NamedTuple):
    """What deploy stages would do."""

    turns: tuple[str, ...]
    """How instances would be replaced, in words."""
    ahead: Ahead

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        refusal = self.ahead.refusal
        return {
            "turns": list(self.turns), "not_asked": self.ahead.not_asked,
            "changes": [one._asdict() for one in self.ahead.changes],
            "refused": None if refusal is None else refusal.as_json(),
        }  # fmt: skip

    def show(self) -> None:
        """For people."""
        for line in (*self.turns, *(line for one in self.ahead.changes for line in one.lines())):
            say(line)
        if self.ahead.not_asked:
            warn(f"What runs there and what would change was not asked: {self.ahead.not_asked}")


def outlook(plan: Plan, stages: Sequence[Stage], record: RunRecord | None, ahead: Ahead) -> Outlook:
    """What ``stages`` would do in lasting environments, in words. Without a ``record`` nothing of the product is
    known here."""
    mine = [
        one for one in stages
        if one.by_components and plan.environment(one.environment).lifetime == "lasting"
    ]  # fmt: skip
    turns: tuple[str, ...] = ()
    for one in mine:
        kept = None if record is None else kept_seconds(record, one.environment)
        turns += tuple(told_turns(plan, one.environment, ahead.again, kept))
        if record is not None:
            turns += tuple(told_leaving(record, one.environment))
    return Outlook(turns, ahead)


def kept_seconds(record: RunRecord, environment: str) -> dict[str, int]:
    """How long what serves would be kept once it is replaced, by component; none of those of which nothing serves."""
    instance = record.plan.environment(environment).instance(record.run)
    return {
        one.component: one.keep_seconds
        for one in standing_in(record.journal, record.plan.deliverable, instance)
        if one.is_component and one.serves
    }


def told_leaving(record: RunRecord, environment: str) -> list[str]:
    """What would be taken away of components that the plan has no more, a line for each."""
    plan = record.plan
    instance = plan.environment(environment).instance(record.run)
    here = {one.name for one in components_in(plan, environment) if not one.in_place}
    standing = Counter(
        one.component
        for one in standing_in(record.journal, plan.deliverable, instance)
        if one.is_component and one.verb == "create" and one.component not in here
    )
    return [
        f"{name} in {environment} is in the file no more: {counted(count, 'instance')}, turned out and"
        " taken away once the new ones serve"
        for name, count in standing.items()
    ]


def told_turns(
    plan: Plan, environment: str, again: Mapping[str, int], kept: Mapping[str, int] | None
) -> list[str]:
    """How the instances of an environment would be replaced, a line for each component. ``again``: how many that
    served before would; ``kept``: for how long what serves is kept, by component (in seconds), None where nothing is
    known of it. Pure."""
    return [
        f"{one.name} in {environment}: "
        + (
            f"{counted(again[one.name], 'instance')} that served before, given traffic again"
            if one.name in again
            else _way(one, kept)
        )
        for one in components_in(plan, environment)
        if not one.mutable
    ]


def _way(one: Component, kept: Mapping[str, int] | None) -> str:
    if one.rotates_itself:
        return "applied when all others are ready; what serves is applied again where the deployment fails"
    new, seconds = counted(one.count, "new instance"), (kept or {}).get(one.name, 0)
    stay = f"kept for {duration_text(seconds)}" if seconds else ""
    if one.behind:
        steps = [
            f"{step.weight} %"
            + (f" for {duration_text(step.hold_seconds)}" if step.hold_seconds else "")
            for step in one.rollout
        ]
        old = f", the old ones {stay}" if stay else ""
        return f"{new}, turned in behind {one.behind} at {', then '.join(steps) or 'once'}{old}"
    if kept is not None and one.name not in kept:
        return new
    if one.overlap is False:
        return f"{new}, made once the old ones are stopped: until they run nothing of it does"
    return f"{new}, beside the old ones" + (
        f", which are {stay}" if stay else " until these are taken away"
    )


def show_plan(app: App, journal: Journal | None, request: Request, *, as_json: bool) -> None:
    """What a run would do, in order. Raises what would keep it from that, once it is said, and NothingToRelease.
    ``journal``: None where there is none yet."""
    machine = make_machine(app, fresh=False)
    if journal is not None and request.resume:
        found = find_resumable(machine, journal, request.resume, to=request.to)
        source, plan, selection, kept = found.source, found.record.plan, found.selection, found.kept
        record: RunRecord | None = found.record
    else:
        source = open_source(machine, request.revision, {})
        plan = make_plan(machine, source, None)
        selection, kept = select(plan, to=request.to), frozenset[str]()
        record = None if journal is None else not_run_yet(journal, source, plan)
    if request.revision == "HEAD" and not _is_committed(source, machine.root / "cx.toml"):
        warn(
            "cx.toml differs from that of the commit, which is what would run; commit and push it,"
            " or try it first: cxlocal rehearse"
        )
    proof, refused = None, None
    if not request.resume:
        proof, refused = _prove(machine, source, online=not request.offline)
        refused = refused or refusal_to_begin(machine, journal, source, plan, selection, request)
    else:
        refused = refusal_of_store(machine, journal, source, request)
    pending = [plan.stage(name) for name in selection.now if name not in kept]
    shown = _outlook(machine, source, plan, pending, record, request)
    rows, targets = render(plan, selection, kept), _targets(source, plan, journal)
    if as_json:
        write_document({
            "deliverable": plan.deliverable, "revision": source.revision.commit, "stages": rows,
            "stopped_before": selection.stopped_by, "targets": targets,
            "components": None if shown is None else shown.as_json(),
            "proof": None if proof is None else proof.as_json(),
            "refused": None if refused is None else refused.as_json(),
        })  # fmt: skip
    else:
        _tell(source, plan, selection, rows, targets, shown, proof)
    refused = refused or (shown and shown.ahead.refusal)
    if refused is not None:
        # What would run is shown all the same; that it could not is what the command ends in.
        raise refused


def _tell(
    source: Source, plan: Plan, selection: Selection, rows: list[dict[str, Any]],
    targets: list[dict[str, Any]], shown: Outlook | None, proof: Proof | None,
) -> None:  # fmt: skip
    say(f"{plan.title}, commit {source.revision.commit[:12]}: {source.revision.subject}")
    write_rows(rows, COLUMNS, Output("table"))
    for one in targets:
        what = ", ".join(one["artifacts"]) or "The version"
        say(f"{what} would go to {one['target']} ({one['tool']}): {one['holds']}")
    if shown is not None:
        shown.show()
    if proof is not None:
        say(f"The commit is pushed: {proof.kind} at {proof.remote}")
    if selection.asked:
        say(f"It ends with {selection.asked}, as asked")
    if selection.stopped_by:
        say(
            f"It stops before {selection.stopped_by}; cxlocal run --to {quoted(selection.stopped_by)}"
        )


def _prove(
    machine: Machine, source: Source, *, online: bool
) -> tuple[Proof | None, CxError | None]:
    try:
        return prove_revision(machine, source, online=online, rehearsal=False)[0], None
    except CxError as problem:
        return None, problem


def _outlook(
    machine: Machine, source: Source, plan: Plan, stages: Sequence[Stage],
    record: RunRecord | None, request: Request,
) -> Outlook | None:  # fmt: skip
    """What a run would come to at the doors of environments; None where it comes to none."""
    if not (request.resume or any(one.rotates for one in stages)):
        return None
    if record is None:
        return outlook(plan, stages, None, Ahead(not_asked=NEVER_RAN))
    ahead = look_ahead_of_run(
        machine, source, record, stages,
        allow_older=request.allow_older, run_named=request.run_named,
    )  # fmt: skip
    return outlook(plan, stages, record, ahead)


def _targets(source: Source, plan: Plan, journal: Journal | None) -> list[dict[str, Any]]:
    """What would be published where, and what each target got last."""
    if not plan.published_to:
        return []
    held: dict[str, str] = {}
    if journal is not None:
        catch_up(journal)
        held = held_now(journal, plan)
    return [
        {
            "target": one.name,
            "tool": one.tool,
            "artifacts": list(plan.publishing(one.name).artifacts)
            if takes_files(source.manager, one.tool)
            else [],
            "holds": held.get(one.name, "nothing is known here of what it holds"),
        }
        for one in plan.published_to
    ]


def _is_committed(source: Source, config: Path) -> bool:
    """Whether the configuration here is that of the commit. git is not asked: what belongs to a
    checkout may be started by that."""
    path = os.path.join(source.repository.prefix, config.name)
    committed = read_file(source.repository, source.revision.commit, path) or b""
    return config.read_bytes().replace(b"\r\n", b"\n") == committed.replace(b"\r\n", b"\n")
