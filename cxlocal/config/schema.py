"""The JSON Schema of ``cx.toml``, generated from the types, for editors that complete and check."""

from __future__ import annotations

from typing import Any

import msgspec

from cxlocal.config.types import Config, LocalConfig

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(kind: type[Config | LocalConfig] = Config) -> dict[str, Any]:
    """The schema (draft 2020-12) of ``cx.toml``, or of ``cx.local.toml``."""
    found: dict[str, Any] = msgspec.json.schema(kind)
    _tidy(found)
    title = "cx.toml" if kind is Config else "cx.local.toml"
    return {"$schema": DIALECT, "title": f"{title} of cxlocal", **found}


def _tidy(value: Any) -> None:
    """TOML has no null: leave it out of choices and defaults (tables have theirs key by key)."""
    if isinstance(value, dict):
        default = value.get("default", ...)
        if default is None or isinstance(default, dict):
            del value["default"]
        choices = value.get("anyOf")
        if choices:
            kept = [one for one in choices if one != {"type": "null"}]
            if len(kept) == 1:
                del value["anyOf"]
                value.update({**kept[0], **value})
            else:
                value["anyOf"] = kept
        if None in value.get("enum", ()):
            value["enum"].remove(None)
        for one in value.values():
            _tidy(one)
    elif isinstance(value, list):
        for one in value:
            _tidy(one)
