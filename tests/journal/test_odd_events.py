"""What another version or a hostile peer writes stops nobody: it is kept, and flagged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cxlocal.events.document import Event
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
