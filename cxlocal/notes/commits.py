"""What the message of a commit says, and the groups that notes show commits in. Pure.

Grouped where the project writes conventional commits (https://www.conventionalcommits.org), which is
seen by its messages; elsewhere the commits stay one list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cxlocal.patterns import compile_late
from cxlocal.values import NamedTuple

BREAKING = "Breaking changes"
OTHER = "Other changes"

_KINDS = {
    "Features": ("feat", "feature", "features"),
    "Fixes": ("fix", "fixes", "bugfix", "hotfix"),
    "Security": ("security", "sec"),
    "Performance": ("perf",),
    "Deprecated": ("deprecate", "deprecated"),
    "Removed": ("remove", "removed"),
    "Reverted": ("revert",),
    "Documentation": ("docs", "doc"),
    OTHER: ("",),
    "Maintenance": (
        "build",
        "chore",
        "ci",
        "deps",
        "refactor",
        "release",
        "style",
        "test",
        "tests",
    ),
}
"""The groups in the order they are shown in, and the kinds of commits in each."""
_GROUP_OF = {kind: group for group, kinds in _KINDS.items() for kind in kinds}

GROUPED_SHARE = 0.5
"""Of the commits that are no merges: with fewer of a known kind a project writes no such messages."""

_SUBJECT = compile_late(
    r"(?P<kind>[A-Za-z]{2,20})(?:\((?P<scope>[^()\r\n]{0,100})\))?(?P<breaks>!)?:\s+(?P<words>\S.*)",
    re.DOTALL,
)
_FOOTER = compile_late(
    r"^BREAKING[ -]CHANGE:\s*(.+?)(?=\n\s*\n|\n[A-Za-z][A-Za-z-]*(?:: | #)|\Z)",
    re.MULTILINE | re.DOTALL,
)
_REVERT = compile_late(r'Revert(?: of)? "(.+)"', re.DOTALL)
_MERGE = compile_late(
    r"Merge (?:branch|pull request|remote-tracking branch|tag|commit)s? |Merged in "
)


class Written(NamedTuple):
    """A commit as somebody wrote it."""

    commit: str
    subject: str
    author: str
    """``Name <mail>``."""
    committed_at: str
    body: str = ""
    """What follows the first line; empty where only that was recorded."""


class Told(NamedTuple):
    """A commit and what its message says."""

    written: Written
    group: str
    """The heading it belongs under; empty for a merge, whose commits speak for themselves."""
    scope: str
    words: str
    breaks: str
    """What stops working, in words; empty where nothing is said to."""


def tell(written: Written) -> Told:
    """What a message says by the rules of conventional commits; any other is one of ``OTHER``."""
    subject = written.subject.strip()
    if _MERGE.match(subject):
        return Told(written, "", "", subject, "")
    revert = _REVERT.match(subject)
    found = _SUBJECT.fullmatch(subject)
    group = "" if found is None else _GROUP_OF.get(found["kind"].lower(), "")
    footer = _FOOTER.search(written.body)
    breaks = " ".join(footer[1].split()) if footer is not None else ""
    if found is None or not (group or found["breaks"]):
        kind = "Reverted" if revert is not None else OTHER
        return Told(written, BREAKING if breaks else kind, "", subject, breaks)
    words = found["words"].strip()
    if found["breaks"]:
        breaks = breaks or words
    return Told(
        written, BREAKING if breaks else group, (found["scope"] or "").strip(), words, breaks
    )


def grouped(commits: Iterable[Written]) -> list[tuple[str, list[Told]]]:
    """Commits under their headings, in the order they came; under an empty heading, as they were
    written, where the project writes no conventional commits. Merges are left out of either, unless
    there is nothing else."""
    told = [tell(one) for one in commits]
    spoken = [one for one in told if one.group]
    if not spoken:
        return [("", told)] if told else []
    if sum(_is_conventional(one) for one in spoken) < GROUPED_SHARE * len(spoken):
        return [("", [_plain(one) for one in spoken])]
    order: Sequence[str] = (BREAKING, *_KINDS)
    found = [(name, [one for one in spoken if one.group == name]) for name in order]
    return [(name, ones) for name, ones in found if ones]


def _is_conventional(one: Told) -> bool:
    return one.words != one.written.subject.strip() or one.group == "Reverted"


def _plain(one: Told) -> Told:
    return Told(one.written, OTHER, "", one.written.subject.strip(), one.breaks)
