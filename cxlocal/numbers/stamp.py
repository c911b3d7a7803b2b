"""Writing the version into the checkout before anything is built: ``[version] stamp``.

A stamp names a file and either a key (JSON, TOML) or a pattern. Only the value changes: layout,
comments and order stay. The place is found by trying: every ``key = "…"`` of the right name is
replaced by a marker in turn, and the one that changes exactly the named key when the file is parsed
again is the right one. So no second grammar of JSON or TOML is needed, and nothing else can change.

Bytes outside of the value stay as they are: the mark at the start, the encoding, the ends of lines.
"""

from __future__ import annotations

import codecs
import json
import re
import tomllib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cxlocal.errors import ConfigError
from cxlocal.values import NamedTuple

FILE_BYTES_MAX = 8 * 1024 * 1024
"""Files that carry a version are small; a larger one is named by mistake."""

_MARKER = "cxlocal-stamp-marker"


class Stamp(NamedTuple):
    """Where a version goes: a file, and a key or a pattern with one group."""

    file: str
    key: str = ""
    pattern: str = ""


class _Text(NamedTuple):
    """The content of a file and what its bytes need beside it."""

    content: str
    mark: bytes
    encoding: str


class Stamped(NamedTuple):
    """What a stamp changed."""

    file: str
    key: str
    old: str
    new: str


def apply_stamps(checkout: Path, stamps: Sequence[Stamp], version: str) -> list[Stamped]:
    """Write ``version`` at every stamp; all of them or none. Raises ConfigError."""
    texts: dict[Path, _Text] = {}
    changes = []
    for stamp in stamps:
        path = _path(checkout, stamp)
        read = texts.get(path) or _read(path, stamp)
        text = read.content
        start, end = _find(text, stamp)
        literal = version if stamp.pattern else json.dumps(version)
        old = text[start:end] if stamp.pattern else _old_value(text, stamp)
        texts[path] = read._replace(content=text[:start] + literal + text[end:])
        changes.append(Stamped(stamp.file, stamp.key or stamp.pattern, old, version))
    for path, read in texts.items():
        path.write_bytes(read.mark + read.content.encode(read.encoding))
    return changes


def check_stamps(checkout: Path, stamps: Sequence[Stamp]) -> list[Stamped]:
    """What stands at every stamp now; the errors ``apply_stamps`` would raise, nothing written."""
    found = []
    for stamp in stamps:
        text = _read(_path(checkout, stamp), stamp).content
        start, end = _find(text, stamp)
        old = text[start:end] if stamp.pattern else _old_value(text, stamp)
        found.append(Stamped(stamp.file, stamp.key or stamp.pattern, old, old))
    return found


def takes(checkout: Path, stamps: Sequence[Stamp], version: str) -> bool:
    """Whether every pattern, asked again, would find the whole of ``version`` where it wrote it:
    ``([0-9.]+)`` says that its place holds nothing else. Raises ConfigError."""
    for stamp in stamps:
        if not stamp.pattern:
            continue
        text = _read(_path(checkout, stamp), stamp).content
        start, end = _find(text, stamp)
        written = text[:start] + version + text[end:]
        try:
            start, end = _find(written, stamp)
        except ConfigError:
            return False
        if written[start:end] != version:
            return False
    return True


def _wrong(stamp: Stamp, why: str, name: str) -> ConfigError:
    place = f"key {stamp.key!r}" if stamp.key else f"pattern {stamp.pattern!r}"
    return ConfigError(
        f"the version cannot be written into {stamp.file} ({place})",
        why=why,
        hint="correct [version] stamp in cx.toml",
        name=name,
    )


def _path(checkout: Path, stamp: Stamp) -> Path:
    path = checkout / stamp.file
    root = checkout.resolve()
    if not path.resolve().is_relative_to(root):
        raise _wrong(stamp, "it lies outside the checkout", "stamp-outside")
    if not path.is_file():
        raise _wrong(stamp, "there is no such file in this revision", "stamp-missing")
    return path


_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as that of UTF-16 does: asked first
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""What a file may begin with, and the encoding it says."""


def _read(path: Path, stamp: Stamp) -> _Text:
    if path.stat().st_size > FILE_BYTES_MAX:
        raise _wrong(stamp, f"it has more than {FILE_BYTES_MAX} bytes", "stamp-unreadable")
    raw = path.read_bytes()
    mark, encoding = next((one for one in _MARKS if raw.startswith(one[0])), (b"", "utf-8"))
    if not mark and b"\0" in raw:
        raise _wrong(stamp, "it holds zero bytes: it is not text", "stamp-unreadable")
    try:
        return _Text(raw[len(mark) :].decode(encoding), mark, encoding)
    except UnicodeDecodeError as error:
        if mark or stamp.key:
            said = f"it is not {encoding.upper()} text"
            raise _wrong(stamp, said, "stamp-unreadable") from error
    # An older encoding of one byte a character: each byte is kept, and ASCII is what it is.
    return _Text(raw.decode("latin-1"), b"", "latin-1")


def _find(text: str, stamp: Stamp) -> tuple[int, int]:
    """Start and end of what is to be replaced: the literal of a key, the group of a pattern."""
    if stamp.pattern:
        return _find_pattern(text, stamp)
    parse, literals = _grammar(stamp)
    wanted = _set(_parse(parse, text, stamp), stamp.key, _MARKER)
    if wanted is None:
        raise _wrong(stamp, "there is no such key, or it is not a text", "stamp-missing")
    shown = _shown(wanted, stamp)
    for match in literals.finditer(text):
        start, end = match.span("value")
        tried = text[:start] + json.dumps(_MARKER) + text[end:]
        try:
            if repr(parse(tried)) == shown:
                return start, end
        except (ValueError, RecursionError):
            continue  # this one stands in a comment or a longer text
    raise _wrong(stamp, "the key is written in a form that cannot be replaced", "stamp-missing")


def _grammar(stamp: Stamp) -> tuple[Callable[[str], Any], re.Pattern[str]]:
    name = re.escape(stamp.key.rpartition(".")[2])
    if stamp.file.endswith(".json"):
        return json.loads, re.compile(rf'"{name}"\s*:\s*(?P<value>"(?:[^"\\]|\\.)*")')
    if stamp.file.endswith(".toml"):
        value = r'(?P<value>"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\')'
        return tomllib.loads, re.compile(rf"(?:\b|[\"']){name}[\"']?\s*=\s*{value}")
    raise _wrong(stamp, "keys are understood in .json and .toml files only", "stamp-no-key")


def _parse(parse: Callable[[str], Any], text: str, stamp: Stamp) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise _wrong(stamp, f"the file cannot be read: {error}", "stamp-unreadable") from error
    except RecursionError as error:
        raise _too_deep(stamp) from error


def _shown(tree: Any, stamp: Stamp) -> str:
    """``tree`` as a text to compare by: a nan in it does not equal itself."""
    try:
        return repr(tree)
    except RecursionError as error:
        raise _too_deep(stamp) from error


def _too_deep(stamp: Stamp) -> ConfigError:
    return _wrong(stamp, "the file is nested too deeply to be read", "stamp-unreadable")


def _set(tree: Any, key: str, value: str) -> Any | None:
    """``tree`` with the text at the dotted ``key`` replaced; None where there is none."""
    names = key.split(".")
    at = tree
    for name in names[:-1]:
        at = at.get(name) if isinstance(at, dict) else None
    if not isinstance(at, dict) or not isinstance(at.get(names[-1]), str):
        return None
    at[names[-1]] = value
    return tree


def _old_value(text: str, stamp: Stamp) -> str:
    at = _grammar(stamp)[0](text)
    for name in stamp.key.split("."):
        at = at[name]
    return str(at)


def _find_pattern(text: str, stamp: Stamp) -> tuple[int, int]:
    try:
        pattern = re.compile(stamp.pattern, re.MULTILINE)
    except re.error as error:
        raise _wrong(stamp, f"it is not a regular expression: {error}", "stamp-pattern") from error
    if pattern.groups != 1:
        raise _wrong(stamp, "it needs exactly one group, around the version", "stamp-pattern")
    places = _places(pattern, text)
    if len(places) != 1:
        count = "nowhere" if not places else f"{len(places)} times"
        raise _wrong(stamp, f"it matches {count}, once is needed", "stamp-ambiguous")
    if places[0][0] < 0:
        raise _wrong(stamp, "its group took no part in the match", "stamp-ambiguous")
    return places[0]


def _places(pattern: re.Pattern[str], text: str) -> list[tuple[int, int]]:
    """Where the group of ``pattern`` lies, each time it matches; -1 where it took no part.

    A pattern is written for lines that end in ``\\n``: it is tried on the text with such ends
    first, so that ``(.*)$`` neither misses nor swallows the other half of ``\\r\\n``.
    """
    if "\r\n" in text:
        found = _spans(pattern, text.replace("\r\n", "\n"))
        if found:
            halves = [at.start() - count for count, at in enumerate(re.finditer("\r\n", text))]
            return [
                (start + bisect_left(halves, start), end + bisect_left(halves, end))
                for start, end in found
            ]
    return _spans(pattern, text)


def _spans(pattern: re.Pattern[str], text: str) -> list[tuple[int, int]]:
    return [match.span(1) for match in pattern.finditer(text)]
