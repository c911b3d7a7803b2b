"""What notes are made of: the commits that were recorded with a run, completed from git where the
repository is at hand, and the changelog as the commit has it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import msgspec

from cxlocal.events.types import PIPELINE_QUEUED
from cxlocal.journal.rebuild import catch_up
from cxlocal.notes.changelog import FILE, open_section, section, without
from cxlocal.notes.commits import Written
from cxlocal.notes.text import Notes, Since
from cxlocal.numbers.schemes import texts_in_tag
from cxlocal.projection.page_questions import PAGE_QUESTIONS
from cxlocal.revision.changes import Changes, bodies, changes_since
from cxlocal.revision.git import ask, decode, git
from cxlocal.revision.reach import known_objects
from cxlocal.revision.repository import contents_world, read_file, version_tags
from cxlocal.runner.facts import LIVE, own_commits
from cxlocal.runner.last_release import LATER, Released, last_released
from cxlocal.runner.run_version import is_part
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxlocal.journal.file import Journal
    from cxlocal.numbers.schemes import Scheme
    from cxlocal.plan.types import Environment, Plan
    from cxlocal.revision.repository import Repository
    from cxlocal.runner.record import RunRecord

LISTED_MAX = 2000
"""Commits that git is asked for; of more, the rest is counted."""
RECORDED = f"""
SELECT e.document ->> '$.customData.cxlocal.changes' AS changes FROM event e
JOIN run_lookup r ON r.id = e.run JOIN type_lookup t ON t.id = e.type
WHERE r.name = ? AND t.name = '{PIPELINE_QUEUED}' ORDER BY e.id LIMIT 1
"""


class Subject(NamedTuple):
    """What notes are wanted of: a release, or (without a run) a commit that is none yet."""

    plan: Plan
    commit: str
    run: str = ""
    version: str = ""
    queued_at: str = LATER


class Where(NamedTuple):
    """Where it is looked up."""

    journal: Journal | None
    repository: Repository | None
    """That the deliverable comes from; None where it is not at hand."""
    scheme: Scheme | None
    """None where only a plugin that is not loaded knows it."""


def make_notes(where: Where, subject: Subject, since: Since | None = None) -> Notes:
    """The notes of ``subject``, beginning after ``since``: if None, after what was live where it led
    to, or was released before."""
    if where.repository is not None and not known_objects(where.repository, [subject.commit]):
        where = where._replace(repository=None)
    recorded = _recorded(where.journal, subject)
    base = since or _base(where, subject, recorded)
    found = _changes(where, subject, base, recorded)
    plan, links = subject.plan, subject.plan.links
    return Notes(
        deliverable=plan.deliverable, version=subject.version, run=subject.run,
        commit=subject.commit, since=base,
        commits=_with_bodies(where.repository, found), total=found.total, note=found.note,
        changelog=_changelog(where.repository, subject, base),
        links={} if links is msgspec.UNSET else links,
    )  # fmt: skip


def notes_of(record: RunRecord, repository: Repository | None, scheme: Scheme | None) -> Notes:
    """The notes of a run as it goes on."""
    catch_up(record.journal)
    row = record.journal.one("SELECT queued_at FROM run WHERE id = ?", (record.run,)) or {}
    subject = Subject(
        record.plan, record.revision, record.run, record.version, row.get("queued_at") or LATER
    )
    return make_notes(Where(record.journal, repository, scheme), subject)


def live_in(journal: Journal, deliverable: str, environment: str) -> Since | None:
    """What notes begin after that are compared with what is live in ``environment``; None where
    nothing is."""
    row = journal.one(LIVE, (deliverable, environment))
    if row is None or not row["revision"]:
        return None
    return Since(row["version"] or "", row["run"], row["revision"], environment)


def live_environment(environments: Sequence[Environment]) -> str:
    """Where something is live, as the pages have it (LIVE_ENVIRONMENT): the environment that says so, else the
    last lasting one; empty for none."""
    lasting = [one for one in environments if one.lifetime == "lasting"]
    found = [one for one in lasting if one.live is True] or lasting
    return found[-1].name if found else ""


def tagged_as(repository: Repository, deliverable: str, version: str) -> Since | None:
    """A version that only a tag of the clone tells of."""
    for tag in version_tags(repository):
        if version in texts_in_tag(deliverable, tag):
            name = f"refs/tags/{tag}^{{commit}}"
            answer = git(repository.root, "rev-parse", "-q", "--verify", "--end-of-options", name)
            if answer.code == 0:
                return Since(version, "", decode(answer.stdout).strip())
    return None


def _recorded(journal: Journal | None, subject: Subject) -> dict[str, Any] | None:
    row = journal.one(RECORDED, (subject.run,)) if journal is not None and subject.run else None
    found = json.loads(row["changes"]) if row is not None and row["changes"] else None
    return found if isinstance(found, dict) and found.get("since_commit") else None


def _base(where: Where, subject: Subject, recorded: dict[str, Any] | None) -> Since | None:
    if recorded is not None:
        return Since(
            recorded.get("since_version") or "", recorded.get("since_run") or "",
            recorded["since_commit"],
        )  # fmt: skip
    journal, plan = where.journal, subject.plan
    if journal is not None and not subject.run:
        place = live_environment(plan.environments)
        found = live_in(journal, plan.deliverable, place) if place else None
        if found is not None:
            return found
    before = _before(where, subject)
    return None if before is None else Since(before.version, before.run, before.commit)


def _before(where: Where, subject: Subject) -> Released | None:
    plan, repository = subject.plan, where.repository
    if where.scheme is None:
        return None
    return last_released(
        where.journal, where.scheme, plan.deliverable, plan.version.line, repository,
        part=repository is not None and is_part(plan, repository), before=subject.queued_at,
    )  # fmt: skip


def _changes(
    where: Where, subject: Subject, base: Since | None, recorded: dict[str, Any] | None
) -> Changes:
    """From git; where that does not know, what was recorded."""
    if where.repository is not None:
        found = changes_since(
            where.repository, None if base is None else base.commit, subject.commit,
            limit=LISTED_MAX, paths=subject.plan.paths,
            was="live" if base is not None and base.place else "released",
            besides=own_commits(where.journal, where.repository, subject.plan),
        )  # fmt: skip
        if found.total is not None or recorded is None or found.listed:
            return found._replace(
                note="" if base is None and found.total is not None else found.note
            )
    if base is None or not subject.run:
        return Changes(None, (), False, "")
    if recorded is not None and recorded["since_commit"] == base.commit:
        listed = tuple(_read(one) for one in recorded.get("listed") or ())
        total = recorded.get("total")
        note = recorded.get("note") or ""
        return Changes(total, listed, (total or 0) > len(listed), note)  # type: ignore[arg-type]
    return _between(where.journal, subject, base)


def _between(journal: Journal | None, subject: Subject, base: Since) -> Changes:
    """What the releases after ``base`` recorded."""
    note = "as far as it was recorded: the repository is not at hand"
    if journal is None or not base.run:
        return Changes(None, (), False, note)
    given = {"older": base.run, "newer": subject.run, "deliverable": subject.plan.deliverable}
    rows = journal.query(PAGE_QUESTIONS["commits-between"][2], given)
    listed = tuple(_read({"commit": row["revision"], **row}) for row in rows)
    return Changes(None, listed, False, note)  # type: ignore[arg-type]


def _read(one: dict[str, Any]) -> Written:
    return Written(
        *(str(one.get(key) or "") for key in ("commit", "subject", "author", "committed_at"))
    )


def _with_bodies(repository: Repository | None, found: Changes) -> tuple[Written, ...]:
    known = bodies(repository, [one.commit for one in found.listed]) if repository else {}
    return tuple(Written(*one[:4], known.get(one.commit, "")) for one in found.listed)


def _changelog(repository: Repository | None, subject: Subject, base: Since | None) -> str:
    """The section of the version; else of what was not released yet, but for what stood there at the
    release before and was what that one had: where it had a section of its own, the rest was kept for later."""
    for path in [] if repository is None else _changelogs(repository, subject.commit):
        assert repository is not None
        text = _text_of(repository, subject.commit, path)
        found = section(text, subject.version) if subject.version else ""
        if found:
            return found
        found = open_section(text)
        if found and base is not None and known_objects(repository, [base.commit]):
            before = _text_of(repository, base.commit, path)
            if not (base.version and section(before, base.version)):
                found = without(found, open_section(before))
        if found:
            return found
    return ""


def _changelogs(repository: Repository, commit: str) -> list[str]:
    """The files that may be one, in the folder of cx.toml and in ``docs`` there."""
    found = []
    for folder in (repository.prefix, os.path.join(repository.prefix, "docs")):
        raw = ask(
            repository.root, "--literal-pathspecs", "ls-tree", "-z", "--name-only", "--full-tree",
            "--end-of-options", commit, *(["--", f"{folder}/"] if folder else []),
            world=contents_world(repository),
        )  # fmt: skip
        names = [os.fsdecode(name) for name in raw.split(b"\0")]
        found += sorted(name for name in names if FILE.fullmatch(os.path.basename(name)))
    return found


def _text_of(repository: Repository, commit: str, path: str) -> str:
    return (read_file(repository, commit, path) or b"").decode("utf-8", "backslashreplace")
