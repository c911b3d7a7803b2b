"""``cxlocal store invite, join, grant, revoke, members``: who takes part in a store."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cxlocal.address import argument_address, public_address
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.journals import place_of
from cxlocal.commands.output import json_option, put, write_document, write_rows
from cxlocal.commands.project import Project, access_of, agreed, load_project, open_project_store
from cxlocal.commands.served import how_to_join, read_authority, server_part
from cxlocal.commands.terminal import harmless, say, warn
from cxlocal.config.agreement import read
from cxlocal.config.problems import near
from cxlocal.domain import deliverable_id
from cxlocal.errors import CxError, UsageError
from cxlocal.exchange.destination import EMBEDDED
from cxlocal.exchange.journals import look
from cxlocal.exchange.open import open_store, require_agreed
from cxlocal.exchange.rights import Rights, rights_from_json, words_of
from cxlocal.exchange.standing import note_standing, read_joined
from cxlocal.exchange.state import forget_cursor
from cxlocal.text import counted, quoted
from cxlocal.values import NamedTuple

_YES = click.option("--yes", is_flag=True, help="Do not ask.")
_STORE = click.option("--store", "url", metavar="URL", help="The store; else that of [store] url.")


def _lists(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that name deliverables by what may be done with them."""
    for name, words in (
        ("--read", "May read history of this deliverable; * for all."),
        ("--push", "May push history of this deliverable; * for all."),
        ("--take", "May take numbers of this deliverable; * for all."),
    ):
        function = click.option(name, multiple=True, help=words)(function)
    both = "May take, push and read this one."
    return click.option("--deliverable", "both", multiple=True, help=both)(function)


@command(
    examples=[
        ("cxlocal store invite build-server", "print a code that enrols one machine"),
        ("cxlocal store invite shop-ci --deliverable shop", "for one deliverable only"),
        ("cxlocal store invite board --read '*'", "one that may read everything, and no more"),
        ("cxlocal store invite admin --manage --store sqlite:///srv/cx/store.db", "on the server"),
    ]
)
@click.argument("name")
@_lists
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
    managed = open_management(app, url)
    try:
        if both or take or push or read:
            _warn_of_unknown(app, managed.members(), rights)
        found = managed.invite(name, rights)
    finally:
        managed.close()
    address = str(found.get("url") or managed.url)
    if as_json:
        write_document({**found, "url": address})
        return
    put(harmless(str(found["code"])))
    say(f"On the machine that shall be {name!r}, within a day:")
    say(f"  {how_to_join(address, str(found['code']), _authority_file(managed, found))}")


def _authority_file(managed: Any, found: Mapping[str, Any]) -> str:
    """The file of the authority that the next machine has to name as well."""
    if "authority_file" in found:  # on the server, which was told (serve --ca)
        return str(found["authority_file"])
    return str(managed.known_authority()[1])


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
        ("cxlocal store grant shop-ci --deliverable shop --deliverable engine", "for these two"),
        ("cxlocal store grant ada --manage", "beside what it may already"),
        ("cxlocal store grant board --read '*' --no-manage", "read everything, and no more"),
    ]
)
@click.argument("name")
@_lists
@click.option("--manage/--no-manage", default=None, help="May invite, revoke and recover, too.")
@_YES
@_STORE
@json_option
@pass_app
def grant(
    app: App, name: str, both: tuple[str, ...], take: tuple[str, ...], push: tuple[str, ...],
    read: tuple[str, ...], manage: bool | None, yes: bool, url: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Change what a member may do; its token stays, and nothing is joined anew.

    The deliverables named replace those it had. What no option speaks of stays as it is. Its machines
    learn of it at their next contact.
    """
    lists = bool(both or take or push or read)
    if not lists and manage is None:
        raise UsageError(
            "no right is named",
            why="what is named replaces what a member had",
            hint=f"cxlocal store grant {shlex.quote(name)} --deliverable '*'   lets it do everything",
            name="no-rights",
        )
    managed = open_management(app, url)
    try:
        listing = managed.members()
        had = {each["name"]: each["rights"] for each in listing["members"]}
        if manage is False and not yes:
            _ask_last(managed.url, listing, name)
        kept = had.get(name, Rights().as_json())
        named = rights_asked(both, take, push, read, False) if lists else kept
        rights = {**named, "manage": bool(kept.get("manage")) if manage is None else manage}
        if lists:
            _warn_of_unknown(app, listing, rights)
        found = managed.grant(name, rights)
    finally:
        managed.close()
    if as_json:
        write_document(found)
        return
    before, now = (words_of(rights_from_json(found[each])) for each in ("before", "rights"))
    say(harmless(f"{name!r} may now: {now}. It was: {before}. Its machines learn of it by a sync."))


@command(
    examples=[
        ("cxlocal store join https://store.example.org:8377 --code CODE", "enrol this machine"),
        ("cxlocal store join URL --code CODE --ca company.pem", "trust an authority of your own"),
        ("cxlocal store join URL --code CODE --print-token", "for a CI server's secrets"),
    ]
)
@click.argument("url")
@click.option("--code", help="The one-time code; asked for if it is left out.")
@click.option(
    "--ca",
    type=click.Path(dir_okay=False),
    help="Authority of the store's certificate; one that is known here need not be named again.",
)
@click.option("--name", help="What to be called, for a code that names nobody: the first one.")
@click.option("--print-token", is_flag=True, help="Print the token; keep nothing on this machine.")
@json_option
@pass_app
def join(
    app: App, url: str, code: str | None, ca: str | None, name: str | None, print_token: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Enrol this machine at a store by a one-time code.

    The token is kept in the home folder, readable by its owner alone.
    """
    code = code or click.prompt("Code", err=True)
    project = load_project(app)
    store: Any = open_project_store(app, project, url)
    try:
        if not hasattr(store, "join"):
            raise _not_served(url)
        authority, file = read_authority(ca) if ca else store.known_authority()
        joining = Joining(code, name, authority, file)
        if print_token:
            _print_token(app, project, url, joining)
            return
        found = joining.at(store)
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


class Joining(NamedTuple):
    """What a machine is enrolled with."""

    code: str
    name: str | None
    authority: str
    authority_file: str

    def at(self, store: Any) -> dict[str, Any]:
        """Enrol; a code that names nobody asks who it is for. What the store says."""
        try:
            return self._join(store, self.name or "")
        except UsageError as error:
            if error.name != NAME_WANTED or self.name is not None:
                raise
        if not sys.stdin.isatty():
            return self._join(store, None)
        return self._join(store, click.prompt("Your name at this store", err=True))

    def _join(self, store: Any, name: str | None) -> dict[str, Any]:
        found: dict[str, Any] = store.join(
            self.code, self.authority, name=name, authority_file=self.authority_file
        )
        return found


NAME_WANTED = "name-wanted"
"""What a store refuses a code by that is for whoever comes first."""


def _read_anew(app: App, url: str, found: dict[str, Any]) -> None:
    """A second code may have brought other rights: what could not be read before is fetched, what
    could not be recorded before may be."""
    for one in look(place_of(app)):
        if one.url == url:
            with app.journal(path=one.path) as journal, journal.write() as transaction:
                forget_cursor(transaction.connection)
                note_standing(transaction, read_joined(found))


def _print_token(app: App, project: Project, url: str, joining: Joining) -> None:
    """Enrol in a folder that goes again; the token goes to standard output alone."""
    with tempfile.TemporaryDirectory() as folder:
        access = access_of(app, project)._replace(home=Path(folder))
        store: Any = open_store(access, url)
        try:
            found = joining.at(store)
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
@_YES
@_STORE
@json_option
@pass_app
def revoke(app: App, name: str, yes: bool, url: str | None, as_json: bool) -> None:
    """End a member: its token and codes are void, its machines are refused.

    What it brought stays. A machine that is invited again goes on under a new id by itself.
    The last member that may invite others is ended only after a yes.
    """
    managed = open_management(app, url)
    try:
        if not yes:
            _ask_last(managed.url, managed.members(), name)
        found = managed.revoke(name)
    finally:
        managed.close()
    if as_json:
        write_document(found)
    else:
        say(f"{name!r} is revoked, with {counted(found['machines'], 'machine')}.")


def unknown_names(
    rights: Mapping[str, Any], listing: Mapping[str, Any], recorded: Collection[str]
) -> dict[str, str]:
    """Deliverables that ``rights`` name and nothing is known of, each with the known name that was probably
    meant, or an empty text. Known is what was ``recorded``, and what members have rights for; where that is
    nothing at all, nothing can be told."""
    known = {
        *recorded,
        *(
            each
            for one in listing["members"]
            for kind in KINDS
            for each in one["rights"].get(kind) or ()
        ),
    } - {"*"}
    named = {each for kind in KINDS for each in rights.get(kind) or ()} - {"*"}
    return {each: near(each, known) for each in sorted(named - known)} if known else {}


KINDS = ("take", "push", "read")


def _warn_of_unknown(app: App, listing: Mapping[str, Any], rights: Mapping[str, Any]) -> None:
    recorded: set[str] = set()
    for path in app.journal_paths():
        with app.journal(path=path) as journal:
            recorded |= {
                row["name"] for row in journal.query("SELECT name FROM deliverable_lookup")
            }
    for name, meant in unknown_names(rights, listing, recorded).items():
        guess = f"; did you mean {meant!r}?" if meant else ""
        warn(
            harmless(
                f"no deliverable {name!r} is known here, nor has any member rights for it{guess}"
            )
        )


def is_last_manager(listing: Mapping[str, Any], name: str) -> bool:
    """Whether ``name`` may invite others, and nobody else that is enrolled may."""
    managers = {
        each["name"]
        for each in listing["members"]
        if each["rights"].get("manage") and not each["revoked_at"]
    }
    return managers == {name}


def _ask_last(url: str, listing: Mapping[str, Any], name: str) -> None:
    """Nobody could invite, revoke or recover any more, but on the server, where nobody needs to be asked: that
    wants a yes. Raises UsageError where nobody is there to give it."""
    if not url.startswith("http") or not is_last_manager(listing, name):
        return
    what = f"{name!r} is the last that may invite others"
    why = "afterwards nobody may invite, revoke or recover, but who works on the server itself"
    if not sys.stdin.isatty():
        raise UsageError(
            what,
            why=why,
            hint="give another one that right first: cxlocal store grant NAME --manage; or add --yes",
            name="last-manager",
        )
    click.confirm(harmless(f"{what}; {why}. Go on?"), abort=True, err=True)


@command(
    examples=[
        ("cxlocal store members", "who takes part: rights, machines, last contacts, open codes"),
        ("cxlocal store members --json", "the same for a program"),
        ("cxlocal store members --store sqlite:///srv/cx/store.db", "on the server"),
    ]
)
@_STORE
@json_option
@pass_app
def members(app: App, url: str | None, as_json: bool) -> None:
    """List who takes part in a store: rights, machines, last contacts, open codes.

    A member that may not invite others sees itself alone.
    """
    managed = open_management(app, url)
    try:
        found = managed.members()
    finally:
        managed.close()
    rows = roll(found, _names(app))
    if as_json:
        counts = {name: found[name] for name in ("wrong_codes", "wrong_tokens") if name in found}
        write_document({"members": rows, **counts})
        return
    shown = [
        {
            "member": row["name"] or "(the first to join)",
            "rights": "" if row["rights"] is None else words_of(rights_from_json(row["rights"])),
            "machines": ", ".join(each["machine"] for each in row["machines"]),
            "last_contact": row["last_contact"],
            "state": f"revoked {row['revoked_at']}" if row["revoked_at"] else "",
            "open_code_until": row["open_code_until"],
        }
        for row in rows
    ]
    write_rows(shown, tuple(shown[0]) if shown else ())
    if found.get("wrong_codes"):
        say(f"Wrong codes tried so far: {found['wrong_codes']}")


def _names(app: App) -> dict[str, str]:
    """What each machine is called, as far as the journals here know it."""
    names: dict[str, str] = {}
    for _, path in app.journals():
        with app.journal(path=path) as journal:
            names |= {row["node"]: row["name"] for row in journal.query(_NAMES)}
    return names


_NAMES = "SELECT node, name FROM machine WHERE name IS NOT NULL"


def roll(found: Mapping[str, Any], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for each member, and for each code that enrols a new one."""
    machines = found["machines"]
    codes = {each["name"]: each["until"] for each in found.get("codes", [])}
    rows = []
    for one in found["members"]:
        own = [
            {
                "machine": names.get(each["node"]) or f"({each['node'][:8]})",
                "node": each["node"],
                "last_contact": each["last_at"],
            }
            for each in machines
            if each["member"] == one["name"]
        ]
        last = max((each["last_contact"] for each in own), default=None)
        until = codes.pop(one["name"], None)
        rows.append({**one, "machines": own, "last_contact": last, "open_code_until": until})
    blank: dict[str, Any] = {"rights": None, "joined_at": None, "revoked_at": None, "machines": []}
    new = [
        {"name": name, **blank, "last_contact": None, "open_code_until": until}
        for name, until in codes.items()
    ]
    return rows + new


def open_management(app: App, url: str | None) -> Any:
    """What invites and revokes: the store itself where it is served, the file of its members where
    this machine serves it. Raises UsageError."""
    project = load_project(app)
    chosen = argument_address(url) or project.settings.store_url or EMBEDDED
    access = access_of(app, project)
    if not url:
        require_agreed(access)
    if chosen.startswith(("http:", "https:")):
        return open_store(access, chosen)
    management = server_part("management")
    try:
        return management.LocalManagement(chosen, management.members_path(chosen, app.home()))
    except CxError as error:
        if error.name == "not-served" and not url:
            known = read(app.home()).addresses if chosen == EMBEDDED else {}
            raise _not_served(chosen, [one for one in known if one.startswith("http")]) from error
        raise


def _not_served(url: str, known: Sequence[str] = ()) -> UsageError:
    """``known``: served stores that are known here, where nothing says which one is meant."""
    return UsageError(
        f"{public_address(url)} has no members",
        why="nobody serves it: whoever may open it may use it",
        hint=f"in the folder of a project that names its store, or with --store {quoted(known[0])}"
        if known
        else "cxlocal serve --store URL   serves a store to machines that are let in",
        name="not-served",
    )
