"""``cxlocal store``: beginning one, who takes part, what it knows, and recovering one that lost its
memory."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import click

from cxlocal.address import argument_address
from cxlocal.allocation.request import known_node
from cxlocal.commands.adopt import adopt
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command, group
from cxlocal.commands.journals import place_of
from cxlocal.commands.members import grant, invite, join, members, revoke
from cxlocal.commands.output import json_option, write_document
from cxlocal.commands.project import Project, agreed, load_project, open_project_store
from cxlocal.commands.store_files import backup, move
from cxlocal.commands.store_status import status
from cxlocal.commands.sync import describe
from cxlocal.commands.terminal import say
from cxlocal.domain import deliverable_id
from cxlocal.errors import CxError, UsageError
from cxlocal.exchange.contact import bind_address, talk
from cxlocal.exchange.followed import choose, chosen
from cxlocal.exchange.journals import Wanted, landing
from cxlocal.exchange.state import LOST_MEMORY, store_state
from cxlocal.exchange.store import Store, StoreUnreachable
from cxlocal.exchange.sync import SyncReport, recover_store, synchronise, take_in
from cxlocal.journal.file import Journal
from cxlocal.numbers.log import AHEAD_MAX, COUNT_MAX
from cxlocal.text import quoted

MARGIN = 1000
"""Numbers a recovery leaves free where nobody says how many: more than any reserve reaches."""


@group(
    examples=[
        ("cxlocal store status", "machines, last contacts, reserves, what waits"),
        ("cxlocal store members", "who takes part, with which rights and machines"),
        ("cxlocal store follow webshop engine", "hold the history of these deliverables only"),
        ("cxlocal store join https://store.example.org:8377 --code CODE", "enrol this machine"),
        ("cxlocal store create folder:///mnt/team", "begin a store in a shared folder"),
        ("cxlocal store adopt https://store.example.org:8377", "move to a shared store"),
        ("cxlocal store moved URL", "the same store has another address now"),
        ("cxlocal store backup FOLDER", "copy a store in a file, with members and blobs"),
        ("cxlocal store recover", "go on handing out numbers after a store was restored or moved"),
    ]
)
def store() -> None:
    """Look after the store: begin one, members, status, recovery."""


@command(
    examples=[
        ("cxlocal store recover", "continue 1000 numbers above everything that may be in use"),
        (
            "cxlocal store recover --margin 5000",
            "more, where many machines released meanwhile; also where nothing is stopped",
        ),
    ]
)
@click.option(
    "--margin",
    type=click.IntRange(AHEAD_MAX + COUNT_MAX, 10**9),  # above any reserve that may be lost
    help=f"Numbers to leave free above the highest one known; else {MARGIN}. Given, they are skipped also"
    " where nothing is stopped.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_app
def recover(app: App, margin: int | None, yes: bool, as_json: bool) -> None:
    """Let a store that stopped handing out numbers go on, above all that may be in use.

    Where its file is not there, a new one is made in its place: make sure first that the disk it
    lies on is really gone, and not only unmounted.
    """
    with app.journal() as journal:
        opened = open_project_store(app, load_project(app), journal=journal)
        try:
            well = _well(journal, opened) if margin is None else None
            if well is not None:
                if as_json:
                    write_document(well._asdict())
                say(
                    "Nothing is stopped: the store hands out numbers, and none is skipped. After a restore"
                    " that nobody noticed: cxlocal store recover --margin 1000"
                )
                return
            margin = margin or MARGIN
            _ask(opened, margin, yes)
            report = recover_store(journal, opened, margin=margin)
        finally:
            opened.close()
    if as_json:
        write_document(report._asdict())
    else:
        say(f"The store goes on above everything that may be in use. {describe(report)}")


def _well(journal: Journal, opened: Store) -> SyncReport | None:
    """What was exchanged with a store that hands out numbers after this machine told it what it knows;
    None where it does not, or nobody can tell."""
    if journal.value(LOST_MEMORY):
        return None
    with suppress(CxError):  # what is wrong with it, the recovery itself says
        report = synchronise(journal, opened, use_breaker=False)
        return report if report.reached and not report.stopped else None
    return None


def _ask(opened: Store, margin: int, yes: bool) -> None:
    """Skipping numbers for good, perhaps beside a store that is only away, wants a yes."""
    path = getattr(opened, "path", None)
    gone = path is not None and not path.exists()
    what = f"A NEW store is made at {path}, which is not there" if gone else "The store goes on"
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "recovering a store needs a yes",
            why=f"{what}; {margin} numbers of each line are skipped for good, and nobody is there"
            " to be asked",
            hint=f"cxlocal store recover --margin {margin} --yes",
            name="needs-yes",
        )
    click.confirm(
        f"{what}, {margin} numbers of each line are skipped. Go on?", abort=True, err=True
    )


@command(
    examples=[
        ("cxlocal store create folder:///mnt/team/releases", "in a folder all machines mount"),
        ("cxlocal store create sqlite:///srv/cx/store.db", "in a file, for homes of this machine"),
        ("cxlocal store create 's3://builds/releases?region=eu-west-1'", "in a bucket"),
        ("cxlocal store create folder:///home/ada/Dropbox/cx --synced", "this machine grants"),
        ("cxlocal store create --again", "what [store] url names was lost; then 'store recover'"),
    ]
)
@click.argument("url", required=False)
@click.option(
    "--synced",
    is_flag=True,
    help="A sync program carries the folder: this machine alone hands out numbers.",
)
@click.option(
    "--again",
    is_flag=True,
    help="What this journal's store was kept in is empty: make it anew for its machines.",
)
@json_option
@pass_app
def create(app: App, url: str | None, synced: bool, again: bool, as_json: bool) -> None:
    """Begin a store in a shared folder, a bucket or a file.

    Needed once, by one machine: an empty place is never taken for a new store, because that is what
    an unmounted share looks like. Of a folder or bucket it is tried first whether two machines can
    ever be given one number there.
    """
    project = load_project(app)
    opened = open_project_store(app, project, url)
    try:
        make = getattr(opened, "create", None)
        if make is None:
            raise UsageError(
                f"the store {opened.url} needs no creating",
                why="it is made at the first use, or by whoever serves it",
                hint="run 'cxlocal sync'",
                name="no-creating",
            )
        granter = _granter(app, project, opened.url) if synced else ""
        with app.journal() as journal:
            before = store_state(journal.connection)
            lineage = make(granter, lineage=_own_lineage(journal) if again else "")
    finally:
        opened.close()
    if url:
        agreed(app, url, "store create")
    if as_json:
        write_document({"url": opened.url, "lineage": lineage, "synced": synced})
        return
    say(f"There is a store at {opened.url} now.")
    if again:
        say("'cxlocal store recover' lets it hand out numbers, above all that may be in use.")
    elif before.lineage and before.url != opened.url:
        say(
            f"This machine's history is at {before.url}: 'cxlocal store adopt {quoted(opened.url)}' moves it."
        )
    else:
        say(f'Set it in cx.toml, [store] url = "{opened.url}"; then run "cxlocal sync".')


def _granter(app: App, project: Project, url: str) -> str:
    """The id under which this machine will use the store at ``url``, so that it is let to grant."""
    path = None
    if project.deliverable is not None:
        path = landing(place_of(app), Wanted(url, project.deliverable))
    with app.journal(path=path) as journal, journal.write() as transaction:
        return known_node(transaction)


def _own_lineage(journal: Journal) -> str:
    lineage = store_state(journal.connection).lineage
    if not lineage:
        raise UsageError(
            "this journal belongs to no store yet",
            why="it was never in contact with one, so none can be made anew for it",
            hint="leave out --again: 'cxlocal store create URL'",
            name="no-store-yet",
        )
    return lineage


@command(
    examples=[
        ("cxlocal store follow", "show whose history this machine holds"),
        ("cxlocal store follow webshop engine", "fetch the history of these two from now on"),
        ("cxlocal store follow --all", "of every deliverable again"),
    ]
)
@click.argument("deliverables", nargs=-1, metavar="[DELIVERABLE]...")
@click.option("--all", "everything", is_flag=True, help="Follow every deliverable.")
@json_option
@pass_app
def follow(app: App, deliverables: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Choose whose history this machine fetches from the store.

    Without a choice it is that of every deliverable. What is here stays here. Deliverables that this
    machine takes numbers of are always followed, and one that is worked on here is added by itself.
    """
    if deliverables and everything:
        raise UsageError(
            "name deliverables or give --all",
            why="both were given",
            hint="cxlocal store follow --all",
            name="bad-options",
        )
    names = [deliverable_id(name) for name in deliverables]
    with app.journal() as journal:
        before = chosen(journal)
        if names or everything:
            choose(journal, names or None)
        now = chosen(journal)
    if as_json:
        write_document({"follows": None if now is None else sorted(now)})
        return
    if now is None:
        say("This machine holds the history of every deliverable.")
    else:
        say(f"This machine follows {', '.join(sorted(now))}.")
    if now != before:
        say("'cxlocal sync' fetches what is missing; what is here stays.")


@command(
    examples=[
        ("cxlocal store moved https://store2.example.org:8377", "the same store, elsewhere"),
    ]
)
@click.argument("url")
@json_option
@pass_app
def moved(app: App, url: str, as_json: bool) -> None:
    """Say that the store this journal belongs to has moved to URL.

    It is asked there at once: where another store answers, or none, everything stays as it was. A
    journal is shown to its own store alone, so a new address wants a person's word. The token this
    machine has for the old address is used at the new one.
    """
    argument_address(url)
    store: Any = open_project_store(app, load_project(app), url)
    try:
        with app.journal(create=False) as journal:
            before = bind_address(journal, store.url)
            try:
                if hasattr(store, "come_from"):
                    store.come_from(before)
                report = _ask_there(journal, store, before)
                if hasattr(store, "stay"):
                    store.stay()
            except BaseException:
                bind_address(journal, before)
                raise
    finally:
        store.close()
    agreed(app, url, "store moved")
    if as_json:
        write_document({"from": before, "to": store.url, "sync": report._asdict()})
    else:
        say(f"The store is at {store.url} now. {describe(report)}")


def _ask_there(journal: Journal, store: Store, before: str) -> SyncReport:
    """The first exchange with the store where it is now. Nothing is shown before it has said that it is
    the journal's own. Raises StoreUnreachable, Refused."""
    try:
        take_in(journal, talk(journal, store, push=False), settle=False)
    except StoreUnreachable as error:
        raise StoreUnreachable(
            f"no store answers at {store.url} as this journal's own",
            why=f"{error.why or error.what}; it stays bound to {before or 'none'}",
            hint="see that the store is there, then again",
            url=store.url,
        ) from error
    return synchronise(journal, store, use_breaker=False)


for _member in (
    status, members, follow, create, adopt, move, moved, join, invite, grant, revoke, backup, recover,
):  # fmt: skip
    store.add_command(_member)
