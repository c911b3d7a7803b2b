"""Where counting starts: what tags and files say was released, and the number after it.

What is read here decides only what a first ``cx.toml`` says; the order of versions that cxlocal
hands out is that of their scheme (``cxlocal.numbers.schemes``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from cxlocal.numbers.schemes import SCHEMES, carries_name, numbers_in_tags, texts_in_tag
from cxlocal.patterns import compile_late
from cxlocal.survey.tree import Survey, Tag, all_of, slug
from cxlocal.values import NamedTuple


class Said(NamedTuple):
    """A version that a file names, as it stands there."""

    text: str
    by: str
    """The file."""


class Point(NamedTuple):
    """How far counting went, by one source."""

    release: tuple[int, ...]
    early: bool
    """Only announced (``3.2.0.dev``, ``1.4-SNAPSHOT``, ``2.0.0-rc.1``): the release is free."""
    text: str
    by: str
    """``the tag v4.2``, ``pyproject.toml``."""

    @property
    def key(self) -> tuple[tuple[int, ...], bool]:
        """Sorts as versions do: trailing zeros mean nothing, what is announced comes before."""
        release = list(self.release)
        while release and release[-1] == 0:
            release.pop()
        return tuple(release), not self.early


class Start(NamedTuple):
    """What ``[version]`` says."""

    scheme: str
    line: str
    first: int
    example: str
    """The first version that is handed out."""


class Standing(NamedTuple):
    """What is known of the versions before."""

    tag: Point | None
    tree: Point | None
    start: Start
    """After the higher of the two."""
    other: Start | None
    """After the other one, where that would be another number."""

    @property
    def chosen(self) -> Point | None:
        """The higher of the two."""
        return max(filter(None, (self.tag, self.tree)), key=lambda one: one.key, default=None)


_RELEASE = compile_late(r"[vV]?(\d{1,9}(?:\.\d{1,9}){0,4})(.*)", re.ASCII | re.DOTALL)
_FINAL = compile_late(
    r"(?:[.-]?(?:final|release|ga)|[.-]?post\.?\d*|\+[0-9A-Za-z.-]+)*", re.ASCII | re.IGNORECASE
)
_REVISED = compile_late(r"-\d+", re.ASCII)
"""A later edition of the same by PEP 440 and Debian, an early one by SemVer (``2.0.0-0``)."""
_EARLY = compile_late(
    r"[-._+]?(?:a|alpha|b|beta|c|cr|rc|pre|preview|dev|devel|development|snapshot|m|milestone|next"
    r"|canary|nightly|git|trunk|head|main|master)(?:[-._+]?\d[0-9A-Za-z.+-]*|[-.+][0-9A-Za-z.+-]+|)",
    re.ASCII | re.IGNORECASE,
)

PLACEHOLDERS = ((), (0, 0, 0, 1))
"""Releases (zeros left out) that say nothing: ``0.0.0``, ``0.0.0-development``."""

TEMPLATES = ((0, 1), (1,))
"""Versions that a project has before its first release: 0.1.0 and 1.0.0."""

YEARS = range(1990, 2100)


def point(text: str, by: str, *, semver: bool = True) -> Point | None:
    """What a version text says; None for what is none, and for variants such as ``1.2-docs``."""
    match = _RELEASE.fullmatch(text.strip())
    if match is None:
        return None
    rest = "" if _REVISED.fullmatch(match[2]) and not semver else match[2]
    early = not _FINAL.fullmatch(rest)
    if early and not (_EARLY.fullmatch(rest) or _REVISED.fullmatch(rest)):
        return None
    return Point(tuple(map(int, match[1].split("."))), early, text.strip(), by)


def tree_point(said: Iterable[Said], *, semver: bool = True) -> Point | None:
    """The highest version that files name."""
    points = (point(one.text, one.by, semver=semver) for one in said)
    known = [one for one in points if one is not None and one.key[0] not in PLACEHOLDERS]
    return max(known, key=lambda one: one.key, default=None)


# tags

_NAMED = compile_late(
    r"(?!(?:v|ver|version|r|rel|release|releases|tag|tags)[-_/@.]?\d)@?([A-Za-z][\w./@+-]*?)[-_@/]v?\d+[._]\d",
    re.ASCII | re.IGNORECASE,
)
"""A tag that begins with a name: ``cli@2.0.1``, ``packages/core/v1.2.0``, ``curl-8_1_2``."""


class Numbered(NamedTuple):
    """A tag and what it says."""

    tag: Tag
    point: Point


def numbered(
    tags: Iterable[Tag],
    names: Sequence[str],
    *,
    alone: bool,
    part: bool = False,
    semver: bool = True,
) -> list[Numbered]:
    """The tags that speak of versions of what is called ``names``.

    ``alone``: the repository has nothing else, so a name in front may be an older one. Otherwise
    tags with other names are those of neighbours; and for a ``part``, a folder of the repository,
    those without a name are, too, where any tag carries one.
    """
    known = list(tags)
    own = [one for one in known if any(carries_name(name, one.name) for name in names)]
    others = {one.name: match[1] for one in known if (match := _NAMED.match(one.name))}
    foreign = {name for name in others if not any(one.name == name for one in own)}
    if part and not alone and (own or foreign):
        return _without_bare(_read_all(own, names, semver))
    if not alone:
        known = [one for one in known if one.name not in foreign]
    found = _read_all(known, names, semver)
    if not found and foreign and alone:
        (usual, count), *_ = Counter(others.values()).most_common(1)
        if count * 2 >= len(others):
            found = _read_all(known, [usual], semver)
    return _without_bare(found)


def _read_all(tags: Iterable[Tag], names: Sequence[str], semver: bool) -> list[Numbered]:
    return [Numbered(one, read) for one in tags if (read := _read(one.name, names, semver))]


def _read(tag: str, names: Sequence[str], semver: bool) -> Point | None:
    for name in (*names, "-"):
        for text in texts_in_tag(name, tag):
            found = point(text, f"the tag {tag}", semver=semver)
            if found is not None:
                return found
    return None


def _without_bare(found: list[Numbered]) -> list[Numbered]:
    """Without bare numbers, where they are marks beside versions with dots (``v3`` beside 3.1.4,
    a date): they count where they are at least as many."""
    bare = [one for one in found if len(one.point.release) == 1]
    dotted = [one for one in found if len(one.point.release) > 1]
    if not dotted:
        return bare
    majors = {one.point.release[0] for one in dotted}
    free = [one for one in bare if one.point.release[0] not in majors]
    return [*dotted, *free] if len(free) >= len(dotted) else dotted


# where it goes on


def standing(
    survey: Survey, name: str, said: Sequence[Said], *, scheme: str, strict: bool, alone: bool
) -> Standing:
    """What tags and files say, and where counting starts.

    ``scheme``: the usual one of the kind; ``strict``: its tools take three numbers and nothing
    else; ``alone``: see ``numbered``.
    """
    short = name.rpartition("/")[2]
    names = all_of((name, short, slug(name), survey.prefix, survey.name))
    semver = scheme == "semver"
    part = bool(survey.prefix)
    tags = numbered(survey.tags, names, alone=alone, part=part, semver=semver)
    by_tag = max((one.point for one in tags), key=lambda one: one.key, default=None)
    by_tree = tree_point(said, semver=semver)
    if by_tag and by_tree and by_tree.key[0] in TEMPLATES and by_tree.key < by_tag.key:
        by_tree = None
    if by_tag is None and by_tree is None:
        by_tree = tree_point([Said(survey.named_version, "the folder's name")], semver=semver)
    known = sorted(filter(None, (by_tag, by_tree)), key=lambda one: one.key)
    if not known:
        return Standing(None, None, Start(scheme, "0.1", 0, "0.1.0"), None)
    own = name or survey.name
    starts = [
        _above_tags(_after(one, scheme, strict, tags, by_tag), own, survey.tags, part=part)
        for one in known
    ]
    other = starts[0] if starts[0] != starts[-1] else None
    return Standing(by_tag, by_tree, starts[-1], other)


def _after(
    last: Point, scheme: str, strict: bool, tags: Sequence[Numbered], by_tag: Point | None
) -> Start:
    """What follows ``last`` in the form that versions have here."""
    dates = _calendar(last, tags)
    if dates and not (strict and dates.count(".") != 1):
        shown = {"YYYY": "2026", "YY": "26", "0M": "11", "MM": "11", "0D": "30", "DD": "30"}
        example = re.sub("YYYY|YY|0M|MM|0D|DD", lambda match: shown[match[0]], dates)
        return Start("calver", dates, 0, f"{example}.0")
    release = last.release[:3] if strict else last.release
    # As many numbers as all tags have, where that is one or two; else three at least.
    sizes = {len(one.point.release) for one in tags}
    if strict or len(release) == 2 and not (sizes == {2} and len(tags) >= 2):
        release = (*release, 0, 0)[:3]
    if len(release) == 1 and (1 not in sizes or strict):
        release = (*release, 0, 0)
    if len(release) == 1 or (len(release) != 3 and scheme == "semver"):
        scheme = "counter"
    return _started(scheme, release[:-1], release[-1], last, by_tag)


def _started(
    scheme: str, line: tuple[int, ...], number: int, last: Point, by_tag: Point | None
) -> Start:
    # What only a file names, and what templates begin with, was hardly released.
    untouched = by_tag is None and last.key[0] in TEMPLATES
    first = number if last.early or untouched else number + 1
    shown = ".".join(map(str, line))
    return Start(scheme, shown, first, f"{shown}.{first}" if shown else str(first))


def _above_tags(start: Start, name: str, tags: Iterable[Tag], *, part: bool) -> Start:
    """Past every number of the line that a release would be refused for a tag of its text."""
    if start.scheme == "calver":
        return start  # The line of the day is not known yet.
    scheme = SCHEMES[start.scheme]
    taken = numbers_in_tags(scheme, name, start.line, (one.name for one in tags), part=part)
    first = max([start.first, *(number + 1 for number in taken)])
    return start._replace(first=first, example=scheme.render(start.line, first))


def _calendar(last: Point, tags: Sequence[Numbered]) -> str:
    """The pattern of dates that versions follow (``YYYY.MM``); empty where they are none.

    Four digits of a year tell by themselves; two digits only by tags that were made in that year.
    """
    year = last.release[0]
    dated = [one for one in tags if one.tag.year and len(one.point.release) >= 2][-12:]
    short = [one for one in dated if one.point.release[0] == one.tag.year % 100]
    if year in YEARS:
        first = "YYYY"
    elif len(short) >= 3 and len(short) == len(dated):
        first = "YY"
    else:
        return ""
    rest = last.text.lstrip("vV").split(".")[1:]
    zero = bool(rest) and rest[0].startswith("0") and len(rest[0]) == 2
    months = [one.point.release[1] == one.tag.month for one in dated]
    if not (all(months) if dated else len(last.release) > 2 and 1 <= last.release[1] <= 12):
        return first if len(last.release) == 2 else ""
    days = [len(one.point.release) > 2 and one.point.release[2] == one.tag.day for one in dated]
    line = f"{first}.{'0M' if zero else 'MM'}"
    return f"{line}.{'0D' if zero else 'DD'}" if len(dated) >= 3 and all(days) else line
