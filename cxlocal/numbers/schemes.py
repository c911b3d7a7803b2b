"""Version schemes: how a line and a counted number become a text, and how texts are ordered.

A scheme is a value with three pure methods. ``render`` gives different texts for different numbers
of one line; ``sort_key`` gives a string whose plain comparison (Python, SQLite's BINARY, any
byte-wise index) orders the versions of one deliverable. All four schemes share one form of key, so
that a deliverable may change its scheme without its history falling out of order::

    2.7.14            ->  "012017" "0214"  FINAL      each number is length + digits
    2.7.15-offline…   ->  "012017" "0215"  EARLY …    a pre-release sorts below its final text

A line may end in a *channel*, and then counts the pre-releases of one version::

    3.2.0rc  + 2  ->  3.2.0rc2      PEP 440: a, b, rc, .dev
    3.2.0-rc + 2  ->  3.2.0-rc.2    SemVer: words; the number stands behind a dot, as only a whole
                                    identifier is ordered by value (rc10 sorts below rc9)

Trailing zeros of the release part are left out of keys (PEP 440 calls 2.7 and 2.7.0 equal), so two
texts a package index could confuse have equal keys, and the uniqueness check sees it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from cxlocal.errors import ConfigError
from cxlocal.patterns import compile_late
from cxlocal.values import Protocol

NUMBER_MAX = 10**15
"""The highest number of a line: well inside 2**53, which is where JSON readers begin to round."""

FINAL = "#(~"
"""Ends the key of a final text. Sorts below any digit, so 2.7 < 2.7.1."""

EARLY = "!"
"""Begins the rest of a pre-release's key. Sorts below FINAL."""


class Scheme(Protocol):
    """How the texts of versions are made. Plugins register further ones."""

    name: str
    """What ``scheme`` under ``[version]`` calls it."""

    def check_line(self, line: str) -> None:
        """Raises ConfigError when this scheme cannot count on ``line``."""

    def render(self, line: str, number: int) -> str:
        """The text of ``number`` on ``line``; another number gives another text."""

    def sort_key(self, text: str) -> str:
        """A string that sorts as the version does. Raises ValueError for a foreign text."""


def counted(number: int) -> str:
    """A number as text that sorts by value: two digits of length, then the digits."""
    digits = str(number)
    return f"{len(digits):02d}{digits}"


def release_key(parts: Iterable[int]) -> str:
    """The key of a dotted release, trailing zeros left out."""
    numbers = list(parts)
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return "".join(map(counted, numbers))


def identifiers_key(text: str) -> str:
    """The key of dot-separated pre-release identifiers (SemVer 2.0.0, rule 11)."""
    parts = (
        f"1{counted(int(part))}" if part.isascii() and part.isdigit() else f"2{part} "
        for part in text.split(".")
    )
    return EARLY + "".join(parts) + "0"


def bad_line(scheme: str, line: str, wanted: str) -> ConfigError:
    """The error for a line a scheme cannot count on."""
    return ConfigError(
        f"[version] line {line!r} does not suit the scheme {scheme!r}",
        why=f"a line of this scheme looks like {wanted}",
        hint="change [version] line or scheme in cx.toml",
        name="bad-line",
    )


class Semver:
    """``2.7`` + 14 = ``2.7.14``, ``2.7.0-rc`` + 2 = ``2.7.0-rc.2`` (SemVer 2.0.0)."""

    name = "semver"
    _part = r"(?:0|[1-9]\d{0,17})"
    _word = r"(?!offline)[A-Za-z](?:[0-9A-Za-z-]{0,38}[A-Za-z])?"
    _line = compile_late(rf"{_part}\.{_part}(?:\.{_part}-{_word}(?:\.{_word}){{0,3}})?", re.ASCII)
    _text = compile_late(
        r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
        r"(?:\+[0-9A-Za-z.-]+)?",
        re.ASCII,
    )

    def check_line(self, line: str) -> None:
        """Two numbers, major and minor; or a whole version with words behind it."""
        if not self._line.fullmatch(line):
            raise bad_line(self.name, line, "'2.7', or '2.7.0-rc' for pre-releases")

    def render(self, line: str, number: int) -> str:
        """``line.number``."""
        return f"{line}.{number}"

    def sort_key(self, text: str) -> str:
        """By SemVer's precedence; build metadata takes no part in it."""
        match = self._text.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a SemVer version")
        release = release_key(int(match[index]) for index in (1, 2, 3))
        return release + (identifiers_key(match[4]) if match[4] else FINAL)


class Pep440:
    """``2.7`` + 14 = ``2.7.14``, any count of parts, ``2.7.0rc`` + 2 = ``2.7.0rc2``; ordered as Python
    packages are."""

    name = "pep440"
    _line = compile_late(
        r"(?:[1-9]\d{0,17}!)?(?:0|[1-9]\d{0,17})(?:\.(?:0|[1-9]\d{0,17})){0,9}(?:a|b|rc|\.dev)?",
        re.ASCII,
    )
    _text = compile_late(
        r"(?:(\d+)!)?(\d+(?:\.\d+)*)(?:(a|b|rc)(\d+))?(?:\.post(\d+))?(?:\.dev(\d+))?", re.ASCII
    )

    def check_line(self, line: str) -> None:
        """One to ten numbers, optionally with an epoch (``1!2.7``) and a channel (``2.7.0rc``)."""
        if not self._line.fullmatch(line):
            raise bad_line(self.name, line, "'2.7' or '1!2.7', or '2.7.0rc' for pre-releases")

    def render(self, line: str, number: int) -> str:
        """``line.number``; the number directly behind a channel."""
        return f"{line}{number}" if counts_early(line) else f"{line}.{number}"

    def sort_key(self, text: str) -> str:
        """By PEP 440, normalised texts without a local part (package indexes refuse those)."""
        match = self._text.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a normalised, public PEP 440 version")
        epoch, release, kind, early, post, dev = match.groups()
        key = f"~{counted(int(epoch))}" if epoch and int(epoch) else ""
        key += release_key(int(part) for part in release.split("."))
        if kind:
            key += f"{EARLY}1{kind[0]}{counted(int(early))}"
        else:
            key += f"{EARLY}0" if dev is not None and post is None else FINAL[0]
        key += f"){counted(int(post))}" if post is not None else FINAL[1]
        return key + (counted(int(dev)) if dev is not None else FINAL[2])


class Calver:
    """``2026.11`` + 3 = ``2026.11.3``. A line may be a pattern of dates: see ``resolve_line``."""

    name = "calver"
    _line = compile_late(r"\d{2,4}(?:\.\d{1,2}){0,2}", re.ASCII)
    _text = compile_late(r"\d+(?:\.\d+)+", re.ASCII)

    def check_line(self, line: str) -> None:
        """A year, optionally a month or week and a day, or a pattern of them."""
        if not self._line.fullmatch(resolve_line(line, 2026, 11, 23)):
            raise bad_line(self.name, line, "'2026.11' or 'YYYY.MM'")

    def render(self, line: str, number: int) -> str:
        """``line.number``."""
        return f"{line}.{number}"

    def sort_key(self, text: str) -> str:
        """Part by part as numbers: 2026.9 < 2026.11."""
        if not self._text.fullmatch(text):
            raise ValueError(f"{text!r} is not a calendar version")
        return release_key(int(part) for part in text.split(".")) + FINAL


class Counter:
    """A bare ``14``, or ``nightly.14`` with a line."""

    name = "counter"
    _line = compile_late(r"(?:[0-9A-Za-z]+(?:[._-][0-9A-Za-z]+)*)?", re.ASCII)
    _early = compile_late(r"(.+)-(offline\.m[0-9a-f]+\.\d+)", re.ASCII)

    def check_line(self, line: str) -> None:
        """Nothing, or words and numbers joined by dots, dashes and underscores."""
        if not self._line.fullmatch(line) or len(line) > 60 or "offline" in line:
            raise bad_line(self.name, line, "'' or 'nightly' (60 characters, not 'offline')")

    def render(self, line: str, number: int) -> str:
        """``number`` or ``line.number``."""
        return f"{line}.{number}" if line else str(number)

    def sort_key(self, text: str) -> str:
        """Numbers by value, words by letter, numbers before words."""
        early = self._early.fullmatch(text)
        base = early[1] if early else text
        if not base or not self._line.fullmatch(base):
            raise ValueError(f"{text!r} is not a counted version")
        if base.isdigit():
            key = counted(int(base))
        else:
            parts = re.split(r"([._-])", base)
            key = "".join(
                counted(int(part)) if part.isdigit() else f"a{part} " for part in parts if part
            )
        return key + (identifiers_key(early[2]) if early else FINAL)


def counts_early(line: str) -> bool:
    """Whether a line of SemVer or PEP 440 counts pre-releases: it ends in a channel."""
    return line[-1:].isalpha()


def first_number(scheme: str, line: str) -> int:
    """Where a line starts that says nothing of it: people call the first candidate ``rc1``."""
    return int(scheme in (Semver.name, Pep440.name) and counts_early(line))


def is_version(scheme: Scheme, text: str) -> bool:
    """Whether ``text`` is what the scheme makes of a number in some line."""
    return _line_and_number(scheme, "", text) is not None


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme for scheme in (Semver(), Pep440(), Calver(), Counter())
}
"""The schemes cxlocal brings along, by name."""

SUFFIX_SCHEMES = ("semver", "counter")
"""Schemes whose texts can carry the by-construction unique name of an empty reserve: PEP 440 and
calendar versions have no place for it that package tools accept."""


def scheme_named(name: str, further: Iterable[Scheme] = ()) -> Scheme:
    """The scheme called ``name`` among ours and ``further`` ones. Raises ConfigError."""
    found = {**{scheme.name: scheme for scheme in further}, **SCHEMES}.get(name)
    if found is None:
        raise ConfigError(
            f"no version scheme is called {name!r}",
            why=f"there are {', '.join(sorted(SCHEMES))}, and those of plugins",
            hint="correct [version] scheme in cx.toml, or see 'cxlocal plugins'",
            name="unknown-scheme",
        )
    return found


_DATE_PARTS = compile_late(r"YYYY|YY|0M|MM|0D|DD")


def resolve_line(line: str, year: int, month: int, day: int) -> str:
    """A calendar line with its date parts filled in; other lines come back as they are.

    ``YYYY`` 2026, ``YY`` 26, ``MM`` 4, ``0M`` 04, ``DD`` 5, ``0D`` 05 (the notation of
    calver.org). The caller takes the date once, when the plan is frozen: nothing here reads a
    clock.
    """
    parts = {
        "YYYY": f"{year}", "YY": f"{year % 100}", "MM": f"{month}", "0M": f"{month:02d}",
        "DD": f"{day}", "0D": f"{day:02d}",
    }  # fmt: skip
    return _DATE_PARTS.sub(lambda match: parts[match[0]], line)


def suffix_text(scheme: Scheme, line: str, last_known: int, node: str, count: int) -> str:
    """A name that is unique without any store: last known number + 1, machine, own count.

    64 bits of the node id keep machines apart; the leading ``m`` keeps the part a valid SemVer
    identifier even when all its digits are decimal and the first is 0. On a line of pre-releases it
    stands behind the last known number, as no text can stand right before the next one. Raises
    ConfigError for schemes whose texts have no place for it.
    """
    if scheme.name not in SUFFIX_SCHEMES:
        raise ConfigError(
            f'[version] when_empty = "suffix" cannot be used with the scheme {scheme.name!r}',
            why="its texts have no part that could name the machine",
            hint='use when_empty = "stop", or the scheme semver or counter',
            name="suffix-impossible",
        )
    own = f"offline.m{node[:16]}.{count}"
    if first_number(scheme.name, line):
        return f"{scheme.render(line, last_known)}.{own}"
    return f"{scheme.render(line, last_known + 1)}-{own}"


_DIGITS = compile_late(r"\d+", re.ASCII)


def number_in(scheme: Scheme, line: str, text: str) -> int | None:
    """Which number of ``line`` renders as ``text``; None when it is of another line or scheme.

    Works for every scheme by trying the runs of digits in the text, last one first.
    """
    for match in reversed(list(_DIGITS.finditer(text))):
        number = int(match[0]) if len(match[0]) <= len(str(NUMBER_MAX)) else -1
        if number >= 0 and scheme.render(line, number) == text:
            return number
    return None


Told = dict[str, dict[int, str]]
"""By line and number, the tag that speaks of it."""


def numbers_in_tags(
    scheme: Scheme, deliverable: str, line: str, tags: Iterable[str], *, part: bool = False
) -> set[int]:
    """The numbers of ``line`` that tags such as ``v2.7.3`` or ``webshop-2.7.3`` speak of.

    ``part``: the deliverable is a folder of its repository. On a line of which a tag with its own
    name speaks, tags without a name are then those of the whole, or of a neighbour.
    """

    def read(text: str) -> tuple[str, int] | None:
        number = number_in(scheme, line, text)
        return None if number is None else (line, number)

    return set(_told(deliverable, tags, read, part=part).get(line, ()))


def lines_in_tags(
    scheme: Scheme, deliverable: str, line: str, tags: Iterable[str], *, part: bool = False
) -> Told:
    """The versions that tags speak of. ``line`` is tried first; other lines are what stands before
    the number. ``part`` as in ``numbers_in_tags``."""

    def read(text: str) -> tuple[str, int] | None:
        return _line_and_number(scheme, line, text)

    return _told(deliverable, tags, read, part=part)


def _told(
    deliverable: str,
    tags: Iterable[str],
    read: Callable[[str], tuple[str, int] | None],
    *,
    part: bool,
) -> Told:
    found: Told = {}
    named: Told = {}
    for tag in tags:
        for line, number in filter(None, map(read, texts_in_tag(deliverable, tag))):
            found.setdefault(line, {})[number] = tag
            if carries_name(deliverable, tag):
                named.setdefault(line, {})[number] = tag
            break
    return {**found, **named} if part else found


def carries_name(name: str, tag: str) -> bool:
    """Whether a tag begins with a name, in whatever case, folder or scope (``libs/shop-1.2``,
    ``@acme/shop@1.2`` beside ``shop``; ``shop@1.2`` beside ``@acme/shop``)."""
    names = f"{re.escape(name)}|{re.escape(name.rpartition('/')[2])}"
    return bool(re.search(rf"(?:^|/)@?(?:{names})[-_@/.]", tag, re.IGNORECASE))


_WORD = r"(?:version|ver|v|releases|release|rel|r|tags|tag)"
_PLAIN_FOLDER = compile_late(rf"(?:(?:{_WORD}|v?[\d.]+)/)+", re.ASCII | re.IGNORECASE)
"""Folders of tags that say nothing of a name: ``release/``, ``releases/1.0/``."""

_BEFORE = compile_late(rf"^(?:{_WORD}[-_.@/]?){{1,2}}(?=\d)", re.ASCII | re.IGNORECASE)
"""What may stand before the number: ``v``, ``release-``, ``REL_``, ``release-v``."""

_AFTER = compile_late(r"(?:[.-](?:final|release|ga)|\+[0-9A-Za-z.-]+)+$", re.ASCII | re.IGNORECASE)
"""What may stand behind a version without making another one of it: build metadata, and words for
"this is the release itself". A pre-release (``-rc.1``) is another version."""

_CHANNELS = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}
_EARLY = compile_late(
    r"(\d+(?:\.\d+)*)[-_.]?(alpha|a|beta|b|preview|pre|c|rc|dev)[-_.]?(\d+)",
    re.ASCII | re.IGNORECASE,
)
"""A pre-release as people write it (PEP 440, "Normalization", and npm's habits)."""


def texts_in_tag(deliverable: str, tag: str) -> tuple[str, ...]:
    """The version texts that a tag may stand for, likeliest first; none for a tag that names
    another deliverable (``api/v1.0.5``, ``@acme/api@1.0.5``, ``api-v1.0.5`` beside ``shop``)."""
    rest = _without_name(deliverable, tag)
    if rest is None:
        return ()
    plain = _BEFORE.sub("", rest, count=1)
    cut = _AFTER.sub("", plain)
    dotted = cut.replace("_", ".") if re.fullmatch(r"[\d_]+", cut, re.ASCII) else cut
    return tuple(dict.fromkeys((rest, plain, cut, dotted, *_early_texts(cut))))


def _early_texts(text: str) -> tuple[str, ...]:
    """A pre-release in the two forms that schemes render, whatever its dots and dashes."""
    early = early_parts(text)
    if early is None:
        return ()
    release, word, number = early
    channel = _CHANNELS.get(word, word)
    python = f".dev{number}" if channel == "dev" else f"{channel}{number}"
    return f"{release}{python}", f"{release}-{word}.{number}"


def early_parts(text: str) -> tuple[str, str, int] | None:
    """``3.2.0-RC.2`` as ``("3.2.0", "rc", 2)``; None for what is no pre-release of a usual word."""
    early = _EARLY.fullmatch(text)
    return None if early is None else (early[1], early[2].lower(), int(early[3]))


_RELEASE = compile_late(r"(?:\d+!)?\d+(?:\.\d+)*", re.ASCII)


def final_of(scheme: Scheme, text: str) -> tuple[str, int, str] | None:
    """Line, number and text of the version that a pre-release leads to; None for other texts."""
    release = _RELEASE.match(text)
    if release is None or scheme.name not in (Semver.name, Pep440.name):
        return None
    named = _line_and_number(scheme, "", release[0])
    try:
        is_early = scheme.sort_key(text) < scheme.sort_key(release[0])
    except ValueError:
        return None
    return (*named, release[0]) if named is not None and is_early else None


def _without_name(deliverable: str, tag: str) -> str | None:
    """``tag`` without the name of the deliverable, in whatever case and behind whatever folder;
    None for a tag in the folder or scope of another name."""
    name = re.search(rf"(?:^|/){re.escape(deliverable)}[-_@/.]", tag, re.IGNORECASE)
    if name is not None:
        return tag[name.end() :]
    folder = _PLAIN_FOLDER.match(tag)
    rest = tag[folder.end() :] if folder else tag
    # A name with a scope may stand there without it.
    short = re.escape(deliverable.rpartition("/")[2])
    rest = re.sub(rf"^{short}[-_@.]", "", rest, flags=re.IGNORECASE)
    return None if "/" in rest else rest


def _line_and_number(scheme: Scheme, line: str, text: str) -> tuple[str, int] | None:
    number = number_in(scheme, line, text)
    if number is not None:
        return line, number
    for match in reversed(list(_DIGITS.finditer(text))):
        other = text[: match.start()].rstrip(".-")
        try:
            scheme.check_line(other)
        except ConfigError:
            continue
        number = number_in(scheme, other, text)
        if number is not None:
            return other, number
    return None
