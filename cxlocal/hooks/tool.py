"""What a tool is: a class whose methods are its verbs.

A tool author writes one class with ``name``, ``api = 2``, an ``Options`` type and one method per
verb it can do, and registers it with the hook ``cxlocal_register_tools``. The runner validates the
options before anything runs, starts the verb in a worker process of its own, and gives it a
``Context``. What a verb returns is one of the result types below; what it raises decides the
outcome: ``ToolFailure`` is the work saying no (outcome *failure*), anything else is trouble
(outcome *error*).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec

from cxlocal.domain import NOT_RUN, Outcome, outcome_of
from cxlocal.errors import Trouble
from cxlocal.hooks.with_table import Options
from cxlocal.values import Protocol

VERBS = (
    "build", "test", "publish", "fetch", "provision", "destroy", "preview", "apply", "create", "rotate",
    "drain", "stop", "start", "remove", "observe", "probe", "ask", "withdraw",
)  # fmt: skip
"""Every verb a tool may have. A public method with another name is not a verb."""

ASKED = (
    "build", "test", "publish", "provision", "destroy", "preview", "apply", "create", "remove", "rotate",
    "stop", "start", "drain", "observe", "ask", "fetch", "withdraw",
)  # fmt: skip
"""Those that somebody asks for; the others are reserved."""

API = 2
"""The version of this interface."""

SERVED = (API,)
"""The versions that are served; a tool that names another one is refused by name."""

FORMER = {
    "deploy": "'create' and 'remove', or 'apply' for what rotates by itself",
    "undo": "nothing: going back deploys the older version",
    "health": "nothing: the core asks instances, or 'create' does before it returns",
}
"""Verbs of interface 1, and what stands in their place."""


class Produced(msgspec.Struct, frozen=True, kw_only=True):
    """An output of ``build``: a file in the checkout (or below ``ctx.scratch``)."""

    name: str
    """What ``produces`` in cx.toml calls it."""
    path: Path
    """The file; absolute, or relative to the checkout."""
    purl: str = ""
    """Package URL; empty means the runner makes a generic one from name, version and digest."""
    version: str = ""
    """The version the bytes carry, where the tool can tell; refused when it differs from ours."""
    media_type: str = ""
    """Of the bytes, such as ``application/gzip``; empty where nobody says."""


class ReportFile(msgspec.Struct, frozen=True, kw_only=True):
    """A report a verb leaves behind, parsed by the report reader of its format."""

    path: Path
    """The file; absolute, or relative to the checkout."""
    format: str = "junit"
    """Which reader reads it."""
    suite: str = ""
    """The name its cases go under; empty: that of the stage."""
    may_be_empty: bool = False
    """A report without a test is fine; otherwise the stage has failed."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """The result of most verbs."""

    artifacts: tuple[Produced, ...] = ()
    """What was made; each name that the stage ``produces`` must be there."""
    reports: tuple[ReportFile, ...] = ()
    """Reports of tests that were left behind."""
    details: dict[str, Any] = {}
    """Facts worth keeping with the stage run (JSON values, no secrets)."""
    tool_version: str = ""
    """Of the program that did it, where the tool knows."""


class Published(Done, frozen=True, kw_only=True):
    """The result of ``publish``: where artifacts can be had from now on. ``Done`` says nothing of that."""

    locations: dict[str, str] = {}
    """A URL, or whatever finds it again, by the name of an artifact."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What a target holds under the name of one file, or of whatever else it is to hold (a tag)."""

    state: Literal["absent", "same", "other", "not known"]
    """*not known* is neither of the others: no right to read, an outage, an answer that says nothing."""
    wanted: str = ""
    """What it should be, in the target's own words: ``sha256:…``, a commit."""
    held: str = ""
    """What it is."""
    location: str = ""
    """Where it can be had."""
    why: str = ""
    """Why it is not known."""
    trouble: Literal["", "credential", "unreached"] = ""
    """What kept it from being known: a credential that is missing, expired or refused, or an outage."""
    yanked: bool = False
    """It is there, and marked as not to be used."""

    @classmethod
    def compared(
        cls, wanted: str, held: str, *, location: str = "", why: str = "", yanked: bool = False
    ) -> Held:
        """What is there beside what should be: the same, other, or absent where ``held`` is empty."""
        return cls(
            state="absent" if not held else "same" if held == wanted else "other",
            wanted=wanted, held=held, location=location, why=why, yanked=yanked,
        )  # fmt: skip


class Holdings(Done, frozen=True, kw_only=True):
    """The result of ``ask``: what a target holds of the version."""

    files: dict[str, Held] = {}
    """By the name of the artifact; whatever else the target is to hold has a name that no artifact has."""
    refuses: bool = False
    """``publish`` itself is refused where other bytes are, so it may be tried where nothing is known."""


class Withdrawn(Done, frozen=True, kw_only=True):
    """The result of ``withdraw``."""

    how: str = ""
    """What was done: yanked, deprecated, deleted, …; empty where a person has to."""
    address: str = ""
    """Where a person can do it."""


class ToolFailure(Exception):
    """The work was done properly and its result is no: a test failed, a check was red.

    ``done`` is what the verb leaves behind all the same, such as the report of the failed tests.
    """

    def __init__(self, reason: str = "", done: Done | None = None, *, trouble: str = "") -> None:
        """``trouble``: as ``Held.trouble``, where a target did not take something."""
        super().__init__(reason)
        self.done = Done(details={"trouble": trouble}) if trouble else done


class Applied(Done, frozen=True, kw_only=True):
    """The result of ``apply``: a mutable component is as this version wants it. Where it cannot come to that,
    ``ToolFailure`` with one of these says how far it came; without one it counts as changed in part."""

    changed: bool = True
    """Whether anything is different now."""
    reversible: bool = False
    """What was changed can be taken back by ``apply`` of the version before."""
    outputs: dict[str, str] = {}
    """What other components are told, such as ``{"host": …}``; recorded."""
    secret_outputs: dict[str, str] = {}
    """The same for what must not be written down: it stays in memory, and another process asks again."""
    last: str = ""
    """Where it failed: the last step that was done whole."""
    open: str = ""
    """Where it failed: the step at which it stopped."""


class Previewed(Done, frozen=True, kw_only=True):
    """The result of ``preview``: what ``apply`` would do. It changes nothing."""

    changes: tuple[str, ...] = ()
    """One line for people for each; empty: nothing would change."""
    destroys: bool = False
    """Something would be destroyed that cannot be made again: the deployment stops (3)."""
    refuses: str = ""
    """By which rule ``apply`` would refuse what this version wants: the deployment stops (3) before anything is
    changed."""


class Created(Done, frozen=True, kw_only=True):
    """The result of ``create``: one instance of an immutable component runs, and gets no traffic yet."""

    address: str = ""
    """``host:port``, or a URL, where it answers; empty where nothing asks it."""


class ObservedResource(msgspec.Struct, frozen=True, kw_only=True):
    """One instance as it was found, by the label that ``create`` gave it; of a balancer: a server of it."""

    id: str
    """``ctx.resource`` of whoever created it."""
    version: str = ""
    """What it says it runs; empty where it does not say."""
    digest: str = ""
    """SHA-256 of what it runs, in hexadecimal digits; empty where it is not known."""
    address: str = ""
    """Where it answers, as ``Created.address``."""
    weight: int | None = None
    """At a balancer: what it gets. None where that is not known here."""
    healthy: bool | None = None
    """Whether it is well; None where nobody asked it."""


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """What an environment says it runs (``observe``). Empty version: nothing runs there."""

    version: str = ""
    """What runs there; of a component each resource says its own."""
    digest: str = ""
    """SHA-256 of what runs, in hexadecimal digits; empty where it is not known."""
    uri: str = ""
    """Where it answers."""
    healthy: bool | None = None
    """Whether it is well; None where nobody asked it."""
    resources: tuple[ObservedResource, ...] = ()
    """Of a component: everything with our labels, also what stands still."""
    turn: int = 0
    """Of a balancer: the turn that was last written there with the weights."""
    details: dict[str, Any] = {}
    """Further facts for people (JSON values, no secrets)."""


class ArtifactRef(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact of this run, present as a local file that was checked against its digest."""

    name: str
    """The name in ``produces``."""
    path: Path
    """The file, absolute; not to be changed."""
    sha256: str
    """Its digest, 64 hexadecimal digits."""
    size: int
    """In bytes."""
    purl: str = ""
    """Its package URL."""


class EnvironmentRef(msgspec.Struct, frozen=True, kw_only=True):
    """The environment a verb works in."""

    name: str
    """The name in cx.toml, such as ``production``."""
    instance: str
    """Distinct per run for per-run environments, equal to ``name`` for lasting ones."""
    lifetime: str
    """``per-run`` or ``lasting``."""
    folder: Path
    """A folder on this machine that tools may use for this environment; outlives the run."""
    uri: str = ""
    """Where it answers: what this run deployed says so, else cx.toml, else history; empty where nobody did."""
    handles: Mapping[str, Any] = {}
    """What ``intend`` made durable for what exists in this environment, by tool. Where a tool made several
    things: of what serves, else the newest; that of its own stage a verb finds as ``ctx.handle``."""


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """How a process started by ``ctx.exec`` ended."""

    code: int
    """Its exit code; the negative number of the signal that ended it."""
    output: str
    """The last part of its output (at most 64 KiB), secrets masked."""

    def require(self, what: str) -> None:
        """Raise ToolFailure where ``what`` was run and says no, Trouble where it was killed or could not be run."""
        outcome = outcome_of(self.code)
        if outcome == Outcome.FAILURE:
            raise ToolFailure(f"{what} ended {self._words}")
        if outcome == Outcome.ERROR:
            raise Trouble(
                f"{what} ended {self._words}",
                why=NOT_RUN.get(self.code, "something outside of it ended it"),
                hint="put that right, then run it again",
            )

    @property
    def _words(self) -> str:
        return f"by signal {-self.code}" if self.code < 0 else f"with exit code {self.code}"


class Context(Protocol):
    """What a verb is given. Everything a tool may do to the outside goes through it."""

    version: str
    """The version of the run, as its scheme writes it: ``2.7.14``."""
    run: str
    """Id of the run, a UUID."""
    revision: str
    """The commit it releases, 40 hexadecimal digits."""
    stage: str
    """Name of the stage; of a target that of its publication; empty for ``provision`` of an environment."""
    deliverable: str
    """Name of the product."""
    checkout: Path
    """The working folder of this stage: the clean checkout. Verbs that take something away on another day
    have none, and find ``scratch`` here."""
    scratch: Path
    """An empty folder for this verb. It is gone when the run has ended, however that ends."""
    options: Any
    """The validated ``with`` table, an instance of the tool's ``Options``."""
    environment: EnvironmentRef | None
    """Where the verb works; None for a stage without one."""
    artifacts: Mapping[str, ArtifactRef]
    """What the stages made that this one waits for, by name."""
    handle: Any
    """What ``intend`` made durable: of what is to go, or of what was made in place."""
    resource: str
    """The id of what this verb makes or takes away, drawn before it is made: label it with that. Empty for
    verbs that make nothing."""
    turn: int
    """The number of the turn at the environment; it only rises, so that whatever is changed can refuse a
    lower one. 0 where no other machine was asked."""
    component: str
    """The component that a verb is for; of ``rotate`` and ``drain`` the one whose instances stand behind the
    balancer. A deploy stage with a tool of its own is one, too. Empty for other stages."""
    behind: str
    """The balancer's own name, where ``component`` stands behind it and the balancer is asked. A tool that creates
    and rotates stands before its own instances: then it is the same."""
    host: str
    """Where an instance is, or is to be, made; empty where the component names no hosts."""
    back: bool
    """The deployment goes back to an older version: ``apply`` says its outputs, and need not undo what a newer
    version changed in place."""
    ahead: bool
    """Of ``preview`` and ``apply``: somebody said that what is changed in place may be ahead of this version."""
    artifact: ArtifactRef | None
    """What ``create`` and ``apply`` are to run; None where the component has no artifact."""
    variables: Mapping[str, str]
    """What the instance is to find in its environment; may hold secrets, so by file or pipe."""
    secret_variables: tuple[str, ...]
    """Which of ``variables`` hold a secret: not for arguments, labels or what anybody can inspect."""
    wanted: Mapping[str, int]
    """For ``rotate``: the weight of each instance. It is all of them: one that is not named gets nothing."""
    addresses: Mapping[str, str]
    """Where each instance answers, by its id."""
    components: Mapping[str, Mapping[str, str]]
    """What the components that were applied before this one said (``Applied.outputs`` and the secret ones)."""
    notes: Mapping[str, str]
    """For ``publish`` to a target: what the version brings, as ``markdown`` and as ``plain`` text. What commits
    say in it is no markup. Empty where nothing can be told."""
    put: tuple[str, ...]
    """For ``publish`` to a target: the names, as ``ask`` gave them, of what it lacks. Nothing else is put."""
    secrets: Mapping[str, str]
    """By name: those that stage, component or environment list, and those of ``Tool.secrets``."""
    timeout: float
    """Seconds left for this verb, as they were when it began."""

    def exec(
        self,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        timeout: float | None = None,
    ) -> Completed:
        """Run a process to its end; the only way to start one. Output goes to the stage's log.

        ``check`` raises ToolFailure when the exit code is not 0, Trouble where it was killed from outside or could not
        be run (126, 127).
        """

    def daemon(
        self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path
    ) -> int:
        """Start a process that outlives this stage (a service) in a session of its own. Its pid."""

    def progress(self, text: str) -> None:
        """A line for people; also in the log."""

    def intend(self, handle: Any) -> None:
        """Make a JSON handle durable *before* the side effect it describes. Returns when it is."""


class Tool:
    """The base of all tools. Stateless: a verb may run in another process on another day."""

    name: ClassVar[str]
    """What ``tool`` in cx.toml calls it: small letters, digits, and ``-`` between them."""
    api: ClassVar[int] = API
    """The version of the interface it is made for."""
    title: ClassVar[str] = ""
    """A few words for people."""

    class Options(Options, frozen=True):
        """The ``with`` table of a stage that uses this tool."""

    secrets: ClassVar[tuple[str, ...]] = ()
    """Names of secrets the tool wants beyond those its stage lists."""
    here: ClassVar[bool] = False
    """What it makes lives on the machine that made it, and no other machine can take it away."""
    place: ClassVar[int] = 0
    """Of several targets those with a greater number come later, and only when all before them hold
    everything: 1 for a tag, 2 for what announces a version."""
    by_options: ClassVar[bool] = False
    """It can do those of its verbs alone whose name is an option with a value."""
    shell: ClassVar[bool] = False
    """Texts among its options are read by a shell: placeholders in them are refused, as no value may turn into
    shell code."""
    outputs: ClassVar[tuple[str, ...]] = ()
    """All that ``apply`` may say in ``outputs`` and ``secret_outputs``: placeholders for anything else are refused
    before anything runs. Empty where that is not known beforehand."""
    executables: ClassVar[tuple[str, ...]] = ()
    """Programs that must be on PATH; ``doctor`` looks for them."""


def verbs_of(tool: type[Tool], options: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """The verbs a tool class can do, in the order of ``VERBS``; with ``options`` those it can do with them."""
    can = tuple(verb for verb in VERBS if callable(getattr(tool, verb, None)))
    if options is None or not tool.by_options:
        return can
    return tuple(verb for verb in can if options.get(verb))
