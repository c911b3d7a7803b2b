"""``cxlocal artifact``: what releases made, and a way to get it out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.find_run import find_run
from cxlocal.commands.frame import group
from cxlocal.commands.output import Output, put, rows_options, write_rows
from cxlocal.commands.project import load_project, open_project_store
from cxlocal.commands.status import deliverable_here
from cxlocal.commands.terminal import say
from cxlocal.config.problems import near
from cxlocal.errors import CxError, Refused, Trouble, UsageError
from cxlocal.exchange.blobs import carry
from cxlocal.files import fresh_file, take_name
from cxlocal.journal.blobs import PLAIN, PROGRAM, blob_path, check_blob, digest_of
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.runner.needed import Needed, artifacts_of
from cxlocal.text import quoted

FETCH_SECONDS = 60.0
"""For bytes that are at the store alone."""


@group(
    examples=[
        ("cxlocal artifact list", "what the newest release made"),
        ("cxlocal artifact get", "copy all of it into this folder"),
        ("cxlocal artifact get 2.7.14 wheel --to dist", "one artifact of a version"),
    ]
)
def artifact() -> None:
    """List the artifacts of a run, and copy them out."""


@artifact.command(
    "list",
    examples=[("cxlocal artifact list 2.7.14", "what a version is made of, and where it lies")],
)
@click.argument("version", metavar="[VERSION|RUN]", default="")
@click.option("-d", "--deliverable", help="Where several deliverables have that version.")
@rows_options
@pass_app
def list_artifacts(app: App, version: str, deliverable: str | None, output: Output) -> None:
    """List the artifacts of a run: name, file, size, digest, and where the bytes are."""
    with app.journal(create=False) as journal:
        found, _ = _wanted(app, journal, version, "", deliverable)
        write_rows(
            [
                {
                    "name": one.name, "file_name": one.file_name, "size_bytes": one.size,
                    "sha256": one.sha256, "path": where(journal, one),
                }
                for one in found
            ],
            ("name", "file_name", "size_bytes", "sha256", "path"), output,
        )  # fmt: skip
        if not found and output.for_people:
            say("This run has made no artifacts; a stage names them in 'produces'.")


@artifact.command(
    "get",
    examples=[
        ("cxlocal artifact get", "all of the newest release, into this folder"),
        ("cxlocal artifact get 2.7.14", "all of a version"),
        ("cxlocal artifact get 2.7.14 wheel --to dist", "one of them, into another folder"),
        ("cxlocal artifact get wheel", "one of the newest release"),
    ],
)
@click.argument("version", metavar="[VERSION|RUN]", default="")
@click.argument("name", default="")
@click.option("--to", "folder", default=".", metavar="DIR", help="Where to; made if need be.")
@click.option("-d", "--deliverable", help="Where several deliverables have that version.")
@click.option("--force", is_flag=True, help="Replace other files of the same name.")
@pass_app
def get(
    app: App, version: str, name: str, folder: str, deliverable: str | None, force: bool
) -> None:
    """Copy artifacts out of what is kept, under the names they were built as.

    Their digests are checked. What is not on this machine is fetched from the store, if that has it.
    The path of each file goes to standard output.
    """
    with app.journal(create=False) as journal:
        wanted, run = _wanted(app, journal, version, name, deliverable)
        if not wanted:
            row = find_run(journal, run)
            why = "none of its stages names any in 'produces'"
            if row["outcome"] != "success":
                why = f"{row['version'] or 'it'}: {row['outcome_reason'] or row['outcome']}"
            raise UsageError(
                f"run {run[:8]} has made no artifacts",
                why=why,
                hint="cxlocal artifact get VERSION gets those of another ('cxlocal log' lists them)",
                name="no-artifacts",
            )
        _fetch(app, journal, [one for one in wanted if not _is_here(journal, one)])
        for one in wanted:
            put(_copy(journal, one, Path(folder), force=force))


def _wanted(
    app: App, journal: Journal, version: str, name: str, deliverable: str | None
) -> tuple[list[Needed], str]:
    """The artifacts that are meant, and their run. A single word may be the name of one."""
    catch_up(journal)
    deliverable = deliverable or deliverable_here(app)
    try:
        run = str(find_run(journal, version, deliverable)["run"])
    except UsageError:
        if not version or name:
            raise
        run, named = str(find_run(journal, "", deliverable)["run"]), version
        if named not in {one.name for one in artifacts_of(journal, run)}:
            raise
        name = named
    found = artifacts_of(journal, run)
    chosen = [one for one in found if not name or name in (one.name, one.file_name)]
    names = [one.name for one in found]
    if name and not chosen:
        raise UsageError(
            f"run {run[:8]} has no artifact {name!r}",
            why="it has " + (", ".join(names) or "none"),
            hint=f"cxlocal artifact get {run[:8]} {quoted(near(name, names) or names[0])}"
            if names
            else "'cxlocal log' lists other runs",
            name="no-such-artifact",
        )
    return chosen, run


def where(journal: Journal, one: Needed) -> str:
    """Where the bytes lie on this machine; empty where they do not."""
    return str(blob_path(journal.home, one.sha256)) if _is_here(journal, one) else ""


def _is_here(journal: Journal, one: Needed) -> bool:
    return blob_path(journal.home, one.sha256).is_file()


def _fetch(app: App, journal: Journal, absent: Sequence[Needed]) -> None:
    """Bring bytes from the store. Raises Trouble where it has not got them either."""
    if not absent:
        return
    problems: tuple[str, ...] = ()
    try:
        store = open_project_store(app, load_project(app))
        try:
            problems = carry(journal, store, absent, FETCH_SECONDS).problems
        finally:
            store.close()
    except CxError as problem:
        problems = (problem.what,)
    if lacking := [one for one in absent if not _is_here(journal, one)]:
        raise Trouble(
            f"{', '.join(one.name for one in lacking)} cannot be had here",
            why="; ".join(problems) or "the bytes are neither on this machine nor at the store",
            hint="'cxlocal artifact get' on the machine that built it; what is live is brought to the"
            " store by 'cxlocal sync' there",
            name="blob-missing",
        )


def _copy(journal: Journal, one: Needed, folder: Path, *, force: bool) -> Path:
    """Give the file its name in ``folder``, as a whole or not at all."""
    source = check_blob(journal.home, one.sha256)
    # An event from elsewhere must not lead out of the folder.
    file_name = os.path.basename(one.file_name)
    target = folder / (file_name if file_name.strip(".") else one.sha256[:12])
    folder.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):
        if target.is_file() and not target.is_symlink() and digest_of(target)[0] == one.sha256:
            return target
        if not force:
            raise Refused(
                f"{target} is already there, with other bytes",
                why="a file of yours is not replaced unasked",
                hint="cxlocal artifact get … --to ANOTHER-FOLDER, or --force",
                name="already-there",
            )
    with fresh_file(folder, mode=PROGRAM if one.executable else PLAIN) as file:
        with source.open("rb") as content:
            shutil.copyfileobj(content, file)
        take_name(file, target)
    return target
