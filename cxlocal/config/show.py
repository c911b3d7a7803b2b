"""Every effective value with where it comes from, for ``cxlocal config show``."""

from __future__ import annotations

from typing import Any

import msgspec

from cxlocal.address import public_address
from cxlocal.config import types
from cxlocal.config.settings import Settings
from cxlocal.config.tables import Table

SINGLE = ("deliverable", "version", "scm", "store", "defaults", "keep", "plugins")
NAMED = ("stages", "promotions", "environments", "targets")
_INHERITED = ("timeout", "retries", "isolated")


class Value(msgspec.Struct, frozen=True):
    """One effective value."""

    key: str
    """Dotted: ``stages.unit.timeout``."""
    value: Any
    """As it would be written in the file; None where nothing is set."""
    origin: str
    """flag, environment, cx.local.toml, cx.toml, cx.toml [defaults], user file or default."""


def values(config: types.Config, raw: dict[str, Any], effective: Settings) -> list[Value]:
    """All values of a project. ``raw`` is the parsed file: it tells what was written there."""
    found = [
        _single(table, key, value, raw, effective)
        for table in SINGLE
        for key, value in _items(getattr(config, table))
        if (table, key) != ("defaults", "jobs")  # stands among the values of this machine
    ]
    for table in NAMED:
        for name, one in getattr(config, table).items():
            written = raw[table][name]
            found += [
                Value(f"{table}.{name}.{key}", value, "cx.toml")
                for key, value in _items(one)
                if key in written
            ]
            if table == "stages":
                found += _inherited(config, name, written, raw)
    return found + machine(effective)


def machine(effective: Settings) -> list[Value]:
    """The values that belong to this machine; all there is outside a project."""
    rows = {
        "home": effective.home,
        "jobs": effective.jobs,
        "output": effective.output,
        "scm.mirrors": list(effective.mirrors),
        **{f"secrets.{name}": source for name, source in effective.secrets.items()},
        **{
            f"sinks.{kind}": [_without_none(msgspec.to_builtins(one)) for one in found]
            for kind, found in effective.sinks.items()
        },
        "sinks.hold": f"{effective.sinks_hold_seconds}s",
    }
    return [Value(key, value, effective.origins[key]) for key, value in rows.items()]


def _items(table: Table) -> list[tuple[str, Any]]:
    builtins: dict[str, Any] = msgspec.to_builtins(table)
    return [(key, _without_none(value)) for key, value in builtins.items()]


def _without_none(value: Any) -> Any:
    """TOML has no null: inside lists and tables, what is not set is not shown."""
    if isinstance(value, dict):
        return {key: _without_none(one) for key, one in value.items() if one is not None}
    return [_without_none(one) for one in value] if isinstance(value, list) else value


def _single(table: str, key: str, value: Any, raw: dict[str, Any], effective: Settings) -> Value:
    name = f"{table}.{key}"
    settled = {
        "store.url": public_address(effective.store_url),
        "store.patience": f"{effective.store_patience_seconds}s",
        "store.lender": effective.store_lender,
    }
    if name in ("store.token", "store.lender_token"):
        tokens = effective.lender_tokens if "lender" in key else effective.store_tokens
        address = effective.store_lender if "lender" in key else effective.store_url
        for token in tokens:
            if token.url.rstrip("/") == address.rstrip("/"):
                return Value(name, token.source, token.origin)
        return Value(name, None, "default")
    if name in settled:
        return Value(name, settled[name], effective.origins[name])
    return Value(name, value, "cx.toml" if key in raw.get(table, {}) else "default")


def _inherited(
    config: types.Config, name: str, written: dict[str, Any], raw: dict[str, Any]
) -> list[Value]:
    """What a stage takes from [defaults]."""
    given = raw.get("defaults", {})
    return [
        Value(
            f"stages.{name}.{key}",
            getattr(config.defaults, key),
            "cx.toml [defaults]" if key in given else "default",
        )
        for key in _INHERITED
        if key not in written
    ]
