"""What a type cannot say: names, relative paths, one-of keys, expressions.

One function per table; ``load`` calls it with the words for the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from cxlocal.address import database_parts, template_problem
from cxlocal.config import component_check, types
from cxlocal.config.component_check import check_difference
from cxlocal.config.component_types import Component
from cxlocal.config.given import links_of
from cxlocal.config.names import (
    VARIABLE,
    check_name,
    check_pass_env,
    check_path,
    check_tool_options,
)
from cxlocal.config.problems import Where, problem
from cxlocal.domain import deliverable_id
from cxlocal.errors import UsageError
from cxlocal.text import clean_text


def deliverable(table: types.Deliverable, where: Where) -> None:
    """The name, and the folders that bound it."""
    try:
        deliverable_id(table.name)
    except UsageError as error:
        raise problem(where, error.what, hint=error.hint, key="name", name="bad-name") from None
    for path in table.paths:
        check_path(path.rstrip("/") if path != "/" else path, where, "paths")


def stamp(table: types.Stamp, where: Where) -> None:
    """One way to find the place, and an expression that can be used."""
    check_path(table.file, where, "stamp")
    if (table.key is None) == (table.pattern is None):
        raise problem(
            where,
            f"stamp of {table.file!r} needs either key or pattern",
            hint='write key = "version" for JSON and TOML, else pattern = \'version: "(.*)"\'',
            key="stamp",
        )
    if table.key is not None and (not table.key or "" in table.key.split(".")):
        raise problem(where, f"stamp: {table.key!r} is not a dotted key", key="stamp")
    if table.pattern is not None:
        _expression(table.pattern, where)


def _expression(pattern: str, where: Where) -> None:
    try:
        groups = re.compile(pattern, re.MULTILINE).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise problem(
            where,
            f"stamp: {clean_text(pattern)[:80]!r} is not a regular expression",
            why=str(error),
            key="stamp",
        ) from None
    if groups != 1:
        raise problem(
            where,
            f"stamp: {clean_text(pattern)[:80]!r} has {groups} groups",
            why="the one group ( ) is what the version replaces",
            hint="use (?: ) for further groups",
            key="stamp",
        )


def version(table: types.Version, where: Where) -> None:
    """Where the version is written; the line itself is checked by its scheme."""
    for one in table.stamp:
        stamp(one, where)


def source(table: types.SecretSource, where: Where) -> None:
    """Exactly one place a secret comes from."""
    given = {
        "env": table.env, "cmd": table.cmd, "file": table.file, "keyring": table.keyring
    }  # fmt: skip
    used = [key for key, value in given.items() if value is not None]
    if len(used) != 1:
        raise problem(
            where,
            f"a secret has one source, not {' and '.join(used) or 'none'}",
            hint='write { env = "NAME" }, { cmd = ["…"] }, { file = "…" } or { keyring = "…" }',
        )
    if not given[used[0]] or (table.cmd and not table.cmd[0]):
        raise problem(where, f"{used[0]} is empty", key=used[0])
    if table.env is not None and not VARIABLE.fullmatch(table.env):
        raise problem(
            where, f"env: {clean_text(table.env)[:80]!r} is not the name of a variable", key="env"
        )


def store(table: types.Store | types.LocalStore, where: Where) -> None:
    """A credential only where a store asks for one."""
    for key, token, url in (
        ("token", table.token, table.url),
        ("lender_token", table.lender_token, table.lender),
    ):
        if token is None:
            continue
        source(token, where)
        if not url or url.startswith("sqlite:"):
            raise problem(
                where,
                f"{key} is given, but no address that asks for it",
                why="a token goes to the address it is written beside; a store in a file of this"
                " machine has no members",
                hint=f"take {key} out, or give the address beside it",
                key=key,
            )
        if isinstance(table, types.Store) and token.env is None:
            raise problem(
                where,
                f"{key} must be a variable in this file",
                why="a command, a file or a keyring that a repository names would be used on every"
                " machine that has it checked out",
                hint=f'write {key} = {{ env = "NAME" }}, or both keys into cx.local.toml',
                key=key,
            )
    if isinstance(table, types.Store) and table.url.startswith("postgresql:"):
        _database(table.url, where)


def _database(url: str, where: Where) -> None:
    """Parameters by which a repository would choose what else is read or sent here."""
    try:
        names = database_parts(url)
    except ValueError as error:
        raise problem(
            where,
            "url: it may be read in more than one way",
            why=str(error),
            hint="write @ / ? # : % in a name or value as %40 %2F %3F %23 %3A %25",
            key="url",
        ) from error
    for name in names:
        if name not in DATABASE_PARAMETERS:
            raise problem(
                where,
                f"url: {clean_text(name)[:60]!r} cannot stand in this file",
                why="it makes the library read files, variables or credentials of this machine",
                hint="set it where no repository does: in CXLOCAL_STORE, or in cx.local.toml",
                key="url",
            )


def scm(table: types.Scm, where: Where) -> None:
    """Remotes by name, not by URL; filters as attributes name them."""
    for name in table.filters:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise problem(
                where,
                f"filters: {clean_text(name)[:80]!r} is not the name of a git filter",
                why="a filter is named as .gitattributes names it: *.key filter=git-crypt",
                hint='filters = ["git-crypt"]',
                key="filters",
            )
    for name in table.remotes:
        if not name or name.startswith("-") or ":" in name or name != name.strip():
            raise problem(
                where,
                f"remotes: {clean_text(name)[:80]!r} is not the name of a git remote",
                why="remotes are named as 'git remote' lists them",
                hint="git remote add NAME URL, then use NAME here",
                key="remotes",
            )


def stage(table: types.Stage, where: Where) -> None:
    """One thing to run, and keys that fit it."""
    if table.target is not None:
        _publishes(table, where)
        return
    by_components = table.kind == "deploy" and table.command is None and table.tool is None
    if (table.command is None) == (table.tool is None) and not by_components:
        both = table.command is not None
        raise problem(
            where,
            "command and tool exclude each other" if both else "there is nothing to run",
            hint="keep one of them" if both else 'add command = "…" or tool = "…"',
            key="command",
        )
    if table.command is not None:
        _command(table.command, where)
    if table.tool is not None and table.kind == "task":
        raise problem(
            where,
            'kind = "task" is for commands',
            why="a tool builds, tests, deploys or publishes",
            hint="take kind out: the tool knows what it does",
            key="kind",
        )
    check_tool_options(table.options, table.tool, where)
    _outputs(table, where)
    if table.kind == "deploy" and table.environment is None:
        raise problem(
            where, "a deploy needs an environment", hint='add environment = "…"', key="environment"
        )
    for paths in table.reports.values():
        for path in [paths] if isinstance(paths, str) else paths:
            check_path(path, where, "reports")
    if isinstance(table.parts, list):
        _parts(table.parts, where)
    for cache in table.caches:
        check_path(cache.path, where, "caches")
        for path in cache.key_files:
            check_path(path, where, "caches")
    check_pass_env(table.pass_env, where)


OF_TARGETS = ("command", "tool", "kind", "options", "environment", "secrets", "produces", "reports")
"""Keys of a stage that its target has, or that make no sense beside one."""


def _publishes(table: types.Stage, where: Where) -> None:
    """A stage that publishes to a target says when, and nothing of how."""
    for name in OF_TARGETS:
        if getattr(table, name):
            key = "with" if name == "options" else name
            raise problem(
                where,
                f"{key} and target exclude each other",
                why=f"how is said once, in [targets.{table.target}]",
                hint=f"take {key} out, or write it there",
                key=key,
            )
    check_pass_env(table.pass_env, where)


def _parts(names: list[str], where: Where) -> None:
    for name in names:
        if not name or clean_text(name) != name or name != name.strip() or names.count(name) > 1:
            raise problem(
                where,
                f"parts: {clean_text(name)[:80]!r} is no name of a part",
                why="it is empty, there twice, begins or ends with white space, or cannot be shown",
                hint='name each part as --part does: parts = ["py311", "py312"]',
                key="parts",
            )


def _command(command: str | list[str], where: Where) -> None:
    words = [command] if isinstance(command, str) else command
    if not words or not words[0].strip():
        raise problem(where, "command is empty", key="command")
    if any("\0" in word for word in words):
        raise problem(where, "command holds a zero byte", key="command")


def _outputs(table: types.Stage, where: Where) -> None:
    """Names for tools, names and paths for commands."""
    names = list(table.produces)
    for name in names:
        check_name(name, where, "artifact")
    if isinstance(table.produces, dict):
        if table.tool is not None:
            raise problem(
                where,
                "produces must be a list of names",
                why="the tool itself says where its artifacts are",
                hint=f"write produces = [{', '.join(map(repr, names))}]",
                key="produces",
            )
        for path in table.produces.values():
            check_path(path, where, "produces")
    elif names and table.command is not None:
        raise problem(
            where,
            "produces must say where the artifacts are",
            why="only a tool can say so itself",
            hint=f'write produces = {{ {names[0]} = "dist/…" }}',
            key="produces",
        )


def environment(table: types.Environment, where: Where) -> None:
    """A per-run environment has nothing to protect; a lasting one is not provisioned."""
    check_tool_options(table.options, table.tool, where)
    for key, words in (("protected", "cannot be protected"), ("live", "is never live")):
        if table.lifetime == "per-run" and getattr(table, key):
            raise problem(
                where,
                f"a per-run environment {words}",
                why="it is made for one run and destroyed with it",
                hint=f"take {key} out",
                key=key,
            )
    if table.lifetime == "lasting" and table.tool is not None:
        raise problem(
            where,
            "a lasting environment takes no tool",
            why="a tool here creates and destroys a per-run environment",
            hint='write lifetime = "per-run", or give the tool to a deploy stage',
            key="tool",
        )
    if table.lifetime == "lasting" and table.expires is not None:
        raise problem(
            where,
            "a lasting environment does not expire",
            why="it is left behind by no run; a per-run one is when its machine is gone",
            hint='take expires out, or write lifetime = "per-run"',
            key="expires",
        )
    for name, one in table.components.items():
        check_difference(one, where._replace(name=f"{where.name}, component {name}"))


def defaults(table: types.Defaults, where: Where) -> None:
    """Variables for every stage."""
    check_pass_env(table.pass_env, where)


def links(table: types.Links, where: Where) -> None:
    """Addresses of the web, with placeholders that the pages can fill in."""
    for kind, template in links_of(table).items():
        if why := template_problem(template):
            raise problem(
                where,
                f"[links] {kind} is no address that pages can lead to",
                why=why,
                hint=f'{kind} = "https://example.org/{{{"ticket" if kind == "ticket" else "run"}}}"',
                key=kind,
                name="bad-link",
            )


DATABASE_PARAMETERS = (
    "host", "hostaddr", "port", "dbname", "user", "sslmode", "sslnegotiation", "sslrootcert",
    "channel_binding", "require_auth", "connect_timeout", "keepalives", "keepalives_idle",
    "keepalives_interval", "keepalives_count", "tcp_user_timeout", "target_session_attrs",
    "load_balance_hosts", "application_name",
)  # fmt: skip
"""What the address of a database in cx.toml may name behind ``?``. Not among them: ``service``,
``passfile``, ``sslkey``, ``sslcert``, ``options`` and whatever libpq learns later."""


CHECKS: dict[Any, Callable[[Any, Where], None]] = {
    types.Deliverable: deliverable,
    types.Version: version,
    types.Scm: scm,
    types.Store: store,
    types.LocalStore: store,
    types.SecretSource: source,
    types.Stage: stage,
    types.Environment: environment,
    Component: component_check.component,
    types.Defaults: defaults,
    types.Links: links,
}
