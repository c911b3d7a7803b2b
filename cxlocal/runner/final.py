"""The final version of a pre-release: ``cxlocal run --final 3.2.0rc2``.

A new run of the same commit, whose number is the one that the pre-release leads to and no other. What
the pre-release built is taken over by digest where its bytes do not hold its version: what was tested
is what goes out.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from msgspec.structs import replace

from cxlocal.allocation.request import passed_over
from cxlocal.errors import CxError, Refused, UsageError
from cxlocal.journal.blobs import blob_path, check_blob, digest_of
from cxlocal.numbers import holdings
from cxlocal.numbers.schemes import final_of, numbers_in_tags
from cxlocal.revision.repository import version_tags
from cxlocal.runner.own_words import artifact_rows, run_row
from cxlocal.runner.run_version import is_part
from cxlocal.runner.source import find_scheme
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cxlocal.journal.file import Journal
    from cxlocal.numbers.schemes import Scheme
    from cxlocal.plan.types import Plan
    from cxlocal.runner.record import RunRecord
    from cxlocal.runner.source import Source
    from cxlocal.runner.stage_verdict import Made

TAKEN = """
SELECT v.text, v.run, r.revision, r.revision_subject FROM version v LEFT JOIN run r ON r.id = v.run
WHERE v.deliverable = ? AND v.sort_key = ? AND v.used_at IS NOT NULL LIMIT 1
"""


class Final(NamedTuple):
    """What a run is to be the final version of."""

    run: str
    """The run of the pre-release."""
    version: str
    """Its version."""
    line: str
    number: int
    text: str
    """Of the final version."""


def find_final(journal: Journal, source: Source, plan: Plan, run: str) -> Final:
    """The version that the pre-release of ``run`` leads to.

    Raises UsageError where that has none, Refused for a run that did not succeed, a version that is
    taken, naming both, and one that a tag says is out already.
    """
    scheme = find_scheme(source.manager, plan)
    final = _follows_from(journal, scheme, plan, run)
    tags = {*version_tags(source.repository), *(source.tags or ())}
    part = is_part(plan, source.repository)
    _refuse_tagged(final, scheme, plan.deliverable, tags, part=part)
    return final


def _follows_from(journal: Journal, scheme: Scheme, plan: Plan, run: str) -> Final:
    row = run_row(journal, run) or {}
    row = row if row.get("deliverable") == plan.deliverable else {}
    version = row.get("version") or ""
    found = final_of(scheme, version)
    if found is None:
        raise UsageError(
            f"{version or run[:8]} is no pre-release of {plan.deliverable}",
            why=f"no version of the scheme {scheme.name!r} follows from it",
            hint="name one: cxlocal run --final 3.2.0rc2; cxlocal log lists them",
            name="no-pre-release",
        )
    if row["outcome"] != "success":
        raise Refused(
            f"{version} did not succeed",
            why=f"its run is {row['outcome'] or 'open'}, and a final version goes out as it was tested",
            hint=f"cxlocal run --resume {run[:8]}",
            name="not-successful",
        )
    line, number, text = found
    final = Final(run, version, line, number, text)
    taken = journal.one(TAKEN, (plan.deliverable, scheme.sort_key(text)))
    if taken is not None:
        raise _taken(final, row["revision"] or "", taken)
    if holdings.highest_known(journal.connection, plan.deliverable, line) >= number:
        raise passed_over(final.text, line)
    return final


def _refuse_tagged(
    final: Final, scheme: Scheme, deliverable: str, tags: Iterable[str], *, part: bool
) -> None:
    """Raise Refused where a tag says that the final version, or a later one, is out already.
    ``part``: the deliverable is a folder of its repository."""
    found = numbers_in_tags(scheme, deliverable, final.line, tags, part=part)
    if found and max(found) >= final.number:
        latest = scheme.render(final.line, max(found))
        raise Refused(
            f"{final.version} cannot become {final.text}",
            why=f"a tag of the repository says that {latest} was released",
            hint="release a pre-release of a version above it",
            name="final-taken",
        )


def _taken(final: Final, commit: str, taken: Mapping[str, str | None]) -> Refused:
    other = taken["revision"] or "a commit that is not known here"
    same = "the same commit" if other == commit else f"commit {other[:12]}"
    return Refused(
        f"{final.version} cannot become {final.text}",
        why=f"{taken['text']} was released from {same}, {final.version} from commit {commit[:12]}",
        hint=f"cxlocal show {(taken['run'] or '')[:8]} tells of it; a later version gets its own"
        " pre-releases",
        name="final-taken",
    )


def as_final(plan: Plan, final: Final) -> Plan:
    """The plan of the commit, counted on the line of the final version."""
    rule = replace(plan.version, line=final.line, first=final.number, when_empty="stop")
    return replace(plan, version=rule)


def take_over(record: RunRecord, made: Iterable[Made]) -> list[str]:
    """In a final version put what was tested in the place of what was just built, if it does not hold
    its version. A line for each that differs, or whose tested bytes cannot be had here."""
    former_run = (run_row(record.journal, record.run) or {}).get("final_of") or ""
    rows = artifact_rows(record.journal, former_run) if record.kind == "release" else ()
    tested, said = {row["name"]: row for row in rows}, []
    for one in made:
        former, path = tested.get(one.name), one.paths[0]
        if former is None:
            continue
        from cxlocal.runner.mentions import mentions

        try:
            check_blob(record.journal.home, former["sha256"])
        except CxError as problem:
            said.append(f"{one.name} is not the one of {former['version']}: {problem.what}")
            continue
        kept = blob_path(record.journal.home, former["sha256"])
        if mentions(kept, former["version"], former["file_name"] or ""):
            continue
        if digest_of(path)[0] != former["sha256"]:
            said.append(
                f"{one.name} was built with other bytes now; those that were tested are kept"
            )
            mode = path.stat().st_mode
            path.unlink()
            shutil.copyfile(kept, path)
            path.chmod(mode)
    return said
