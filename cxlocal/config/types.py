"""What may stand in ``cx.toml``: the tables, their keys, and a sentence about each.

These types are the truth about the file. The key list in ``docs/configuration.md`` and the JSON
Schema for editors are generated from them, and a key that is not here is refused. A key is added
only together with the code that obeys it.

They mirror the file as it is written (durations are text, ``with`` is a table); the plan
(``cxlocal.plan``) turns them into settled values.
"""

# Tables are structs: a default is copied for each, which is not seen across modules.
# ruff: noqa: RUF012

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from cxlocal.config.component_types import Component, Difference
from cxlocal.config.tables import Duration, Names, Table, says
from cxlocal.numbers.log import AHEAD_MAX, COUNT_MAX

FORMAT = 1
"""The value of ``cx`` this version reads."""


Jobs = Annotated[int, msgspec.Meta(ge=1, le=256)]
Attempts = Annotated[int, msgspec.Meta(ge=0, le=10)]
Parts = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]
Lends = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Kind = Literal["build", "test", "deploy", "publish", "task"]
WhenEmpty = Literal["stop", "suffix"]
Workspace = Literal["checkout", "in-place"]
Lifetime = Literal["per-run", "lasting"]
Whose = Literal["own", "all"]


class Deliverable(Table, frozen=True, kw_only=True):
    """The product whose versions are handed out."""

    name: Annotated[str, says("Names the deliverable everywhere; never changed later.")]
    title: Annotated[str, says("What readers of the pages see; the name, if left out.")] = ""
    owner: Annotated[str, says("Who to ask: a person, team or mail address.")] = ""
    paths: Annotated[
        Names,
        says("In a monorepo: the folders that belong to it, from the top of the repository."),
    ] = []


class Stamp(Table, frozen=True, kw_only=True):
    """A place in the checkout that the version is written to before the first stage."""

    file: Annotated[str, says("The file, from the folder of cx.toml.")]
    key: Annotated[
        str | None, says("Dotted path of a text value in a JSON or TOML file: `project.version`.")
    ] = None
    pattern: Annotated[
        str | None,
        says("A regular expression with one group; the group of its first match is replaced."),
    ] = None


class Version(Table, frozen=True, kw_only=True):
    """How versions look and where their numbers come from."""

    scheme: Annotated[
        str, says("`semver`, `pep440`, `calver`, `counter`, or the name of a plugin's scheme.")
    ] = "semver"
    line: Annotated[
        str | None,
        says(
            "The part before the counted number: `2.7` gives 2.7.0, 2.7.1 and so on. It may end in a"
            " channel, for pre-releases: `3.2.0rc` (pep440) gives 3.2.0rc1, `3.2.0-rc` (semver)"
            " 3.2.0-rc.1. calver takes a pattern such as `YYYY.MM`. Left out: `0.1`, for calver"
            " `YYYY.MM`, for counter nothing."
        ),
    ] = None
    first: Annotated[
        Annotated[int, msgspec.Meta(ge=0)] | str | None,
        says(
            "The first number, for those who counted before: `14`, or the version that has it,"
            ' `"2.7.14"`, which says nothing of other lines. Left out: 0, for pre-releases 1.'
        ),
    ] = msgspec.field(default=None, name="from")
    reserve: Annotated[
        Count | None,
        says(
            "How many numbers a kept machine holds for the day the store cannot be reached. Left out:"
            " 3, and none where the store is the machine's own.",
            "numbers",
        ),
    ] = None
    ahead: Annotated[
        int,
        says("How far above the online numbers reserves lie.", "numbers", ge=1, le=AHEAD_MAX),
    ] = 100
    when_empty: Annotated[
        WhenEmpty,
        says("Reserve used up and no store: `stop`, or a `suffix` (semver and counter only)."),
    ] = "stop"
    stamp: Annotated[list[Stamp], says("Where the version is written in the checkout.")] = []


class Scm(Table, frozen=True, kw_only=True):
    """Which repositories count as pushed to, and what their files need."""

    remotes: Annotated[
        Names,
        says(
            "Names of git remotes; any one that holds the commit suffices. Left out: `origin`,"
            " or the only remote."
        ),
    ] = []
    filters: Annotated[
        Names,
        says(
            "Git filters that files of the checkout need, such as `git-crypt`. No other runs;"
            " Git LFS works without."
        ),
    ] = []


class SecretSource(Table, frozen=True, kw_only=True):
    """Where a secret comes from; exactly one key."""

    env: Annotated[str | None, says("A variable of the environment cxlocal was called in.")] = None
    cmd: Annotated[list[str] | None, says("A command, without shell, that prints it.")] = None
    file: Annotated[str | None, says("A file that holds it; `~` is the home folder.")] = None
    keyring: Annotated[str | None, says("`service/user` in the keyring of this machine.")] = None


class Store(Table, frozen=True, kw_only=True):
    """The build data repository that hands out numbers and collects journals."""

    url: Annotated[str, says("Where the store is; left out: a store of this machine alone.")] = ""
    token: Annotated[
        SecretSource | None, says("Where the credential for the store comes from.")
    ] = None
    patience: Annotated[
        Duration | None,
        says(
            "How long a passing CI job waits for its number, and to send what it recorded; left out: `60s`.",
            "duration",
        ),
    ] = None
    lender: Annotated[
        str,
        says("The machine that numbers passing CI jobs while the store is down (`serve --lend`)."),
    ] = ""
    lender_token: Annotated[
        SecretSource | None, says("Where the credential for the lender comes from.")
    ] = None


class Defaults(Table, frozen=True, kw_only=True):
    """What holds for every stage that does not say otherwise."""

    timeout: Annotated[Duration, says("Time limit of one attempt of a stage.", "duration")] = "1h"
    retries: Annotated[Attempts, says("Further attempts after a failed one.", "attempts")] = 0
    isolated: Annotated[bool, says("Give each stage a checkout of its own.")] = False
    workspace: Annotated[
        Workspace,
        says("Where stages run: a clean `checkout`, or `in-place` (for CI; refuses a dirty tree)."),
    ] = "checkout"
    jobs: Annotated[
        Jobs | None,
        says("Stages run at the same time; left out: as many as there are processors.", "stages"),
    ] = None
    pass_env: Annotated[
        Names,
        says("Variables of the calling environment every stage gets; `LC_*` stands for a group."),
    ] = []


class Cache(Table, frozen=True, kw_only=True):
    """A folder that is brought into the checkout before a stage and kept after its success."""

    path: Annotated[str, says("The folder, from the folder of cx.toml.")]
    key_files: Annotated[
        Names, says("Files whose content names the cache: another content, another cache.")
    ]


class Stage(Table, frozen=True, kw_only=True):
    """A node of the pipeline: what is done, and what it waits for."""

    command: Annotated[
        str | list[str] | None,
        says("Text is run by `/bin/sh -eu -c`, a list without a shell."),
    ] = None
    tool: Annotated[str | None, says("The name of a tool, in place of `command`.")] = None
    options: Annotated[
        dict[str, Any],
        says("Options of the tool; texts may hold placeholders such as `{version}`."),
    ] = msgspec.field(default_factory=dict, name="with")
    kind: Annotated[
        Kind | None,
        says("What the stage does; left out: what its tool does, `task` for commands."),
    ] = None
    needs: Annotated[Names, says("Stages that must have succeeded before.")] = []
    requires: Annotated[
        str | Names,
        says("Promotions the version must hold; also waits for the stages that earn them."),
    ] = []
    environment: Annotated[str | None, says("The environment the stage works in.")] = None
    produces: Annotated[
        Names | dict[str, str],
        says(
            "Artifacts: names for a tool; for a command a table of name to path, where `*` and `?`"
            " must match exactly one file."
        ),
    ] = []
    reports: Annotated[
        dict[str, str | Names],
        says(
            "Reports the stage leaves behind: format to path or paths"
            ' (`junit = "junit.xml"`), where `*` and `?` match any number of files.'
        ),
    ] = {}
    allow_empty: Annotated[
        bool, says("Reports without a single test are fine; otherwise the stage has failed.")
    ] = False
    parts: Annotated[
        Parts | Names,
        says(
            "Parts that several jobs report by `cxlocal stage`: their names, or how many there are."
            " Left out: as many as the CI server says, or begin.",
            "parts",
        ),
    ] = []
    retries: Annotated[
        Attempts | None,
        says("Further attempts after a failed one; left out: as in [defaults].", "attempts"),
    ] = None
    timeout: Annotated[
        Duration | None,
        says("Time limit of one attempt; left out: as in [defaults].", "duration"),
    ] = None
    secrets: Annotated[Names, says("Secrets given to the stage as environment variables.")] = []
    pass_env: Annotated[
        Names, says("Further variables of the calling environment the stage gets.")
    ] = []
    target: Annotated[
        str | None, says("The target the stage publishes to, in place of `command` and `tool`.")
    ] = None
    isolated: Annotated[
        bool | None, says("Run in a checkout of its own; left out: as in [defaults].")
    ] = None
    caches: Annotated[list[Cache], says("Folders kept between runs.")] = []


class Promotion(Table, frozen=True, kw_only=True):
    """A decision about a version that later stages can require."""

    title: Annotated[str, says("What readers of the pages see; the name, if left out.")] = ""
    after: Annotated[
        Names, says("The stages that earn it; left out: a person gives it (`cxlocal promote`).")
    ] = []


class Environment(Table, frozen=True, kw_only=True):
    """A place that versions are deployed to."""

    title: Annotated[str, says("What readers of the pages see; the name, if left out.")] = ""
    lifetime: Annotated[
        Lifetime,
        says(
            "`per-run`: created before its first stage, destroyed after its last. `lasting`:"
            " updated."
        ),
    ] = "lasting"
    protected: Annotated[
        bool | None,
        says("`cxlocal run` stops before it unless told `--to`; left out: every lasting one."),
    ] = None
    live: Annotated[bool, says("What people use is here; else in the last lasting one.")] = False
    tool: Annotated[
        str | None, says("The tool that provisions and destroys a per-run environment.")
    ] = None
    options: Annotated[dict[str, Any], says("Options of that tool.")] = msgspec.field(
        default_factory=dict, name="with"
    )
    uri: Annotated[str, says("Where the environment answers, given to stages.")] = ""
    secrets: Annotated[Names, says("Secrets given to that tool, and to those of components.")] = []
    components: dict[str, Difference] = {}
    check: Annotated[
        str,
        says(
            "A command that must succeed once components serve here, or those before them serve again; it"
            " finds `CXLOCAL_ENVIRONMENT_URI`."
        ),
    ] = ""
    expires: Annotated[
        Duration | None,
        says(
            "Of a per-run one: when nothing was heard of its run for so long, it counts as left behind,"
            " and `cxlocal env reap` takes it away on any machine; left out: 24h.",
            "duration",
        ),
    ] = None


class Target(Table, frozen=True, kw_only=True):
    """A place that versions are published to, for good."""

    tool: Annotated[str, says("The tool that publishes there, and asks what is there.")]
    title: Annotated[str, says("What readers of the pages see; the name, if left out.")] = ""
    options: Annotated[dict[str, Any], says("Options of that tool.")] = msgspec.field(
        default_factory=dict, name="with"
    )
    secrets: Annotated[Names, says("Secrets given to that tool.")] = []
    pass_env: Annotated[
        Names, says("Variables of the calling environment it gets, such as `SSH_AUTH_SOCK`.")
    ] = []
    artifacts: Annotated[
        Names, says("The artifacts that are published there; left out: all that it may see.")
    ] = []
    requires: Annotated[
        str | Names, says("Promotions the version must hold before it goes there.")
    ] = []
    protected: Annotated[bool, says("`cxlocal run` stops before it unless told `--to`.")] = True


class Keep(Table, frozen=True, kw_only=True):
    """How long things stay on this machine; `cxlocal prune` removes what is older."""

    logs: Annotated[Duration, says("Logs of stages.", "duration")] = "90d"
    artifacts: Annotated[
        int,
        says(
            "Versions whose artifacts stay, beside what is live and its predecessor.",
            "versions",
            ge=0,
        ),
    ] = 5
    reports: Annotated[Duration, says("Reports.", "duration")] = "1y"
    checkouts: Annotated[int, says("Checkouts of failed runs.", "runs", ge=0)] = 3
    tail: Annotated[
        int,
        says(
            "Last lines of a failed stage that the pages show; they stay as long as reports.",
            "lines",
            ge=0,
            le=40,
        ),
    ] = 40


class Links(Table, frozen=True, kw_only=True):
    """Where the pages lead to: an `https` address with `{…}` in it (`docs/pages.md`)."""

    commit: Annotated[str, says("A commit: `{commit}`.")] = ""
    ticket: Annotated[
        str, says("A ticket named in a commit message, such as SHOP-12 or #12: `{ticket}`.")
    ] = ""
    log: Annotated[
        str, says("Logs of a stage: `{run}`, `{stage}`, `{from}`, `{to}` and so on.")
    ] = ""
    metric: Annotated[
        str, says("Figures of a stage: `{environment}`, `{from}`, `{to}` and so on.")
    ] = ""


class SinkTo(Table, frozen=True, kw_only=True):
    """Where one kind of record goes; several of them make a list."""

    to: Annotated[
        str, says("The address, which also says how it speaks: `journald+http://logs:19532`.")
    ]
    of: Annotated[
        Whose,
        says(
            "`own`: each machine delivers what it recorded itself. `all`: one machine delivers for"
            " all (the one whose cx.local.toml or variables say so), and the others leave it to that."
        ),
    ] = "own"
    token: Annotated[
        SecretSource | None, says("Where the credential for the receiver comes from.")
    ] = None
    ask: Annotated[
        str | None,
        says("Of logs: where they can be asked for: `journald+http://logs:19531`."),
    ] = None
    ask_token: Annotated[SecretSource | None, says("The credential there.")] = None
    options: Annotated[dict[str, Any], says("Options of the sink.")] = msgspec.field(
        default_factory=dict, name="with"
    )


class Sinks(Table, frozen=True, kw_only=True):
    """Where logs, figures, events and traces are delivered to (`docs/sinks.md`)."""

    events: Annotated[SinkTo | list[SinkTo] | None, says("Events, as CDEvents.")] = None
    logs: Annotated[SinkTo | list[SinkTo] | None, says("The lines of the logs of stages.")] = None
    metrics: Annotated[SinkTo | list[SinkTo] | None, says("Figures of runs and stages.")] = None
    spans: Annotated[SinkTo | list[SinkTo] | None, says("Runs and stages as traces.")] = None
    hold: Annotated[
        Duration | None,
        says("How long `prune` spares logs that a sink still awaits; left out: `7d`.", "duration"),
    ] = None


class Bump(Table, frozen=True, kw_only=True):
    """A commit after the release, with the version in the files it is stamped into, and in the changelog
    (`docs/notes.md`)."""

    changelog: Annotated[
        str, says("The changelog that gets a section of the version, from the folder of cx.toml.")
    ] = ""
    branch: Annotated[
        str, says("Where it is pushed to; left out: the branch that was released.")
    ] = ""
    message: Annotated[
        str, says("Its first line; `{version}` and `{deliverable}` may stand in it.")
    ] = "Release {version}"
    needs: Annotated[Names, says("Stages that must have succeeded before; left out: all.")] = []


class Pages(Table, frozen=True, kw_only=True):
    """The pages of `cxlocal browse` and `cxlocal export --site`."""

    zone: Annotated[str, says("Of times: `Europe/Berlin`, `+05:45`; else the machine's.")] = ""


class Plugins(Table, frozen=True, kw_only=True):
    """Which installed plugins take part."""

    block: Annotated[Names, says("Plugins that are not loaded.")] = []
    require: Annotated[
        Names, says("Plugins without which nothing runs: gates, for example. Or distributions.")
    ] = []


class Config(Table, frozen=True, kw_only=True):
    """The whole of `cx.toml`."""

    cx: Annotated[Literal[1], says("The format of this file.")]
    deliverable: Deliverable
    version: Version = Version()
    scm: Scm = Scm()
    store: Store = Store()
    defaults: Defaults = Defaults()
    stages: dict[str, Stage] = {}
    promotions: dict[str, Promotion] = {}
    environments: dict[str, Environment] = {}
    targets: dict[str, Target] = {}
    components: dict[str, Component] = {}
    secrets: dict[str, SecretSource] = {}
    keep: Keep = Keep()
    plugins: Plugins = Plugins()
    links: Links = Links()
    sinks: Sinks = Sinks()
    bump: Bump | None = None
    pages: Pages = Pages()


class LocalScm(Table, frozen=True, kw_only=True):
    """Repositories of this machine."""

    mirrors: Annotated[
        Names, says("Paths or URLs of repositories that count as remotes on this machine.")
    ] = []


class LocalStore(Table, frozen=True, kw_only=True):
    """The store as seen from this machine."""

    url: Annotated[str | None, says("As in cx.toml.")] = None
    token: Annotated[SecretSource | None, says("As in cx.toml.")] = None
    patience: Annotated[Duration | None, says("As in cx.toml.", "duration")] = None
    lender: Annotated[str | None, says("As in cx.toml.")] = None
    lender_token: Annotated[SecretSource | None, says("As in cx.toml.")] = None
    lends: Annotated[
        Lends | None,
        says("Numbers this machine holds for each line at least, to lend some.", "numbers"),
    ] = None


class LocalConfig(Table, frozen=True, kw_only=True):
    """`cx.local.toml` beside `cx.toml` (ignored by git), and the file of the user.

    They set how this machine takes part, never what a release is.
    """

    home: Annotated[str | None, says("The folder of the journal; `~` is the home folder.")] = None
    jobs: Annotated[Jobs | None, says("Stages run at the same time.", "stages")] = None
    output: Annotated[
        Literal["table", "json", "nl", "csv", "tsv"] | None, says("The form of rows.")
    ] = None
    scm: LocalScm = LocalScm()
    store: LocalStore = LocalStore()
    pages: Pages = Pages()
    secrets: dict[str, SecretSource] = {}
    sinks: Sinks = Sinks()
