"""``cxlocal verify``: does the journal hold what was written?"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.output import Output, rows_options, write_rows
from cxlocal.commands.terminal import Progress, say
from cxlocal.errors import JournalDamaged, Undecided
from cxlocal.exchange.own_tables import HELD
from cxlocal.exchange.own_tables import verify as check
from cxlocal.journal.rebuild import catch_up
from cxlocal.journal.verify import UNCOMPARED, Checked, Finding
from cxlocal.text import counted

COLUMNS = ("kind", "where", "what")


@command(
    examples=[
        ("cxlocal verify", "recompute every hash and every projected row"),
        ("cxlocal verify --json", "the findings for a program; an empty list when all is well"),
    ]
)
@rows_options
@pass_app
def verify(app: App, output: Output) -> None:
    """Check that the journal holds what was written.

    Exit code 7 says that it does not, 8 that a newer cxlocal made its tables: this one cannot compare them.
    """
    found: list[tuple[Path, Checked]] = []
    rows: list[dict[str, object]] = []
    named = app.journals()
    for store, path in named:
        with app.journal(create=False, path=path) as journal:
            # What a pull left to be projected is projected first: only then is there something to
            # compare. What keeps from it is what the check finds.
            with suppress(
                JournalDamaged, sqlite3.DatabaseError, TypeError, ValueError, ArithmeticError
            ):
                catch_up(journal)
            with counting("checked") as tell:
                checked = check(journal, tell)
        found.append((journal.path, checked))
        rows += [
            {**one._asdict(), **({"store": store} if store else {})} for one in checked.findings
        ]
    write_rows(rows, COLUMNS if len(named) == 1 else ("store", *COLUMNS), output)
    raise_findings([one for _, checked in found for one in checked.findings])
    if output.for_people:
        for place, checked in found:
            say(
                f"{counted(checked.events, 'event')} and {checked.rows} projected rows checked; all is"
                f" well.\n{place}"
            )


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """On a terminal, how many events have been ``what``, for as long as it lasts."""
    progress = Progress()
    try:
        yield lambda done, total: progress.now(f"{done} of {total} events {what}")
    finally:
        progress.clear()


def raise_findings(findings: Sequence[Finding]) -> None:
    """Raises JournalDamaged for what a check found, with the first of it, and Undecided where nothing is
    wrong and not everything could be compared; nothing found is well."""
    wrong = [one for one in findings if one.kind != UNCOMPARED]
    if findings and not wrong:
        raise Undecided(
            "the events are as they were written; of the rows nothing can be said",
            why=findings[0].what,
            hint="'cxlocal verify' of that one compares them; 'cxlocal journal rebuild' makes them anew"
            " as this one knows them",
            name="rows-not-compared",
        )
    if wrong:
        first = wrong[0]
        kinds = {finding.kind for finding in wrong}
        raise JournalDamaged(
            "the journal holds events that say what cannot be so"
            if kinds == {"untrue"}
            else "the journal does not hold what was written",
            why=f"{len(wrong)} findings, the first: {first.where}: {first.what}",
            hint=_advice(kinds),
            name="journal-changed",
            findings=len(wrong),
        )


def _advice(kinds: set[str]) -> str:
    if kinds == {"projection"}:
        return "the events themselves are sound: 'cxlocal journal rebuild' makes the rows anew"
    if kinds == {"untrue"}:
        return (
            "they came from elsewhere, and nothing that they say counts here: ask who uses the machine"
            " that wrote them; a store that is up to date takes none of them"
        )
    if "acknowledged" in kinds and kinds <= {"projection", "acknowledged", "untrue", HELD}:
        return (
            "the store, and every machine that was in contact with it, holds what was recorded:"
            " compare 'cxlocal log' there, and ask who changed this file"
        )
    if kinds == {HELD}:
        return (
            "the events are sound, what this machine holds is not to be relied on: 'cxlocal journal recover'"
            " gives it up and goes on under a new id; 'cxlocal sync' brings new numbers"
        )
    return (
        "'cxlocal journal recover' goes on with what is whole and keeps the damaged file; events that"
        " were synced come back from the store"
    )
