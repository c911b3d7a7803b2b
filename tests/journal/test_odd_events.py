"""What another version or a hostile peer writes stops nobody: it is kept, and flagged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cxlocal.errors import UsageError
from cxlocal.events.document import Event
from cxlocal.journal.blobs import blob_path
from cxlocal.journal.file import Journal
from cxlocal.journal.read import all_events
from cxlocal.projection.apply import apply_facts
from cxlocal.projection.project import project, stamp

ODD = [
    "null", "NaN", "-Infinity", "1e999", "1.5", "true", "-1", "9" * 25, "9" * 5000,
    '""', '"x"', '"\\ud800"', '"\\u0000"', '"9999-12-31T23:59:59-23:59"',
    '"0001-01-01T00:00:00+23:59"', "[]", "[null]", "[[]]", "{}", '{"a": null}',
    "[" * 900 + "]" * 900, "[" * 20_000 + "]" * 20_000,
]  # fmt: skip
MARK = "here"


def with_each_part_marked(value: Any) -> Iterator[Any]:
    """The document as often as it has parts, each time with another one replaced by a mark."""
    yield MARK
    if isinstance(value, dict):
        for name, part in value.items():
            for marked in with_each_part_marked(part):
                yield {**value, name: marked}
    elif isinstance(value, list):
        for place, part in enumerate(value):
            for marked in with_each_part_marked(part):
                yield [*value[:place], marked, *value[place + 1 :]]


def test_no_part_of_an_event_can_be_so_odd_that_it_stops_the_tables(full: Journal) -> None:
    """Every part of one event of each type, replaced by everything JSON readers let through."""
    one_of_each: dict[str, Event] = {event.type: event for _, event in all_events(full)}
    assert len(one_of_each) > 20
    full.connection.execute("BEGIN")
    for event in one_of_each.values():
        for marked in with_each_part_marked(json.loads(event.document)):
            text = json.dumps(marked)
            for odd in ODD:
                document = text.replace(f'"{MARK}"', odd)
                changed = event._replace(document=document, sequence=9999)
                apply_facts(full.connection, project(changed), stamp(changed))
    full.connection.execute("ROLLBACK")


@pytest.mark.parametrize("odd", ["NaN", "null", "[1]", '{"a": 1}', "1.5"])
def test_an_event_that_names_nothing_is_flagged(full: Journal, odd: str) -> None:
    event = next(event for _, event in all_events(full) if "version.used" in event.type)
    document = json.loads(event.document)
    document["customData"]["cxlocal"]["line"] = MARK
    text = json.dumps(document).replace(f'"{MARK}"', odd)
    facts = project(event._replace(document=text))
    assert [(fact.table, fact.values["kind"]) for fact in facts] == [("flag", "unreadable-event")]


@pytest.mark.parametrize("odd", ["../victim.txt", "/etc/hostname", "", "A" * 64, "a" * 63])
def test_p15_no_event_names_a_file_of_this_machine(full: Journal, odd: str) -> None:
    """Digests become names of files: `prune` removes them, a bundle with reports carries them."""
    changed = 0
    for event in {event.type: event for _, event in all_events(full)}.values():
        document = json.loads(event.document)
        for place in list(digests(document)):
            odd_one = json.loads(event.document)
            put(odd_one, place, odd)
            facts = project(event._replace(document=json.dumps(odd_one)))
            assert [fact.values.get("kind") for fact in facts] == ["unreadable-event"], place
            changed += 1
    assert changed >= 4
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        blob_path(full.home, odd)


def digests(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a document names bytes: artifacts, reports, logs."""
    if isinstance(value, dict):
        for name, part in value.items():
            inside = (*place, name)
            named = name == "sha256" or place[-1:] == ("digests",)
            if named and isinstance(part, str) and inside[0] == "customData":
                yield inside
            yield from digests(part, inside)


def put(document: Any, place: tuple[Any, ...], value: Any) -> None:
    for name in place[:-1]:
        document = document[name]
    document[place[-1]] = value
