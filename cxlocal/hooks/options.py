"""The ``with`` table of a stage against what its tool takes."""

from __future__ import annotations

import re
from collections import abc
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from cxlocal.config.problems import suggestion
from cxlocal.errors import ConfigError
from cxlocal.hooks.messages import plain, typed
from cxlocal.hooks.sink import Sink
from cxlocal.hooks.tool import Tool, verbs_of
from cxlocal.text import quoted


def check_options(
    tool: type[Tool | Sink], with_table: Mapping[str, Any], *, where: str = ""
) -> msgspec.Struct:
    """The options of a tool or a sink as its ``Options``. ``where`` names the stage in messages.

    Raises ConfigError naming the tool, the key and what is known.
    """
    head = f"{where}: " if where else ""
    word = "tool" if issubclass(tool, Tool) else "sink"
    known = list(tool.Options.__struct_encode_fields__)
    unknown = [key for key in with_table if key not in known]
    forbids = tool.Options.__struct_config__.forbid_unknown_fields
    if unknown and forbids:
        raise ConfigError(
            f"{head}{word} {tool.name} has no option {unknown[0]!r}",
            why=f"it has: {', '.join(known)}" if known else "it has none",
            hint=suggestion(unknown[0], known, what="options")
            if known
            else "it takes no options: leave out 'with'",
            name="unknown-option",
            tool=tool.name,
            key=unknown[0],
        )
    try:
        options: msgspec.Struct = typed(plain(dict(with_table)), tool.Options)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        text, _, path = _in_words(str(error)).partition(" - at `$")
        key = path.rstrip("`").lstrip(".")
        raise ConfigError(
            f"{head}{word} {tool.name}, option {key}: {_lower(text)}"
            if key
            else f"{head}{word} {tool.name}: {_lower(text)}",
            why="options are checked before anything runs",
            hint=f"cxlocal plugins {quoted(tool.name)}   shows its options with types and defaults"
            if word == "tool"
            else "docs/sinks.md has its options",
            name="bad-option",
            tool=tool.name,
            key=key,
        ) from error
    return options


_WORDS = {
    "str": "text", "int": "a whole number", "float": "a number", "bool": "true or false",
    "array": "a list", "object": "a table", "null": "nothing",
}  # fmt: skip


def _in_words(text: str) -> str:
    """What the library says of a table, in words of cx.toml."""
    text = re.sub(r"^Object missing required field `(\w+)`", r"option '\1' must be given", text)
    found = re.match(r"Expected `([^`]+)`, got `([^`]+)`", text)
    if found is None:
        return text
    wanted, got = (
        " or ".join(_WORDS.get(kind.strip(), kind.strip()) for kind in kinds.split("|"))
        for kinds in found.groups()
    )
    return f"it must be {wanted}, not {got}{text[found.end() :]}"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def options_of(tool: type[Tool]) -> list[dict[str, str]]:
    """The options of a tool in words of cx.toml: name, type and default; the default of one that must be given
    is *must be given*."""
    found = []
    for field in msgspec.structs.fields(tool.Options):
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        shown = "must be given" if default is msgspec.NODEFAULT else _written(default)
        found.append({"option": field.encode_name, "type": _kind(field.type), "default": shown})
    return found


def _kind(kind: Any) -> str:
    """A type in words: ``text``, ``list of text``, one of several words."""
    origin, inner = get_origin(kind), [one for one in get_args(kind) if one is not Ellipsis]
    if origin is Literal:
        return " or ".join(_written(one) for one in inner)
    if origin in (Union, UnionType):
        return " or ".join(_kind(one) for one in inner if one is not type(None))
    if origin is Annotated:
        return _kind(inner[0])
    known = origin or kind
    if known in (dict, Mapping, abc.Mapping):
        return f"table of {_kind(inner[1])}" if inner else "table"
    if known in (list, tuple, set, frozenset, abc.Sequence):
        return f"list of {_kind(inner[0])}" if inner else "list"
    word = {Path: "text"}.get(known, _WORDS.get(getattr(known, "__name__", ""), "table"))
    return word.removeprefix("a ")


def _written(value: object) -> str:
    """A value as cx.toml has it."""
    value = plain(value)
    if isinstance(value, dict):
        pairs = ", ".join(f"{key} = {_written(one)}" for key, one in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_written(one) for one in value)}]"
    return "nothing" if value is None else msgspec.json.encode(value).decode()


def check_verb(tool: type[Tool], verb: str, *, where: str = "") -> None:
    """Refuse a verb that the tool cannot do. Raises ConfigError."""
    can = verbs_of(tool)
    if verb not in can:
        head = f"{where}: " if where else ""
        raise ConfigError(
            f"{head}tool {tool.name} cannot {verb}",
            why=f"it can {', '.join(can)}" if can else "it has no verbs at all",
            hint="name another tool, or another kind of stage",
            name="no-such-verb",
            tool=tool.name,
        )
