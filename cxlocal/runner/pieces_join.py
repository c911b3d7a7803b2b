"""Which run a job of a CI server belongs to.

A run is joined only if it is this run: begun for the same run of the server, of the same commit, and
open. One that was finished goes on where the server tries the job again, under its own number.
Servers reuse their ids (a job that is deleted and made again counts from 1), so an id alone is
never believed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cxlocal.errors import Refused
from cxlocal.events.belonging import shared_id
from cxlocal.events.types import PIPELINE_QUEUED, RUN_RESUMED, TASK_STARTED
from cxlocal.journal.rebuild import catch_up
from cxlocal.patterns import compile_late
from cxlocal.projection.stages import counted
from cxlocal.text import quoted
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.hooks.place import Place
    from cxlocal.journal.file import Journal
    from cxlocal.runner.pieces import PieceRecord

OF_CI = """
SELECT run.id AS id, run.revision AS revision, run.version AS version, run.place_url AS url,
  run.finished_at IS NOT NULL AS ended FROM run
  JOIN run_lookup ON run_lookup.name = run.id JOIN event ON event.run = run_lookup.id
WHERE run.place_kind = 'ci' AND run.place = ? AND run.deliverable = ?
  AND event.type = (SELECT id FROM type_lookup WHERE name = ?)
  AND event.document ->> '$.customData.cxlocal.place.run_id' = ?
ORDER BY coalesce(run.number, -1) DESC, run.queued_at DESC
"""
PLACES = """
SELECT e.document ->> '$.customData.cxlocal.place' AS place FROM event e
JOIN run_lookup r ON r.id = e.run JOIN type_lookup t ON t.id = e.type
WHERE r.name = ? AND t.name IN (?, ?, ?)
"""
BY_AGENT = ("gocd",)
"""Servers whose address each agent is told in its own words: it tells no two of them apart."""


BEGINS: dict[str, tuple[str, ...]] = {
    "bamboo": ("browse",), "circleci": (), "concourse": ("teams", "builds"), "gitlab": ("-",),
    "jenkins": ("job",),
    "teamcity": ("build", "buildConfiguration", "viewLog.html", "viewType.html"),
}  # fmt: skip
"""Servers that name jobs in the addresses they give, and with what the part of these begins that is not
the server's own; nothing: with the first word."""
_PORTS = {"https": ":443", "http": ":80"}
_QUERY = compile_late(r"[?#]")


class Tried(NamedTuple):
    """An attempt of a job, as the server counts; 0: it does not."""

    job: str
    run_attempt: int
    job_attempt: int
    run_try: str = ""
    """What names the attempt of the run, where the server gives each a name of its own."""


class CiRun(NamedTuple):
    """A run that began for the run of a CI server."""

    id: str
    revision: str
    version: str
    ended: bool

    @property
    def shown(self) -> str:
        """How messages call it."""
        return self.version or self.id[:8]


class Joined(NamedTuple):
    """What a job of the CI server is to do."""

    run: CiRun | None
    """The run to go on with; None: there is none, or it must not be joined."""
    again: bool = False
    """The run was finished, and the server tries this job again."""
    other: CiRun | None = None
    """One of the same id that is not this run."""


def tried_by(place: Place) -> Tried:
    """The attempt that this job is."""
    return _tried(place._asdict())


def _tried(told: Mapping[str, Any]) -> Tried:
    attempt = str(told.get("attempt") or "")
    number = counted(attempt)
    return Tried(
        str(told.get("job") or ""), number or 0, counted(told.get("job_attempt")) or 0,
        attempt if number is None else "",
    )  # fmt: skip


def is_higher(now: Tried, before: Iterable[Tried]) -> bool:
    """Whether the server tries again what ``before`` it has tried: the run, or this job."""
    seen = list(before)
    if now.run_attempt > max((one.run_attempt for one in seen), default=now.run_attempt):
        return True
    tries = {one.run_try for one in seen if one.run_try}
    if now.run_try and tries and now.run_try not in tries:
        return True
    same = [one.job_attempt for one in seen if one.job == now.job]
    return bool(same) and 0 < max(same) < now.job_attempt


def server_of(name: str, url: str, run_id: str) -> str:
    """Which of the servers of one kind it is, by the address of a run; empty: not known.

    Host, port and the path before what may differ between jobs of one run, and between builds that
    somebody says are one: it begins with a word of the server's own addresses, else with the id of
    the run or a number.
    """
    scheme, separator, rest = url.strip().partition("://")
    plain = rest if separator else url.strip().removeprefix("//")
    if name in BY_AGENT or not (separator or set(plain) & set("./:")):
        return ""
    host, _, path = _QUERY.split(plain, maxsplit=1)[0].partition("/")
    host = host.rpartition("@")[2].lower().removesuffix(_PORTS.get(scheme.lower(), ":443"))
    segments = [one for one in path.split("/") if one]
    ends = BEGINS.get(name)
    if ends is None:
        below = (at for at, one in enumerate(segments) if one == run_id or one.isdecimal())
    else:
        below = (at for at, one in enumerate(segments) if one in ends or not ends)
    return "/".join([host.rstrip("."), *segments[: next(below, None)]])


def choose(
    found: Sequence[CiRun], commit: str, higher: Callable[[CiRun], bool], *, begins: bool
) -> Joined:
    """Which of the runs of one id of the server, by their numbers from the last, a job of ``commit`` goes on with.

    An empty ``commit`` is not known, and any will do. One that ``begins`` joins an open run, or one
    that is tried again; other commands also speak of a run that was finished. Pure.
    """
    same = [one for one in found if not commit or one.revision == commit]
    # Machines whose clocks or journals differ may know of a later run that is over.
    opened = next((one for one in same if not one.ended), None)
    if opened is not None:
        return Joined(opened)
    if same and higher(same[0]):
        return Joined(same[0], again=True)
    if same and not begins:
        return Joined(same[0])
    return Joined(None, other=next((one for one in found if not one.ended), None) or (
        found[0] if found else None
    ))  # fmt: skip


def find_joined(
    journal: Journal, deliverable: str, place: Place, commit: str, *, begins: bool
) -> Joined:
    """The run of a deliverable that a job of a CI server goes on with."""
    if place.kind != "ci" or not place.run_id:
        return Joined(None)
    catch_up(journal)
    rows = journal.query(OF_CI, (place.name, deliverable, PIPELINE_QUEUED, place.run_id))
    server = server_of(place.name, place.run_url, place.run_id)
    runs = {
        row["id"]: CiRun(row["id"], row["revision"] or "", row["version"] or "", bool(row["ended"]))
        for row in rows
        if server in ("", other := server_of(place.name, row["url"] or "", place.run_id))
        or not other
    }

    def higher(run: CiRun) -> bool:
        return is_higher(tried_by(place), attempts_of(journal, run.id))

    return choose(list(runs.values()), commit, higher, begins=begins)


def attempts_of(journal: Journal, run: str) -> list[Tried]:
    """The attempts of jobs that have said anything of a run."""
    rows = journal.query(PLACES, (run, PIPELINE_QUEUED, RUN_RESUMED, TASK_STARTED))
    return list(dict.fromkeys(_tried(_place(row["place"])) for row in rows if row["place"]))


def new_shared_id(journal: Journal, deliverable: str, place: Place, commit: str) -> str:
    """The id of a new run of a CI run: jobs that begin it at the same moment, each on a machine that
    has not heard of the other, give it the same id, and the store gives that one number."""
    server = server_of(place.name, place.run_url, place.run_id)
    for count in itertools.count():
        words = (place.name, server, place.run_id, commit, str(count))
        run = shared_id(deliverable, words)
        if journal.one("SELECT 1 FROM run WHERE id = ?", (run,)) is None:
            return run
    raise AssertionError("counting never ends")


def _place(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def go_on(record: PieceRecord, place: Place, *, again: bool = False) -> None:
    """Take a run up again that was finished, where the server tries this job ``again``, or where the
    journal says that it does."""
    if not record.ended or place.kind != "ci":
        return
    if again or is_higher(tried_by(place), attempts_of(record.journal, record.run)):
        record.turn = record.last_turn()
        told = {"name": place.name, "job": place.job, "attempt": place.attempt,
                "job_attempt": place.job_attempt}  # fmt: skip
        reason = f"{place.name} runs it again"
        record.resumed(sorted(record.succeeded()), record.actor, reason, place=told)


def refuse_other(other: CiRun, commit: str, place: Place | None = None) -> Refused:
    """Two commits in one run, of the CI server ``place`` or of whoever named it."""
    of_ci = "" if place is None else f" of this {place.name} run"
    here = "is checked out here" if place is None else "is what this job has"
    begin = "cxlocal run start" + (" --new" if place else "")
    return Refused(
        f"run {other.shown}{of_ci} is one of commit {other.revision[:12]}, and {commit[:12]} {here}",
        why="what one run builds, tests and deploys is one commit",
        hint=f"check out {other.revision[:12]} here; or begin a run of its own: {begin}"
        f" (CXLOCAL_RUN={other.id} cxlocal run finish ends that one); a decision or a deployment"
        f" names its version: cxlocal promote {quoted(other.shown)} NAME, cxlocal deploy {quoted(other.shown)}",
        name="other-commit",
        revision=other.revision,
        found=commit,
    )


def run_over(record: PieceRecord) -> Refused:
    """Nothing more is reported to a run that has ended."""
    return Refused(
        f"run {record.version or record.run[:8]} was finished",
        why="a run that is over is joined only where its CI server runs a job again",
        hint='eval "$(cxlocal run start)" begins another one',
        name="run-over",
    )
