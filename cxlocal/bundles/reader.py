"""Reading a bundle before anything of it is believed: every check that needs no journal.

The file is read twice. The first time nothing is kept but a summary, so that a bundle that is torn,
changed or malformed anywhere leaves no trace. The second time the same checks run again while its
parts are taken in.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxlocal.bundles.form import MESSAGE, PIECE_BYTES_MAX, Frame, damaged, read_frames
from cxlocal.bundles.writer import JOURNAL, RECEIPT
from cxlocal.errors import Trouble
from cxlocal.events.document import Event, hash_of
from cxlocal.exchange.carried import Question
from cxlocal.exchange.messages import (
    BATCH_EVENTS_MAX,
    BLOB_BYTES_MAX,
    PROTOCOL,
    BadMessage,
    event_in,
    text_of,
    whole_of,
)
from cxlocal.exchange.token import token_in
from cxlocal.files import open_plain
from cxlocal.text import is_hexadecimal
from cxlocal.values import NamedTuple


class Header(NamedTuple):
    """Whose bundle it is."""

    kind: str
    """``journal`` or ``receipt``."""
    node: str
    lineage: str
    """The store it belongs to; empty where its machine was never in contact with one."""
    generation: int
    written_at: str


CHAINS_MAX = 100_000
"""Machines in a bundle, and batches of its reader's own: some hundred bytes of memory each."""


class Contents(NamedTuple):
    """What a bundle holds, checked as far as it can be without a journal."""

    header: Header
    firsts: tuple[Event, ...]
    """The first event of each node, without its document."""
    own_lasts: tuple[Event, ...]
    """The last event of each batch of the node that was asked about, without its document."""
    events: int


class Blob(NamedTuple):
    """A file in a bundle; its pieces follow."""

    sha256: str
    size: int
    pieces: int


def look(path: Path, own: str) -> Contents:
    """Read the whole file and check it. ``own`` is the node id of the journal that will take it.

    Raises UsageError and Trouble as ``bundle.read_frames``; Trouble where it cannot be read.
    """
    firsts: dict[str, Event] = {}
    own_lasts: list[Event] = []
    header, count = None, 0
    for frame in frames_of(path):
        if header is None:
            header = header_of(frame, path)
            continue
        for event in events_of(frame, path):
            # Where it stands, not what it says: a bundle may hold millions of long ones.
            last = event._replace(document="")
            firsts.setdefault(event.node, last)
            count += 1
        if frame.message.get("push") and last.node == own:
            own_lasts.append(last)
        if max(len(firsts), len(own_lasts)) > CHAINS_MAX:
            raise damaged(str(path), f"it holds more than {CHAINS_MAX} machines or batches")
    if header is None:
        raise damaged(str(path), "it says nothing about itself")
    return Contents(header, tuple(firsts.values()), tuple(own_lasts), count)


def frames_of(path: Path) -> Iterator[Frame]:
    """The frames of a file. Raises Trouble where it cannot be read."""
    try:
        with open_plain(path) as file:
            yield from read_frames(file, str(path))
    except OSError as problem:
        raise Trouble(
            f"{path} cannot be read",
            why=problem.strerror or str(problem),
            hint="name a bundle that 'cxlocal export --bundle' or '--receipt' wrote",
            name="bundle-unreadable",
        ) from problem


def lineage_of(path: Path) -> str:
    """The store that a bundle belongs to, as it says; empty for none. Raises as ``frames_of``."""
    for frame in frames_of(path):
        return header_of(frame, path).lineage
    raise damaged(str(path), "it says nothing about itself")


def header_of(frame: Frame, path: Path) -> Header:
    """The first message. Raises Trouble."""
    try:
        told = frame.message["bundle"]
        header = Header(
            text_of(told["kind"]), text_of(told["node"]), text_of(told["lineage"]),
            whole_of(told["generation"]), text_of(told["written_at"])[:40],
        )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise damaged(str(path), "it says nothing about itself") from error
    if header.kind not in (JOURNAL, RECEIPT):
        raise damaged(str(path), f"it is of the unknown kind {header.kind[:40]!r}")
    return header


def events_of(frame: Frame, path: Path) -> list[Event]:
    """The events of a frame; none where it holds something else. Raises Trouble."""
    batches = frame.message.get("push")
    if frame.kind != MESSAGE or batches is None:
        return []
    try:
        [batch] = batches
        events = [event_in(item) for item in batch["events"]]
        _check_batch(events)
    except BadMessage as error:
        raise damaged(
            str(path), f"{error.what}: {error.why}" if error.why else error.what
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(str(path), "a batch of events cannot be read") from error
    return events


def _check_batch(events: list[Event]) -> None:
    if not 1 <= len(events) <= BATCH_EVENTS_MAX:
        raise BadMessage("it holds a malformed batch", why=f"{len(events)} events")
    before = None
    for event in events:
        if before is not None and (event.node, event.sequence, event.previous) != (
            before.node,
            before.sequence + 1,
            before.hash,
        ):
            raise BadMessage(f"event {event.sequence} does not follow the one before it")
        if hash_of(event) != event.hash:
            raise BadMessage(f"event {event.sequence} was changed", why="its hash does not match")
        before = event


def question_of(frame: Frame, path: Path) -> Question | None:
    """What the machine asks of the store; None where the frame holds something else.

    Only a contact, wishes for reserves and a pull may be asked for in another's name: what else
    stands there is left out. Raises Trouble.
    """
    if "ask" not in frame.message:
        return None
    try:
        told = frame.message["ask"]
        request = told["request"]
        contact = request["contact"]
        node = text_of(told["node"])
        if text_of(contact["node"]) != node:
            raise BadMessage("it asks in another's name")
        token_in(contact["token"])
        token_in(contact["proposal"])
        text_of(contact["lineage"])
        cursor = request["pull"]["cursor"]
        asked: dict[str, Any] = {
            "protocol": PROTOCOL,
            "contact": contact,
            "push": [],
            "grant": [wish for wish in request["grant"] if wish["kind"] == "reserve"],
            "pull": {
                "cursor": {
                    "position": whole_of(cursor["position"]), "hash": text_of(cursor["hash"])
                },
                "limit": whole_of(request["pull"]["limit"]),
            },
        }  # fmt: skip
        if request["pull"].get("deliverables") is not None:
            asked["pull"]["deliverables"] = [
                text_of(each) for each in request["pull"]["deliverables"]
            ]
        return Question(text_of(told["id"])[:64], node, asked)
    except (KeyError, TypeError, BadMessage) as error:
        raise damaged(str(path), "what it asks of the store cannot be read") from error


def blob_of(frame: Frame, path: Path) -> Blob | None:
    """The head of a file in the bundle; None where the frame holds something else. Raises Trouble."""
    if "blob" not in frame.message:
        return None
    try:
        told = frame.message["blob"]
        blob = Blob(text_of(told["sha256"]), whole_of(told["size"]), whole_of(told["pieces"]))
    except (KeyError, TypeError) as error:
        raise damaged(str(path), "a file in it has no name") from error
    if (
        not is_hexadecimal(blob.sha256, 64)
        or blob.size > BLOB_BYTES_MAX
        or blob.pieces != -(-blob.size // PIECE_BYTES_MAX)
    ):
        raise damaged(str(path), "a file in it has a malformed name or is too long")
    return blob
