"""``cxlocal trust``: agree to what this checkout says about plugins, stores, tokens and this
machine."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from cxlocal.address import argument_address, public_address
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.output import Output, put, rows_options, write_rows
from cxlocal.commands.project import agreed, load_project, open_project_store
from cxlocal.commands.terminal import harmless, say
from cxlocal.config.agreement import (
    agree,
    files_of_secrets,
    read,
    remove,
    secrets_digest,
    sinks_digest,
    targets_digest,
    trusted,
)
from cxlocal.config.given import sinks_of, source_of
from cxlocal.config.load import read as read_config
from cxlocal.config.types import Config, SecretSource, SinkTo
from cxlocal.errors import ConfigError, Refused, UsageError
from cxlocal.exchange.agreed import agree_to
from cxlocal.exchange.destination import destination
from cxlocal.files import open_plain
from cxlocal.hooks.trust import FOLDER, read_project
from cxlocal.revision.local_file import agree_to_local, find_local, first_home
from cxlocal.secrets import describe
from cxlocal.text import counted, utc_text
from cxlocal.values import NamedTuple

SHOWN_LINES = 40
SHOWN_BYTES = 4096
"""Of each file that a secret's command names."""


class Item(NamedTuple):
    """One thing to agree to."""

    lines: list[str]
    known: bool
    note: Callable[[str], None]
    """Records it; takes the time as text."""


@command(
    examples=[
        ("cxlocal trust", "show what this checkout says about this machine, and ask"),
        ("cxlocal trust --store https://store.example.org:8377", "agree to a store, in a script"),
        ("cxlocal trust --digest", "what to put in CXLOCAL_TRUST for plugins and targets in CI"),
        ("cxlocal trust --list", "what was agreed to on this machine"),
    ]
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--store", "url", metavar="URL", help="Agree to the store at this address alone.")
@click.option("--digest", "only_digest", is_flag=True, help="Print the digests; change nothing.")
@click.option("--list", "listing", is_flag=True, help="List what was agreed to; change nothing.")
@click.option("--remove", "gone", metavar="DIGEST|ADDRESS", help="Take it back.")
@rows_options
@pass_app
def trust(
    app: App, yes: bool, url: str | None, only_digest: bool, listing: bool, gone: str | None,
    output: Output,
) -> None:  # fmt: skip
    """Agree to what this project asks of this machine.

    A checkout is a stranger: its plugins run with your rights, its store gets the history of your
    releases, its targets what you publish, its sinks what stages print, its secrets and cx.local.toml say
    what is read here. Nothing of that happens before you
    agreed to it on this machine. Any change asks again.
    """
    if listing:
        write_rows(_rows(app), ("what", "agreed", "where", "at"), output)
    elif gone is not None:
        remove(app.home(), gone)
        say("It is not trusted here any more.")
    elif url is not None:
        argument_address(url)
        open_project_store(app, load_project(app), url).close()  # a wrong address is said at once
        agreed(app, url, "trust --store")
        say(f"Agreed on this machine: {url}")
    elif only_digest:
        put(_digest(app))
    else:
        _ask_about_all(app, yes)


def _rows(app: App) -> list[dict[str, Any]]:
    known = read(app.home())
    first = read(first_home(app.environ, app.ids)).trusted
    digests = {**first, **known.trusted}
    rows = [
        {"what": one.get("what", "plugins"), "agreed": digest, "where": one["folder"],
         "at": one["at"]}
        for digest, one in digests.items()
    ]  # fmt: skip
    return rows + [
        {"what": "store", "agreed": address, "where": one["how"], "at": one["at"]}
        for address, one in known.addresses.items()
    ]


def _digest(app: App) -> str:
    found = read_project(app.project() / FOLDER)
    config = read_config(str(app.project() / "cx.toml"))
    digests = [one for one in (found.digest if found.files else "", _targets_digest(config)) if one]
    if not digests:
        raise UsageError(
            "this project has no plugins of its own and no targets",
            why=f"{found.folder} holds no .py file, and cx.toml has no [targets]",
            hint="cxlocal plugins lists what is installed",
            name="no-project-plugins",
        )
    return " ".join(digests)


def _targets_digest(config: Config) -> str:
    """Raises ConfigError where a secret comes from nowhere: where it comes from is agreed to, too."""
    for name in _secrets_of(config):
        if name not in config.secrets:
            raise ConfigError(
                f"a target names the secret {name!r}, which is not in cx.toml",
                why="where a secret comes from is part of what is agreed to",
                hint=f'add [secrets] with {name} = {{ env = "{name}" }}',
                name="unknown-secret",
            )
    return targets_digest(
        config.targets, {name: source_of(one) for name, one in config.secrets.items()}
    )


def _targets(app: App, config: Config) -> Iterator[Item]:
    digest = _targets_digest(config)
    if digest:
        lines = [
            f"    {name}: {one.tool} {json.dumps(one.options, sort_keys=True, default=str)}"
            + (f", with {', '.join(one.secrets)}" if one.secrets else "")
            for name, one in config.targets.items()
        ]
        lines += [f"    {name}: {_whole(config.secrets[name])}" for name in _secrets_of(config)]
        lines.append(f"    in CI: CXLOCAL_TRUST={digest}")
        yield _content(
            app, "targets", digest, ["targets, which versions are published to:", *lines]
        )


def _secrets_of(config: Config) -> list[str]:
    return list(dict.fromkeys(name for one in config.targets.values() for name in one.secrets))


def _ask_about_all(app: App, yes: bool) -> None:
    items = list(_items(app))
    if not items:
        raise UsageError(
            "this project asks nothing of this machine",
            why="it has no plugins, store, sinks, targets, secrets or cx.local.toml that need a person's word",
            hint="cxlocal run",
            name="nothing-to-trust",
        )
    fresh = [item for item in items if not item.known]
    if not fresh:
        say("All of this project is trusted here already.")
        return
    for line in (line for item in items for line in item.lines):
        say(harmless(line))
    if not yes:
        _ask()
    now = utc_text(app.clock.now_ms())
    for item in fresh:
        item.note(now)
    say("Agreed, on this machine and to exactly this.")


def _items(app: App) -> Iterator[Item]:
    """What there is to agree to. cx.local.toml first: it may say where the home is."""
    root = app.project()
    config = read_config(str(root / "cx.toml"))
    found = find_local(root, app.environ, app.ids)
    if found is not None and not found.tracked:
        text = found.content.decode("utf-8", "replace").splitlines()
        yield Item(
            [f"{found.path}, about this machine:", *(f"    {line}" for line in text)],
            not found.ignored,
            lambda at: agree_to_local(found, first_home(app.environ, app.ids), at),
        )
    yield from _plugins(app)
    store = config.store
    if store.url:
        words = "gets the history of this machine's releases, and counts versions"
        yield _address(app, "store", store.url, store.token, words)
    if store.lender:
        words = "lends numbers to passing machines"
        yield _address(app, "lender", store.lender, store.lender_token, words)
    yield from _secrets(app, config)
    digest = sinks_digest(config)
    if digest:
        lines = [
            f"    {kind} to {one.to}{_with(one)}"
            for kind, found in sinks_of(config.sinks).items()
            for one in found
        ]
        lines.append(f"    in CI: CXLOCAL_TRUST={digest}")
        yield _content(app, "sinks", digest, ["sinks, which get what stages print and do:", *lines])
    yield from _targets(app, config)


def _with(sink: SinkTo) -> str:
    """What else is said of a sink."""
    told = [f"asked at {sink.ask}"] if sink.ask else []
    told += [f"{key} {value}" for key, value in sink.options.items()]
    if sink.token is not None:
        told.insert(0, f"with the token of the {describe(sink.token)}")
    return f" ({', '.join(told)})" if told else ""


def _plugins(app: App) -> Iterator[Item]:
    found = read_project(app.project() / FOLDER)
    if found.files:
        lines = [
            f"    {file.path}  ({counted(count, 'line')})"
            for file in found.files
            for count in [file.source.count(b"\n")]
        ]
        lines.append(f"    in CI: CXLOCAL_TRUST={found.digest}")
        yield _content(
            app, "plugins", found.digest, ["plugins, which run with your rights:", *lines]
        )


def _address(app: App, what: str, url: str, token: SecretSource | None, words: str) -> Item:
    whole = destination(url, app.environ, app.home())
    source = None if token is None else source_of(token)
    entry = read(app.home()).addresses.get(whole)
    lines = [f"{what} {public_address(url)}: {words}"]
    if whole.rstrip("/") != url.rstrip("/"):
        lines.append(f"    contacted is {whole}")
    if token is not None:
        lines.append(f"    with the token of the {describe(token)}, where that is set")
    return Item(
        lines,
        entry is not None and source in (None, entry.get("token")),
        lambda at: agree_to(app.home(), url, app.environ, how="trust", at=at, token=source),
    )


def _secrets(app: App, config: Config) -> Iterator[Item]:
    digest = secrets_digest(config, app.project())
    if digest:
        lines = [f"    {name}: {_whole(one)}" for name, one in config.secrets.items()]
        for word in files_of_secrets(config, app.project()):
            lines += [f"    {word}:", *_shown(app.project() / word)]
        yield _content(app, "secrets", digest, ["secrets, tried by 'cxlocal doctor':", *lines])


def _shown(path: Path) -> list[str]:
    """The beginning of a file."""
    try:
        with open_plain(path) as file:
            text = file.read(SHOWN_BYTES + 1).decode("utf-8", "backslashreplace")
    except OSError as problem:
        return [f"      | ({problem.strerror})"]
    lines = [f"      | {line}" for line in text[:SHOWN_BYTES].splitlines()]
    rest = len(text) > SHOWN_BYTES or len(lines) > SHOWN_LINES
    return [*lines[:SHOWN_LINES], *(["      | … there is more: read the file"] if rest else [])]


def _whole(source: SecretSource) -> str:
    """A source with all that is agreed to: what a command does, its arguments say."""
    return f"command {shlex.join(source.cmd)}" if source.cmd else describe(source)


def _content(app: App, what: str, digest: str, lines: list[str]) -> Item:
    def note(at: str) -> None:
        entry = {"what": what, "folder": str(app.project()), "at": at}
        agree(app.home(), trusted={digest: entry})

    return Item(lines, digest in trusted(app.home(), app.environ), note)


def _ask() -> None:
    """Raises UsageError without a person to ask, Refused when the answer is no."""
    if not sys.stdin.isatty():
        raise UsageError(
            "nobody is here to be asked",
            why="agreeing takes a person who has read this",
            hint="read it, then: cxlocal trust --yes",
            name="nobody-to-ask",
        )
    if not click.confirm("Have you read it, and do you agree to all of it?", err=True):
        raise Refused(
            "nothing was agreed to",
            why="the question was not answered with yes",
            hint="read it, then: cxlocal trust",
        )
