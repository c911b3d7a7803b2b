"""``cxlocal version``: hand out, list and explain version numbers."""

from __future__ import annotations

from pathlib import Path

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import group
from cxlocal.commands.output import (
    Output,
    json_option,
    put,
    rows_options,
    write_document,
    write_rows,
)
from cxlocal.commands.project import load_project, make_machine
from cxlocal.commands.terminal import say
from cxlocal.errors import UsageError
from cxlocal.journal.rebuild import catch_up
from cxlocal.numbers.ledger import Explained, ledger, lines_of
from cxlocal.numbers.ledger import explain as look
from cxlocal.text import utc_text


@group(
    examples=[
        ("cxlocal version list", "what became of every number"),
        ("cxlocal version explain 13", "why there is no 2.7.13"),
        ("cxlocal version next", "take the next number for the run made of single commands"),
    ]
)
def version() -> None:
    """Hand out, list and explain version numbers."""


@version.command(
    name="list",
    examples=[
        ("cxlocal version list", "numbers of this folder's deliverable"),
        ("cxlocal version list --json", "the same for a program"),
    ],
)
@click.option("-d", "--deliverable", help="Another deliverable.")
@click.option("--line", help="Only this line, such as 2.7.")
@rows_options
@pass_app
def list_numbers(app: App, deliverable: str | None, line: str | None, output: Output) -> None:
    """List what became of every number."""
    name = deliverable or _deliverable(app)
    rows: list[dict[str, object]] = []
    with app.journal(create=False, path=_where(app, deliverable)) as journal:
        catch_up(journal)
        for each in [line] if line is not None else lines_of(journal, name):
            for span in ledger(journal, name, each):
                numbers = str(span.lo) if span.lo == span.hi else f"{span.lo} to {span.hi}"
                rows.append({"line": each, "numbers": numbers, **span._asdict()})
    columns = ("line", "numbers", "state", "text", "why", "run")
    if output.for_people:
        write_rows([{**row, "run": str(row["run"] or "")[:8]} for row in rows], columns, output)
    else:
        write_rows(rows, ("line", "lo", "hi", "state", "text", "why", "run"), output)
    if not rows and output.for_people:
        say(f"No number of {name} has been taken yet.")


@version.command(
    examples=[
        ("cxlocal version explain 13", "a number of this folder's line"),
        ("cxlocal version explain 2.7.13", "the same by its version text"),
    ]
)
@click.argument("number")
@click.option("-d", "--deliverable", help="Another deliverable.")
@click.option("--line", help="Another line.")
@json_option
@pass_app
def explain(
    app: App, number: str, deliverable: str | None, line: str | None, as_json: bool
) -> None:
    """Say what became of a number, and why."""
    name = deliverable or _deliverable(app)
    with app.journal(create=False, path=_where(app, deliverable)) as journal:
        catch_up(journal)
        chosen, counted = _which(app, number, line)
        found = look(journal, name, chosen, counted)
    if as_json:
        write_document({"deliverable": name, "line": chosen, **found._asdict()})
    else:
        put(sentence(name, chosen, found))


def _where(app: App, deliverable: str | None) -> Path | None:
    """Of several journals the one that counts a deliverable that is named; None for that of the
    project."""
    if deliverable is None or len(app.journal_paths()) <= 1:
        return None
    from cxlocal.commands.journals import place_of
    from cxlocal.exchange.journals import look as look_for

    return next((one.path for one in look_for(place_of(app), deliverable) if one.counts), None)


def sentence(deliverable: str, line: str, found: Explained) -> str:
    """The state of a number as one sentence."""
    subject = f"{deliverable} {found.text or f'number {found.number} of line {line}'}"
    words = f"{subject} is {found.state}"
    if found.run:
        words += f" by run {found.run[:8]}"
    return f"{words}: {found.why}" if found.why else words


def _which(app: App, number: str, line: str | None) -> tuple[str, int]:
    """Line and number from ``13`` or ``2.7.13``. Raises UsageError."""
    if number.isdigit():
        return line if line is not None else _line(app), int(number)
    head, _, tail = number.rpartition(".")
    if not tail.isdigit():
        raise UsageError(
            f"{number!r} is not a number or a version with a counted last part",
            why="only counted numbers have a state",
            hint="write 'cxlocal version explain 13' or 'cxlocal version explain 2.7.13'",
            name="bad-number",
        )
    return head, int(tail)


def _line(app: App) -> str:
    from cxlocal.plan.resolve import resolve

    project = load_project(app, needed=True)
    assert project.config is not None
    year, month, day = utc_text(app.clock.now_ms())[:10].split("-")
    return resolve(project.config, today=(int(year), int(month), int(day))).version.line


def _deliverable(app: App) -> str:
    project = load_project(app, needed=True)
    assert project.config is not None
    return project.config.deliverable.name


@version.command(
    name="next",
    examples=[
        ("cxlocal version next", "the number of the current run; the same run gets the same"),
        ("VERSION=$(cxlocal version next --plain)", "only the text"),
    ],
)
@click.option("--plain", is_flag=True, help="Say nothing beside the version itself.")
@click.option("--offline", is_flag=True, help="Do not ask the store; use the reserve.")
@json_option
@pass_app
def next_number(app: App, plain: bool, offline: bool, as_json: bool) -> None:
    """Take the number of the run that single commands carry out."""
    from cxlocal.commands.joined import open_piece, piece_journal, send_passing
    from cxlocal.journal.machine import goes_away
    from cxlocal.runner.pieces_run import next_version
    from cxlocal.runner.voice import NUMBER_FROM

    with piece_journal(app) as journal:
        record = open_piece(app, journal)
        machine = make_machine(app, goes_away(journal))
        found = next_version(machine, journal, record.run, offline=offline)
        if not offline:
            send_passing(app, journal)
    if as_json:
        write_document({"run": record.run, **found._asdict()})
        return
    put(found.text)
    if not plain:
        say(NUMBER_FROM.get(found.how, ""), verbosity=0)
