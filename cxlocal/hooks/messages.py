"""What the worker of a tool and its parent say to each other: JSON, one message a line.

Down: first the request (``request_of``), later ``{"recorded": true}`` or ``{"refused": why}`` as the
answer to an intent. Up, in any number: ``progress``, ``intend``, ``daemon``; and exactly one of
``result``, ``failure``, ``error``, which ends the work.

JSON is written in ASCII, so that paths which are not UTF-8 (lone surrogates, PEP 383) survive.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlsplit

import msgspec

from cxlocal.hooks.tool import (
    Applied,
    ArtifactRef,
    Created,
    Done,
    EnvironmentRef,
    Holdings,
    Observed,
    Previewed,
    Published,
    Tool,
    Withdrawn,
)

if TYPE_CHECKING:
    from cxlocal.hooks.sink import Sink

Result = Done | Observed

RESULTS: Mapping[str, type[Done | Observed]] = {
    "publish": Published,
    "preview": Previewed,
    "apply": Applied,
    "create": Created,
    "observe": Observed,
    "ask": Holdings,
    "withdraw": Withdrawn,
}
"""What a verb returns; every other verb returns Done (or nothing, which counts as ``Done()``)."""

MAY_SAY_LESS = ("publish",)
"""Where ``Done`` and nothing do as well, beside the result of the verb's own."""

HANDLE_BYTES = 64 * 1024
"""Largest handle of an intent: it becomes part of an event, and events hold 256 KiB."""


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """What a verb is told, as its ``ctx`` will show it. The text fields may be empty."""

    checkout: Path
    scratch: Path
    version: str = ""
    run: str = ""
    revision: str = ""
    stage: str = ""
    deliverable: str = ""
    environment: EnvironmentRef | None = None
    artifacts: dict[str, ArtifactRef] = {}
    handle: Any = None
    resource: str = ""
    turn: int = 0
    component: str = ""
    behind: str = ""
    host: str = ""
    back: bool = False
    ahead: bool = False
    artifact: ArtifactRef | None = None
    variables: dict[str, str] = {}
    secret_variables: tuple[str, ...] = ()
    wanted: dict[str, int] = {}
    addresses: dict[str, str] = {}
    components: dict[str, dict[str, str]] = {}
    put: tuple[str, ...] = ()
    notes: dict[str, str] = {}


def dump(message: object) -> bytes:
    """One message. Raises TypeError or ValueError for what JSON has no word for."""
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode("ascii")


def load(line: bytes) -> Any:
    """One message. Raises ValueError."""
    return json.loads(line)


def plain(value: object) -> Any:
    """Structs, paths and tuples as JSON values. Raises TypeError for anything else."""
    return msgspec.to_builtins(value, enc_hook=_plain_path, str_keys=True)


def _plain_path(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def typed(value: object, kind: Any) -> Any:
    """JSON values as ``kind``. Raises msgspec.ValidationError."""
    return msgspec.convert(value, kind, dec_hook=_typed_path)


def _typed_path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise msgspec.ValidationError(f"expected {kind.__name__}, got {type(value).__name__}")


def reference(tool: type[Tool | Sink]) -> dict[str, str]:
    """Where a worker finds this class: module and name, and the file for what is on no path."""
    module = sys.modules.get(tool.__module__)
    return {
        "name": tool.name,
        "module": tool.__module__,
        "qualname": tool.__qualname__,
        "file": getattr(module, "__file__", None) or "",
        "sha256": getattr(module, "__cxlocal_sha256__", ""),
    }


def module_path() -> list[str]:
    """Where a worker finds modules: where we do, but never in the folder it happens to work in."""
    return [os.path.abspath(entry) for entry in sys.path if entry]


def request_of(
    tool: type[Tool],
    verb: str,
    options: Mapping[str, Any],
    fields: Fields,
    *,
    secrets: Mapping[str, str],
    timeout_seconds: float | None,
) -> bytes:
    """The request. Raises TypeError or ValueError when an option is no JSON value."""
    return dump(
        {
            "path": module_path(),
            "tool": reference(tool),
            "verb": verb,
            "options": plain(options),
            "fields": plain(fields),
            "secrets": dict(secrets),
            "timeout_seconds": timeout_seconds,
        }
    )


def result_problem(verb: str, result: object) -> str:
    """Why this cannot be the result of the verb; empty when it can."""
    wanted = RESULTS.get(verb, Done)
    taken = Done if verb in MAY_SAY_LESS else wanted
    if result is None and taken is Done:
        return ""
    if not isinstance(result, taken):
        got = "nothing" if result is None else type(result).__name__
        return f"{verb} must return {wanted.__name__}, not {got}"
    if isinstance(result, Created) and result.address and not host_of(result.address):
        return f"{verb} gave the address {result.address!r}, which is neither host:port nor a URL with a host"
    return ""


def host_of(address: str) -> str:
    """The host of an instance's address, ``host:port`` or a URL; empty where it is neither, or names none."""
    try:
        url = urlsplit(address if "://" in address else f"tcp://{address}")
        port = url.port
    except ValueError:
        return ""
    asked = bool(port) and not url.path if "://" not in address else port != 0
    return (url.hostname or "") if asked and address.isprintable() and " " not in address else ""


assert all(issubclass(kind, get_args(Result)) for kind in RESULTS.values())
