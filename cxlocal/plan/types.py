"""The plan: a pipeline with every setting settled, as it is frozen into a run.

Placeholders stand unresolved and secrets stand as sources, so that a plan can be kept in the
journal for ever. Fields are only ever added, each with a default: an older plan can be read by
every newer cxlocal.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from cxlocal.values import Protocol

FORMAT = 2
"""Raised only when a plan could be misread by an older cxlocal."""

PLAIN_FORMAT = 1
"""Of plans without components, which every cxlocal can read."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all parts of a plan."""


class Stamp(Part, frozen=True, kw_only=True):
    """Where the version is written: ``key`` (dotted) or ``pattern`` (one group) is not empty."""

    file: str
    key: str = ""
    pattern: str = ""


class VersionRule(Part, frozen=True, kw_only=True):
    """How versions of this deliverable look."""

    scheme: str = "semver"
    line: str = "0.1"
    first: int = 0
    reserve: int = 3
    ahead: int = 100
    when_empty: str = "stop"
    stamp: tuple[Stamp, ...] = ()


class Output(Part, frozen=True, kw_only=True):
    """An artifact a stage makes. ``path`` (may hold ``*`` and ``?``) is empty for tools."""

    name: str
    path: str = ""


class ReportRule(Part, frozen=True, kw_only=True):
    """A report a stage leaves behind."""

    format: str
    path: str


class Cache(Part, frozen=True, kw_only=True):
    """A folder brought into the checkout; named by the content of ``key_files``."""

    path: str
    key_files: tuple[str, ...]


class Stage(Part, frozen=True, kw_only=True):
    """A node of the graph with all its settings."""

    name: str
    kind: str = "task"
    """build, test, deploy, publish or task. For tools ``bind`` fills in what the tool does."""
    command: str | tuple[str, ...] | None = None
    """Text for ``/bin/sh -eu -c``, words without a shell, or None for a tool."""
    tool: str = ""
    verb: str = ""
    """What the tool is asked to do; empty until ``bind`` has seen the tool, and for commands."""
    options: dict[str, Any] = {}
    """The ``with`` table, placeholders unresolved."""
    needs: tuple[str, ...] = ()
    """As written."""
    requires: tuple[str, ...] = ()
    """Promotions the version must hold when the stage starts."""
    waits_for: tuple[str, ...] = ()
    """Stages that must have succeeded: needs, and those that earn what it requires. File order."""
    environment: str = ""
    produces: tuple[Output, ...] = ()
    artifacts: tuple[str, ...] = ()
    """Artifacts made by the stages it waits for, directly or through others; where these make none, and
    it requires a promotion, all that the version has by then. Sorted."""
    reports: tuple[ReportRule, ...] = ()
    allow_empty: bool = False
    """Reports without a test are no failure."""
    parts: tuple[str, ...] = ()
    parts_total: int = 0
    """The parts that single commands report: their names, or how many there are; 0: not said."""
    retries: int = 0
    timeout_seconds: int = 3600
    """For one attempt."""
    secrets: tuple[str, ...] = ()
    pass_env: tuple[str, ...] = ()
    isolated: bool = False
    caches: tuple[Cache, ...] = ()
    target: str | UnsetType = UNSET
    """The target it publishes to, whose settings are its own; unset, and not written, for any other."""

    @property
    def publishes_to(self) -> str:
        """The target it publishes to; empty for none."""
        return "" if self.target is UNSET else self.target

    @property
    def place(self) -> str:
        """The environment or the target it changes; empty for neither."""
        return self.environment or self.publishes_to

    @property
    def by_components(self) -> bool:
        """It deploys the components of its environment; it has no command and no tool of its own."""
        return self.rotates and not self.tool

    @property
    def rotates(self) -> bool:
        """It deploys components: those of its environment, or the one that its own tool makes of it."""
        return self.kind == "deploy" and self.command is None


class Promotion(Part, frozen=True, kw_only=True):
    """A decision. With no ``after`` a person gives it."""

    name: str
    title: str = ""
    after: tuple[str, ...] = ()


class RolloutStep(Part, frozen=True, kw_only=True):
    """What the new instances get together, in percent, and how long it stays so."""

    weight: int
    hold_seconds: int = 0


class Component(Part, frozen=True, kw_only=True):
    """A named piece that every environment has."""

    name: str
    tool: str
    options: dict[str, Any] = {}
    """Placeholders unresolved."""
    mutable: bool = False
    artifact: str = ""
    count: int = 1
    hosts: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    behind: str = ""
    env: dict[str, str] = {}
    """Placeholders unresolved."""
    secrets: tuple[str, ...] = ()
    pass_env: tuple[str, ...] = ()
    health: str = ""
    """A path, ``tcp``, or empty."""
    check: str = ""
    rollout: tuple[RolloutStep, ...] = ()
    drain_seconds: int = 30
    keep_old_seconds: int = 0
    timeout_seconds: int = 3600
    """For one verb, and for becoming healthy."""
    was: str | UnsetType = UNSET
    """Its name in earlier plans; unset where it had no other."""
    min_hosts: int | UnsetType = UNSET
    """On how many of its hosts instances must be made; unset: on all."""
    overlap: bool | UnsetType = UNSET
    """False: the old ones are stopped before new ones are made; unset: they run beside each other."""
    itself: bool | UnsetType = UNSET
    """True, filled in by ``bind``: its tool applies an artifact and creates nothing, so it rotates itself."""

    @property
    def rotates_itself(self) -> bool:
        """Its tool brings one version in the place of another, and there is only the one place."""
        return self.itself is True

    @property
    def in_place(self) -> bool:
        """It has no instances that come and go: it is changed in place, or rotates itself."""
        return self.mutable or self.rotates_itself

    @property
    def is_given(self) -> bool:
        """It was made by somebody else, and is never made or destroyed from here."""
        from cxlocal.events.resources import ADDRESS

        return self.mutable and bool(self.options.get(ADDRESS))


class Difference(Part, frozen=True, kw_only=True):
    """What is different of a component in one environment; unset: nothing is."""

    options: dict[str, Any] | UnsetType = UNSET
    """In place of those of the same name."""
    count: int | UnsetType = UNSET
    hosts: tuple[str, ...] | UnsetType = UNSET
    min_hosts: int | UnsetType = UNSET
    env: dict[str, str] | UnsetType = UNSET
    secrets: tuple[str, ...] | UnsetType = UNSET
    pass_env: tuple[str, ...] | UnsetType = UNSET
    health: str | UnsetType = UNSET
    check: str | UnsetType = UNSET
    rollout: tuple[RolloutStep, ...] | UnsetType = UNSET
    drain_seconds: int | UnsetType = UNSET
    keep_old_seconds: int | UnsetType = UNSET
    timeout_seconds: int | UnsetType = UNSET


class Environment(Part, frozen=True, kw_only=True):
    """A place versions are deployed to."""

    name: str
    title: str = ""
    lifetime: str = "lasting"
    """``per-run`` or ``lasting``."""
    protected: bool = False
    """``run`` stops before it unless told to go on."""
    live: bool | UnsetType = UNSET
    """What is here is what people use; unset: the last lasting one is, and it is not written."""
    tool: str = ""
    options: dict[str, Any] = {}
    uri: str = ""
    secrets: tuple[str, ...] = ()
    timeout_seconds: int = 3600
    """For provisioning and for destroying."""
    expires_seconds: int | UnsetType = UNSET
    """For how long nothing may be heard of a run before its environment counts as left behind; unset: as
    ``EXPIRES_SECONDS`` says, and not written, so that plans that do not name it stay the same."""
    components: dict[str, Difference] | UnsetType = UNSET
    """What is different of components here; unset where nothing is."""
    check: str | UnsetType = UNSET
    """A command that judges what serves here; unset where there is none."""

    def instance(self, run: str) -> str:
        """Its id: its name, and the run's where it lives for one run only."""
        return f"{self.name}-{run[:8]}" if self.lifetime == "per-run" else self.name


class Target(Part, frozen=True, kw_only=True):
    """A place versions are published to."""

    name: str
    title: str = ""
    tool: str = ""
    options: dict[str, Any] = {}
    secrets: tuple[str, ...] = ()
    pass_env: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    """What is published there, sorted; for a stage with ``artifacts`` of its own those count."""
    requires: tuple[str, ...] = ()
    protected: bool = True
    """``run`` stops before it unless told to go on."""
    timeout_seconds: int = 3600


class Bump(Part, frozen=True, kw_only=True):
    """A commit after the release: the version in the stamped files, and in the changelog."""

    changelog: str = ""
    branch: str = ""
    message: str = ""
    needs: tuple[str, ...] = ()
    """Stages that must have succeeded; all of the plan if empty."""


LAST_LINES = 40
"""Of the log of a stage that failed, where ``[keep] tail`` does not say otherwise."""


class Plan(Part, frozen=True, kw_only=True):
    """A whole pipeline, resolved."""

    format: int = PLAIN_FORMAT
    deliverable: str
    title: str = ""
    owner: str = ""
    paths: tuple[str, ...] = ()
    version: VersionRule = VersionRule()
    remotes: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    """Git filters that worked in the checkout, beside Git LFS."""
    workspace: str = "checkout"
    """``checkout`` or ``in-place``."""
    stages: tuple[Stage, ...] = ()
    """In the order of the file."""
    promotions: tuple[Promotion, ...] = ()
    environments: tuple[Environment, ...] = ()
    secrets: dict[str, dict[str, Any]] = {}
    """Name to its source, such as ``{"env": "DEPLOY_TOKEN"}``; never a value."""
    tail: int | msgspec.UnsetType = msgspec.UNSET
    """Lines that are kept of a stage that failed; unset for ``LAST_LINES``."""
    links: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    """What the pages link to: kind to template; unset without any."""
    targets: tuple[Target, ...] | UnsetType = UNSET
    """In the order of the file; unset, and not written, without any."""
    components: tuple[Component, ...] | msgspec.UnsetType = msgspec.UNSET
    """The pieces of every environment, each after those it needs; unset without any."""

    @property
    def published_to(self) -> tuple[Target, ...]:
        """The targets, in the order of the file."""
        return () if self.targets is UNSET else self.targets

    @property
    def protected(self) -> frozenset[str]:
        """The environments and targets that ``run`` stops before."""
        places = [one.name for one in self.environments if one.protected]
        return frozenset([*places, *(one.name for one in self.published_to if one.protected)])

    @property
    def tools(self) -> tuple[str, ...]:
        """The tools that it names, each once."""
        found = [stage.tool for stage in self.stages]
        found += [one.tool for one in self.environments]
        found += [one.tool for one in self.published_to]
        found += [one.tool for one in self.shared_components]
        return tuple(name for name in dict.fromkeys(found) if name)

    def target(self, name: str) -> Target:
        """The target of this name. Raises KeyError."""
        return _named(self.published_to, name)

    bump: Bump | msgspec.UnsetType = msgspec.UNSET
    """The commit after the release; unset, and not written, without one."""

    @property
    def last_lines(self) -> int:
        """How many lines are kept of a stage that failed."""
        return LAST_LINES if self.tail is msgspec.UNSET else self.tail

    @property
    def shared_components(self) -> tuple[Component, ...]:
        """The components without what environments say differently; each after those it needs."""
        return () if self.components is UNSET else self.components

    def stage(self, name: str) -> Stage:
        """The stage of this name. Raises KeyError."""
        return _named(self.stages, name)

    def environment(self, name: str) -> Environment:
        """The environment of this name. Raises KeyError."""
        return _named(self.environments, name)

    def promotion(self, name: str) -> Promotion:
        """The promotion of this name. Raises KeyError."""
        return _named(self.promotions, name)

    def stages_in(self, environment: str) -> tuple[Stage, ...]:
        """The stages that work in an environment, in the order of the file."""
        return tuple(stage for stage in self.stages if stage.environment == environment)

    def beside(self, stage: Stage) -> frozenset[str]:
        """The other stages that deploy into the environment of ``stage``."""
        there = [one.name for one in self.stages_in(stage.environment) if one.kind == "deploy"]
        return frozenset(there) - {stage.name}

    def service_of(self, stage: Stage) -> str:
        """What a deploy stage with a command or a tool of its own deploys is named after the deliverable, or
        after the stage where several deploy there."""
        return stage.name if self.beside(stage) else self.deliverable

    def publishing(self, target: str) -> Stage:
        """The stage that publishes to a target; where none does, one that could, outside of a run."""
        for stage in self.stages:
            if stage.publishes_to == target:
                return stage
        one = self.target(target)
        return Stage(
            name=target, kind="publish", tool=one.tool, verb="publish", options=one.options,
            requires=one.requires, artifacts=one.artifacts, secrets=one.secrets, pass_env=one.pass_env,
            timeout_seconds=one.timeout_seconds, target=target,
        )  # fmt: skip

    def maker(self, artifact: str) -> Stage | None:
        """The stage that makes an artifact."""
        for stage in self.stages:
            if any(output.name == artifact for output in stage.produces):
                return stage
        return None


class _HasName(Protocol):
    @property
    def name(self) -> str: ...


_P = TypeVar("_P", bound=_HasName)


def _named(parts: tuple[_P, ...], name: str) -> _P:
    for part in parts:
        if part.name == name:
            return part
    raise KeyError(name)
