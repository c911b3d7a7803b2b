"""Statements about rows, and the event they are taken from."""

from __future__ import annotations

import json
from typing import Any

from cxlocal.events.document import Event
from cxlocal.text import is_hexadecimal
from cxlocal.values import NamedTuple


class Fact(NamedTuple):
    """A statement about one row: the columns of one group, or nothing but that the row exists."""

    table: str
    key: tuple[Any, ...]
    group: str
    values: dict[str, Any]


class Said(NamedTuple):
    """An event taken apart once for all handlers."""

    event: Event
    subject: str
    content: dict[str, Any]
    custom: dict[str, Any]
    id: str
    at: str
    received_at: str

    @property
    def run(self) -> str:
        return self.event.run or ""


def replaces(said: Said, deployment: str) -> list[Fact]:
    """What ``deployment`` (or another event) put an end to, as the event lists it."""
    values = {"since": said.at, "received_at": said.received_at}
    return [
        Fact("deployment_replaces", (deployment, replaced), "stated", values)
        for replaced in said.custom.get("replaces") or []
        if replaced != deployment
    ]


def run_stub(said: Said) -> Fact:
    """A reference to a run not yet seen makes its row, so that joins never lose anything."""
    return Fact("run", (said.run,), "", {})


def digest_of(value: Any) -> str | None:
    """A SHA-256, or nothing. Raises ValueError: what stands here names files of this machine."""
    if value is not None and not (isinstance(value, str) and is_hexadecimal(value, 64)):
        raise ValueError(f"{str(value)[:80]!r} is not a SHA-256")
    return value


def as_json(value: Any) -> str:
    """The same text for the same value."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
