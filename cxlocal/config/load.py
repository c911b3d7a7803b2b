"""Reading ``cx.toml``: from a file, or from the text a revision holds.

A plan is made from the *revision's* text (the caller asks git for it); everything here therefore
takes text and a name for it. The file is converted table by table, so that every message names the
table and the key. Nothing a checkout says is trusted: size and depth are limited.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from cxlocal.config import check, types
from cxlocal.config.check_sinks import sinks
from cxlocal.config.component_types import Component
from cxlocal.config.names import check_names
from cxlocal.config.problems import Where, problem, suggestion, translate
from cxlocal.config.tables import Table
from cxlocal.errors import ConfigError
from cxlocal.files import open_plain
from cxlocal.patterns import compile_late
from cxlocal.text import clean_text, shorten
from cxlocal.version import VERSION

CHECKS: dict[Any, Callable[[Any, Where], None]] = {**check.CHECKS, types.Sinks: sinks}
SIZE_MAX_BYTES = 1024 * 1024
"""A cx.toml of a thousand stages has about 100 KiB; the parser needs some 0.1 s for 1 MiB."""

T = TypeVar("T", bound=Table)

SINGLE: dict[str, type[Table]] = {
    "deliverable": types.Deliverable,
    "version": types.Version,
    "scm": types.Scm,
    "store": types.Store,
    "defaults": types.Defaults,
    "keep": types.Keep,
    "plugins": types.Plugins,
    "links": types.Links,
    "sinks": types.Sinks,
    "bump": types.Bump,
    "pages": types.Pages,
}
NAMED: dict[str, tuple[str, type[Table]]] = {
    "stages": ("stage", types.Stage),
    "promotions": ("promotion", types.Promotion),
    "environments": ("environment", types.Environment),
    "targets": ("target", types.Target),
    "components": ("component", Component),
    "secrets": ("secret", types.SecretSource),
}
_LOCAL: dict[str, type[Table]] = {"scm": types.LocalScm, "store": types.LocalStore,
    "sinks": types.Sinks, "pages": types.Pages}  # fmt: skip

CHOICES: dict[str, list[str]] = {
    "kind": ["build", "test", "deploy", "publish", "task"],
    "when_empty": ["stop", "suffix"],
    "workspace": ["checkout", "in-place"],
    "lifetime": ["per-run", "lasting"],
    "output": ["table", "json", "nl", "csv", "tsv"],
    "stamp": ["file", "key", "pattern"],
    "token": ["env", "cmd", "file", "keyring"],
    "caches": ["path", "key_files"],
    "of": ["own", "all"],
    "rollout": ["weight", "hold"],
}
"""The texts a key can hold, or the keys of a table inside one; for suggestions. A test compares
them with the types."""


def read(path: str) -> types.Config:
    """The configuration in the file ``path``. Raises ConfigError."""
    return parse(_content(path), file=os.path.basename(path))


_read_before: dict[str | bytes, types.Config] = {}
"""The last one that was read. A run asks twice: what lies here names its journal, and the commit, which mostly
holds the same, says what it does."""


def parse(text: str | bytes, *, file: str = "cx.toml") -> types.Config:
    """The configuration in ``text``; ``file`` is what messages call it. Raises ConfigError."""
    config = _read_before.get(text)
    if config is None:
        config = _parsed(text, file)
        _read_before.clear()
        _read_before[text] = config
    return config


def _parsed(text: str | bytes, file: str) -> types.Config:
    raw = _toml(text, file)
    top = Where(file)
    _check_format(raw, top)
    _check_keys(raw, ["cx", *SINGLE, *NAMED], top, "")
    if "deliverable" not in raw:
        raise problem(
            top,
            "the table [deliverable] is missing",
            why="it names what is released",
            hint='add [deliverable] with name = "…"; cxlocal init writes a whole file',
            key="deliverable",
        )
    parts: dict[str, Any] = {}
    for key, kind in SINGLE.items():
        if key in raw:
            parts[key] = _table(raw[key], kind, Where(file, key), key)
    for key, (word, kind) in NAMED.items():
        if key in raw:
            parts[key] = _entries(raw[key], kind, file, key, word)
    return types.Config(cx=1, **parts)


def read_local(path: str) -> types.LocalConfig:
    """A ``cx.local.toml`` or the file of the user. Raises ConfigError."""
    return parse_local(_content(path), file=os.path.basename(path))


def parse_local(text: str | bytes, *, file: str = "cx.local.toml") -> types.LocalConfig:
    """As ``parse``, for the files that set only how this machine takes part."""
    raw = _toml(text, file)
    parts: dict[str, Any] = {}
    plain = {}
    for key, value in raw.items():
        if key in _LOCAL:
            parts[key] = _table(value, _LOCAL[key], Where(file, key), key)
        elif key == "secrets":
            parts[key] = _entries(value, types.SecretSource, file, key, "secret")
        else:
            plain[key] = value
    top = Where(file)
    for key in plain:
        if key in SINGLE or key in NAMED or key == "cx":
            raise problem(
                top,
                f"{key!r} cannot stand in this file",
                why="it sets only store, mirrors, home, secret sources, sinks, jobs and output; what a"
                " release is stands in cx.toml of the revision",
                hint=f"move it to {'cx.toml' if key != 'cx' else 'cx.toml, or take it out'}",
                key=key,
            )
    return _table(plain, types.LocalConfig, top, "local", parts)


def _content(path: str) -> bytes:
    try:
        with open_plain(path) as stream:
            return stream.read(SIZE_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{clean_text(path)} cannot be read",
            why=error.strerror or str(error),
            hint="check that the file is there and that you may read it",
            file=clean_text(path),
        ) from error


def _toml(text: str | bytes, file: str) -> dict[str, Any]:
    """``text`` as TOML. Raises ConfigError with line and column."""
    where = Where(file)
    if len(text) > SIZE_MAX_BYTES:
        raise problem(where, "the file is larger than 1 MiB", hint="is this the right file?")
    if isinstance(text, bytes):
        text = _decoded(text, where)
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise _syntax_problem(str(error), text, where) from None
    except (RecursionError, ValueError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise problem(where, "this is not valid TOML", why=why, name="syntax") from None


def _decoded(content: bytes, where: Where) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise problem(
            where,
            f"line {line} is not UTF-8",
            why=f"byte {error.start + 1} of the file is 0x{content[error.start]:02x}",
            hint="save the file as UTF-8",
            name="syntax",
        ) from None


_AT_LINE = compile_late(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def _syntax_problem(message: str, text: str, where: Where) -> ConfigError:
    """tomllib's message with the line it speaks of."""
    match = _AT_LINE.search(message)
    said = message[: match.start()] if match else message
    if match is None or match[1] is None:
        return problem(where, "the end of the file is not valid TOML", why=said, name="syntax")
    line, column = int(match[1]), int(match[2])
    lines = text.splitlines()
    content = lines[line - 1] if line <= len(lines) else ""
    return problem(
        where,
        f"line {line}, column {column} is not valid TOML",
        why=f"{said}: {shorten(content.strip(), 120)}",
        hint=_syntax_hint(content),
        name="syntax",
    )


def _syntax_hint(line: str) -> str:
    """What is usually wrong with such a line."""
    if re.search(r"=\s*(yes|no|True|False|on|off)\b", line):
        return "write true or false"
    if re.search(r"=\s*[A-Za-z_]", line):
        return "put quotes around text"
    return "see https://toml.io/en/v1.0.0"


def _check_format(raw: dict[str, Any], top: Where) -> None:
    found = raw.get("cx")
    if found is None:
        raise problem(
            top,
            "the key 'cx' is missing",
            why="it says which form the file has",
            hint="add cx = 1 as the first line",
            key="cx",
        )
    if isinstance(found, bool) or found != types.FORMAT:
        newer = isinstance(found, int) and found > types.FORMAT
        raise problem(
            top,
            f"cx must be {types.FORMAT}, not {found!r}",
            why=f"cxlocal {VERSION} reads format {types.FORMAT}",
            hint="use a newer cxlocal" if newer else f"write cx = {types.FORMAT}",
            key="cx",
        )


def _check_keys(raw: dict[str, Any], known: list[str], where: Where, kind: str) -> None:
    """Refuse unknown keys: by name when a later version will know them, else with a near name."""
    for key in raw:
        if key in known:
            continue
        topic = LATER.get(kind, {}).get(key)
        if topic is not None:
            raise problem(
                where,
                f"the key {key!r} belongs to a later version of cxlocal",
                why=f"cxlocal {VERSION} does not have {topic}, and a key that is accepted must be"
                " obeyed",
                hint="take the key out, or use a newer cxlocal",
                key=key,
                name="later-key",
            )
        raise problem(
            where,
            f"there is no key {clean_text(key)!r}",
            hint=suggestion(key, known, what="key"),
            key=clean_text(key),
            name="unknown-key",
        )


def _table(
    raw: object, kind: type[T], where: Where, sort: str, parts: dict[str, Any] | None = None
) -> T:
    """One table as its type, its values checked. ``parts`` are tables that were done before."""
    if not isinstance(raw, dict):
        raise problem(where, f"this must be a table, not {clean_text(repr(raw))[:60]}")
    known = list(kind.__struct_encode_fields__)
    _check_keys(raw, known, where, sort)
    try:
        table = msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise translate(error, raw, where, CHOICES) from None
    if parts:
        table = msgspec.structs.replace(table, **parts)
    check_values: Callable[[T, Where], None] | None = CHECKS.get(kind)
    if check_values is not None:
        check_values(table, where)
    return table


def _entries(raw: object, kind: type[T], file: str, key: str, word: str) -> dict[str, T]:
    """All tables of one sort, by name."""
    if not isinstance(raw, dict):
        raise problem(Where(file, key), f"this must be a table of {word}s")
    check_names(list(raw), Where(file, key), word)
    return {name: _table(one, kind, Where(file, word, name), word) for name, one in raw.items()}


LATER: dict[str, dict[str, str]] = {
    "": {
        "approvals": "approvals",
        "freezes": "freezes",
        "emergency": "the emergency policy",
        "gates": "gates in the configuration",
    },
    "store": {
        "ca": "certificates of a store",
        "client_cert": "certificates of a store",
        "client_key": "certificates of a store",
        "proxy": "proxies on the way to a store",
        "headers": "headers for a store",
        "region": "stores in object storage",
        "endpoint": "stores in object storage",
        "relay": "couriers",
    },
    "stage": {
        "approvals": "approvals",
        "when": "conditions of stages",
        "matrix": "matrices of stages",
    },
    "promotion": {"approvals": "approvals", "expires": "promotions that expire"},
    "environment": {
        "spec": "virtualisation specifications",
        "approvals": "approvals",
        "freezes": "freezes",
    },
    "keep": {"caches": "a limit for caches", "events": "removing events"},
    "plugins": {
        "local": "local plugins as a setting",
        "trust": "trust as a setting",
        "paths": "local plugins as a setting",
    },
}
"""Kind of table ("" is the top of the file) -> key -> what it is about."""
