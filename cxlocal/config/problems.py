"""Errors about configuration: which file, which table, which key, what was there, what to write.

msgspec's own messages name types of Python and a path without the names of tables; people who
write a TOML file get them in its words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from cxlocal.errors import ConfigError
from cxlocal.text import clean_text, shorten
from cxlocal.values import NamedTuple


class Where(NamedTuple):
    """A table of a file, as people call it."""

    file: str
    """``cx.toml``, or ``cx.toml at 3f2a9c1``."""
    kind: str = ""
    """What sort of table: ``stage``, ``version``; empty is the top of the file."""
    name: str = ""
    """The name of this one: ``unit``."""

    def __str__(self) -> str:
        if self.name:
            return f'{self.file}, {self.kind} "{clean_text(self.name)}"'
        return f"{self.file}, [{self.kind}]" if self.kind else self.file


def problem(
    where: Where, what: str, *, why: str = "", hint: str = "", key: str = "", name: str = "config"
) -> ConfigError:
    """The one shape of an error in a configuration file."""
    return ConfigError(
        f"{where}: {what}",
        why=why,
        hint=hint,
        name=name,
        file=where.file,
        table=where.kind,
        entry=where.name,
        key=key,
    )


def near(name: str, known: Iterable[str]) -> str:
    """The known name a person most likely meant, or an empty text."""
    import difflib  # only where something is wrong

    by_case = {one.casefold(): one for one in known}
    begun = [one for key, one in by_case.items() if name and key.startswith(name.casefold())]
    if len(begun) == 1:
        return begun[0]
    found = difflib.get_close_matches(name.casefold(), by_case, n=1, cutoff=0.6)
    return by_case[found[0]] if found else ""


def suggestion(name: str, known: Iterable[str], *, what: str) -> str:
    """A hint: the near name, else the list of names (at most 20 of them)."""
    names = list(known)
    close = near(name, names)
    if close:
        return f"did you mean {close!r}?"
    if not names:
        return f"there is no {what} yet"
    listed = ", ".join(repr(one) for one in names[:20])
    return f"{what}s are {listed}" + (" and others" if len(names) > 20 else "")


_TYPES = {
    "str": "text", "int": "a whole number", "float": "a number", "bool": "true or false",
    "array": "a list", "object": "a table", "datetime": "a date with time", "date": "a date",
    "time": "a time",
}  # fmt: skip


def shown(value: Any) -> str:
    """A value from a file, short enough for a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {shorten(clean_text(value), 60)!r}"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return shorten(str(value), 60)


def _wanted(types: str) -> str:
    names = [one.strip() for one in types.split("|")]
    words = [_TYPES.get(one, one) for one in names if one != "null"]
    return " or ".join(words)


_TEXTS = ("str", "str | null")
_DURATIONS = ("timeout", "patience", "logs", "reports")
DURATION_HINT = "write it like '90s', '15m', '1h 30m' or '90d'"

# Text, not compiled: they are needed only where something is wrong.
_PATH = r" - at `(key in )?\$(?P<path>[^`]*)`$"
_TYPE = r"Expected `(?P<wanted>[^`]+)`, got `(?P<got>[^`]+)`$"
_MISSING = r"Object missing required field `(?P<key>[^`]+)`$"
_UNKNOWN = r"(?s)Object contains unknown field `(?P<key>.+)`$"
_CHOICE = r"(?s)Invalid enum value (?P<value>.+)$"
_LIMIT = r"Expected `int` (?P<limit>[<>]=?) (?P<bound>-?[\d]+)$"
_STEP = r"\.(?P<key>[A-Za-z_-]+)|\[(?P<index>\d+|\.\.\.)\]"


def _walk(raw: Any, path: str) -> tuple[str, Any]:
    """The place ``path`` (msgspec's form) in words, and what stands there.

    msgspec writes ``[...]`` for any key of a table: the value is then not looked up.
    """
    words, value, known = "", raw, True
    for step in re.finditer(_STEP, path):
        key, index = step["key"], step["index"]
        if key is not None:
            words += f".{key}" if words else key
            value = value.get(key) if known and isinstance(value, dict) else None
        elif index == "...":
            known = False
        else:
            words += f"[{int(index) + 1}]"
            value = value[int(index)] if known and isinstance(value, list) else None
    return words, value if known else ...


def translate(
    error: Exception, raw: dict[str, Any], where: Where, choices: dict[str, list[str]]
) -> ConfigError:
    """msgspec's ValidationError about ``raw`` in the words of the file.

    ``choices`` gives the allowed texts of the keys that have such a list.
    """
    message = str(error)
    path = re.search(_PATH, message)
    place, value = _walk(raw, path["path"]) if path else ("", raw)
    body = message[: path.start()] if path else message
    if match := re.match(_MISSING, body):
        key = f"{place}.{match['key']}" if place else match["key"]
        return problem(where, f"the key {key!r} is missing", key=key, hint=f"add {key} = …")
    if match := re.match(_UNKNOWN, body):
        known = choices.get(re.sub(r"\[\d+\]$", "", place), [])
        return problem(
            where,
            f"{place} has no key {clean_text(match['key'])!r}",
            key=place,
            hint=suggestion(match["key"], known, what="key"),
            name="unknown-key",
        )
    got = "" if value is ... else f", not {shown(value)}"
    if match := re.match(_TYPE, body):
        wanted = _wanted(match["wanted"])
        hint = DURATION_HINT if place in _DURATIONS and match["wanted"] in _TEXTS else ""
        return problem(where, f"{place} must be {wanted}{got}", key=place, hint=hint)
    if re.match(_CHOICE, body):
        allowed = choices.get(place, [])
        return problem(
            where,
            f"{place} cannot be {shown(value)}",
            key=place,
            hint=suggestion(str(value), allowed, what="possible value"),
        )
    if match := re.match(_LIMIT, body):
        limit = "at least" if match["limit"] == ">=" else "at most"
        return problem(where, f"{place} must be {limit} {match['bound']}{got}", key=place)
    if "matching regex" in body:
        return problem(
            where,
            f"{place} must be a duration{got}",
            key=place,
            hint=DURATION_HINT,
        )
    return problem(where, f"{place}: {body}" if place else body, key=place)
