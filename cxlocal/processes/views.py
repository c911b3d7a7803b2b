"""Bytes as somebody reads them who undoes an encoding: percent-encoding, the escapes of JSON, the line
breaks of wrapped base64. Pure.

A view names what was encoded (tokens) and gives the decoded bytes, with the way back: where in the
original each of them stands. So a value is found in every spelling that decodes to it, whichever
characters a library chose to leave as they are.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection

from cxlocal.patterns import compile_late
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
"""No token that is decoded is longer: with it the bytes are bounded that wait for what follows."""


class View(NamedTuple):
    """One encoding, and the values that are looked for in it."""

    triggers: tuple[bytes, ...]
    """Every token holds one of them: without any there is nothing to decode."""
    token: re.Pattern[bytes]
    unfinished: re.Pattern[bytes]
    """The beginning of a token at the very end: more bytes may make it one."""
    begins: bool
    """Whether a value may begin with a token."""
    decode: Callable[[bytes], bytes | None]
    """What a token stands for; None where it is to be left as it is."""
    forms: tuple[bytes, ...]
    drops: bool = False
    """Tokens are nothing but left out."""

    def first(self, content: bytes) -> int:
        """Where a value may begin at the earliest. Exact only where tokens are left out: long output is
        mostly lines, and to keep where each of them stood costs far more than to join them."""
        if not self.drops:
            return 0
        # Left out anywhere, not only where lines break: what is found may be none, what is not is none.
        slow = b"\\n" in content
        joined = self.token.sub(b"", content) if slow else content.translate(None, b"\r\n\t ")
        if any(form in joined for form in self.forms):
            return 0
        # What is at the end may go on in the next bytes.
        longest = max(map(len, self.forms), default=0)
        return max(0, len(content) - longest * (1 + TOKEN_BYTES_MAX))

    def fold(self, content: bytes, begin: int = 0) -> Folded:
        """Decode what stands from ``begin`` on."""
        starts, origins, ends = [0], [begin], [begin]
        parts: list[bytes] = []
        size, at = 0, begin
        for found in self.token.finditer(content, begin):
            decoded = self.decode(found[0])
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

    def decided(self, content: bytes) -> int:
        """Up to where the tokens of ``content`` stay what they are, whatever follows."""
        found = self.unfinished.search(content, max(0, len(content) - TOKEN_BYTES_MAX - 1))
        return found.start() if found else len(content)


def _of_percent(token: bytes) -> bytes:
    return bytes.fromhex(token[1:].decode())


_ESCAPES = {b'"': b'"', b"\\": b"\\", b"/": b"/", b"b": b"\b", b"f": b"\f", b"n": b"\n",
            b"r": b"\r", b"t": b"\t", b"'": b"'"}  # fmt: skip


def _of_escape(token: bytes) -> bytes:
    if token[1:2] != b"u":
        return _ESCAPES[token[1:]]
    units = bytes.fromhex(token.replace(b"\\u", b"").decode())
    text = units.decode("utf-16-be", "surrogatepass")
    try:
        return text.encode("utf-8", "surrogateescape")  # as Python writes bytes that are no text
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _of_break(token: bytes) -> bytes | None:
    return b"" if len(token) <= TOKEN_BYTES_MAX else None


_PERCENT = compile_late(rb"%[0-9A-Fa-f]{2}")
_PERCENT_END = compile_late(rb"%[0-9A-Fa-f]?\Z")
_PAIR = rb"\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}"
_ESCAPE = compile_late(_PAIR + rb"|\\u[0-9A-Fa-f]{4}|\\[\"\\/bfnrt']")
_ESCAPE_END = compile_late(
    rb"(?:\\u[dD][89abAB][0-9A-Fa-f]{2}(?:\\(?:u[0-9A-Fa-f]{0,3})?)?|\\(?:u[0-9A-Fa-f]{0,3})?)\Z"
)
_LINE = rb"(?:\r?\n|(?:\\r)?\\n)[ \t]*"
_BREAK = compile_late(rb"(?:" + _LINE + rb")+")
_BREAK_END = compile_late(rb"(?:" + _LINE + rb")*(?:\r|\\(?:r\\?)?)?\Z")


def views_of(values: Collection[bytes], encoded: Collection[bytes]) -> tuple[View, ...]:
    """The views in which ``values`` are looked for as they are, and those in which their encoded forms
    are (base64 and hexadecimal), broken into lines."""
    plain = tuple(sorted({*values, *(each.replace(b" ", b"+") for each in values)}))
    return (
        View((b"%",), _PERCENT, _PERCENT_END, True, _of_percent, plain),
        View((b"\\",), _ESCAPE, _ESCAPE_END, True, _of_escape, tuple(sorted(values))),
        View(
            (b"\n", b"\\n"),
            _BREAK,
            _BREAK_END,
            False,
            _of_break,
            tuple(sorted(encoded)),
            drops=True,
        ),
    )
