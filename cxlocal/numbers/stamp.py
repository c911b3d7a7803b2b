"""Writing the version into the checkout before anything is built: ``[version] stamp``.

A stamp names a file and either a key (JSON, TOML) or a pattern. Only the value changes: layout,
comments and order stay. The place is found by trying: every ``key = "…"`` of the right name is
replaced by a marker in turn, and the one that changes exactly the named key when the file is parsed
again is the right one. So no second grammar of JSON or TOML is needed, and nothing else can change.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cxlocal.errors import ConfigError

FILE_BYTES_MAX = 8 * 1024 * 1024
"""Files that carry a version are small; a larger one is named by mistake."""

_MARKER = "cxlocal-stamp-marker"


class Stamp(NamedTuple):
    """Where a version goes: a file, and a key or a pattern with one group."""

    file: str
    key: str = ""
    pattern: str = ""


class Stamped(NamedTuple):
    """What a stamp changed."""

    file: str
    key: str
    old: str
    new: str


def apply_stamps(checkout: Path, stamps: Sequence[Stamp], version: str) -> list[Stamped]:
    """Write ``version`` at every stamp; all of them or none. Raises ConfigError."""
    texts: dict[Path, str] = {}
    changes = []
    for stamp in stamps:
        path = _path(checkout, stamp)
        text = texts.get(path) or _read(path, stamp)
        start, end = _find(text, stamp)
        literal = version if stamp.pattern else json.dumps(version)
        old = text[start:end] if stamp.pattern else _old_value(text, stamp)
        texts[path] = text[:start] + literal + text[end:]
        changes.append(Stamped(stamp.file, stamp.key or stamp.pattern, old, version))
    for path, text in texts.items():
        path.write_bytes(text.encode())
    return changes


def check_stamps(checkout: Path, stamps: Sequence[Stamp]) -> list[Stamped]:
    """What stands at every stamp now; the errors ``apply_stamps`` would raise, nothing written."""
    found = []
    for stamp in stamps:
        text = _read(_path(checkout, stamp), stamp)
        start, end = _find(text, stamp)
        old = text[start:end] if stamp.pattern else _old_value(text, stamp)
        found.append(Stamped(stamp.file, stamp.key or stamp.pattern, old, old))
    return found


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


def _read(path: Path, stamp: Stamp) -> str:
    if path.stat().st_size > FILE_BYTES_MAX:
        raise _wrong(stamp, f"it has more than {FILE_BYTES_MAX} bytes", "stamp-unreadable")
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise _wrong(stamp, "it is not UTF-8 text", "stamp-unreadable") from error


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
    places = [match.span(1) for match in pattern.finditer(text)]
    if len(places) != 1:
        count = "nowhere" if not places else f"{len(places)} times"
        raise _wrong(stamp, f"it matches {count}, once is needed", "stamp-ambiguous")
    return places[0]
