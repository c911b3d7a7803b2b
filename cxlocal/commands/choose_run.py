"""Which version a command is about: named by version, run or digest, or the run that is going on."""

from __future__ import annotations

from cxlocal.commands.context import App
from cxlocal.commands.find_run import find_run
from cxlocal.commands.joined import open_piece
from cxlocal.commands.project import send_copies
from cxlocal.commands.status import named_here
from cxlocal.errors import Conflict, Refused, UsageError
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.values import NamedTuple


class Chosen(NamedTuple):
    """A run, and whether it was named beyond doubt (by its id or by a digest of its bytes)."""

    run: str
    named: bool


def choose_run(
    app: App, journal: Journal, wanted: str, deliverable: str | None, *, offline: bool
) -> Chosen:
    """The run that ``wanted`` (version, run id or its beginning, ``sha256:`` digest) means; nothing
    means the run that single commands carry out here. The store is asked for one that is not known
    here, unless ``offline``.

    Raises UsageError, and Conflict when several runs fit.
    """
    try:
        return _choose(app, journal, wanted, deliverable)
    except UsageError as problem:
        if offline or problem.name not in _NOT_KNOWN:
            raise
        send_copies(app, journal, patient=False)
        return _choose(app, journal, wanted, deliverable)


_NOT_KNOWN = ("no-such-run", "no-such-artifact")


def _choose(app: App, journal: Journal, wanted: str, deliverable: str | None) -> Chosen:
    catch_up(journal)
    if not wanted:
        return Chosen(_run_here(app, journal), True)
    if wanted.startswith("sha256:"):
        return Chosen(_run_of_digest(journal, wanted.removeprefix("sha256:")), True)
    row = find_run(journal, wanted, deliverable, here=named_here(app))
    return Chosen(str(row["run"]), str(row["run"]).startswith(wanted))


def _run_here(app: App, journal: Journal) -> str:
    try:
        return open_piece(app, journal).run
    except Refused as problem:
        if problem.name != "no-run":
            raise
        raise Refused(
            f"which version is meant? {problem.what}",
            why=problem.why,
            hint=f"name a version or a run ('cxlocal log' lists them); {problem.hint}",
            name=problem.name,
        ) from problem


def _run_of_digest(journal: Journal, digest: str) -> str:
    rows = journal.query(
        "SELECT DISTINCT run FROM artifact WHERE sha256 = ? AND packaged_at IS NOT NULL", (digest,)
    )
    if not rows:
        raise UsageError(
            f"no artifact with the digest sha256:{digest[:12]}… is known here",
            why="the journal here has no such artifact",
            hint="cxlocal show lists the artifacts of a run",
            name="no-such-artifact",
        )
    if len(rows) > 1:
        raise Conflict(
            f"{len(rows)} runs made the same bytes",
            why=", ".join(row["run"][:8] for row in rows),
            hint="name the run",
            name="several-runs",
        )
    return str(rows[0]["run"])
