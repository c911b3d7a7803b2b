"""``cxlocal store invite, join, revoke, status``: who takes part in a store."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cxlocal.address import argument_address, public_address
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.journals import place_of
from cxlocal.commands.output import json_option, put, write_document, write_rows
from cxlocal.commands.project import Project, access_of, agreed, load_project, open_project_store
from cxlocal.commands.serve import server_part
from cxlocal.commands.terminal import harmless, say, warn
from cxlocal.domain import deliverable_id
from cxlocal.errors import CxError, UsageError
from cxlocal.exchange.destination import EMBEDDED
from cxlocal.exchange.followed import read_with as followed
from cxlocal.exchange.journals import look
from cxlocal.exchange.open import open_store, require_agreed
from cxlocal.exchange.overview import overview
from cxlocal.exchange.standing import note_standing, read_joined, words_of_staying
from cxlocal.exchange.state import forget_cursor
from cxlocal.exchange.store import Store
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.rebuild import catch_up
from cxlocal.text import counted

STATUS_SECONDS = 5.0
"""What asking the store for news may take before the status is shown as it was."""

_STORE = click.option("--store", "url", metavar="URL", help="The store; else that of [store] url.")


@command(
    examples=[
        ("cxlocal store invite build-server", "print a code that enrols one machine"),
        ("cxlocal store invite shop-ci --deliverable shop", "for one deliverable only"),
        ("cxlocal store invite board --read '*'", "one that may read everything, and no more"),
        ("cxlocal store invite admin --manage --store sqlite:///srv/cx/store.db", "on the server"),
    ]
)
@click.argument("name")
@click.option("--deliverable", "both", multiple=True, help="May take, push and read this one.")
@click.option("--take", multiple=True, help="May take numbers of this deliverable; * for all.")
@click.option("--push", multiple=True, help="May push history of this deliverable; * for all.")
@click.option("--read", multiple=True, help="May read history of this deliverable; * for all.")
@click.option("--manage", is_flag=True, help="May invite, revoke and recover, too.")
@_STORE
@json_option
@pass_app
def invite(
    app: App, name: str, both: tuple[str, ...], take: tuple[str, ...], push: tuple[str, ...],
    read: tuple[str, ...], manage: bool, url: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Print a one-time code that enrols a machine, good for a day.

    Without rights it may take, push and read everything. For a name that is enrolled already the
    code gives a new token and these rights.
    """
    rights = rights_asked(both, take, push, read, manage)
    managed = _open_management(app, url)
    try:
        found = managed.invite(name, rights)
    finally:
        managed.close()
    address = str(found.get("url") or managed.url)
    if as_json:
        write_document({**found, "url": address})
        return
    put(harmless(str(found["code"])))
    say(f"On the machine that shall be {name!r}, within a day:")
    words = ("cxlocal", "store", "join", address, "--code", str(found["code"]))
    say(f"  {shlex.join(harmless(word) for word in words)}")


def rights_asked(
    both: Sequence[str], take: Sequence[str], push: Sequence[str], read: Sequence[str], manage: bool
) -> dict[str, Any]:
    """The rights that the options of ``invite`` name, as they travel."""
    everything = not (both or take or push or read)
    rights: dict[str, Any] = {
        kind: ["*"] if everything else [
            each if each == "*" else deliverable_id(each) for each in (*both, *named)
        ]
        for kind, named in (("take", take), ("push", push), ("read", read))
    }  # fmt: skip
    return {**rights, "manage": manage}


@command(
    examples=[
        ("cxlocal store join https://store.example.org:8377 --code CODE", "enrol this machine"),
        ("cxlocal store join URL --code CODE --ca company.pem", "trust an authority of your own"),
        ("cxlocal store join URL --code CODE --print-token", "for a CI server's secrets"),
    ]
)
@click.argument("url")
@click.option("--code", help="The one-time code; asked for if it is left out.")
@click.option("--ca", type=click.Path(dir_okay=False), help="Authority of the store's certificate.")
@click.option("--print-token", is_flag=True, help="Print the token; keep nothing on this machine.")
@json_option
@pass_app
def join(
    app: App, url: str, code: str | None, ca: str | None, print_token: bool, as_json: bool
) -> None:
    """Enrol this machine at a store by a one-time code.

    The token is kept in the home folder, readable by its owner alone.
    """
    code = code or click.prompt("Code", err=True)
    authority = Path(ca).read_text(encoding="ascii", errors="replace") if ca else ""
    project = load_project(app)
    if print_token:
        _print_token(app, project, url, code, authority)
        return
    store: Any = open_project_store(app, project, url)
    try:
        if not hasattr(store, "join"):
            raise _not_served(url)
        found = store.join(code, authority)
    finally:
        store.close()
    agreed(app, store.url, "store join")
    _read_anew(app, store.url, found)
    if as_json:
        write_document({**found, "url": store.url})
        return
    say(f"This machine is enrolled at {store.url} as {found['member']!r}.")
    if found.get("lends"):
        say("It lends numbers to CI jobs; they get a token of their own with --print-token.")
    elif project.settings.store_url.rstrip("/") != store.url:
        say(f'To use it, write into cx.toml or cx.local.toml:\n  [store]\n  url = "{store.url}"')


def _read_anew(app: App, url: str, found: dict[str, Any]) -> None:
    """A second code may have brought other rights: what could not be read before is fetched, what
    could not be recorded before may be."""
    for one in look(place_of(app)):
        if one.url == url:
            with app.journal(path=one.path) as journal, journal.write() as transaction:
                forget_cursor(transaction.connection)
                note_standing(transaction, read_joined(found))


def _print_token(app: App, project: Project, url: str, code: str, authority: str) -> None:
    """Enrol in a folder that goes again; the token goes to standard output alone."""
    with tempfile.TemporaryDirectory() as folder:
        access = access_of(app, project)._replace(home=Path(folder))
        store: Any = open_store(access, url)
        try:
            if not hasattr(store, "join"):
                raise _not_served(url)
            found = store.join(code, authority)
            token = store.token
        finally:
            store.close()
    put(token)
    if found["rights"].get("manage"):
        warn(
            "this token may invite and revoke members: for a CI server make a code without --manage"
            " ('cxlocal store invite NAME')"
        )
    if found.get("lends"):
        say(f"That is the token of {found['member']!r}. A CI job is given it with the address:")
        say(f"  CXLOCAL_LENDER={store.url}\n  CXLOCAL_LENDER_TOKEN=(the token)")
        return
    say(f"That is the token of {found['member']!r}. A CI job is given it with the address:")
    say(f"  CXLOCAL_STORE={store.url}\n  CXLOCAL_STORE_TOKEN=(the token)")


@command(
    examples=[
        ("cxlocal store revoke build-server", "its token is void, its machines are refused"),
    ]
)
@click.argument("name")
@_STORE
@json_option
@pass_app
def revoke(app: App, name: str, url: str | None, as_json: bool) -> None:
    """End a member: its token and codes are void, its machines are refused.

    What it brought stays. A machine that is invited again goes on under a new id by itself.
    """
    managed = _open_management(app, url)
    try:
        found = managed.revoke(name)
    finally:
        managed.close()
    if as_json:
        write_document(found)
    else:
        say(f"{name!r} is revoked, with {counted(found['machines'], 'machine')}.")


@command(
    examples=[
        ("cxlocal store status", "machines, last contacts, reserves and how far numbers are"),
        ("cxlocal store status --json", "the same for a program"),
    ]
)
@json_option
@pass_app
def status(app: App, as_json: bool) -> None:
    """Show the store: machines, last contacts, reserves, what waits."""
    project = load_project(app)
    named = app.journals()
    found = [_facts(app, project, path) for _, path in named]
    if as_json:
        write_document({"stores": found} if len(named) > 1 else found[0])
        return
    for number, facts in enumerate(found):
        if number:
            put()
        _tell(facts)


def _facts(app: App, project: Project, path: Path | None) -> dict[str, Any]:
    with app.journal(path=path) as journal:
        store = open_project_store(app, project, journal=journal)
        try:
            report = synchronise(journal, store, budget_seconds=STATUS_SECONDS, use_breaker=False)
            catch_up(journal)
            facts = {
                "url": store.url,
                "reached": report.reached,
                "why": report.why,
                "stopped": report.stopped,
                "left": report.left,
                "follows": followed(journal),
                "staying": words_of_staying(journal.connection, report.staying),
                **overview(journal),
                **_members_of(store, report.reached),
            }
        finally:
            store.close()
    _name_members(facts)
    return facts


def _members_of(store: Store, reached: bool) -> dict[str, Any]:
    ask = getattr(store, "members", None)
    if ask is None or not reached:
        return {"members": [], "contacts": []}
    found = ask()
    return {"contacts": found.pop("machines"), **found}


def _name_members(facts: dict[str, Any]) -> None:
    """Say beside each machine who it belongs to and when it was last in contact."""
    contacts = {row["node"]: row for row in facts.pop("contacts")}
    for row in facts["machines"]:
        seen = contacts.pop(row["node"], {})
        row["member"], row["last_contact"] = seen.get("member"), seen.get("last_at")
    facts["machines"] += [
        {"node": node, "host": None, "events": 0, "member": row["member"],
         "last_contact": row["last_at"], "here": False}
        for node, row in contacts.items()
    ]  # fmt: skip


def _tell(facts: dict[str, Any]) -> None:
    where = facts["url"] + ("" if facts["reached"] else f": cannot be reached ({facts['why']})")
    put(harmless(f"Store: {where}"))
    if facts["generation"]:
        put(f"Generation {facts['generation']}, {counted(facts['position'], 'entry', 'entries')}")
    if facts["stopped"]:
        put(harmless(f"Numbers are stopped: {facts['stopped']}"))
        if not facts["left"]:
            put("To do: cxlocal store recover")
    if facts["follows"] is not None:
        put(harmless(f"This machine follows {', '.join(facts['follows'])} only"))
    waiting = f"{counted(facts['pending'], 'event waits', 'events wait')} here to be sent"
    put(waiting if facts["pending"] else "Nothing waits here to be sent")
    for words in facts["staying"]:
        put(harmless(words))
    if facts["machines"]:
        put()
        rows = [{**row, "machine": _machine(row)} for row in facts["machines"]]
        write_rows(rows, ("machine", "member", "last_contact", "events"))
    if facts["lines"]:
        put()
        rows = [{**row, "reserves": _reserves(row["reserves"])} for row in facts["lines"]]
        write_rows(rows, ("deliverable", "line", "online_up_to", "reserves"))
    if facts.get("wrong_codes"):
        put(f"\nWrong codes tried so far: {facts['wrong_codes']}")


def _machine(row: dict[str, Any]) -> str:
    name = row["host"] or f"({row['node'][:8]})"
    return f"{name} (this one)" if row["here"] else str(name)


def _reserves(held: list[dict[str, Any]]) -> str:
    return ", ".join(f"{one['lo']} to {one['hi']} ({one['machine']})" for one in held)


def _open_management(app: App, url: str | None) -> Any:
    """What invites and revokes: the store itself where it is served, the file of its members where
    this machine serves it. Raises UsageError."""
    project = load_project(app)
    chosen = argument_address(url) or project.settings.store_url or EMBEDDED
    access = access_of(app, project)
    if not url:
        require_agreed(access)
    if chosen.startswith(("http:", "https:")):
        return open_store(access, chosen)
    service = server_part("service")
    try:
        return service.LocalManagement(chosen, service.members_path(chosen, app.home()))
    except CxError as error:
        if error.name == "not-served" and not url:
            raise _not_served(chosen) from error
        raise


def _not_served(url: str) -> UsageError:
    return UsageError(
        f"{public_address(url)} has no members",
        why="nobody serves it: whoever may open it may use it",
        hint="cxlocal serve --store URL   serves a store to machines that are let in",
        name="not-served",
    )
