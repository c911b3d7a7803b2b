"""``cxlocal notes``: what a version brings, or what would go out next."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.find_run import find_run
from cxlocal.commands.frame import command
from cxlocal.commands.output import put, write_document
from cxlocal.commands.project import load_project
from cxlocal.commands.status import named_here
from cxlocal.errors import CxError, Refused, UsageError
from cxlocal.journal.rebuild import catch_up
from cxlocal.notes.text import Since, document, markdown
from cxlocal.numbers.schemes import SCHEMES
from cxlocal.plan.resolve import resolve as make_plan
from cxlocal.revision.repository import open_repository, resolve
from cxlocal.runner.notes import Subject, Where, live_in, make_notes, tagged_as
from cxlocal.runner.record import RunRecord
from cxlocal.runner.source import find_scheme, today

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal
    from cxlocal.revision.repository import Repository


@command(
    examples=[
        ("cxlocal notes", "what would go out: HEAD against what is live, or was released last"),
        ("cxlocal notes 2.7.14", "what a version brought"),
        ("cxlocal notes --since production", "what is not live in an environment yet"),
        ("cxlocal notes 2.7.14 --since 2.7.0", "of all releases after another version"),
        ("cxlocal notes 2.7.14 --format json", "the same for a program"),
    ]
)
@click.argument("version", default="")
@click.option(
    "--since", metavar="NAME", help="Begin after what is live in this environment, or this version."
)
@click.option(
    "--format", "form", type=click.Choice(["md", "json"]), default="md", show_default=True,
    help="Markdown, or JSON.",
)  # fmt: skip
@click.option("-d", "--deliverable", help="Where several deliverables have that version.")
@pass_app
def notes(app: App, version: str, since: str | None, form: str, deliverable: str | None) -> None:
    """Write the notes of a version, or of what would go out next.

    The words of the project's changelog where it has some of this version; else the commits, in groups
    where their messages are conventional commits. What was recorded is completed from git.
    """
    with ExitStack() as stack:
        journal = None
        if app.journal_paths() or version:
            journal = stack.enter_context(app.journal(create=False))
            catch_up(journal)
        where, subject = (
            _of_release(app, journal, version, deliverable)
            if version and journal is not None
            else _of_head(app, journal)
        )
        begin = None if since is None else _since(where, subject, since)
        found = make_notes(where, subject, begin)
    if form == "json":
        write_document(document(found))
    else:
        put(markdown(found), nl=False)


def _of_release(
    app: App, journal: Journal, version: str, deliverable: str | None
) -> tuple[Where, Subject]:
    row = find_run(journal, version, deliverable, here=named_here(app))
    record = RunRecord.attach(journal, row["run"])
    if not record.revision:
        raise UsageError(
            f"nobody knows here what {version} was made of",
            why="its run names no commit",
            hint=f"cxlocal show {row['run'][:8]} tells what is known of it",
            name="no-commit",
        )
    subject = Subject(
        record.plan, record.revision, record.run, record.version, row["queued_at"] or ""
    )
    scheme = SCHEMES.get(record.plan.version.scheme)
    return Where(journal, _repository(app), scheme), subject


def _repository(app: App) -> Repository | None:
    """The clone one stands in: in the folder of the deliverable, if there is one."""
    try:
        return open_repository(app.find_project() or app.directory)
    except CxError:
        return None


def _of_head(app: App, journal: Journal | None) -> tuple[Where, Subject]:
    project = load_project(app, needed=True)
    assert project.config is not None and project.root is not None
    plan = make_plan(project.config, today=today(app.clock))
    repository = open_repository(project.root)
    where = Where(journal, repository, find_scheme(project.manager, plan))
    return where, Subject(plan, resolve(repository).commit)


def _since(where: Where, subject: Subject, name: str) -> Since:
    """What ``name``, an environment or a version, stands for. Raises UsageError, Refused, Conflict."""
    plan, journal = subject.plan, where.journal
    if name in [one.name for one in plan.environments]:
        found = None if journal is None else live_in(journal, plan.deliverable, name)
        if found is None:
            raise Refused(
                f"nothing of {plan.deliverable} is live in {name}",
                why="no deployment into it is known here",
                hint="'cxlocal notes' without --since begins after what was released last;"
                " 'cxlocal sync' fetches what other machines deployed",
                name="nothing-live",
            )
        return found
    tagged = where.repository and tagged_as(where.repository, plan.deliverable, name)
    try:
        row = None if journal is None else find_run(journal, name, plan.deliverable)
    except UsageError:
        if tagged is None:
            raise
        return tagged
    if row is not None:
        return Since(row["version"] or "", row["run"], row["revision"] or "")
    if tagged is not None:
        return tagged
    raise UsageError(
        f"no version is known here as {name!r}",
        why="nothing was released on this machine yet, and no tag of this clone tells of it",
        hint="'cxlocal sync' fetches what other machines released; git fetch --tags brings tags",
        name="no-such-version",
    )
