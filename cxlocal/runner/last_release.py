"""What was released before: the version that a release without a place to be live in is compared with.

The last one that went well on the line, or else on the line before; of a line whose versions are final
no pre-release counts. Where the journal knows none, the tags of the clone are believed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cxlocal.numbers.schemes import first_number, lines_in_tags
from cxlocal.revision.git import decode, git
from cxlocal.revision.repository import version_tags
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxlocal.journal.file import Journal
    from cxlocal.numbers.schemes import Scheme
    from cxlocal.revision.repository import Repository

ON_LINE = """
SELECT r.version, r.id AS run, r.revision FROM run r
WHERE r.deliverable = ? AND r.kind = 'release' AND r.outcome = 'success' AND r.line = ?
  AND r.queued_at < ? AND r.revision IS NOT NULL ORDER BY r.queued_at DESC LIMIT 1
"""
BELOW = """
SELECT r.version, r.id AS run, r.revision, r.line FROM version v JOIN run r ON r.id = v.run
WHERE v.deliverable = ? AND v.sort_key < ? AND v.used_at IS NOT NULL AND r.kind = 'release'
  AND r.outcome = 'success' AND r.queued_at < ? AND r.revision IS NOT NULL
ORDER BY v.sort_key DESC
"""
LATER = "9999"
"""Sorts behind every time."""


class Released(NamedTuple):
    """A version that went out before."""

    version: str
    run: str
    """Empty where only a tag tells of it."""
    commit: str


def last_released(
    journal: Journal | None,
    scheme: Scheme,
    deliverable: str,
    line: str,
    repository: Repository | None,
    *,
    part: bool = False,
    before: str = LATER,
) -> Released | None:
    """The last version on ``line`` or the one before; None for a first release. ``before``: the time of
    the release that is compared with it; ``part``: the deliverable is a folder of its repository."""
    row = None if journal is None else _recorded(journal, scheme, deliverable, line, before)
    if row is not None:
        return Released(row["version"] or "", row["run"], row["revision"])
    if repository is None:
        return None
    return next(_tagged(scheme, deliverable, line, repository, part=part), None)


def _recorded(
    journal: Journal, scheme: Scheme, deliverable: str, line: str, before: str
) -> dict[str, Any] | None:
    row = journal.one(ON_LINE, (deliverable, line, before))
    if row is not None:
        return row
    early = bool(first_number(scheme.name, line))
    lowest = scheme.sort_key(scheme.render(line, 0))
    found = journal.query(BELOW, (deliverable, lowest, before))
    final = (one for one in found if early or not first_number(scheme.name, one["line"] or ""))
    return next(final, None)


def _tagged(
    scheme: Scheme, deliverable: str, line: str, repository: Repository, *, part: bool
) -> Iterator[Released]:
    """What the tags of the clone tell of, the highest first, up to ``line``."""
    found = lines_in_tags(scheme, deliverable, line, version_tags(repository), part=part)
    early = bool(first_number(scheme.name, line))
    highest = scheme.sort_key(scheme.render(line, 10**9))
    told = []
    for name, numbers in found.items():
        if name == line or early or not first_number(scheme.name, name):
            texts = {scheme.render(name, number): tag for number, tag in numbers.items()}
            told += [(scheme.sort_key(text), text, tag) for text, tag in texts.items()]
    for key, text, tag in sorted(told, reverse=True):
        if key > highest:
            continue
        answer = git(repository.root, "rev-parse", "-q", "--verify", "--end-of-options", f"refs/tags/{tag}^{{commit}}")  # fmt: skip
        if answer.code == 0:
            yield Released(text, "", decode(answer.stdout).strip())
