"""What is known when a run is asked for: proof, what is left out, what is new in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from cxlocal.errors import UsageError
from cxlocal.plan.freeze import freeze
from cxlocal.revision.repository import dirty, identity, read_files, resolve, shown
from cxlocal.runner.last_release import Released, last_released
from cxlocal.runner.queued import RunFacts
from cxlocal.runner.record import RunRecord
from cxlocal.runner.run_version import is_part, stamps_of
from cxlocal.runner.source import find_scheme
from cxlocal.text import counted

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal
    from cxlocal.plan.types import Plan
    from cxlocal.revision.proof import Proof
    from cxlocal.revision.repository import Repository
    from cxlocal.runner.own_commits import OwnCommits
    from cxlocal.runner.request import Request
    from cxlocal.runner.source import Machine, Source

LIVE = """
SELECT run.revision, deployments_now.version, deployments_now.version_run AS run
FROM deployments_now JOIN run ON run.id = deployments_now.version_run
WHERE deployments_now.deliverable = ? AND deployments_now.environment = ?
ORDER BY since DESC LIMIT 1
"""


def prove_revision(
    machine: Machine, source: Source, *, online: bool, rehearsal: bool
) -> tuple[Proof | None, str]:
    """How we know the commit was pushed (None in a rehearsal), and the repository's first commit.

    Raises Refused for a commit that no remote holds.
    """
    from cxlocal.revision.mirrors import Mirror, list_mirrors
    from cxlocal.revision.proof import prove

    commit = source.revision.commit
    root = identity(source.repository, commit).root_commit
    if rehearsal:
        return None, root
    key = root or f"folder:{source.repository.common_dir}"
    named = tuple(Mirror(location, "", key) for location in source.settings.mirrors)
    proof = prove(
        source.repository, commit, source.config.scm.remotes,
        (*list_mirrors(machine.home, key), *named), clock=machine.clock, online=online,
    )  # fmt: skip
    return proof, root


def left_out(source: Source, *, in_place: bool, rehearsal: bool) -> tuple[str, ...]:
    """Uncommitted files, which are not in this release. In place they are refused."""
    from cxlocal.revision.clean import require_clean
    from cxlocal.revision.filters import agreed_filters

    paths, repository = source.config.deliverable.paths, source.repository
    if in_place:
        _refuse_other_head(source)
        filters = agreed_filters(repository, source.config.scm.filters)
        require_clean(repository, source.revision.commit, paths, filters)
        return ()
    return () if rehearsal else shown(dirty(repository, paths))


def require_own_tree(source: Source, record: RunRecord) -> None:
    """A run that works in place goes on in the tree it left: its commit, the version written into
    it, and files git does not know. Raises Refused for other changes, UsageError for another commit.
    """
    from cxlocal.revision.clean import differences, refuse_changes
    from cxlocal.revision.filters import agreed_filters

    _refuse_other_head(source)
    repository = source.repository
    changed = differences(
        repository, record.revision, source.config.deliverable.paths,
        filters=agreed_filters(repository, source.config.scm.filters), untracked=False,
    )  # fmt: skip
    own = stamped_files(source.repository, record) if changed else {}
    refuse_changes(
        [name for name in changed if own.get(name, b"") != _bytes_of(repository.root / name)]
    )


def stamped_files(repository: Repository, record: RunRecord) -> dict[str, bytes]:
    """What the stamped files hold with the version in them, by name in the repository."""
    names = {one.file for one in record.plan.version.stamp}
    if not record.version or not names:
        return {}
    from cxlocal.runner.own_commits import stamp_contents

    full = {name: os.path.join(repository.prefix, name) for name in names}
    held = read_files(repository, record.revision, full.values())
    stamped = stamp_contents(
        stamps_of(record.plan), {name: held[path] or b"" for name, path in full.items()},
        record.version,
    )  # fmt: skip
    return {full[name]: content for name, content in stamped.items()}


def _bytes_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() and not path.is_symlink() else None


def _refuse_other_head(source: Source) -> None:
    if source.name == "HEAD":
        return
    head, wanted = resolve(source.repository).commit, source.revision.commit
    if head != wanted:
        raise UsageError(
            f"the working tree is at {head[:12]}, not at {wanted[:12]}",
            why='workspace = "in-place" runs the stages in the working tree itself',
            hint=f'git checkout {wanted[:12]}, or use workspace = "checkout"',
            name="other-revision",
        )


def facts_of(
    journal: Journal,
    source: Source,
    plan: Plan,
    request: Request,
    proof: Proof | None,
    root: str,
    missing: tuple[str, ...],
    online: bool | None,
) -> RunFacts:
    """Everything that can never be asked later."""
    content, digest = freeze(plan)
    return RunFacts(
        kind=request.kind,
        actor=source.actor,
        place=source.place,
        plan_bytes=content,
        plan_sha256=digest,
        reason=request.reason,
        trigger="manual" if source.place.kind == "laptop" else "pipeline",
        planned=request.planned,
        fixes=request.fixes,
        online=online,
        revision=source.revision,
        repository={
            "url": proof.url if proof else "",
            "path": source.repository.prefix,
            "root": root,
        },
        proof=dict(proof.as_json()) if proof else None,
        changes=None if request.rehearsal else changes_in(journal, source, plan, request.to),
        uncommitted=missing,
    )


def changes_in(
    journal: Journal, source: Source, plan: Plan, to: str | None
) -> dict[str, Any] | None:
    """The commits since the version that is live where this run leads, or since what was released
    before where the plan has no place to be live in; None where there is no such version."""
    lasting = [one.name for one in plan.environments if one.lifetime == "lasting"]
    target = to if to in lasting else (lasting[0] if lasting else "")
    if target:
        row = journal.one(LIVE, (plan.deliverable, target))
        before = Released(row["version"], row["run"], row["revision"] or "") if row else None
    else:
        before = last_released(
            journal, find_scheme(source.manager, plan), plan.deliverable, plan.version.line,
            source.repository, part=is_part(plan, source.repository),
        )  # fmt: skip
    if before is None or not before.commit:
        return None
    from cxlocal.revision.changes import changes_since

    found = changes_since(
        source.repository, before.commit, source.revision.commit, paths=plan.paths,
        was="live" if target else "released", besides=own_commits(journal, source.repository, plan),
    )  # fmt: skip
    return {
        "since_version": before.version,
        "since_run": before.run,
        "since_commit": before.commit,
        "total": found.total,
        "listed": [commit._asdict() for commit in found.listed],
        "note": found.note,
    }


def own_commits(journal: Journal | None, repository: Repository, plan: Plan) -> OwnCommits | None:
    """How the commits are known that follow a release; None in a project that has none."""
    if plan.bump is UNSET:
        return None
    from cxlocal.runner.own_commits import OwnCommits

    return OwnCommits(
        plan.deliverable, repository.prefix, tuple(stamps_of(plan)), plan.bump.changelog, journal
    )


def words_of_changes(changes: dict[str, Any]) -> str:
    """``4 commits since 2.7.3``; empty when there was none before."""
    since, total = changes.get("since_version") or "", changes.get("total")
    if not since:
        return ""
    count = "some commits" if total is None else counted(total, "commit")
    note = changes.get("note") or ""
    return f"{count} since {since}" + (f"; {note}" if note else "")
