"""What tools made is taken away by the same tools, with the handle or the id alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxlocal.address import own_credentials
from cxlocal.domain import Outcome, path_part
from cxlocal.errors import CxError, Trouble
from cxlocal.hooks.manager import Manager
from cxlocal.hooks.messages import Fields
from cxlocal.hooks.registered import find_tool
from cxlocal.hooks.tool import EnvironmentRef, Observed, Tool, verbs_of
from cxlocal.hooks.tool_worker import ToolOutcome, ToolRequest, ToolWorker
from cxlocal.journal.file import Journal
from cxlocal.plan.components import components_in
from cxlocal.plan.placeholders import Values, resolve_options
from cxlocal.plan.types import Component, Environment, Plan, Stage
from cxlocal.private import make_folder
from cxlocal.processes.child import Child, End
from cxlocal.processes.environment import stage_environment
from cxlocal.processes.log import StageLog
from cxlocal.processes.mask import Masker
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner.outcomes import Said
from cxlocal.runner.own_words import made_here
from cxlocal.runner.products import artifacts, described
from cxlocal.runner.record import RunRecord
from cxlocal.runner.resources import Made, is_of_home, is_own, may_be_used, record_gone, standing_in
from cxlocal.runner.source import Machine, open_source, read_secrets
from cxlocal.runner.work import Launch, Work, environment_folder
from cxlocal.values import NamedTuple

HURRIED_SECONDS = 4.0
"""Limit for taking one thing away after a signal: everything must be over within 10 s then. What still
exists after that stays due, and the next command takes it away."""


class Payer(NamedTuple):
    """Takes away what tools made: one ``destroy`` for each thing, newest first. The plan of ``record`` is this
    machine's own, or was compared with its commit, where another journal says what was made."""

    record: RunRecord
    manager: Manager
    environ: Mapping[str, str]
    secrets: Callable[[RunRecord, Iterable[str]], Mapping[str, str]]
    """The values of secrets by their names, for what a run made. Raises CxError where one is missing."""
    limit_seconds: float
    turn: int = 0
    """Number of the turn in which that is done."""
    checkout: Callable[[RunRecord], Path | None] = lambda record: None
    """Where scripts of the repository are, for tools whose options a shell reads; None for nowhere."""

    check: Callable[[], None] = lambda: None
    """Raises Refused where it must not go on: somebody took its turn. Asked before each thing."""

    leaves: bool = False
    """What no verb takes away is left to ``close_environment``, which names it."""

    def pay(
        self, made: Sequence[Made], *, idle: bool = False
    ) -> Generator[Launch, End, list[tuple[Made, str]]]:
        """Take away what can be; what could not be, with the reason: that is flagged, and stays due. ``idle``: only
        what gets no traffic, whatever the record says; the rest is for the next deployment, and not flagged.
        Raises Refused where ``check`` does."""
        unpaid: list[tuple[Made, str]] = []
        for one, ids in latest(made):
            if idle and (traffic := (yield from self._traffic(one))):
                unpaid.append((one, f"{traffic}; the next deployment there takes it back first"))
                continue
            if self.leaves and not self.can(one):
                continue
            self.check()
            reason = yield from self.take_away(one)
            if not reason:
                record_gone(self.record, ids)
                continue
            unpaid.append((one, reason))
            text = f"{one.tool} could not destroy what it created in {one.instance}: {reason}"
            self.record.record(self.record.flag_draft("not-destroyed", text, one.instance))
        return unpaid

    def can(self, made: Made) -> bool:
        """Whether its tool has the verb that takes it away; one that is not here may have it."""
        try:
            return made.taken_by in verbs_of(find_tool(self.manager, made.tool), made.options)
        except CxError:
            return True

    def take_away(self, made: Made) -> Generator[Launch, End, str]:
        """Take one thing away; why that could not be done, empty where it was."""
        return (yield from self.tell(made, made.taken_by)).why

    def tell(self, made: Made, verb: str, *, hurried: bool = False) -> Generator[Launch, End, Said]:
        """Ask its tool to do ``verb`` with it; why that could not be done. ``hurried``: a signal does not keep it from
        that."""
        try:
            return (yield from self._do(made, verb, hurried=hurried))
        except (CxError, OSError) as problem:
            return Said(words_of(problem), Outcome.ERROR)

    def _traffic(self, made: Made) -> Generator[Launch, End, str]:
        """Why an instance may get traffic, by what its balancer says now; empty where it does not. What was turned is
        recorded at the cutover alone, so of what was cut off only the balancer knows."""
        try:
            return (yield from self._weighed(made))
        except (CxError, OSError) as problem:
            return f"it may get traffic: {words_of(problem)}"

    def _weighed(self, made: Made) -> Generator[Launch, End, str]:
        known = {one.name: one for one in self._makers(made) if isinstance(one, Component)}
        if made.verb != "create" or made.component not in known:
            return ""
        own, may = known[made.component], f"{made.component} {made.id[:8]} may get traffic"
        if own.overlap is False and not made.released_at:
            return f"{made.component} {made.id[:8]} may run in the place of what is stopped"
        balancer = known.get(own.behind, own)
        tool = find_tool(self.manager, balancer.tool)
        verbs = verbs_of(tool, balancer.options)
        if not own.behind and "rotate" not in verbs:
            return ""  # nothing spreads what comes over them
        if "observe" not in verbs:
            return f"{may}: {balancer.name} cannot be asked"
        journal = self.record.journal
        there = standing_in(journal, made.deliverable, made.instance)
        stands = [one for one in there if (one.component, one.verb) == (balancer.name, "provision")]
        asked = made._replace(
            component=balancer.name, tool=balancer.tool, options=balancer.options, verb="provision",
            handle=stands[0].handle if stands else None,
        )  # fmt: skip
        if tool.here and not is_own(journal, stands[0] if stands else made):
            return f"{may}: {balancer.name} lives on another machine"
        found = yield from self._ask(
            asked, tool, "observe", resource="", host="", component=made.component,
            behind=balancer.name,
        )  # fmt: skip
        if not isinstance(found.result, Observed):
            why = self._why(asked, tool, found)
            return f"{may}: {balancer.name} could not be asked: {why}"
        if any(one.id == made.id and one.weight for one in found.result.resources):
            return f"{made.component} {made.id[:8]} gets traffic"
        if not may_be_used(made, own.drain_seconds, journal.clock.now_ms()):
            return ""
        still = f"{made.component} {made.id[:8]} may be used still"
        if "drain" not in verbs:  # so only its time tells
            return f"{still}: its time to drain is not over" if made.released_at else ""
        done = yield from self._ask(
            asked, tool, "drain", resource=made.id, host="", component=made.component,
            behind=balancer.name, turn=found.result.turn, limit_seconds=own.drain_seconds,
        )  # fmt: skip
        return "" if done.outcome == Outcome.SUCCESS else f"{still}: {self._why(asked, tool, done)}"

    def _do(self, made: Made, verb: str, *, hurried: bool) -> Generator[Launch, End, Said]:
        if not made_here(self.record.journal, made) and not is_planned(self.record.plan, made):
            return Said(
                f"another machine recorded that {made.tool} made it with {json.dumps(made.options)}, which"
                " is not in the plan of its run; nothing was run: take it away by hand",
                Outcome.ERROR,
            )
        tool = find_tool(self.manager, made.tool)
        if verb not in verbs_of(tool, made.options):
            return Said(f"the tool {made.tool} has no verb {verb}", Outcome.ERROR)
        if tool.here and not (yield from self._is_here(made, tool)):
            host = machine_of(self.record.journal, made.node)
            words = f"it lives on the machine that made it: {host}, in the home of that journal"
            return Said(words, Outcome.ERROR)
        found = yield from self._ask(made, tool, verb, hurried=hurried)
        why = "" if found.outcome == Outcome.SUCCESS else self._why(made, tool, found)
        return Said(why, found.outcome)

    def _why(self, made: Made, tool: type[Tool], found: ToolOutcome) -> str:
        """What kept a tool from it, and from where a script of the repository would be found."""
        why, record = found.reason or str(found.outcome), self._source_of(made)
        if not tool.shell or self.checkout(record) is not None:
            return why
        return f"{why}; a script of the repository is found in a clone that has commit {record.revision[:12]}"

    def _is_here(self, made: Made, tool: type[Tool]) -> Generator[Launch, End, bool]:
        """Whether this home has what a tool made that lives where it was made. Where its journal was lost, the tool
        says whether it is there: in another home of this machine nothing would be found, and nothing taken away."""
        journal = self.record.journal
        if is_of_home(journal, made):
            return True
        if not is_own(journal, made) or "observe" not in verbs_of(tool, made.options):
            return is_own(journal, made)
        found = yield from self._ask(made, tool, "observe")
        seen = found.result.resources if isinstance(found.result, Observed) else ()
        return any(one.id == made.id for one in seen)

    def _ask(
        self, made: Made, tool: type[Tool], verb: str, *, hurried: bool = False,
        limit_seconds: float = 0.0, **told: Any,
    ) -> Generator[Launch, End, ToolOutcome]:  # fmt: skip
        """Carry out one verb; ``told`` is what its ``ctx`` has otherwise than the thing it is asked of.
        ``limit_seconds``: 0 for that of all."""
        names = dict.fromkeys((*self._listed(made), *tool.secrets))
        secrets = self.secrets(self._source_of(made), names)
        mask = Masker([*secrets.values(), *own_credentials(self.environ)])
        journal = self.record.journal
        place = environment_folder(journal.home, made.deliverable, made.instance)
        scratch = place / f".destroy-{made.id[:8]}-{journal.ids.token()[:8]}"
        make_folder(scratch)
        log = StageLog.create(
            journal.home / "logs" / path_part(made.run),
            f"{verb}-{made.stage}",
            masker=mask,
        )
        folder = (self.checkout(self._source_of(made)) if tool.shell else None) or scratch
        fields = self._told(made, place, scratch, {"checkout": folder, **told})
        request = ToolRequest(tool, verb, self._options(made), fields, dict(secrets))
        worker = ToolWorker(request, on_intend=_refuse_intent, on_progress=log.note_amid)

        def launch(supervisor: Supervisor, tag: object) -> Child:
            limit = limit_seconds or self.limit_seconds
            child = worker.start(
                supervisor, env=stage_environment(self.environ, pass_env=self._passed(made)), sink=log,
                timeout_seconds=min(limit, HURRIED_SECONDS) if hurried else limit, tag=tag,
                grace_seconds=1.0,
            )  # fmt: skip
            child.goes_on = hurried
            return child

        try:
            end = yield launch
        finally:
            log.close()
            shutil.rmtree(scratch, ignore_errors=True)
        return worker.outcome(end)

    def _listed(self, made: Made) -> tuple[str, ...]:
        """The secrets that whoever made it had: its environment's, and its component's or its stage's."""
        plan = self._source_of(made).plan
        of_place = next(
            (one.secrets for one in plan.environments if one.name == made.environment), ()
        )
        return (*of_place, *_named(self._makers(made), made, "secrets"))

    def _passed(self, made: Made) -> tuple[str, ...]:
        """The variables that whoever made it is given."""
        return _named(self._makers(made), made, "pass_env")

    def _makers(self, made: Made) -> Sequence[Stage | Component]:
        plan = self._source_of(made).plan
        if not made.is_component:
            return plan.stages if made.component else ()
        known = made.environment in [one.name for one in plan.environments]
        return components_in(plan, made.environment) if known else ()

    def _source_of(self, made: Made) -> RunRecord:
        """The run whose plan and scripts it is taken away by: that by which it was made; of what another journal says
        this one, with whose plan it was compared."""
        return self._record_of(made) if made_here(self.record.journal, made) else self.record

    def _record_of(self, made: Made) -> RunRecord:
        """The run that made it: its options are those of its own plan."""
        own = self.record
        return own if made.run == own.run else RunRecord.attach(own.journal, made.run)

    def _options(self, made: Made) -> dict[str, Any]:
        record = self._record_of(made)
        values = Values(
            record.version, record.run, record.revision,
            described(artifacts(record, check=False)), self.environ, None,
        )  # fmt: skip
        return resolve_options(made.options, values)

    def _told(self, made: Made, place: Path, scratch: Path, told: Mapping[str, Any]) -> Fields:
        record = self._record_of(made)
        environment = EnvironmentRef(
            name=made.environment, instance=made.instance, lifetime=made.lifetime, folder=place
        )
        return Fields(
            **{
                "checkout": scratch, "scratch": scratch, "version": record.version, "run": made.run,
                "revision": record.revision, "stage": made.stage, "deliverable": made.deliverable,
                "environment": environment, "handle": made.handle, "resource": made.id,
                "component": made.component if made.is_component else "", "host": made.host,
                "turn": self.turn, **told,
            }
        )  # fmt: skip


def is_planned(plan: Plan, made: Made) -> bool:
    """Whether a plan makes such a thing there, with this tool and these options. An intent carries both,
    commands among them, and whoever takes the thing away executes them (decision 87); one that called what
    is live in production a thing of a run that is over would take that away."""
    place = next((one for one in plan.environments if one.name == made.environment), None)
    if place is not None and (place.lifetime, place.instance(made.run)) != (
        made.lifetime, made.instance,
    ):  # fmt: skip
        return False
    if made.is_component:
        return place is not None and any(
            (one.name, one.tool, one.options) == (made.component, made.tool, made.options)
            and made.host in (one.hosts or ("",))
            for one in components_in(plan, made.environment)
        )
    makers: Iterable[Stage | Environment] = (
        [
            one
            for one in plan.stages
            if (one.name, one.environment) == (made.stage, made.environment)
        ]
        if made.component
        else [one for one in plan.environments if one.name == made.environment]
    )
    return any((one.tool, one.options) == (made.tool, made.options) for one in makers)


def _named(makers: Sequence[Stage | Component], made: Made, what: str) -> tuple[str, ...]:
    """A list of whoever made it: the component, or the stage."""
    for one in makers:
        if one.name == (made.component if isinstance(one, Component) else made.stage):
            found: tuple[str, ...] = getattr(one, what)
            return found
    return ()


def _refuse_intent(handle: Any) -> None:
    raise Trouble(
        "destroy creates nothing, so it has nothing to intend",
        why="an intent names what a later destroy has to take away",
        hint="leave ctx.intend out of the tool's destroy",
    )


def latest(made: Sequence[Made]) -> list[tuple[Made, list[str]]]:
    """The last handle of each tool and component on each machine, with all that it stands for. ``made`` is
    newest first: a later handle describes what an earlier one began."""
    groups: dict[tuple[str, ...], list[Made]] = {}
    for one in made:
        # Each instance of a component is one of its own.
        own = one.id if one.is_component else ""
        groups.setdefault((one.instance, one.tool, one.component, one.node, own), []).append(one)
    return [(found[0], [one.id for one in found]) for found in groups.values()]


def held(work: Work) -> Callable[[RunRecord, Iterable[str]], Mapping[str, str]]:
    """The secrets of a run that is being carried out: those of all its stages. What an earlier run made may need
    others, which the commit of that run has."""

    def chosen(record: RunRecord, names: Iterable[str]) -> Mapping[str, str]:
        wanted = list(names)
        found = dict(work.secrets)
        if more := [name for name in wanted if name not in found]:
            assert work.machine is not None, "nothing of another run is carried out here"
            found |= secrets_of(work.machine, record, more)
        return {name: found[name] for name in wanted}

    return chosen


def secrets_of(machine: Machine, record: RunRecord, names: Iterable[str]) -> Mapping[str, str]:
    """The values of secrets on another day, by the sources of the run's own commit. Raises CxError."""
    wanted = list(names)
    if not wanted:
        return {}
    source = open_source(machine, record.revision, {})
    if source.config.deliverable.name != record.ref.deliverable:
        raise Trouble(
            f"it needs the secrets {', '.join(wanted)} of {record.ref.deliverable}",
            why=f"this folder is {source.config.deliverable.name}",
            hint="run this in the folder of that deliverable, or with -C DIR",
        )
    return read_secrets(source.settings, wanted, machine.environ, machine.root)


def machine_of(journal: Journal, node: str) -> str:
    """The machine that a chain of events belongs to, for people."""
    row = journal.one("SELECT host FROM machine WHERE node = ?", (node,))
    return (row and row["host"]) or node[:8]


def words_of(problem: CxError | OSError) -> str:
    """What is wrong and why, in one line."""
    if isinstance(problem, CxError):
        return ": ".join(part for part in (problem.what, problem.why) if part)
    return str(problem)
