"""``cxlocal demo``: one release with the store up and one without it, in front of the reader."""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.output import json_option, write_document
from cxlocal.commands.terminal import say
from cxlocal.demo.story import Act, DemoFolders, play
from cxlocal.errors import Trouble, UsageError
from cxlocal.journal.file import Journal
from cxlocal.journal.home import journal_file
from cxlocal.journal.rebuild import catch_up
from cxlocal.processes.start import run_attached, run_captured
from cxlocal.revision.local_file import agree_to_local, find_local, first_home
from cxlocal.text import utc_text

RUNS = """
SELECT run, version, outcome, number_state, online, revision_subject FROM run_board
WHERE kind = 'release' ORDER BY queued_at
"""


@command(
    examples=[
        ("cxlocal demo", "watch it, in a folder that is removed afterwards"),
        ("cxlocal demo --keep ~/cx-demo", "leave everything there to play with"),
    ]
)
@click.option(
    "--keep",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Make the demo in DIR and leave it, its service included.",
)
@json_option
@pass_app
def demo(app: App, folder: Path | None, as_json: bool) -> None:
    """Release a small web service twice, once without the store."""
    if folder is not None:
        _play(app, _empty(folder), as_json=as_json, kept=True)
        return
    with tempfile.TemporaryDirectory(prefix="cxlocal-demo-") as name:
        root = Path(name).resolve()
        try:
            _play(app, root, as_json=as_json, kept=False)
        finally:
            _stop_services(app, root)


def _empty(folder: Path) -> Path:
    root = folder.expanduser().resolve()
    if root.exists() and any(root.iterdir()):
        raise UsageError(
            f"{root} is not empty",
            why="the demo would mix its files with yours",
            hint="name a folder that does not exist yet: cxlocal demo --keep DIR",
            name="not-empty",
        )
    root.mkdir(parents=True, exist_ok=True)
    return root


def _play(app: App, root: Path, *, as_json: bool, kept: bool) -> None:
    place = DemoFolders(root)
    caller = Caller(_environment(app, place), quiet=as_json)
    say(f"Everything happens in {root}")
    homes = [place.home, *([first_home(app.environ, app.ids)] if kept else [])]

    def agree(folder: Path) -> None:
        found = find_local(folder, caller.env, app.ids)
        assert found is not None
        for home in homes:
            agree_to_local(found, home, utc_text(app.clock.now_ms()))

    play(place, caller.announce, caller.call, agree)
    summary = _summary(app, place)
    if as_json:
        write_document(summary)
    else:
        _say_end(place, summary, kept)


class Caller:
    """Prints each command and runs it, as a reader would type it."""

    def __init__(self, environ: dict[str, str], *, quiet: bool) -> None:
        self.quiet = quiet
        self.env = environ

    def announce(self, act: Act) -> None:
        """The heading of an act."""
        say(f"\n== {act.title} ==")

    def call(self, words: tuple[str, ...], folder: Path) -> None:
        """Run one command; its output goes where ours goes, to standard error with --json.

        Raises Trouble when it fails: what it said is on the screen already.
        """
        shown = shlex.join(words)
        say(f"\n$ {shown}")
        code = run_attached(
            _found(words), cwd=folder, env=self.env, stdout=2 if self.quiet else None
        )
        if code:
            raise Trouble(
                "the demo came to a halt",
                why=f"{shown!r} ended with exit code {code}; it says why above",
                hint="'cxlocal demo --keep DIR' leaves the folder to look into",
                name="demo-halted",
                command=shown,
                code=code,
            )


def _environment(app: App, place: DemoFolders) -> dict[str, str]:
    """The reader's own, without what would make git or cxlocal look elsewhere."""
    kept = {
        name: value
        for name, value in app.environ.items()
        if not name.startswith(("CXLOCAL_", "GIT_"))
    }
    return {**kept, "CXLOCAL_HOME": str(place.home)}


def _found(words: tuple[str, ...]) -> list[str]:
    """``cxlocal`` is the one that runs now, wherever PATH points."""
    if words[0] == "cxlocal":
        return [sys.executable, "-m", "cxlocal", *words[1:]]
    return list(words)


def _summary(app: App, place: DemoFolders) -> dict[str, Any]:
    path = journal_file(place.home)
    with Journal.open(path, clock=app.clock, ids=app.ids, create=False) as journal:
        catch_up(journal)
        return {
            "folder": str(place.root),
            "project": str(place.shop),
            "journal": str(path),
            "runs": journal.query(RUNS),
            "board": journal.query("SELECT * FROM release_board"),
        }


def _say_end(place: DemoFolders, summary: dict[str, Any], kept: bool) -> None:
    first, second = summary["runs"]
    say(
        f"\n{first['version']} was released with the store, {second['version']} without it:"
        " its number came from the reserve, lies visibly ahead, and is confirmed now."
    )
    if kept:
        service = next((row["uri"] for row in summary["board"]), "")
        say(f"\nThe service answers at {service or 'its address'}. Now try, in {place.shop}:")
        for line in (
            "cxlocal browse                   the history in the browser",
            "cxlocal show                     the story of the last run",
            "cxlocal version explain 50       why there is no 1.0.50",
            "cxlocal rollback production      back to the version before",
            "cxlocal env destroy production   stop the service",
        ):
            say(f"  {line}")
    else:
        say(
            "\nTry next:\n"
            "  cxlocal demo --keep ~/cx-demo    the same, left to play with:\n"
            "                                   'cxlocal browse' there opens the history\n"
            "  cxlocal init                     in a repository of your own"
        )


def _stop_services(app: App, root: Path) -> None:
    """No process stays behind, however the demo ended."""
    place = DemoFolders(root)
    if journal_file(place.home).exists():
        run_captured(
            _found(("cxlocal", "env", "destroy", "production", "--yes")),
            cwd=place.shop,
            env=_environment(app, place),
            timeout_seconds=30,
        )
