"""Bytes as somebody reads them who undoes an encoding: percent-encoding, the escapes of programming
languages and shells, entities of XML and HTML, hexadecimal in groups, dumps, wrapped base64, colours of a
terminal. Pure.

A view names what was encoded (tokens) and gives the decoded bytes, with the way back: where in the
original each of them stands. So a value is found in every spelling that decodes to it, whichever
characters a library chose to leave as they are.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable
from html import unescape

from cxlocal.patterns import compile_late
from cxlocal.processes.forms import Forms
from cxlocal.values import NamedTuple


class Folded(NamedTuple):
    """Decoded bytes, and where they stand in the original."""

    content: bytes
    starts: list[int]
    """Where each piece begins in ``content``."""
    origins: list[int]
    """Where it begins in the original. Pieces alternate: as they are, and decoded from a token."""
    ends: list[int]
    """Where it ends there."""

    @property
    def plain(self) -> bool:
        """Whether nothing was decoded."""
        return len(self.starts) == 1

    def before_token(self, limit: int) -> int:
        """``limit``, a place in the original, or where the token begins that it would cut in two."""
        piece = bisect_right(self.origins, limit) - 1
        while piece > 0 and self.ends[piece] == limit:
            piece -= 1
        inside = piece % 2 and self.origins[piece] < limit < self.ends[piece]
        return self.origins[piece] if inside else limit

    def start_of(self, at: int) -> int:
        """Where the byte ``at`` begins in the original."""
        piece = bisect_right(self.starts, at) - 1
        return self.origins[piece] + (0 if piece % 2 else at - self.starts[piece])

    def end_of(self, at: int) -> int:
        """Where what ends before ``at`` ends in the original."""
        piece = bisect_right(self.starts, at - 1) - 1
        return self.ends[piece] if piece % 2 else self.origins[piece] + at - self.starts[piece]


TOKEN_BYTES_MAX = 24
"""No token that is decoded is longer, but a line of a dump: with it the bytes are bounded that wait for
what follows."""
DUMP_LINE_BYTES_MAX = 200
"""Longest line of a dump that is read. xxd and hexdump print 80."""


class View(NamedTuple):
    """One encoding, and the values that are looked for in it."""

    triggers: tuple[bytes, ...]
    """Every token holds one of them: without any there is nothing to decode. Empty where the forms are looked
    for as they are by no other."""
    token: re.Pattern[bytes]
    unfinished: re.Pattern[bytes]
    """The beginning of a token at the very end: more bytes may make it one."""
    begins: bool
    """Whether a value may begin with a token."""
    decode: Callable[[bytes], bytes | None]
    """What a token stands for; None where it is to be left as it is."""
    forms: Forms
    dropped: bytes = b""
    """Tokens are nothing but left out: these bytes, and ``words``."""
    words: tuple[bytes, ...] = ()
    lines: bool = False
    """A token is a line, from its beginning."""

    @property
    def longest(self) -> int:
        """Bytes of the longest token."""
        return DUMP_LINE_BYTES_MAX if self.lines else TOKEN_BYTES_MAX

    def may_hold(self, content: bytes) -> bool:
        """Whether there may be anything to decode."""
        if self.lines and content.startswith(_OFFSET):
            return True
        return any(trigger in content for trigger in self.triggers)

    def first(self, content: bytes) -> int:
        """Where a value may begin at the earliest. Exact only where tokens are left out: long output is
        mostly lines, and to keep where each of them stood costs far more than to join them."""
        if not self.dropped:
            return 0
        # Left out anywhere, not only where a token is one: what is found may be none, what is not is none.
        joined = content
        for word in self.words:
            if word[:1] in joined and word in joined:
                joined = joined.replace(word, b"")
        joined = joined.translate(None, self.dropped)
        if self.forms.within(joined):
            return 0
        # What is at the end may go on in the next bytes.
        begun = len(joined) - self.forms.open_from(joined)
        return max(0, len(content) - (begun + 1) * (1 + TOKEN_BYTES_MAX)) if begun else len(content)

    def fold(self, content: bytes, begin: int = 0, *, fresh: bool = True) -> Folded:
        """Decode what stands from ``begin`` on. ``fresh``: a line begins with ``content``."""
        starts, origins, ends = [0], [begin], [begin]
        parts: list[bytes] = []
        size, at = 0, begin
        for found in self.token.finditer(content, begin):
            decoded = self.decode(found[0]) if fresh or found.start() or not self.lines else None
            if decoded is None:
                continue
            parts += (content[at : found.start()], decoded)
            size += found.start() - at
            ends[-1] = found.start()
            starts += (size, size + len(decoded))
            origins += (found.start(), found.end())
            ends += (found.end(), found.end())
            size, at = size + len(decoded), found.end()
        ends[-1] = len(content)
        parts.append(content[at:])
        return Folded(b"".join(parts), starts, origins, ends)

    def decided(self, content: bytes, *, fresh: bool = True) -> int:
        """Up to where the tokens of ``content`` stay what they are, whatever follows."""
        found = self.unfinished.search(content, max(0, len(content) - self.longest - 1))
        if found is None or (self.lines and not fresh and not found.start()):
            return len(content)
        return found.start()


def _of_percent(token: bytes) -> bytes:
    return bytes.fromhex(token[1:].decode())


_ESCAPES = {b"a": b"\a", b"b": b"\b", b"e": b"\x1b", b"E": b"\x1b", b"f": b"\f", b"n": b"\n",
            b"r": b"\r", b"t": b"\t", b"v": b"\v"}  # fmt: skip


def _of_escape(token: bytes) -> bytes:
    kind, rest = token[1:2], token[2:]
    if kind.isdigit():
        return bytes([int(token[1:], 8)])
    if kind == b"x" and not rest.startswith(b"{"):
        return bytes.fromhex(rest.decode())
    if kind in (b"x", b"U") or rest.startswith(b"{"):
        point = int(rest.strip(b"{}"), 16)
        return chr(point).encode("utf-8", "surrogatepass") if point < 0x110000 else token
    if kind == b"u":
        return _of_units(bytes.fromhex(token.replace(b"\\u", b"").decode()))
    return _ESCAPES.get(kind, kind)


def _of_units(units: bytes) -> bytes:
    text = units.decode("utf-16-be", "surrogatepass")
    try:
        return text.encode("utf-8", "surrogateescape")  # as Python writes bytes that are no text
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _of_entity(token: bytes) -> bytes | None:
    text = token.decode()
    read = unescape(text)
    return None if read == text else read.encode("utf-8", "surrogatepass")


def _of_break(token: bytes) -> bytes | None:
    return b"" if len(token) <= TOKEN_BYTES_MAX else None


def _of_nothing(token: bytes) -> bytes:
    return b""


def _groups(token: bytes) -> list[bytes]:
    """The groups of digits in a line of a dump, in their order; none where it is too long."""
    found = _DUMP.match(token)
    if found is None or len(token) > DUMP_LINE_BYTES_MAX:
        return []
    digits: bytes = found["after"] or found["beside"]
    return [bytes.fromhex(group.decode()) for group in digits.split()]


def _of_dump(token: bytes) -> bytes | None:
    return b"".join(_groups(token)) or None


def _of_words(token: bytes) -> bytes | None:
    """As a machine writes numbers that keeps their last byte first."""
    return b"".join(group[::-1] for group in _groups(token)) or None


_PERCENT = compile_late(rb"%[0-9A-Fa-f]{2}")
_PERCENT_END = compile_late(rb"%[0-9A-Fa-f]?\Z")
_PAIR = rb"\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}"
_ESCAPE = compile_late(
    _PAIR + rb"|\\u[0-9A-Fa-f]{4}|\\[ux]\{[0-9A-Fa-f]{1,6}\}|\\U[0-9A-Fa-f]{8}|\\x[0-9A-Fa-f]{2}"
    rb"|\\(?:[0-3][0-7]{2}|[0-7]{1,2})|\\[abeEfnrtv]|\\[^A-Za-z0-9\r\n]"
)
_ESCAPE_END = compile_late(
    rb"(?:\\u[dD][89abAB][0-9A-Fa-f]{2}(?:\\(?:u[0-9A-Fa-f]{0,3})?)?"
    rb"|\\(?:u[0-9A-Fa-f]{0,3}|[ux]\{[0-9A-Fa-f]{0,6}|U[0-9A-Fa-f]{0,7}|x[0-9A-Fa-f]?|[0-7]{1,2})?)\Z"
)
_ENTITY = compile_late(rb"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,20});")
_ENTITY_END = compile_late(
    rb"&(?:#(?:[0-9]{0,7}|[xX][0-9A-Fa-f]{0,6})|[A-Za-z][A-Za-z0-9]{0,20})?\Z"
)

_LINE = rb"(?:\r?\n|(?:\\r)?\\n)[ \t]*"
_BREAK = compile_late(rb"(?:" + _LINE + rb")+")
_BREAK_END = compile_late(rb"(?:" + _LINE + rb")*(?:\r|\\(?:r\\?)?)?\Z")
_SPACES = (b"\\r", b"\\n")
_PREFIXES = (b"0x", b"0X")
_BETWEEN = rb"(?:[ \t\r\n:;,\-]|\\r|\\n|0[xX])"
_GAP = compile_late(_BETWEEN + rb"+")
_GAP_END = compile_late(_BETWEEN + rb"*[\\0]?\Z")

_COLOUR = compile_late(rb"\x1b\[[0-9;:?]{0,20}[A-Za-z]|\x00")
_COLOUR_END = compile_late(rb"\x1b(?:\[[0-9;:?]{0,20})?\Z")

_OFFSET = b"00"
"""What a line of a dump begins with, up to 16 MiB."""
_GROUP = rb"(?:[0-9A-Fa-f]{2}){1,8}"
_DUMP = compile_late(
    rb"(?:\A|(?<=\n))00[0-9A-Fa-f]{2,14}(?:"
    # xxd: what it reads as text stands after two spaces
    rb":[ \t]+(?P<after>" + _GROUP + rb"(?: " + _GROUP + rb")*)(?:[ \t]{2}[^\r\n]*)?"
    # hexdump -C, od: it stands between marks
    rb"|[ \t]+(?P<beside>" + _GROUP + rb"(?: {1,4}" + _GROUP + rb")*)[ \t]*(?:[|>][^\r\n]*)?"
    rb")[ \t]*(?:\r?\n|\Z)"
)
_DUMP_END = compile_late(
    rb"(?:\A|(?<=\n))0(?:0[0-9A-Fa-f]{0,14}(?::?(?:[ \t][^\r\n]{0,199})?)?)?\r?\Z"
)


def views_of(
    values: Collection[bytes],
    points: Collection[bytes],
    based: Collection[bytes],
    hexed: Collection[bytes],
) -> tuple[View, ...]:
    """The views in which ``values`` are looked for as they are (``points``: where an escape stands for a
    character), and those in which their forms are in base64 and in hexadecimal, in groups and lines."""

    def forms(*some: Iterable[bytes]) -> Forms:
        return Forms(each for one in some for each in one)

    encoded = (*based, *hexed)
    spaced = (each.replace(b" ", b"+") for each in values)
    return (
        View((b"%",), _PERCENT, _PERCENT_END, True, _of_percent, forms(values, spaced, encoded)),
        View((b"\\",), _ESCAPE, _ESCAPE_END, True, _of_escape, forms(values, points, encoded)),
        View((b"&",), _ENTITY, _ENTITY_END, True, _of_entity, forms(values, encoded)),
        # What a terminal does not show: a program may paint each letter.
        View((b"\x1b", b"\0"), _COLOUR, _COLOUR_END, False, _of_nothing, forms(values, encoded)),
        View(
            (b"",), _BREAK, _BREAK_END, False, _of_break, forms(based),
            dropped=b"\r\n\t ", words=_SPACES,
        ),
        View(
            (b"",), _GAP, _GAP_END, False, _of_break,
            forms(hexed), dropped=b"\r\n\t :;,-", words=(*_SPACES, *_PREFIXES),
        ),
        *(
            View((b"\n00",), _DUMP, _DUMP_END, True, read, forms(values), lines=True)
            for read in (_of_dump, _of_words)
        ),
    )  # fmt: skip
