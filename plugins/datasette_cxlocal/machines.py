"""The page Machines: how fresh this is, whether a release would work now, and what lies here to deploy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from datasette_cxlocal.kept_files import is_here
from datasette_cxlocal.parts import Part, Place
from datasette_cxlocal.sections import Cell, Section, led
from datasette_cxlocal.words import State, brief, listed, moment, shown, state_text

HERE = State("is here", "✓", "good")
GONE = State("not here", "○", "wait")
NOTHING = State("nothing was made", "○", "none")


async def machines_page(place: Place, what: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """What ``cxlocal_sections.html`` shows of it."""
    machines = await place.ask("machines")
    if place.of_store:
        return _of_store(place, machines)
    ready = await place.ask("readiness")
    reserves = await place.ask("reserves")
    reach = await place.ask("within-reach")
    path = place.datasette.get_database(place.database).path
    return {
        "title": "Machines",
        "sentences": [one for one in (ready_sentence(ready), unsent_sentence(machines)) if one],
        "sections": [
            Section(
                "Could a release be made here now, without the store?", ready,
                ("Product", "Answer", "In the way", "Asked"), [_ready(place, row) for row in ready.rows],
                Markup("Nobody has asked on this machine yet; <code>cxlocal doctor</code> does."), "Whether a release would work",
                Markup("<code>cxlocal doctor</code> tries all that is needed; this is what it found last, not"
                       " what holds at this moment."),
            ),
            Section(
                "Numbers kept for an outage", reserves, ("Product", "Line", "Left", "Wanted", "Next and last", "State"),
                [_reserve(row) for row in reserves.rows],
                "None are kept here: without the store no number can be taken on this machine.",
                "Which numbers are kept",
            ),
            Section(
                "What can be deployed or rolled back to from here", reach,
                ("Version", "Product", "Environment", "It is", "Its files"),
                [_reach(place, row, path) for row in reach.rows],
                "Nothing is live yet.", "What can be deployed from here",
                Markup("Files that are not here come with <code>cxlocal prepare</code>, while there is a network."),
            ),
            _machines(place, machines),
        ],
        "live": False,
    }  # fmt: skip


def _of_store(place: Place, machines: Part) -> dict[str, Any]:
    """Numbers kept, files and readiness are of one machine, and the store has none."""
    return {
        "title": "Machines", "sentences": [], "sections": [_machines(place, machines)], "live": False
    }  # fmt: skip


def _machines(place: Place, machines: Part) -> Section:
    return Section(
        "Machines",
        machines,
        ("Machine", "Heard of", "Events", "Not at the store yet", "Began", "System"),
        [_machine(place, row) for row in machines.rows],
        "Nothing was written here yet.",
        "Which machines there are",
        "What another machine did since it was heard of last is not known here; it comes with the next"
        " contact of both with the store.",
    )


def ready_sentence(part: Part) -> str:
    """Whether a release without the store would work. Pure."""
    if part.late:
        return ""
    if not part.rows:
        return "Whether a release would work without the store was never asked on this machine."
    not_ready = [brief(row["title"], 40) for row in part.rows if not row["ready"]]
    if not not_ready:
        return "A release would work without the store, as far as was found last."
    return f"A release without the store would not work for {listed(not_ready[:3])}, as was found last."


def unsent_sentence(part: Part) -> str:
    """How much of our own history the store lacks. Pure."""
    own = [row["not_at_store"] for row in part.rows if row["not_at_store"] is not None]
    if part.late or not own:
        return ""
    missing = sum(own)
    if not missing:
        return "The store has all that was written here."
    return f"{missing} event{'' if missing == 1 else 's'} of this machine {'is' if missing == 1 else 'are'} not at the store yet."  # fmt: skip


def _reasons(text: object) -> Sequence[object]:
    try:
        found = json.loads(str(text or "[]"))
    except (ValueError, RecursionError):
        return ()
    return found if isinstance(found, list) else ()


def _ready(place: Place, row: Mapping[str, Any]) -> tuple[Cell, ...]:
    state = State("yes", "✓", "good") if row["ready"] else State("no", "✗", "bad")
    why = [brief(one, 200) for one in _reasons(row["because"])]
    return (
        led(place.page("product", deliverable=row["deliverable"]), shown(row["title"])), state_text(state),
        "; ".join(why) or "nothing", moment(row["at"], place.now_ms),
    )  # fmt: skip


def _reserve(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    left = row["numbers_left"]
    state = State("ready", "✓", "good") if left > 0 else State("used up", "✗", "bad")
    if row["locked"]:
        state = State("not to be used: the journal looks moved or copied", "⚠", "bad")
    return (
        shown(row["title"]), shown(row["line"], 40), str(left), "" if row["wanted"] is None else str(row["wanted"]),
        f"{row['first']} to {row['last']}" if left > 0 else "", state_text(state),
    )  # fmt: skip


def _reach(place: Place, row: Mapping[str, Any], path: str | None) -> tuple[Cell, ...]:
    digests = [one for one in _reasons(row["digests"]) if isinstance(one, str)]
    here = sum(is_here(path, one) for one in digests)
    state = NOTHING if not digests else HERE if here == len(digests) else GONE
    words = (
        state.word if len(digests) < 2 or state is HERE else f"{here} of {len(digests)} are here"
    )
    environment = Markup("{}, {}").format(
        shown(row["environment_title"]), shown(row["service"], 40)
    )
    return (
        led(place.run(row["run"]), shown(row["version"] or "no version", 40)), shown(row["title"]), environment,
        "live" if row["what"] == "live" else "what was there before", state_text(state._replace(word=words)),
    )  # fmt: skip


def _machine(place: Place, row: Mapping[str, Any]) -> tuple[Cell, ...]:
    name = Markup("{}{}").format(shown(row["machine"], 60), " (this one)" if row["here"] else "")
    if row["kept"] == 0:
        name = Markup("{} (a CI job, gone)").format(name)
    waits = row["not_at_store"]
    return (
        name, moment(row["heard_at"], place.now_ms), str(row["events"]),
        "" if waits is None else "none" if not waits else str(waits),
        moment(row["began_at"], place.now_ms) if row["began_at"] else "not known", shown(row["platform"], 40),
    )  # fmt: skip
