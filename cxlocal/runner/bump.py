"""The commit after a release: made when all is done and recorded, and never before.

What goes wrong with it is a flag. How the release went is settled by then, and no tag is moved.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec import UNSET

from cxlocal.errors import CxError, Trouble
from cxlocal.events.runs import run_bumped
from cxlocal.events.types import PIPELINE_QUEUED, RUN_BUMPED
from cxlocal.notes.entry import with_entry
from cxlocal.notes.text import markdown
from cxlocal.revision.bumps import COMMIT_TRAILER, TRAILER, make_commit, only_bumps, push_commit
from cxlocal.revision.remotes import counting_remotes
from cxlocal.revision.repository import read_file
from cxlocal.runner.facts import own_commits, stamped_files
from cxlocal.runner.last_release import last_released
from cxlocal.runner.notes import notes_of
from cxlocal.runner.request import NothingToRelease
from cxlocal.runner.run_version import is_part
from cxlocal.runner.source import find_scheme
from cxlocal.text import clean_text, shorten, utc_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from cxlocal.journal.file import Journal
    from cxlocal.plan.types import Bump, Plan
    from cxlocal.runner.record import RunRecord
    from cxlocal.runner.source import Source
    from cxlocal.runner.voice import Voice

    Masked = Callable[[str], str]

SKIP = "[skip ci]"
"""In the first line: most CI servers start nothing for such a commit."""
DONE = """
SELECT 1 FROM event e JOIN run_lookup r ON r.id = e.run JOIN type_lookup t ON t.id = e.type
WHERE r.name = ? AND t.name = ? LIMIT 1
"""
BEGUN = f"""
SELECT run.branch, run.proof_remote, (
  SELECT e.document ->> '$.customData.cxlocal.proof.ref' FROM event e
  JOIN run_lookup r ON r.id = e.run JOIN type_lookup t ON t.id = e.type
  WHERE r.name = run.id AND t.name = '{PIPELINE_QUEUED}' ORDER BY e.id LIMIT 1) AS ref
FROM run WHERE run.id = ?
"""
_HEADS = "refs/heads/"
NAME_CHARACTERS = 100


def refuse_nothing(journal: Journal, source: Source, plan: Plan) -> None:
    """Raise NothingToRelease where the commit brings nothing since it was released but what cxlocal
    wrote."""
    rule = own_commits(journal, source.repository, plan)
    commit = source.revision.commit
    if rule is None:
        return
    before = last_released(
        journal, find_scheme(source.manager, plan), plan.deliverable, plan.version.line,
        source.repository, part=is_part(plan, source.repository),
    )  # fmt: skip
    known = before is not None and only_bumps(source.repository, commit, before.commit, rule)
    if known or only_bumps(source.repository, commit, "", rule):
        raise NothingToRelease(commit, before.version if before is not None and known else "")


def bump(source: Source, record: RunRecord, voice: Voice, masked: Masked = str) -> None:
    """Make and push the commit, once for each release that has come to its end. ``masked`` takes secrets out
    of words. Raises nothing that a person could mend: that is a flag."""
    rule = record.plan.bump
    if rule is UNSET or record.kind != "release":
        return
    needed = rule.needs or [stage.name for stage in record.plan.stages]
    if not record.succeeded().issuperset(needed):
        return
    if record.journal.one(DONE, (record.run, RUN_BUMPED)) is not None:
        return
    try:
        said = _bump(source, record, rule)
    except (CxError, OSError) as problem:
        flag(record, problem, voice, masked)
    else:
        voice.note(said)


def flag(record: RunRecord, problem: CxError | OSError, voice: Voice, masked: Masked = str) -> None:
    """Say and record that the commit was not made, or not pushed."""
    words = masked(
        f"{problem.what}: {problem.why}" if isinstance(problem, CxError) else str(problem)
    )
    hint = f" ({problem.hint})" if isinstance(problem, CxError) and problem.hint else ""
    record.record(record.flag_draft("bump-not-pushed", shorten(clean_text(words + hint), 900)))
    voice.warn(words + hint)


def _bump(source: Source, record: RunRecord, rule: Bump) -> str:
    repository, begun = source.repository, record.journal.one(BEGUN, (record.run,)) or {}
    files = _contents(source, record, rule)
    files = {
        name: content for name, content in files.items()
        if content != read_file(repository, record.revision, name)
    }  # fmt: skip
    if not files:
        return "the commit itself says its version: none was made after it"
    known = counting_remotes(repository, record.plan.remotes)
    remote = (
        begun.get("proof_remote") if begun.get("proof_remote") in known else next(iter(known), "")
    )
    if not remote:
        raise Trouble(
            "the commit after the release was not made",
            why="the repository here has no remote to push it to",
            hint="git remote add origin URL",
            name="bump-not-pushed",
        )
    first = rule.message.replace("{version}", record.version)
    first = first.replace("{deliverable}", record.ref.deliverable)
    message = f"{first} {SKIP}\n\n{TRAILER} {record.run}\n{COMMIT_TRAILER} {record.revision}\n"
    commit = make_commit(repository, record.revision, files, message, record.actor.id)
    at = begun.get("ref") or ""
    held = at.removeprefix(_HEADS) if at.startswith(_HEADS) else ""
    branch = rule.branch or begun.get("branch") or held
    name = _ref_part(f"{record.ref.deliverable}-{record.version}")
    pushed = push_commit(repository, str(remote), commit, branch, f"cxlocal/{name}")
    record.record(
        run_bumped(
            record.ref, commit=commit, files=sorted(files), remote=str(remote), branch=pushed.ref,
            aside=pushed.problem,
        )
    )  # fmt: skip
    said = f"commit {commit[:12]} has the version in {', '.join(sorted(files))}"
    if pushed.problem:
        return f"{said}: on {pushed.ref}, not on {branch or 'your branch'}: {pushed.problem}"
    return f"{said}: on {pushed.ref} of {remote}"


def _contents(source: Source, record: RunRecord, rule: Bump) -> dict[str, bytes]:
    files = stamped_files(source.repository, record)
    if rule.changelog:
        path = os.path.normpath(os.path.join(source.repository.prefix, rule.changelog))
        raw = read_file(source.repository, record.revision, path) or b""
        notes = notes_of(record, source.repository, find_scheme(source.manager, record.plan))
        words = markdown(notes._replace(changelog=""))
        files[path] = with_entry(
            raw.decode("utf-8", "surrogateescape"), record.version,
            utc_text(record.journal.clock.now_ms())[:10], words,
        ).encode("utf-8", "surrogateescape")  # fmt: skip
    return files


def _ref_part(text: str) -> str:
    kept = "".join(one if one.isalnum() or one in "._-" else "-" for one in text)
    return kept.strip(".-").replace("..", ".")[:NAME_CHARACTERS].removesuffix(".lock")
