"""What the parts of the engine share while one run is carried out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxlocal.address import own_credentials
from cxlocal.domain import Outcome, path_part
from cxlocal.plan.variables import stage_variables
from cxlocal.private import make_folder
from cxlocal.processes.environment import stage_environment
from cxlocal.processes.family import MARK, marked
from cxlocal.processes.mask import Masker
from cxlocal.runner.admission import Way
from cxlocal.runner.left_files import LeftFiles
from cxlocal.runner.leftovers import Notes, of_run, place_word
from cxlocal.runner.resources import handles
from cxlocal.runner.untouched import Untouched
from cxlocal.text import quoted
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.errors import CxError
    from cxlocal.events.document import Draft
    from cxlocal.hooks.manager import Manager
    from cxlocal.hooks.registered import FoundReader
    from cxlocal.hooks.tool import ArtifactRef, EnvironmentRef, Produced, ReportFile
    from cxlocal.plan.placeholders import Artifact, Values
    from cxlocal.plan.types import Environment, Plan, Stage
    from cxlocal.processes.child import Child, End, Sink
    from cxlocal.processes.supervisor import Supervisor
    from cxlocal.runner.record import RunRecord
    from cxlocal.runner.source import Machine
    from cxlocal.runner.turns import Door, Turns, TurnVigil
    from cxlocal.runner.voice import Voice
    from cxlocal.runner.workspace import Workspace

Launch = Callable[["Supervisor", object], "Child"]
"""Starts a program for a step; the second argument is the tag it is to carry."""

Program = Generator[Launch, "End", Outcome]
"""A step as the loop sees it: it yields what to start, is given how that ended, returns an outcome.

So a step that starts several programs one after the other (observe, then deploy; three attempts)
reads from top to bottom, while the one loop serves many of them.
"""


class Worked(NamedTuple):
    """What one attempt of a stage came to."""

    outcome: Outcome
    reason: str
    started_ms: int
    finished_ms: int
    exit_code: int | None = None
    tool_version: str = ""
    details: dict[str, Any] = {}  # noqa: RUF012  (a NamedTuple's default; never changed)
    produced: tuple[Produced, ...] = ()
    reports: tuple[ReportFile, ...] = ()
    drafts: tuple[Draft, ...] = ()
    seconds: float | None = None
    """How long it took, measured; None where nothing was started."""
    refused: CxError | None = None
    """It was not let in after all, and nothing was changed."""


class Around(NamedTuple):
    """What a worker is given that reads the reports of a stage."""

    environ: Callable[[], Mapping[str, str]]
    sink: Sink
    """Where that goes what readers print."""


class Work:
    """One run being carried out by this process."""

    def __init__(
        self,
        *,
        record: RunRecord,
        manager: Manager,
        workspace: Workspace,
        environ: Mapping[str, str],
        voice: Voice,
        secrets: Mapping[str, str],
        readers: Mapping[str, FoundReader],
        run_named: bool = False,
        again: str = "",
        machine: Machine | None = None,
    ) -> None:
        self.record = record
        self.manager = manager
        self.workspace = workspace
        self.environ = environ
        self.voice = voice
        self.secrets = secrets
        self.readers = readers
        self.run_named = run_named
        """A person named the run by its id, so a number in doubt is no obstacle."""
        self.told_of_conflict = False
        """It was said that another run holds the number."""
        self.again = again
        """The command that tries again what is refused; empty: going on with the run does."""
        self.allow_older = False
        """A version may be deployed where a newer one is live."""
        self.anyway = False
        """A version that was taken back from a target may be deployed."""
        self.back = False
        """What is deployed goes back: a rollback."""
        self.unobserved = False
        """An environment may be changed that could not be asked what runs there."""
        self.schema_ahead = False
        """What is changed in place may have been changed by a newer version."""
        self.repair = False
        """Nothing is deployed: what serves is recorded as that."""
        self.deployment_reason = ""
        """Why something is deployed: said to this command, or as the run began whose own stage does it."""
        self.turns: Turns | None = None
        """Asks whose turn it is at a lasting environment; None where no other machine can be asked."""
        self.doors: dict[str, Door] = {}
        """The lasting environments and targets that this work has to itself, by name."""
        self.publishes_to: tuple[str, ...] = ()
        """The targets that this work publishes to, one after the other."""
        self.publish_again = False
        """What was taken back from a target is put there once more."""
        self.send_first: Callable[[], None] = lambda: None
        """Sends an intent before its side effect, where this machine goes away."""
        self.machine = machine
        """Where it is carried out; None where nothing of another run may be."""
        self.masker = self._masker()
        self.artifacts: dict[str, ArtifactRef] = {}
        self.untouched = Untouched()
        self.uris: dict[str, str] = {}
        self.ready_at: dict[str, int] = {}
        self.succeeded: set[str] = set()
        self.first_attempt: dict[str, int] = {}
        self.reason = ""
        """Why this command was given; empty: what the run says of itself."""
        self.word = record.journal.ids.token()
        """In the mark of every process of this work, and of nothing else."""
        self._left_files: LeftFiles | None = None
        self.repeated: Mapping[str, tuple[str, ...]] = {}
        """Stages that are done and run again for their files only, and which files are missing."""
        self.notes_path = of_run(workspace.folder)
        self._notes: Notes | None = None

    def require_own(self, record: RunRecord) -> None:
        """Raise CxError where the plan of another run, of which something is to be carried out, is not what its commit
        says in the repository here."""
        from cxlocal.runner.own_plan import require_plan_of_folder  # seldom asked

        assert self.machine is not None, "nothing of another run is carried out here"
        require_plan_of_folder(self.machine, record)

    def add_secrets(self, more: Mapping[str, str]) -> None:
        """Know further ones; before anything is logged."""
        self.secrets = {**more, **self.secrets}
        self.masker = self._masker()

    def _masker(self) -> Masker:
        return Masker([*self.secrets.values(), *own_credentials(self.environ)])

    @property
    def deployment_kind(self) -> str:
        """``rolledback`` where a deployment goes back; empty: worked out from what was live."""
        return "rolledback" if self.back else ""

    def way_of(self, stage: Stage) -> Way:
        """How a stage of this run comes to deploy."""
        again = (
            self.again or f"cxlocal run --resume {self.record.run[:8]} --to {quoted(stage.place)}"
        )
        return Way(
            f"{again} --allow-older", self.allow_older, self.back, self.deployment_reason,
            anyway=self.anyway, put_again=self.reason if self.publish_again else "",
        )  # fmt: skip

    @property
    def plan(self) -> Plan:
        """The plan of the run."""
        return self.record.plan

    @property
    def home(self) -> Path:
        """The folder of journal, logs and artifacts."""
        return self.record.journal.home

    @property
    def log_folder(self) -> Path:
        """``logs/<run>``."""
        return self.home / "logs" / path_part(self.record.run)

    def stage_run(self, stage: str, attempt: int) -> str:
        """The id of a stage run."""
        return self.record.ref.stage_run(stage, attempt)

    def environment_of(self, stage: Stage) -> Environment | None:
        """The environment a stage works in."""
        return self.plan.environment(stage.environment) if stage.environment else None

    def uri_of(self, environment: Environment) -> str:
        """Where the environment answers: what this run deployed says so, else the plan, else history."""
        from cxlocal.runner.placements import known_uri

        return self.uris.get(environment.name) or known_uri(self.record, environment)

    def place_of(self, environment: Environment) -> EnvironmentRef:
        """The environment as tools see it."""
        from cxlocal.hooks.tool import EnvironmentRef

        instance = environment.instance(self.record.run)
        folder = environment_folder(self.home, self.plan.deliverable, instance)
        make_folder(folder)
        return EnvironmentRef(
            name=environment.name,
            instance=instance,
            lifetime=environment.lifetime,
            folder=folder,
            uri=self.uri_of(environment),
            handles=handles(self.record.journal, self.plan.deliverable, instance),
        )

    def seen_by(self, stage: Stage) -> dict[str, ArtifactRef]:
        """The artifacts a stage may use: those of the stages it waits for."""
        return {name: self.artifacts[name] for name in stage.artifacts if name in self.artifacts}

    def variables(self, stage: Stage) -> dict[str, str]:
        """The ``CXLOCAL_*`` variables of a stage."""
        environment = self.environment_of(stage)
        return stage_variables(
            version=self.record.version,
            run=self.record.run,
            revision=self.record.revision,
            stage=stage.name,
            environment=stage.environment,
            environment_uri="" if environment is None else self.uri_of(environment),
            artifacts=_described(self.seen_by(stage)),
        )

    def surroundings(self, stage: Stage, extra: Mapping[str, str]) -> dict[str, str]:
        """The environment variables of a stage, without secrets."""
        mark = self.mark_in(self.environment_of(stage))
        turn = self.turn_at(stage)
        told = {"CXLOCAL_TURN": str(turn)} if turn else {}
        variables = {**extra, **self.variables(stage), **told, **mark}
        return stage_environment(self.environ, pass_env=stage.pass_env, extra=variables)

    def turn_at(self, stage: Stage) -> int:
        """The number of the turn that a stage has at its environment; 0 for none."""
        door = self.doors.get(stage.place)
        return 0 if door is None else door.number

    def check_turn(self, stage: Stage) -> None:
        """Raise Refused where the turn at the place of a stage was taken meanwhile."""
        if stage.place in self.doors:
            self.doors[stage.place].check()

    def vigil_at(self, stage: Stage) -> TurnVigil | None:
        """What looks after the turn of a stage while it waits; None where nobody can take it."""
        door = self.doors.get(stage.place)
        return None if door is None else door.vigil()

    def mark_in(self, environment: Environment | None) -> dict[str, str]:
        """The mark by which what is begun here is found again: of this work, and of the place."""
        place = ""
        if environment is not None:
            instance = environment.instance(self.record.run)
            place = place_word(self.home, self.plan.deliverable, instance)
        return {MARK: marked(self.environ, self.word, place)}

    @property
    def left_files(self) -> LeftFiles:
        """What stages leave in the checkout they share."""
        if self._left_files is None:
            self._left_files = LeftFiles(self)
        return self._left_files

    @property
    def notes(self) -> Notes:
        """Where the processes of this work are noted."""
        if self._notes is None:
            self._notes = Notes(self.notes_path, self.word)
        return self._notes

    def values(self, stage: Stage, environ: Mapping[str, str]) -> Values:
        """What placeholders in a stage's options stand for."""
        from cxlocal.plan.placeholders import Values

        return Values(
            self.record.version,
            self.record.run,
            self.record.revision,
            _described(self.seen_by(stage)),
            environ,
        )


def _described(artifacts: Mapping[str, ArtifactRef]) -> dict[str, Artifact]:
    if not artifacts:
        return {}
    from cxlocal.runner.products import described

    return described(artifacts)


def environment_folder(home: Path, deliverable: str, instance: str) -> Path:
    """A folder that belongs to one environment on this machine."""
    return home / "environments" / path_part(deliverable) / path_part(instance)
