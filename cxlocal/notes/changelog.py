"""The section of a version in a changelog, in the forms that projects keep them in. Pure.

Headings in Markdown (``## [1.2.3] - 2026-11-30``), underlined ones (``1.2.3 (2026-11-30)`` over ``-----``,
also those of reStructuredText), lines that stand alone (``v1.2.3 / 2026-11-30``), and those of GNU
(``* Noteworthy changes in release 1.2.3``).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence

from cxlocal.patterns import compile_late
from cxlocal.text import harmless
from cxlocal.values import NamedTuple

FILE = compile_late(
    r"(?:change(?:s|[-_]?logs?)|history|news|release[-_]?(?:s|notes?|history))"
    r"(?:\.(?:md|markdown|mdown|rst|txt|adoc))?",
    re.IGNORECASE,
)
"""The names that changelogs go by."""

_ATX = compile_late(r" {0,3}(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*")
_UNDERLINE = compile_late(r"([=\-~^\"'*+`#:.])\1{2,}[ \t]*")
_GNU = compile_late(
    r"(\*{1,3})[ \t]+((?:.{0,40} )?(?:in|of|for) (?:release |version )?v?\d.*)", re.IGNORECASE
)
_ALONE = compile_late(
    r"(?:\*\*)?\[?(?:version |release )?v?\d+(?:\.\d+)+[0-9A-Za-z.+-]*\]?(?:\*\*)?"
    r"(?::|[ \t]*[-–—/,(:].*\d{4}.*|[ \t]+\(?(?:unreleased|\w+ \d{1,2},? \d{4}|\d{4}-\d\d-\d\d)\)?)?",
    re.IGNORECASE,
)
_FENCE = compile_late(r" {0,3}(```+|~~~+)")
_DEFINITION = compile_late(r" {0,3}\[([^\]]+)\]:[ \t]*\S.*")
_COMMENT = compile_late(r"<!--.*?-->", re.DOTALL)
_WORD = compile_late(r"[^\s\[\](){}<>,;:/|*`\"']+")
_NAMED = compile_late(r"(?:.*[@/]|[A-Za-z][\w.-]*-)?[vV]?(\d.*)")
_OPEN = compile_late(
    r"(?:.*\bunreleased\b.*|next|upcoming|(?:next|coming) (?:release|version)|head|main|master|trunk"
    r"|dev|development|in development|in progress|work in progress|wip|tbd|to be released)",
    re.IGNORECASE,
)
_ITEM = compile_late(r"(?:[-*+•]|\d+[.)])[ \t]+")


class Heading(NamedTuple):
    """A heading of a changelog."""

    line: int
    """Where it begins, counted from 0."""
    below: int
    """The first line after it."""
    level: int
    title: str


def section(text: str, version: str) -> str:
    """What the changelog says of ``version``; empty where it has no such section or nothing in it."""
    return _section(text, lambda title: _version_of(title) == version)


def open_section(text: str) -> str:
    """What the changelog says of what is not released yet, as ``section``."""
    return _section(text, is_open)


def is_open(title: str) -> bool:
    """Whether a heading stands above what is not released yet."""
    return _OPEN.fullmatch(_bare(title)) is not None


def has(text: str, version: str) -> bool:
    """Whether there is a heading of ``version``."""
    return any(_version_of(one.title) == version for one in headings_of(text.split("\n")))


def headings_of(lines: Sequence[str]) -> list[Heading]:
    """The headings, in their order."""
    return list(_headings(lines))


def without(text: str, former: str) -> str:
    """``text`` without the entries that ``former`` holds as well: what was open at the release before
    and stands there still. Empty where nothing is new."""
    known = {_same(block) for block in _blocks(former)}
    kept = [block for block in _blocks(text) if _is_heading(block) or _same(block) not in known]
    return _told("\n".join(_without_empty(kept)))


def _section(text: str, wanted: Callable[[str], bool]) -> str:
    lines = text.replace("\r\n", "\n").split("\n")
    headings = list(_headings(lines))
    for place, heading in enumerate(headings):
        if not wanted(heading.title):
            continue
        rest = headings[place + 1 :]
        end = next((one.line for one in rest if _ends(one, heading)), len(lines))
        body = _told("\n".join(lines[heading.below : end]))
        return _with_definitions(body, lines) if body else ""
    return ""


def _ends(other: Heading, heading: Heading) -> bool:
    """Some tools write what changed under headings of the same level, and others a patch one level
    below the version before it: only a version ends a version."""
    if other.level < heading.level:
        return True
    named = version_at(other.title)
    if other.level == heading.level:
        return bool(named) or is_open(other.title)
    return other.level == heading.level + 1 and "." in named


def _told(body: str) -> str:
    """Without comments and empty lines around it; empty where only headings are left."""
    lines = _COMMENT.sub("", body).split("\n")
    kept = [line.rstrip() for line in lines if not _DEFINITION.fullmatch(line)]
    blocks = _without_empty(list(_blocks("\n".join(kept))))
    text = textwrap.dedent("\n".join(blocks).strip("\n"))
    return harmless(text.strip(), keep="\n\t")


def _with_definitions(body: str, lines: Sequence[str]) -> str:
    """With the addresses that its links are defined by, wherever those stand in the file."""
    used = {
        line for line in lines
        if (found := _DEFINITION.fullmatch(line)) and f"[{found[1]}]".lower() in body.lower()
    }  # fmt: skip
    if not used:
        return body
    return "\n".join([body, "", *(harmless(line.strip()) for line in lines if line in used)])


def _headings(lines: Sequence[str]) -> Iterator[Heading]:
    """Every heading, but for those in fenced code. Levels compare within one file."""
    orders: dict[str, int] = {}
    atx = any(_ATX.fullmatch(line) for line in lines)
    fence, below = "", 0
    for at, line in enumerate(lines):
        mark = _FENCE.match(line)
        if at < below:
            continue  # the line under a heading
        if mark is not None and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        found = None if fence or not line.strip() else _heading(lines, at, orders, atx=atx)
        if found is not None:
            below = found.below
            yield found


def _heading(lines: Sequence[str], at: int, orders: dict[str, int], *, atx: bool) -> Heading | None:
    """The heading whose words are line ``at``. What underlines one has its level by where it first
    came (``orders``), in a file with Markdown's own (``atx``) the levels of Markdown."""
    line, before = lines[at], lines[at - 1] if at else ""
    found = _ATX.fullmatch(line)
    if found is not None:
        return Heading(at, at + 1, len(found[1]), found[2])
    below = lines[at + 1] if at + 1 < len(lines) else ""
    under = _UNDERLINE.fullmatch(below)
    if under is not None and not line[0].isspace() and not _UNDERLINE.fullmatch(line):
        over = before.rstrip() == below.rstrip()
        order = orders.setdefault(f"{under[1]}{over}", len(orders) + 1)
        level = {"=": 1, "-": 2}.get(under[1], 3) if atx else order
        return Heading(at - over, at + 2, level, line)
    gnu = _GNU.fullmatch(line)
    if gnu is not None:
        return Heading(at, at + 1, len(gnu[1]), gnu[2])
    if _ALONE.fullmatch(line.rstrip()) and not before.strip():
        return Heading(at, at + 1, 2, line)
    return None


def _bare(title: str) -> str:
    """A title without marks, links and what stands around it."""
    return re.sub(r"[\[\]*_`]|\(https?:[^)]*\)", "", title).strip(" :.-–—")


def _version_of(title: str) -> str:
    """The version that a heading names; empty for none. A date is none."""
    for word in _WORD.findall(re.sub(r"\(https?:[^)]*\)", "", title)):
        found = _NAMED.fullmatch(word)
        if found is not None:
            return found[1].rstrip(".")
        if not word.strip("-–—").isalpha() and word.strip("-–—"):
            return ""
    return ""


def version_at(title: str) -> str:
    """The version that a heading is of, whatever name stands before it; empty for other headings."""
    found, bare = _version_of(title), _bare(title)
    named = "." in found or re.match(r"(?:version |release |v)?\d", bare, re.IGNORECASE) is not None
    return found if found and named else ""


def _blocks(text: str) -> Iterator[str]:
    """Entries of a list with what is indented below them, headings, paragraphs, and what separates
    them."""
    block: list[str] = []
    for line in text.split("\n"):
        starts = not line[:1].isspace() and (
            _ITEM.match(line) or _ATX.fullmatch(line) or (block and not block[-1].strip())
        )
        if starts and block:
            yield "\n".join(block)
            block = []
        block.append(line)
    if block:
        yield "\n".join(block)


def _is_heading(block: str) -> bool:
    lines = block.strip("\n").split("\n")
    if len(lines) == 1:
        return _ATX.fullmatch(lines[0]) is not None
    return len(lines) == 2 and _UNDERLINE.fullmatch(lines[1]) is not None


def _same(block: str) -> str:
    return " ".join(block.split())


def _without_empty(blocks: Sequence[str]) -> list[str]:
    """Without headings that nothing follows but another heading of their level or above."""
    kept: list[str] = []
    for block in reversed(blocks):
        if _is_heading(block) and not _follows(kept, _level(block)):
            continue
        if block.strip() or kept:
            kept.append(block)
    return kept[::-1]


def _follows(later: Iterable[str], level: int) -> bool:
    """Whether something stands below a heading; ``later`` are the blocks after it, the last first."""
    following = next((one for one in reversed(list(later)) if one.strip()), "")
    return bool(following) and not (_is_heading(following) and _level(following) <= level)


def _level(block: str) -> int:
    found = _ATX.match(block.strip("\n"))
    return 7 if found is None else len(found[1])
