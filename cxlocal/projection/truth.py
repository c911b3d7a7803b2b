"""What an event may not say, whoever wrote it and whatever came before it. Pure.

Nothing is believed that the event itself shows to be wrong: an id that belongs to another
deliverable, a text beside a digest that is not its own, a version that its line and number do not
make, a name that could be read as something else. Honest journals write none of this; whatever is
asked to take such an event refuses it, and where it is there already it states nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import Any

from cxlocal.events import types
from cxlocal.events.belonging import RUN, is_foreign, mark_of_others
from cxlocal.events.document import Event
from cxlocal.projection.facts import Fact, Said, as_json

UNTRUE = "untrue-event"
"""Kind of the flag of such an event."""

VERSION = r"[0-9A-Za-z][0-9A-Za-z._+!~-]{0,199}"
"""What the text of a version may be: it stands in commands, tags and names of files."""

_OUR_SCHEMES = frozenset({"semver", "pep440", "calver", "counter"})
_POINTS_TO = (
    "run", "stage_run", "version_run", "final_of", "created_by_run", "deployment",
)  # fmt: skip
"""Columns that hold ids of rows which belong to one deliverable."""
_VERSIONS = ("version", "text", "changes_since", "fixes")
_NAMES = frozenset({
    "artifact", "deployment", "deployment_attempt", "incident", "promotion", "publication", "run", "version",
})  # fmt: skip
"""Tables whose versions are texts of ours; elsewhere they are those of tools and plugins."""


_OF_RESOURCES = frozenset({"resource", "deployment_resource"})
"""Tables whose key ends with the id of a resource: tools label with it, and make paths of it."""


class Untrue(Exception):
    """An event says what cannot be so."""


_PLAIN = frozenset({
    types.TASK_STARTED, types.TASK_FINISHED, types.SUITE_STARTED, types.SUITE_FINISHED, types.RUN_FLAGGED,
})  # fmt: skip
"""Types that state no version, number or plan, and no id put together of several texts."""


def is_plainly_true(event: Event) -> bool:
    """Whether a glance at the text tells that nothing in it is untrue: most that machines bring are of a
    few types and hold no marks but those of their own deliverable. False: it takes a closer look."""
    text, name = event.document, event.deliverable
    if event.type not in _PLAIN or name is None or ("\\" in text and "\\u" in text):
        return False
    return mark_of_others(name).search(text) is None and _may_speak_of(event.run, name)


@lru_cache(maxsize=1024)
def _may_speak_of(run: str | None, deliverable: str) -> bool:
    return run is None or (re.fullmatch(RUN, run) is not None and not is_foreign(run, deliverable))


def check_event(event: Event) -> None:
    """What can be told without reading its document. Raises Untrue."""
    if event.run is None:
        return
    if not re.fullmatch(RUN, event.run):
        raise Untrue(f"{event.run[:80]!r} cannot be the id of a run")
    # A flag may be about a run and belong to nobody.
    if event.deliverable is not None or event.type in types.KNOWN - types.WITHOUT_DELIVERABLE:
        _check_id(event.run, event.deliverable)


def check_facts(said: Said, facts: Iterable[Fact]) -> None:
    """What it states about rows. Raises Untrue."""
    deliverable = said.event.deliverable
    for table, key, _, values in facts:
        for part in key:
            if isinstance(part, str):
                _check_id(part, deliverable)
        if table in _OF_RESOURCES and not re.fullmatch(RUN, str(key[-1])):
            raise Untrue(f"{str(key[-1])[:80]!r} cannot be the id of a resource")
        if table == "flag":
            continue
        for name in _POINTS_TO:
            value = values.get(name)
            if isinstance(value, str):
                _check_id(value, deliverable)
        if table in _NAMES:
            _check_versions(values)
    if said.event.type == types.VERSION_USED:
        _check_number(said.custom)


def check_plan(digest: Any, text: str) -> None:
    """A plan is known by its digest: whoever has one has the other. Raises Untrue."""
    if sha256(text.encode(errors="surrogatepass")).hexdigest() != digest:
        raise Untrue("the plan in it is not the one of its digest")


def plan_text(plan: Any) -> str:
    """A plan as it is kept."""
    return plan if isinstance(plan, str) else as_json(plan)


def _check_id(name: str, deliverable: str | None) -> None:
    if is_foreign(name, deliverable):
        whose = "of no deliverable" if deliverable is None else f"of {deliverable!r}"
        raise Untrue(
            f"an event {whose} speaks of {name[:36]}, which belongs to another deliverable"
        )


def _check_versions(values: dict[str, Any]) -> None:
    for name in _VERSIONS:
        value = values.get(name)
        if isinstance(value, str) and value and not re.fullmatch(VERSION, value):
            raise Untrue(f"{value[:80]!r} cannot be a version")


def _check_number(custom: dict[str, Any]) -> None:
    """The text follows from line and number; schemes of plugins make theirs as they like."""
    line, number, text = custom["line"], custom["number"], custom.get("text")
    if number is None or text is None or custom.get("scheme") not in _OUR_SCHEMES:
        return
    if text not in (f"{line}.{number}", f"{line}{number}"):
        raise Untrue(f"{str(text)[:80]!r} is not number {number} of line {str(line)[:80]!r}")
