"""What is to be run: repository, revision, the configuration of that revision, and its plan."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxlocal.config.load import parse, read
from cxlocal.config.settings import Settings, settings
from cxlocal.config.types import Config, SecretSource
from cxlocal.domain import Actor
from cxlocal.errors import ConfigError, NotSignedIn, Refused, Trouble, UsageError
from cxlocal.exchange import journals
from cxlocal.exchange import open as opening
from cxlocal.exchange.contact import refuse_elsewhere
from cxlocal.hooks.manager import Manager, load
from cxlocal.hooks.place import Place
from cxlocal.hooks.registered import find_tool, readers, schemes, stores
from cxlocal.hooks.trust import FOLDER, ProjectPlugins, as_project
from cxlocal.numbers.schemes import Scheme, scheme_named
from cxlocal.revision import early
from cxlocal.revision.repository import (
    Repository,
    Revision,
    list_files,
    open_repository,
    read_file,
    read_files,
    resolve,
)
from cxlocal.revision.settings import user
from cxlocal.text import utc_text
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.allocation.borrower import Lender
    from cxlocal.clock import Clock, Ids
    from cxlocal.exchange.store import Store
    from cxlocal.hooks.registered import FoundReader
    from cxlocal.journal.file import Journal
    from cxlocal.plan.types import Component, Environment, Plan, Stage, Target
    from cxlocal.runner.voice import Voice


class Machine(NamedTuple):
    """What a run needs to know of the process it runs in."""

    root: Path
    """The folder of cx.toml in the working tree."""
    local: str | None
    """The ``cx.local.toml`` beside it, if it counts."""
    home: Path
    environ: Mapping[str, str]
    clock: Clock
    ids: Ids
    blocked: tuple[str, ...]
    """Plugins left out by ``-p no:NAME``."""
    voice: Voice
    command: str
    """What was typed."""
    fresh: bool
    """The journal was made by this command."""


class Source(NamedTuple):
    """A revision and what its configuration says."""

    repository: Repository
    revision: Revision
    config: Config
    settings: Settings
    manager: Manager
    place: Place
    actor: Actor
    kept: bool
    """False on a passing machine."""
    name: str
    """What was asked for, such as HEAD."""
    tree: bool = False
    """The configuration is that of the working tree (rehearsal)."""
    tags: tuple[str, ...] | None = None
    """Those of the remote, as far as the proof of the push listed them."""

    @property
    def file(self) -> str:
        """How the configuration is called in messages."""
        return "cx.toml" if self.tree else f"cx.toml at {self.revision.commit[:8]}"

    @property
    def branch(self) -> str:
        """The branch that is checked out; of none, the one that the CI server says of this very commit."""
        told = self.place.branch if self.place.revision == self.revision.commit else ""
        return self.revision.branch or told


def open_source(
    machine: Machine,
    name: str,
    flags: Mapping[str, Any],
    *,
    tree: bool = False,
    push: str = "",
    runs_stages: bool = False,
) -> Source:
    """Read what ``name`` (HEAD, a branch, whatever a plugin knows) means.

    ``tree`` takes the configuration from the working tree instead (rehearsal). ``push`` says that a
    proof of the push will be asked for next, ``online`` or ``offline``: the questions are begun
    here, for a caller inside ``early_questions``. ``runs_stages``: the caller does, so programs
    that the repository's own configuration names may reach its remote, as they may on a CI server.
    Raises UsageError and ConfigError.
    """
    asked = name
    repository = open_repository(machine.root, believed=runs_stages)
    manager: Manager | None = None
    if name != "HEAD":
        # Only a plugin of the machine can know the name: the project's are not known before it.
        manager = load(machine.environ, no=machine.blocked, warn=machine.voice.warn_once)
        found = manager.first("cxlocal_resolve_revision", repository=repository.root, name=name)
        name = str(found) if found else name
    revision = resolve(repository, name)
    if tree:
        config = read(str(machine.root / "cx.toml"))
    else:
        path = os.path.join(repository.prefix, "cx.toml")
        of_commit = early.read_file if push else read_file
        content = of_commit(repository, revision.commit, path)
        if content is None:
            raise UsageError(
                f"commit {revision.commit[:12]} has no {path}",
                why="the process comes from the revision, never from the working tree",
                hint=f"git add {path} && git commit && git push -u origin HEAD;"
                " or try it first: cxlocal rehearse",
                name="no-config-in-revision",
            )
        config = parse(content, file=f"cx.toml at {revision.commit[:8]}")
    if push:
        remotes = config.scm.remotes if push == "online" else None
        # What is not committed is only told of, by a run that has a checkout.
        tells = runs_stages and config.defaults.workspace == "checkout"
        paths = config.deliverable.paths if tells else None
        early.ask_about_push(repository, remotes, paths)
    chosen = settings(config, local=machine.local, environ=machine.environ, flags=flags)
    manager = load(
        machine.environ,
        block=config.plugins.block,
        no=machine.blocked,
        warn=machine.voice.warn_once,
    )
    place = find_place(manager, machine.environ)
    actor = find_actor(machine.environ, place, partial(user, repository.root))
    kept = not is_passing(machine.environ, place, machine.fresh)
    repository = repository._replace(believed=runs_stages or place.kind != "laptop")
    return Source(repository, revision, config, chosen, manager, place, actor, kept, asked, tree)


def find_actor_at(folder: Path, environ: Mapping[str, str]) -> Actor:
    """On whose behalf something is said in ``folder`` that needs neither a project nor its plugins."""
    return find_actor(environ, LAPTOP, partial(user, folder))


def open_store(
    source: Source, machine: Machine, journal: Journal | None, *, offline: bool = False
) -> Store | None:
    """The store the settings name; None where it is not to be asked (``offline``), which means
    nothing for one on this machine. ``journal``: None where there is none yet.

    Raises ConfigError for a kind nobody speaks, and Refused where a passing machine has none that
    outlives it, where only the repository names it, and where the journal belongs to another: then
    no number may come from here either.
    """
    if not offline and not source.kept and opening.is_own(source.settings.store_url):
        raise Refused(
            "this machine has no store that outlives it",
            why="it is a passing machine (a CI job with an empty home folder) and [store] url is not"
            " set: the next job would hand out the same numbers",
            hint="set [store] url (see docs/numbers.md), or CXLOCAL_NODE=kept where the home folder"
            " stays",
            name="store-passes",
        )
    store = opening.open_store(_access(source, machine))
    try:
        if journal is not None:
            at_home = journals.Place(machine.home, machine.environ, machine.clock, machine.ids)
            journals.require_own(journal, at_home, source.settings.store_url)
            refuse_elsewhere(journal, store)
    except Refused:
        store.close()
        raise
    # The machine's own store is not away when the network is: only who holds a reserve of it on
    # purpose wants that to be spent.
    own = opening.is_own(source.settings.store_url)
    held = opening.reserve_size(source.config, source.settings)
    if offline and (held or not own or not source.kept):
        store.close()
        return None
    return store


def lender_finder(source: Source, machine: Machine) -> Callable[[], Lender] | None:
    """What opens the machine that lends numbers; None where a machine needs none or has none."""
    if source.kept or not source.settings.store_lender:
        return None
    return lambda: opening.open_lender(_access(source, machine))


def _access(source: Source, machine: Machine) -> opening.Access:
    known = stores(source.manager)
    return opening.Access(source.settings, known, machine.home, machine.environ, machine.root)


def make_plan(machine: Machine, source: Source, folder: Path | None) -> Plan:
    """The plan, with tools bound and their options checked; plugins of the project in ``folder``, or
    as they are in the revision where it is None.

    Raises ConfigError, and Refused for plugins nobody trusted or that are required and absent.
    """
    from cxlocal.plan.resolve import resolve

    load_own_plugins(machine, source, folder)
    plan = resolve(source.config, file=source.file, today=today(machine.clock))
    find_scheme(source.manager, plan)
    if not plan.tools:
        return plan
    from cxlocal.hooks.options import check_options
    from cxlocal.plan.bind import bind

    return bind(plan, partial(find_tool, source.manager), check_options, file=source.file)


def load_own_plugins(machine: Machine, source: Source, folder: Path | None) -> None:
    """Load the plugins of the project: those in ``folder``, or as they are in the revision where it
    is None. Then every plugin that the project requires must be here.

    Raises ConfigError for a broken one, Refused for those nobody trusted, and for one that is
    required and takes no part.
    """
    plugins = plugins_of_revision(source, machine.root) if folder is None else folder
    source.manager.add_project(plugins, machine.home)
    source.manager.require(source.config.plugins.require)


def plugins_of_revision(source: Source, root: Path) -> ProjectPlugins:
    """The plugins the revision brings, for whoever makes no checkout of it."""
    under = os.path.join(source.repository.prefix, FOLDER)
    commit = source.revision.commit
    names = list_files(source.repository, commit, under)
    contents = read_files(
        source.repository, commit, (name for name in names if os.path.dirname(name) == under)
    )
    sources = {os.path.basename(name): content or b"" for name, content in contents.items()}
    return as_project(root / FOLDER, sources)


def find_scheme(manager: Manager, plan: Plan) -> Scheme:
    """The version scheme of a plan, ours or a plugin's. Raises ConfigError."""
    return scheme_named(plan.version.scheme, schemes(manager).values())


def today(clock: Clock) -> tuple[int, int, int]:
    """Year, month and day in UTC."""
    year, month, day = utc_text(clock.now_ms())[:10].split("-")
    return int(year), int(month), int(day)


def find_readers(manager: Manager, plan: Plan) -> dict[str, FoundReader]:
    """Readers by format. Raises ConfigError when a stage writes a format nobody reads."""
    wanted = {rule.format: stage.name for stage in plan.stages for rule in stage.reports}
    if not wanted and not any(stage.tool for stage in plan.stages):
        return {}
    known = readers(manager)
    for form, stage in wanted.items():
        if form not in known:
            raise ConfigError(
                f"stage {stage}: nobody reads reports of the format {form!r}",
                why=f"there are readers for {', '.join(sorted(known)) or 'nothing'}",
                hint="correct 'reports', or install a plugin that reads it",
                name="no-report-reader",
            )
    return known


def _users(
    plan: Plan, stages: frozenset[str], targets: Collection[str]
) -> Iterator[Stage | Environment | Target | Component]:
    """Whatever is given something where ``stages`` and ``targets`` are carried out."""
    places = {plan.stage(name).environment for name in stages}
    yield from (one for one in plan.stages if one.name in stages)
    yield from (one for one in plan.environments if one.name in places)
    yield from (one for one in plan.published_to if one.name in targets)
    for stage in plan.stages:
        if stage.name in stages and stage.by_components:
            from cxlocal.plan.components import components_in  # who has none needs none of this

            yield from components_in(plan, stage.environment)


def require_variables(
    machine: Machine, plan: Plan, stages: frozenset[str], targets: Collection[str] = ()
) -> None:
    """Raise ConfigError where a placeholder of what is about to run stands for a variable that is not set, so that
    it is noticed before a number is taken."""
    for one in _users(plan, stages, targets):
        texts = {"with": one.options, "env": getattr(one, "env", {})}
        if not any(texts.values()):
            continue
        from cxlocal.plan.placeholders import unset, used_variables  # plain commands have none

        for name in used_variables(texts):
            if name not in machine.environ:
                raise unset(name)


def find_secrets(
    machine: Machine, source: Source, plan: Plan, stages: frozenset[str], *, alone: bool = False,
    targets: Collection[str] = (),
) -> dict[str, str]:  # fmt: skip
    """The secrets that the stages about to run list, and the targets (``alone``: outside of a run). Raises ConfigError and Trouble, so that a
    missing one is noticed before a number is taken."""
    wanted: dict[str, None] = {}
    for one in _users(plan, stages, targets):
        wanted.update(dict.fromkeys(one.secrets))
        if one.tool:
            wanted.update(dict.fromkeys(find_tool(source.manager, one.tool).secrets))
    if not wanted:
        return {}
    try:
        return read_secrets(source.settings, wanted, machine.environ, machine.root, alone=alone)
    except Trouble as problem:
        published = [one for one in plan.stages if one.publishes_to and one.name in stages]
        published += [plan.publishing(name) for name in targets]
        if problem.data.get("secret") in {name for one in published for name in one.secrets}:
            raise NotSignedIn(
                problem.what, why=problem.why, hint=problem.hint, name=problem.name
            ) from problem
        raise


def read_secrets(
    chosen: Settings,
    wanted: Iterable[str],
    environ: Mapping[str, str],
    folder: Path,
    *,
    alone: bool = False,
) -> dict[str, str]:
    """The values of secrets that the settings name (``cxlocal.secrets.resolve``). Raises ConfigError
    and Trouble."""
    from cxlocal.secrets import resolve as resolve_secrets

    sources = {name: SecretSource(**one) for name, one in chosen.secrets.items()}
    return resolve_secrets(sources, wanted, environ=environ, folder=folder, alone=alone)


def refuse_stranger(known_root: str, found_root: str, deliverable: str) -> None:
    """A deliverable belongs to the repository it was first released from. Raises Refused."""
    if known_root and found_root and known_root != found_root:
        raise Refused(
            f"{deliverable!r} belongs to another repository",
            why=f"its first release came from a history that begins at {known_root[:12]}; this one"
            f" begins at {found_root[:12]}",
            hint="give this deliverable a name of its own in [deliverable]",
            name="other-repository",
        )


LAPTOP = Place("laptop")


def find_actor(
    environ: Mapping[str, str], place: Place, git_user: Callable[[], str] = lambda: ""
) -> Actor:
    """``CXLOCAL_ACTOR``, then what the CI server says, then git's user, then the login.

    ``git_user`` is only called where it is needed; it returns ``Name <mail>`` or nothing.
    """
    named = environ.get("CXLOCAL_ACTOR", "").strip()
    if named:
        return Actor(named, "CXLOCAL_ACTOR")
    if place.kind == "ci" and place.actor:
        return Actor(place.actor, f"said by {place.name}")
    user = git_user()
    if user:
        return Actor(user, "git config")
    return Actor(login(environ), "operating system")


def login(environ: Mapping[str, str]) -> str:
    """The login name of this process, else its user id."""
    for variable in ("LOGNAME", "USER"):
        if environ.get(variable):
            return environ[variable]
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def find_place(manager: Manager, environ: Mapping[str, str]) -> Place:
    """Which CI server this is, as the hook ``cxlocal_identify_ci`` says; else a laptop."""
    found = manager.first("cxlocal_identify_ci", environ=environ)
    return found if isinstance(found, Place) else LAPTOP


def is_passing(environ: Mapping[str, str], place: Place, fresh: bool) -> bool:
    """Whether this machine is a passing one: a recognised CI job with a fresh home, or told so.

    Raises UsageError for a value of ``CXLOCAL_NODE`` other than ``kept`` and ``passing``.
    """
    told = environ.get("CXLOCAL_NODE", "")
    if told not in ("", "kept", "passing"):
        raise UsageError(
            f"CXLOCAL_NODE is {told!r}",
            why="it says whether this machine keeps its journal: 'kept' or 'passing'",
            hint="set it to one of the two, or unset it",
            name="bad-node",
        )
    return told == "passing" if told else place.kind == "ci" and fresh
