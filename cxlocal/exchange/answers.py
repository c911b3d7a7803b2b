"""What a store answers, read in one place. Pure.

``read_answer`` turns the whole message into tuples of known types, or raises BadMessage: behind it
nobody meets a part that is missing or of the wrong kind. Whether what is said is *true* (hashes,
order, whose numbers) is looked at where it is used. Fields that are not known are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from cxlocal.events.document import Event
from cxlocal.events.validity import is_keepable
from cxlocal.exchange.messages import (
    BadMessage,
    entry_in,
    event_in,
    hash_of_text,
    text_of,
    whole_of,
)
from cxlocal.exchange.standing import Standing, read_standing
from cxlocal.numbers.log import Entry
from cxlocal.text import is_hexadecimal
from cxlocal.values import NamedTuple


class Refusal(NamedTuple):
    """What is refused, why, and what resolves it."""

    name: str
    cause: str
    fix: str
    data: Mapping[str, Any]


class Stop(NamedTuple):
    """Why a store hands out no numbers."""

    deliverable: str
    """Empty: of no deliverable."""
    cause: str
    why: str


class Held(NamedTuple):
    """How far a store has a chain."""

    node: str
    sequence: int
    hash: str
    appended: int = 0
    """Events of the batch it did not have before."""
    gap: bool = False


class Granted(NamedTuple):
    """The answer to a wish: an entry, a refusal, or neither where nothing is due."""

    nonce: str
    deliverable: str = ""
    line: str = ""
    entry: Entry | None = None
    refusal: Refusal | None = None


class Item(NamedTuple):
    """One position of the feed."""

    position: int
    hash: str
    event: Event | None = None
    grant: tuple[str, str, Entry] | None = None
    """Deliverable, line and entry."""
    brought: tuple[str, int] | None = None
    """Node and sequence of an event that is left out because we brought it."""


class Pulled(NamedTuple):
    """The feed after our cursor."""

    items: tuple[Item, ...] = ()
    void: bool = False
    """The cursor is not of this feed."""
    more: bool = False


class Answer(NamedTuple):
    """What a store answers to a message it does not refuse."""

    lineage: str
    generation: int
    stopped: tuple[Stop, ...]
    ack: Held
    push: tuple[Held, ...]
    grant: tuple[Granted, ...]
    pull: Pulled
    retired: tuple[tuple[str, str, int], ...] | None = None
    """Deliverable, line and highest number of a store that stopped because we asked it to."""
    adopted: bool | None = None
    """Whether what was to be adopted was new to the store."""
    standing: Standing | None = None
    """Who we are there and what we may do; None where that is everything."""


ABOUT_THE_REQUEST = frozenset({
    "bad-chain", "bad-hash", "copy", "counted-already", "grants-elsewhere", "grants-stopped", "ignores-conditions",
    "line-used-up", "no-such-blob", "not-allowed", "not-alone", "not-signed-in", "run-has-number",
    "starts-too-low", "store-left", "store-moved", "untrue-event", "wrong-code", "wrong-lineage",
})  # fmt: skip
"""Names of refusals that say something about who asks and what for: they hold. With any other (another
protocol, a message it cannot read, a name that nobody here knows, the word of somebody on the way) the
store says only that it cannot serve us now, and we go on as if it were away."""


def read_answer(message: Mapping[str, Any]) -> Answer | Refusal:
    """The answer in a decoded message. Raises BadMessage."""
    try:
        if message.get("refusal") is not None:
            return _refusal(message["refusal"])
        store = _object(message["store"])
        return Answer(
            lineage=_named(store["lineage"]),
            generation=_counted(store["generation"], least=1),
            stopped=_each(_stop, store.get("stopped")),
            ack=_held(message["ack"]),
            push=_each(_held, message["push"]),
            grant=_each(_granted, message["grant"]),
            pull=_pulled(message.get("pull")),
            retired=None if message.get("retired") is None else _each(_line, message["retired"]),
            adopted=None if message.get("adopted") is None else _said(message["adopted"]),
            standing=read_standing(message.get("rights")),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BadMessage("the answer cannot be read", why=repr(error)[:300]) from error


class Looked(NamedTuple):
    """What a store answers to somebody who only looks."""

    lineage: str
    generation: int
    pull: Pulled


def read_look(message: Mapping[str, Any]) -> Looked | Refusal:
    """The answer to a look. Raises BadMessage."""
    try:
        if message.get("refusal") is not None:
            return _refusal(message["refusal"])
        store = _object(message["store"])
        return Looked(
            _named(store["lineage"]),
            _counted(store["generation"], least=1),
            _pulled(message["pull"]),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BadMessage("the answer cannot be read", why=repr(error)[:300]) from error


_Read = TypeVar("_Read")


def _each(read: Callable[[Any], _Read], values: Any) -> tuple[_Read, ...]:
    if values is not None and not isinstance(values, list):
        raise TypeError(f"{type(values).__name__} is not a list")
    return tuple(read(value) for value in values or ())


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} is not an object")
    return value


def _counted(value: Any, least: int = 0) -> int:
    if whole_of(value) < least:
        raise ValueError(f"{value} is below {least}")
    return int(value)


def _named(value: Any) -> str:
    if not text_of(value):
        raise ValueError("a name is empty")
    return str(value)


def _said(value: Any) -> bool:
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"{type(value).__name__} is neither true nor false")
    return bool(value)


def _refusal(value: Any) -> Refusal:
    told = _object(value)
    return Refusal(
        _named(told.get("name", "refused")),
        text_of(told.get("cause", "the store gave no reason")),
        text_of(told.get("fix", "")),
        _object(told.get("data") or {}),
    )


def _stop(value: Any) -> Stop:
    told = _object(value)
    return Stop(*(text_of(told.get(name, "")) for name in Stop._fields))


def _held(value: Any) -> Held:
    told = _object(value)
    return Held(
        _named(told["node"]),
        _counted(told["sequence"]),
        hash_of_text(told["hash"]),
        _counted(told.get("appended", 0)),
        _said(told.get("gap")),
    )


def _line(value: Any) -> tuple[str, str, int]:
    deliverable, line, number = value
    return _named(deliverable), text_of(line), whole_of(number)


def _granted(value: Any) -> Granted:
    told = _object(value)
    nonce, refused, entry = _named(told["nonce"]), told.get("refusal"), told.get("entry")
    if refused is not None:
        return Granted(nonce, refusal=_refusal(refused))
    return Granted(nonce, *entry_in(entry)) if entry is not None else Granted(nonce)


def _pulled(value: Any) -> Pulled:
    told = _object({} if value is None else value)
    items = _own_items(told.get("items")) or _each(_item, told.get("items"))
    return Pulled(items, _said(told.get("void")), _said(told.get("more")))


class _Brought(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """An item that tells of an event which the asker brought."""

    position: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    hash: str
    brought: tuple[str, Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]]


_OWN_ITEMS = list[_Brought]


def _own_items(values: Any) -> tuple[Item, ...]:
    """What ``_item`` makes of each, where all are what a machine hears after it brought its own; else
    none: they are then read one by one."""
    try:
        told = msgspec.convert(values, _OWN_ITEMS)
    except (msgspec.ValidationError, ValueError):
        return ()
    named = {one.brought[0] for one in told}
    if not all(map(_is_name, named)) or not all(is_hexadecimal(one.hash, 64) for one in told):
        return ()
    return tuple(Item(one.position, one.hash, None, None, one.brought) for one in told)


def _is_name(text: str) -> bool:
    return bool(text) and is_keepable(text)


def _item(value: Any) -> Item:
    told = _object(value)
    position = _counted(told["position"], least=1)
    if "event" in told:
        event = event_in(told["event"])
        # Which of several at one place the store had first: its own numbering, from 0.
        event = event._replace(branch=_counted(told["event"].get("branch", 0)))
        return Item(position, event.hash.hex(), event=event)
    if "grant" in told:
        grant = entry_in(told["grant"])
        return Item(position, hash_of_text(grant[2].hash), grant=grant)
    brought = None
    if "brought" in told:
        node, sequence = told["brought"]
        brought = (_named(node), _counted(sequence, least=1))
    return Item(position, hash_of_text(told["hash"]), brought=brought)
