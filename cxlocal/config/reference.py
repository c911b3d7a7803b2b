"""The key list of ``docs/configuration.md``, generated from the types.

A test generates it again and compares; ``python -m cxlocal.config.reference FILE`` writes it.
"""

from __future__ import annotations

import inspect
from typing import Any

from cxlocal.config import component_types, types
from cxlocal.config.schema import schema

BEGIN = "<!-- key list: begin (generated from cxlocal/config/types.py) -->"
END = "<!-- key list: end -->"

_TABLES = (
    ("Config", "At the top"),
    ("Deliverable", "`[deliverable]`"),
    ("Version", "`[version]`"),
    ("Stamp", "An entry of `[version] stamp`"),
    ("Scm", "`[scm]`"),
    ("Store", "`[store]`"),
    ("SecretSource", "A secret: `[secrets] NAME = { … }`, `[store] token = { … }`"),
    ("Defaults", "`[defaults]`"),
    ("Stage", "`[stages] NAME = { … }`"),
    ("Cache", "An entry of a stage's `caches`"),
    ("Promotion", "`[promotions] NAME = { … }`"),
    ("Environment", "`[environments.NAME]`"),
    ("Target", "`[targets.NAME]`"),
    ("Component", "`[components.NAME]`"),
    ("Difference", "`components.NAME = { … }` in `[environments.NAME]`"),
    ("RolloutStep", "An entry of `rollout`"),
    ("Keep", "`[keep]`"),
    ("Plugins", "`[plugins]`"),
    ("Links", "`[links]`"),
    ("Sinks", "`[sinks]`"),
    ("SinkTo", "A sink: `[sinks] logs = { … }`"),
    ("Bump", "`[bump]`"),
    ("Pages", "`[pages]`"),
)
_LOCAL_TABLES = (
    ("LocalConfig", "At the top"),
    ("LocalScm", "`[scm]`"),
    ("LocalStore", "`[store]`"),
    ("Sinks", "`[sinks]`"),
    ("Pages", "`[pages]`"),
)


def key_list() -> str:
    """Every table of ``cx.toml`` and ``cx.local.toml`` with its keys, as Markdown."""
    parts = ["## Every key of cx.toml"]
    definitions = schema()["$defs"]
    parts += [_section(title, name, definitions) for name, title in _TABLES]
    parts.append("## Every key of cx.local.toml and of the user file")
    definitions = schema(types.LocalConfig)["$defs"]
    parts += [_section(title, name, definitions) for name, title in _LOCAL_TABLES]
    return "\n\n".join(parts)


def insert(page: str) -> str:
    """``page`` with the key list between its two marks replaced. ValueError without marks."""
    head, _, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        raise ValueError("the page has no marks for the key list")
    return f"{head}{BEGIN}\n\n{key_list()}\n\n{END}{tail}"


def _section(title: str, name: str, definitions: dict[str, Any]) -> str:
    table = definitions[name]
    sentence = inspect.getdoc(vars(component_types).get(name) or getattr(types, name)) or ""
    lines = [
        f"### {title}",
        "",
        sentence,
        "",
        "| key | value | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for key, one in table["properties"].items():
        if "description" not in one:
            continue  # a table of its own, with a section of its own
        needed = key in table.get("required", ())
        lines.append(
            f"| `{key}` | {_value(one)} | {_default(one, needed)} |"
            f" {one['description'].replace('|', chr(92) + '|')} |"
        )
    return "\n".join(lines)


_PLAIN = {"string": "text", "boolean": "true or false", "object": "table"}


def _value(one: dict[str, Any]) -> str:
    """What a key takes, in words."""
    if "anyOf" in one:
        return " or ".join(_value(choice) for choice in one["anyOf"])
    if "enum" in one:
        return ", ".join(f"`{choice}`" for choice in one["enum"])
    if "pattern" in one:
        return "duration"
    if "$ref" in one:
        return "table"
    kind = one["type"]
    if kind == "integer":
        return _whole(one)
    if kind == "array":
        inner = one["items"]
        return "list of " + ("tables" if "$ref" in inner else "texts")
    if kind == "object" and isinstance(one.get("additionalProperties"), dict):
        inner = one["additionalProperties"]
        return "table of " + ("texts" if inner else "options")
    return _PLAIN[kind]


def _whole(one: dict[str, Any]) -> str:
    unit = one.get("$comment", "").removeprefix("unit: ")
    words = unit or "whole number"
    if "maximum" in one:
        return f"{words}, {one.get('minimum', 0)} to {one['maximum']}"
    return f"{words}, from {one['minimum']}" if "minimum" in one else words


def _default(one: dict[str, Any], needed: bool) -> str:
    if needed:
        return "**needed**"
    default = one.get("default", "")
    if default in ("", [], {}):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f'`"{default}"`' if isinstance(default, str) else f"`{default}`"


if __name__ == "__main__":
    import sys
    from pathlib import Path

    target = Path(sys.argv[1])
    target.write_text(insert(target.read_text(encoding="utf-8")), encoding="utf-8")
