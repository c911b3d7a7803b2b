"""The ``with`` table of a stage against what its tool takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cxlocal.config.problems import suggestion
from cxlocal.errors import ConfigError
from cxlocal.hooks.messages import plain, typed
from cxlocal.hooks.tool import Tool, verbs_of


def check_options(
    tool: type[Tool], with_table: Mapping[str, Any], *, where: str = ""
) -> msgspec.Struct:
    """The options as the tool's ``Options``. ``where`` names the stage in messages.

    Raises ConfigError naming the tool, the key and what is known.
    """
    head = f"{where}: " if where else ""
    known = list(tool.Options.__struct_encode_fields__)
    unknown = [key for key in with_table if key not in known]
    forbids = tool.Options.__struct_config__.forbid_unknown_fields
    if unknown and forbids:
        raise ConfigError(
            f"{head}tool {tool.name} has no option {unknown[0]!r}",
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
        text, _, path = str(error).partition(" - at `$")
        key = path.rstrip("`").lstrip(".")
        raise ConfigError(
            f"{head}tool {tool.name}, option {key}: {_lower(text)}"
            if key
            else f"{head}tool {tool.name}: {_lower(text)}",
            why="options are checked before anything runs",
            hint=f"see: cxlocal plugins --hook register_tools; its options are {', '.join(known)}",
            name="bad-option",
            tool=tool.name,
            key=key,
        ) from error
    return options


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


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
