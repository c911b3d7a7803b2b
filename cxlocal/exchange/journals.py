"""Which of the journals of a home a project works with: that of its store.

A journal belongs to one store, so a home has one for each store its projects name. The first stands
in the home itself, every further one in a folder of its own. A deliverable whose numbers a journal
knows stays with that journal whatever address is asked for now: the deed then compares the two
(``contact.refuse_elsewhere``), and an empty journal never begins to count what was counted before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from cxlocal.address import public_address
from cxlocal.clock import Clock, Ids
from cxlocal.config.load import read
from cxlocal.config.settings import settings
from cxlocal.errors import CxError, Refused
from cxlocal.exchange.agreed import unagreed
from cxlocal.exchange.contact import elsewhere
from cxlocal.exchange.destination import EMBEDDED, destination
from cxlocal.exchange.state import save_store_state, store_state
from cxlocal.journal.file import Journal
from cxlocal.journal.home import FILE_NAME, FURTHER, journal_file, journal_files
from cxlocal.journal.schema import AWAY
from cxlocal.journal.witness import witness_folder
from cxlocal.values import NamedTuple

TURNS_MAX = 10
"""Times a journal is chosen anew because another command made it that of another store meanwhile."""

_COUNTS = """
SELECT EXISTS (SELECT 1 FROM spent WHERE deliverable = :d)
  OR EXISTS (SELECT 1 FROM grant_entry WHERE deliverable = :d)
  OR EXISTS (SELECT 1 FROM version WHERE deliverable = :d)
"""
_HOLDS = "SELECT name FROM deliverable_lookup"


class Place(NamedTuple):
    """A home, and what its journals are opened with."""

    home: Path
    environ: Mapping[str, str]
    clock: Clock
    ids: Ids

    def open(self, path: Path, *, create: bool = True) -> Journal:
        """The journal of the home at ``path``. Raises as ``Journal.open``."""
        return Journal.open(
            path, clock=self.clock, ids=self.ids, create=create, home=self.home,
            witness=witness_folder(self.environ, self.home),
        )  # fmt: skip

    def address(self, url: str) -> str:
        """What is contacted at ``url``; the store of this machine alone where it is empty."""
        return destination(url or EMBEDDED, self.environ, self.home)


class Wanted(NamedTuple):
    """What a project asks for."""

    url: str
    """Of its store; empty: that of this machine alone."""
    deliverable: str
    agreed: bool = True
    """Somebody agreed to the address here. No journal is made for another one."""


def wanted_by(root: Path, local: str | None, environ: Mapping[str, str], home: Path) -> Wanted:
    """What the project in ``root`` asks for, with its ``cx.local.toml`` if that counts. Raises
    ConfigError."""
    config = read(str(root / "cx.toml"))
    chosen = settings(config, local=local, environ=environ)
    agreed = not unagreed(chosen, environ, home)
    return Wanted(chosen.store_url, config.deliverable.name, agreed)


class Kept(NamedTuple):
    """A journal of a home, as far as a choice depends on it."""

    path: Path
    url: str
    """Of its store; empty: of none yet."""
    address: str
    """What is contacted there."""
    lineage: str
    """Empty: it never met its store."""
    counts: bool
    """It knows numbers of the deliverable, and they did not go elsewhere."""
    holds: frozenset[str] = frozenset()
    """The deliverables whose history it holds."""


def look(place: Place, deliverable: str = "") -> list[Kept]:
    """The journals of a home, the first one first. One that cannot be read counts everything: who is
    led to it learns what is wrong."""
    return [_look_into(place, path, deliverable) for path in journal_files(place.home)]


def _look_into(place: Place, path: Path, deliverable: str) -> Kept:
    try:
        with place.open(path, create=False) as journal:
            return _describe(place, journal, deliverable)
    except CxError:
        return Kept(path, "", "", "", counts=True, holds=frozenset(["?"]))


def _describe(place: Place, journal: Journal, deliverable: str) -> Kept:
    state = store_state(journal.connection)
    (counts,) = journal.connection.execute(_COUNTS, {"d": deliverable}).fetchone()
    holds = frozenset(row["name"] for row in journal.query(_HOLDS))
    gone = bool(journal.value(AWAY + deliverable))
    address = place.address(state.url) if state.url else ""
    return Kept(journal.path, state.url, address, state.lineage, bool(counts) and not gone, holds)


def choose(found: Sequence[Kept], address: str, deliverable: str) -> Kept | None:
    """The journal for a deliverable whose store is at ``address``; None where one is to be begun. Pure.

    One that counts the deliverable, that of the store before others; the one of the store; one that
    belongs to none yet and could tell it of this deliverable alone.
    """
    own = [one for one in found if one.address == address]
    counting = [one for one in found if one.counts]
    known = [*(one for one in own if one.counts), *counting, *own]
    if known:
        return known[0]
    return next((one for one in found if _is_free(one, deliverable)), None)


def _is_free(one: Kept, deliverable: str) -> bool:
    if one.lineage or one.holds - {deliverable}:
        return False
    # One that was made for another address and holds nothing yet is about to be used.
    return not one.address or deliverable in one.holds


def locate(place: Place, wanted: Wanted) -> Path:
    """Where the journal for a project is, or is to be made."""
    address = place.address(wanted.url)
    found = look(place, wanted.deliverable)
    chosen = choose(found, address, wanted.deliverable)
    if chosen is not None:
        return chosen.path
    if not wanted.agreed or not journal_file(place.home).exists():
        return journal_file(place.home)
    return further(place, address)


def landing(place: Place, wanted: Wanted) -> Path:
    """Where a deliverable would be counted if its store were the one that is wanted, and adopted."""
    address = place.address(wanted.url)
    found = look(place, wanted.deliverable)
    chosen = choose(found, address, wanted.deliverable)
    if chosen is not None and (
        chosen.address == address or not chosen.holds - {wanted.deliverable}
    ):
        return chosen.path
    return further(place, address) if found else journal_file(place.home)


def further(place: Place, address: str) -> Path:
    """Where a further journal of a home goes, for the store at ``address``. What stands there already
    is one whose store has moved, or which lost its memory."""
    name = sha256(address.encode()).hexdigest()[:12]
    taken = {one.path: one.address for one in look(place)}
    for turn in range(len(taken) + 1):
        path = place.home / FURTHER / (f"{name}-{turn + 1}" if turn else name) / FILE_NAME
        if taken.get(path, "") in ("", address):
            return path
    raise AssertionError("there are more names than journals")


def open_for(place: Place, wanted: Wanted, *, create: bool = True) -> Journal:
    """The journal for a project, which belongs to its store from then on. Raises as
    ``Journal.open``."""
    for _ in range(TURNS_MAX):
        journal = _only(place, wanted) or place.open(locate(place, wanted), create=create)
        try:
            if not create or not wanted.agreed or claim(journal, place, wanted):
                return journal
        except BaseException:
            journal.close()
            raise
        journal.close()
    raise Refused(
        "the journal for this project cannot be chosen",
        why="other commands make journals of this home at the same time",
        hint="run the command again",
    )


def _only(place: Place, wanted: Wanted) -> Journal | None:
    """The journal of a home that has no other, if it is the one for the project: it stays open."""
    found = journal_files(place.home)
    if len(found) != 1:
        return None
    try:
        journal = place.open(found[0], create=False)
    except CxError:
        return None  # ``locate`` leads there, and whoever opens it says what is wrong
    try:
        kept = _describe(place, journal, wanted.deliverable)
        if choose([kept], place.address(wanted.url), wanted.deliverable):
            return journal
    except BaseException:
        journal.close()
        raise
    journal.close()
    return None


def claim(journal: Journal, place: Place, wanted: Wanted) -> bool:
    """Note whose journal it is before anything is recorded in it. False where another command was
    faster, for another store."""
    address = place.address(wanted.url)
    state = store_state(journal.connection)
    if state.lineage or (state.url and place.address(state.url) == address):
        return True  # where it belongs to another store, the deed says so
    with journal.write() as transaction:
        state = store_state(transaction.connection)
        holds = frozenset(row["name"] for row in journal.query(_HOLDS))
        seen = Kept(journal.path, state.url, place.address(state.url) if state.url else "",
                    state.lineage, counts=False, holds=holds)  # fmt: skip
        if seen.address != address and not _is_free(seen, wanted.deliverable):
            return False
        url = public_address(wanted.url or EMBEDDED)
        save_store_state(transaction.connection, state._replace(url=url))
    return True


def require_own(journal: Journal, place: Place, url: str) -> None:
    """A journal that never met its store is not shown to another one, either: the configuration of a
    commit may name another than the files do. Raises Refused."""
    state = store_state(journal.connection)
    if state.url and not state.lineage and place.address(state.url) != place.address(url):
        raise elsewhere(state.url, url or EMBEDDED)
