"""An environment that is being changed: asks the tools of its components, and whether instances are well.

Each verb runs in a worker of its own, with the secrets of its component and of the environment. What a signal has
come for is still done to its end where it leads to the nearer side of the cutover (``hurried``).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxlocal.domain import Outcome, path_part
from cxlocal.errors import CxError, Trouble
from cxlocal.hooks.messages import Fields
from cxlocal.hooks.options import check_options
from cxlocal.hooks.registered import find_tool
from cxlocal.hooks.tool import ArtifactRef, Done, Observed, Tool, verbs_of
from cxlocal.hooks.tool_worker import ToolOutcome, ToolRequest, ToolWorker
from cxlocal.plan.components import components_of
from cxlocal.plan.placeholders import Values, resolve_options
from cxlocal.plan.types import Component, Environment, Stage
from cxlocal.processes.child import Child, End, Sink
from cxlocal.processes.environment import stage_environment
from cxlocal.processes.log import StageLog
from cxlocal.processes.mask import Masker
from cxlocal.processes.start import shell
from cxlocal.processes.supervisor import Supervisor
from cxlocal.revision.repository import resolve
from cxlocal.runner.checkout_again import fill
from cxlocal.runner.health_probe import HealthProbe
from cxlocal.runner.outcomes import Said, judge
from cxlocal.runner.payer import HURRIED_SECONDS, Payer, held
from cxlocal.runner.placements import instance_of
from cxlocal.runner.products import artifacts, described
from cxlocal.runner.record import RunRecord
from cxlocal.runner.work import Launch, Work
from cxlocal.runner.workspace import Workspace

REASON_BYTES = 1000
WAITING = frozenset({"create", "drain", "observe", "preview"})
"""Verbs that are stopped when the turn is taken. They change nothing, or what they make has an id, by which whoever
has the turn takes it away. What changes something in place comes to its end: half of it would serve nobody."""
Asking = Generator[Launch, End, ToolOutcome]


class Masked:
    """A log in which further secrets are masked, such as what a component said in secret."""

    def __init__(self, sink: Sink, masker: Masker) -> None:
        self._sink = sink
        self._stream = masker.stream()

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._sink.write(self._stream.feed(chunk))

    def end(self) -> None:
        """Let go of what was held back."""
        self._sink.write(self._stream.end())


class Heard:
    """Remembers the last of what is said, beside the log."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._last = b""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._sink.write(chunk)
        self._last = (self._last + chunk)[-REASON_BYTES:]

    @property
    def line(self) -> str:
        """The last line that is not empty."""
        lines = self._last.decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip() if lines else ""


class Site:
    """What one attempt at a deploy stage does in its environment."""

    def __init__(
        self, work: Work, stage: Stage, attempt: int, folder: Path, log: StageLog,
        variables: Mapping[str, str],
    ) -> None:  # fmt: skip
        environment = work.environment_of(stage)
        assert environment is not None, "a deploy stage has an environment"
        self.work, self.stage, self.attempt, self.log = work, stage, attempt, log
        self.environment: Environment = environment
        self.instance = instance_of(work.record, environment)
        self.components = components_of(work.plan, stage)
        self.service = self.components[0].name if stage.tool else work.plan.deliverable
        """What is live there where nothing is replaced."""
        self.beside = work.plan.beside(stage)
        """Other stages that deploy there: what is theirs is left alone."""
        self.tool_version = ""
        """That of the last tool that said one."""
        self.said: dict[str, dict[str, str]] = {}
        """What components said of themselves (``Applied.outputs``), and in secret."""
        self.turn = 0
        self.cancelled = ""
        """Why a signal ended this; empty while none did."""
        self._folder = folder
        self._variables = variables
        self._secret: tuple[str, ...] = ()
        self._count = 0

    @property
    def stage_run(self) -> str:
        """The id of this attempt."""
        return self.work.stage_run(self.stage.name, self.attempt)

    def unreachable(self, revision: str) -> str:
        """Why nothing can be checked out of a commit; empty where it can."""
        try:
            resolve(self.work.workspace.repository, revision)
        except CxError as problem:
            return problem.what
        return ""

    def as_of(self, record: RunRecord, stage: Stage) -> Site:
        """The same place as another run deploys there: by its plan, in a checkout of its commit, with its bytes and
        today's secrets. Raises Trouble where its commit is not here."""
        work = self.work
        space = _lent(work.workspace, record)
        if space is None:
            raise Trouble(
                f"commit {record.revision[:12]} is not here",
                why=f"{record.version} was made from it", hint="git fetch --unshallow",
            )  # fmt: skip
        other = Work(
            record=record, manager=work.manager, workspace=space, environ=work.environ,
            voice=work.voice, secrets=work.secrets, readers={}, machine=work.machine,
        )  # fmt: skip
        other.artifacts = artifacts(record, check=False)
        other.word, other.doors, other.uris = work.word, work.doors, work.uris
        other.back = not work.back
        there = Site(other, stage, self.attempt, space.project, self.log, self._variables)
        there.turn, there.said, there._secret = self.turn, self.said, self._secret
        return there

    def component(self, name: str) -> Component:
        """The component of this name."""
        return next(one for one in self.components if one.name == name)

    def balancer(self, component: Component) -> Component | None:
        """What spreads what comes over its instances: the component it stands behind, whatever that was called, or
        its own tool, where that rotates what it creates. None for nothing, and where that left the file."""
        if behind := component.behind:
            return next((one for one in self.components if behind in (one.name, one.was)), None)
        return component if not component.in_place and self.can(component, "rotate") else None

    def tool(self, component: Component) -> type[Tool]:
        """Its tool. Raises ConfigError."""
        return find_tool(self.work.manager, component.tool)

    def can(self, component: Component, verb: str) -> bool:
        """Whether its tool has a verb."""
        return verb in verbs_of(self.tool(component), component.options)

    def missing_programs(self, component: Component) -> list[str]:
        """Programs of its tool that are not on the PATH that it is given."""
        path = self._surroundings(component)["PATH"]
        return [
            one for one in self.tool(component).executables if shutil.which(one, path=path) is None
        ]

    def artifact(self, component: Component) -> ArtifactRef | None:
        """What its instances run. Raises Trouble where the bytes are not here."""
        if not component.artifact:
            return None
        if component.artifact not in self.work.artifacts:
            raise Trouble(
                f"the bytes of {component.artifact} are not here",
                why=f"{component.name} runs them, and this run has none of that name",
                hint="let the stage that makes it run first",
            )
        return self.work.artifacts[component.artifact]

    def values(self, environ: Mapping[str, str]) -> Values:
        """What placeholders of components stand for."""
        record = self.work.record
        return Values(
            record.version, record.run, record.revision, described(self.work.artifacts), environ,
            self.said,
        )  # fmt: skip

    def variables_of(self, component: Component) -> dict[str, str]:
        """What instances of a component find in their environment. Raises ConfigError."""
        values = self.values(self._surroundings(component))
        return resolve_options(component.env, values._replace(secrets=self.secrets_of(component)))

    def ask(
        self, component: Component, verb: str, /, *, limit_seconds: float | None = None,
        on_intend: Callable[[Any], None] | None = None, hurried: bool = False, **told: Any,
    ) -> Asking:  # fmt: skip
        """Carry out one verb of the tool of ``component``; ``told`` is what else its ``ctx`` has."""
        work, stage, tool = self.work, self.stage, self.tool(component)
        env = self._surroundings(component)
        options = resolve_options(component.options, self.values(env))
        check_options(tool, options, where=f"component {component.name}")
        self._count += 1
        which = str(told.get("resource", ""))[:8]
        self.log.note(" ".join(one for one in (component.name, verb, which) if one))
        scratch = work.workspace.scratch(f"{stage.name}.{self._count}", self.attempt)
        fields = Fields(
            **{
                "checkout": self._folder, "scratch": scratch,
                "version": work.record.version, "run": work.record.run,
                "revision": work.record.revision, "stage": stage.name,
                "deliverable": work.plan.deliverable,
                "environment": work.place_of(self.environment),
                "artifacts": dict(work.artifacts), "turn": self.turn, "component": component.name,
                "back": work.back,
                "ahead": work.schema_ahead and verb in ("preview", "apply"),
                "components": {name: dict(said) for name, said in self.said.items()},
                **told,
            }
        )  # fmt: skip
        request = ToolRequest(
            tool, verb, options, fields, self.secrets_of(component), hidden=self._secret
        )
        worker = ToolWorker(
            request, on_intend=on_intend or (lambda handle: None), on_progress=self.log.note_amid
        )
        limit = component.timeout_seconds if limit_seconds is None else limit_seconds
        try:
            end = yield from self._launched(
                worker.start, env, limit, hurried=hurried, waits=verb in WAITING
            )
            found = worker.outcome(end)
        finally:
            # What the tool wrote there may hold its secrets; the next verb has a folder of its own.
            shutil.rmtree(scratch, ignore_errors=True)
        if found.trace:
            self.log.write(found.trace.encode("utf-8", "backslashreplace") + b"\n")
        if isinstance(found.result, Done) and found.result.tool_version:
            self.tool_version = found.result.tool_version
        if found.outcome != Outcome.SUCCESS:
            self.log.note(f"{component.name}, {verb}: {found.outcome}: {found.reason}")
        return found

    def payer(self) -> Payer:
        """What takes instances away, also those of other runs."""
        work = self.work
        limit = max((one.timeout_seconds for one in self.components), default=60)
        return Payer(
            work.record,
            work.manager,
            work.environ,
            held(work),
            float(limit),
            self.turn,
            checkout=self._checkout_of,
        )

    def _checkout_of(self, record: RunRecord) -> Path | None:
        """Where scripts are as the run had them that made something: its options mean those, and not what has become of
        them since."""
        if record.run == self.work.record.run:
            return self._folder
        space = _lent(self.work.workspace, record)
        return None if space is None else space.project

    def secrets_of(self, component: Component) -> dict[str, str]:
        """The secrets of a component, of the environment, and of its tool."""
        names = (*component.secrets, *self.environment.secrets, *self.tool(component).secrets)
        return {name: self.work.secrets[name] for name in dict.fromkeys(names)}

    def hear(
        self, component: Component, outputs: Mapping[str, str], secret: Mapping[str, str]
    ) -> None:
        """Keep what a component said, for those after it."""
        self.said[component.name] = {**outputs, **secret}
        self._secret = (*self._secret, *secret.values())

    def probe(
        self, component: Component, addresses: Sequence[str], *, hold_seconds: float = 0.0,
        within_seconds: float | None = None,
    ) -> Generator[Launch, End, Said]:  # fmt: skip
        """Whether instances are well, and stay so for ``hold_seconds``."""
        asked = [one for one in addresses if one] if component.health else []
        if not asked and not hold_seconds:
            return Said()
        within = component.timeout_seconds if within_seconds is None else within_seconds
        options = {
            "addresses": asked, "health": component.health, "within": within, "hold": hold_seconds,
        }  # fmt: skip
        fields = Fields(checkout=self._folder, scratch=self._folder)
        request = ToolRequest(HealthProbe, "observe", options, fields, {})
        worker = ToolWorker(request, on_intend=lambda handle: None, on_progress=self.log.note_amid)
        env, limit = self._surroundings(component), within + hold_seconds + 10
        found = worker.outcome((yield from self._launched(worker.start, env, limit)))
        if not isinstance(found.result, Observed):
            return Said(found.reason or str(found.outcome), found.outcome)
        problem = str(found.result.details["problem"])
        return Said(problem, Outcome.FAILURE) if problem else Said()

    def check(
        self, component: Component, resource: str, address: str
    ) -> Generator[Launch, End, Said]:
        """Whether the command ``check`` agrees with one instance."""
        if not component.check:
            return Said()
        uri = address if "://" in address or not address else f"http://{address}"
        told = {
            "CXLOCAL_RESOURCE": resource, "CXLOCAL_RESOURCE_URI": uri,
            "CXLOCAL_COMPONENT": component.name, **self.secrets_of(component),
        }  # fmt: skip
        argv = shell(component.check)
        return (yield from self._judged(component, argv, told, component.timeout_seconds))

    def judge(self, uri: str) -> Generator[Launch, End, Said]:
        """Whether the environment's own ``check`` agrees with what serves at ``uri``."""
        check, environment = self.environment.check, self.environment
        if not check:
            return Said()
        told = {
            "CXLOCAL_ENVIRONMENT_URI": uri,
            **{name: self.work.secrets[name] for name in environment.secrets},
        }
        return (yield from self._judged(None, shell(check), told, environment.timeout_seconds))

    def _judged(
        self,
        component: Component | None,
        argv: Sequence[str],
        told: Mapping[str, str],
        limit: float,
    ) -> Generator[Launch, End, Said]:
        heard = Heard(self.log)

        def start(
            supervisor: Supervisor, *, env: Mapping[str, str], sink: Sink, **rest: Any
        ) -> Child:
            return supervisor.start(argv, cwd=self._folder, env={**env, **told}, sink=sink, **rest)

        env = self._surroundings(component)
        end = yield from self._launched(start, env, limit, heard)
        outcome, words = judge(end)
        return Said(self.work.masker.text(heard.line or words), outcome) if words else Said()

    def _launched(
        self, start: Callable[..., Child], env: Mapping[str, str], limit: float,
        heard: Heard | None = None, *, hurried: bool = False, waits: bool = True,
    ) -> Generator[Launch, End, End]:  # fmt: skip
        """Start something, and wait for its end. ``waits``: it is only waited for as long as the turn is ours; raises
        Refused where it was taken meanwhile."""
        sink = Masked(heard or self.log, Masker(self._secret))
        vigil = self.work.vigil_at(self.stage) if waits else None

        def launch(supervisor: Supervisor, tag: object) -> Child:
            seconds = min(limit, HURRIED_SECONDS) if hurried else limit
            child = start(supervisor, env=env, sink=sink, timeout_seconds=seconds, tag=tag)
            child.goes_on, child.vigil = hurried, vigil
            return child

        end = yield launch
        sink.end()
        if vigil is not None and vigil.refused is not None:
            raise vigil.refused
        if end.cancelled:
            self.cancelled = end.words
        return end

    def _surroundings(self, component: Component | None) -> dict[str, str]:
        work, stage = self.work, self.stage
        pass_env = stage.pass_env if component is None else component.pass_env
        variables = {
            **self._variables, **work.variables(stage), **work.mark_in(self.environment),
        }  # fmt: skip
        return stage_environment(work.environ, pass_env=pass_env, extra=variables)


def _lent(workspace: Workspace, record: RunRecord) -> Workspace | None:
    """A checkout of what another run of the deliverable was made from, made once beside that of the run and gone with
    it; None where its commit is not here."""
    folder = workspace.folder / "lent" / path_part(record.run)
    found = Workspace(
        workspace.repository,
        record.revision,
        folder,
        folder / "source",
        filters=record.plan.filters,
    )
    if found.source.exists():
        return found
    try:
        return fill(found, record)
    except CxError:
        return None
