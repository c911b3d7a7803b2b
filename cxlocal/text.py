"""Text forms of times, durations and foreign bytes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

from cxlocal.errors import UsageError
from cxlocal.patterns import compile_late

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_DURATION = compile_late(r"(\d+)\s*([smhdwy])")


_HARMFUL = compile_late(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""C0 and C1 controls and DEL begin terminal escape sequences; the bidirectional controls reorder what
stands around them ("Trojan source"); U+2028 and U+2029 break lines; lone surrogates are bytes that were
not UTF-8. None of them may reach a terminal or a page from data."""
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_HEXADECIMAL = frozenset("0123456789abcdef")


def is_hexadecimal(text: str, digits: int) -> bool:
    """Whether ``text`` is that many hexadecimal digits in small letters: 32 name a node or a lineage,
    64 are a SHA-256. Such a text may stand in a path."""
    return len(text) == digits and _HEXADECIMAL.issuperset(text)


def utc_text(time_ms: int) -> str:
    """Milliseconds since the epoch as ``2026-11-23T02:14:05.123Z``."""
    return f"{_second_text(time_ms // 1000)}.{time_ms % 1000:03d}Z"


@lru_cache(maxsize=64)
def _second_text(seconds: int) -> str:
    # Every event says the time several times, and events come close together.
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def parse_utc(text: str) -> int:
    """The inverse of ``utc_text``; takes any RFC 3339 time with a zone. Milliseconds.

    Raises ValueError for anything else.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return round(moment.timestamp() * 1000)


def parse_duration(text: str) -> int:
    """``90s``, ``15m``, ``1h 30m``, ``90d``, ``1y`` as seconds. Raises UsageError."""
    stripped = text.strip()
    parts = _DURATION.findall(stripped)
    if not parts or _DURATION.sub("", stripped).strip():
        raise UsageError(
            f"{text!r} is not a duration",
            why="a duration is one or more numbers, each with a unit",
            hint="write it like '90s', '15m', '1h 30m' or '90d'",
        )
    return sum(int(count) * _UNIT_SECONDS[unit] for count, unit in parts)


def duration_text(seconds: float) -> str:
    """A duration for people: ``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``, ``4 d 3 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, small_size, small_name in (
        (86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"),
    ):  # fmt: skip
        if whole >= size:
            big, rest = divmod(whole, size)
            small = rest // small_size
            return f"{big} {name} {small} {small_name}" if small else f"{big} {name}"
    return f"{whole} s"


def harmless(text: str, *, keep: str = "") -> str:
    """``text`` with control characters written out (``\\x1b``), except those in ``keep``."""
    if text.isascii() and text.isprintable():
        return text
    return _HARMFUL.sub(lambda match: _written_out(match[0], keep), text)


def _written_out(character: str, keep: str) -> str:
    if character in keep:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # an undecodable byte (PEP 383): show the byte
        return f"\\x{code - 0xDC00:02x}"
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def clean_text(text: str) -> str:
    """Text that any UTF-8 reader accepts: undecodable bytes stand as ``\\xff``.

    Paths and output that are not UTF-8 reach Python as lone surrogates (PEP 383); they must not
    keep an event from being written.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return (
            text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            if all(0xDC80 <= ord(c) <= 0xDCFF for c in text if 0xD800 <= ord(c) <= 0xDFFF)
            else text.encode("utf-8", "backslashreplace").decode("utf-8")
        )
    return text


def names_one(names: Iterable[str], name: str) -> bool:
    """Whether ``name`` is one of ``names``, or begins as one that ends in ``*``."""
    return any(name == one or one.endswith("*") and name.startswith(one[:-1]) for one in names)


def shorten(text: str, limit: int) -> str:
    """At most ``limit`` characters, the end replaced by ``…`` where something was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def counted(count: int, one: str, many: str = "") -> str:
    """``1 event``, ``2 events``; ``many`` is what stands behind other numbers where an s is not enough."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def cut_name(text: str, limit: int) -> str:
    """A name of at most ``limit`` characters (more than 18); two long ones that differ stay
    different."""
    if len(text) <= limit:
        return text
    import hashlib  # few commands meet a name that long

    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{text[: limit - 18]}… {digest}"


_PLAIN = str.maketrans("@%+=:,./-_", "a" * 10)
"""What a shell takes as it is, besides letters and digits."""


def quoted(word: str) -> str:
    """A word of a command that people are told, as a shell takes it: what stands in it comes from
    histories, configurations and addresses."""
    if word and word.isascii() and word.translate(_PLAIN).isalnum():
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"


def git_reason(output: str, *, remote: bool = False) -> str:
    """The line of what git said that tells why it failed; empty for no words. ``remote``: what the other side
    says counts, too."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    signs = ("fatal:", "error:", "ERROR:", *(("remote:", "!") if remote else ()))
    for number, line in enumerate(lines):
        if line.startswith(signs):
            # The way there failed: ssh has said why, in the line before.
            vague = number and "could not read from remote repository" in line.lower()
            return lines[number - 1] if vague else line
    return lines[0] if lines else ""
