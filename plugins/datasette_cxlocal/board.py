"""The Board: what is live in each environment of each product, and what needs a look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup

from cxlocal.projection.page_questions import BOARD_PRODUCTS
from cxlocal.values import NamedTuple
from datasette_cxlocal.home import COUNTED, attention
from datasette_cxlocal.journals import rows_of
from datasette_cxlocal.lately import lately
from datasette_cxlocal.parts import Part, Place
from datasette_cxlocal.words import (
    ABSOLUTE,
    age,
    brief,
    listed,
    local,
    moment,
    person,
    shown,
    state_mark,
)

ROWS_MAX = 400
"""Of services in all environments of the products on one page."""
FAILED_ROWS = 5
NAMED_MAX = 3
"""Products that the first sentence names."""
COLUMNS_MAX = 8
"""More environments than this are a list to read, not a grid to look at."""
LAST_SQL = "SELECT happened_at AS last FROM event_log WHERE id = (SELECT max(id) FROM event)"


class Column(NamedTuple):
    """An environment, in the order of the plans."""

    environment: str
    title: str


def columns_of(rows: Iterable[Mapping[str, Any]]) -> list[Column]:
    """The environments of all products: nearer to people later, by the earliest place that a plan gives
    them; those without a place last. Pure."""
    places: dict[str, tuple[bool, int, str]] = {}
    for row in rows:
        name, position = str(row["environment"]), row["position"]
        place = (position is None, position or 0, brief(row["environment_title"] or name, 40))
        places[name] = min(place, places.get(name, place))
    return [Column(name, places[name][2]) for name in sorted(places, key=lambda one: (*places[one], one))]  # fmt: skip


def verdict(products: int, look: int, names: list[str], noted: bool = False) -> str:
    """The first sentence; ``names`` are some of those that need a look, and below it something else may be
    ``noted``. Pure."""
    if not products:
        return "Nothing is live yet."
    all_of = "1 product" if products == 1 else f"{products} products"
    if not look:
        return f"{'' if noted else 'All is well: '}{all_of}, nothing needs a look."
    return f"{look} of {all_of} need{'s' if look == 1 else ''} a look: {listed([*names, f'{look - len(names)} more'] if look > len(names) else names)}."


async def board_page(place: Place, asked: Mapping[str, str]) -> dict[str, Any]:
    """What ``cxlocal_board.html`` shows."""
    part = asked.get("part", "")
    part = part if part.isdecimal() and len(part) < 5 else ""
    search = asked.get("search", "")
    board = await place.ask("board", {"search": search, "part": part}, ROWS_MAX)
    waiting = await place.ask("waiting")
    running = await place.ask("open-runs", rows=10)
    last = await rows_of(place.datasette, place.database, LAST_SQL)
    products, look = board.first.get("products", 0), board.first.get("to_look_at", 0)
    columns = columns_of(board.rows)
    noted = [
        said
        for one in COUNTED
        if (said := await attention(place.datasette, place.database, *one, place.only))
    ]
    cells = [_cell(place, row) for row in board.rows]
    shown_products = int(part or 1) * BOARD_PRODUCTS
    return {
        "title": "Release board",
        "sentence": verdict(products, look, _named(board), bool(noted))
        if not search or products
        else "",
        "search": search,
        "board": board,
        "columns": columns if len(columns) <= COLUMNS_MAX else [],
        "products": _products(place, board, cells, waiting, columns),
        "list": [_line(row, cell) for row, cell in zip(board.rows, cells, strict=True)],
        "waiting": waiting,
        "running": running,
        "running_now": [_running(place, row) for row in running.rows],
        **({} if search or part else await _lately(place, last)),
        "attention": noted,
        "next": place.page("board", search=search, part=int(part or 1) + 1)
        if products > shown_products
        else "",
        "last": moment(last[0]["last"], place.now_ms) if last else None,
        "empty": last == [],
        "begin": last == [] and not place.of_store and place.files is None,
        "live": any(row["heard_of"] for row in running.rows),
    }


async def _lately(place: Place, last: list[dict[str, Any]] | None) -> dict[str, Any]:
    """What stands below the products on the first page: what failed last, and the last weeks."""
    failed = await place.ask("failed-runs", rows=FAILED_ROWS)
    newest = local(last[0]["last"]) if last else None
    days, weeks = await lately(place, newest.date()) if newest else (None, [])
    lines = [_failed(place, row) for row in failed.rows]
    return {"failed": failed, "failed_last": lines, "days": days, "weeks": weeks}


def _named(board: Part) -> list[str]:
    names = dict.fromkeys(brief(row["title"], 40) for row in board.rows if row["look"])
    return list(names)[:NAMED_MAX]


def _products(
    place: Place,
    board: Part,
    live: list[dict[str, Any]],
    waiting: Part,
    columns: list[Column],
) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row, cell in zip(board.rows, live, strict=True):
        product = found.setdefault(
            row["deliverable"],
            {"title": shown(row["title"]), "address": place.page("product", deliverable=row["deliverable"]),
             "figures": place.page("figures", deliverable=row["deliverable"]),
             "cells": {column.environment: [] for column in columns}},
        )  # fmt: skip
        product["cells"][row["environment"]].append(cell)
    for row in waiting.rows:
        cells = found.get(row["deliverable"], {"cells": {}})["cells"]
        cells.setdefault(row["environment"], []).append(_wait(place, row))
    for product in found.values():
        product["cells"] = [
            (column.title, product["cells"][column.environment],
             sum("waits" not in cell for cell in product["cells"][column.environment]) > 1)
            for column in columns
        ]  # fmt: skip
    return list(found.values())


def _cell(place: Place, row: Mapping[str, Any]) -> dict[str, Any]:
    by = listed([one for one in (person(row["actor"]),) if one])
    approved = listed([person(one) for one in str(row["approved_by"] or "").split("\n") if one])
    behind = row["behind"]
    usual = row["state"] in ("in use, confirmed", "no number")
    return {
        "version": shown(row["version"] or "", 24),
        "address": place.run(row["run"]),
        "state": "" if usual else state_mark(row["state"]),
        "bad": brief(row["after_it"], 160),
        "failed": place.run(row["failed_run"]),
        "changed": place.page("difference", newer=row["run"], older=row["run_before"])
        if row["run_before"]
        else "",
        "since": moment(row["since"], place.now_ms),
        "by": by + (f", approved by {approved}" if approved else ""),
        "behind": f"{behind} newer release{'' if behind == 1 else 's'}" if behind else "",
        "service": brief(row["service"], 40),
    }


def _wait(place: Place, row: Mapping[str, Any]) -> dict[str, Any]:
    waited = age(row["since"], place.now_ms)
    for_what = brief(row["waits_for"] or "somebody to say go", 120)
    return {
        "waits": Markup('<a href="{}">{}</a> waits here for: {}{}').format(
            place.run(row["run"]),
            brief(row["version"], 40),
            for_what,
            f", {waited}" if waited else "",
        )
    }


def _line(row: Mapping[str, Any], cell: dict[str, Any]) -> dict[str, Any]:
    return {
        **cell,
        "title": shown(row["title"]),
        "environment": shown(row["environment_title"]),
        "state": state_mark(row["state"]),
    }


def _failed(place: Place, row: Mapping[str, Any]) -> Markup:
    words = f"{brief(row['title'])} {brief(row['version'], 40)}".strip()
    why = brief(row["outcome_reason"] or row["stage"], 160)
    return Markup('{} <a href="{}"><bdi>{}</bdi></a>, {}{}').format(
        state_mark(row["outcome"]), place.run(row["run"]), words,
        moment(row["queued_at"], place.now_ms), Markup(": <bdi>{}</bdi>").format(why) if why else "",
    )  # fmt: skip


def _running(place: Place, row: Mapping[str, Any]) -> Markup:
    words = f"{brief(row['title'])} {brief(row['version'], 40)}".strip()
    silent = "" if row["heard_of"] else "; not heard of for an hour or more"
    if ABSOLUTE.get():
        silent = "; had not ended when this was written"
    return Markup('<a href="{}">{}</a> since {} by {}{}').format(
        place.run(row["run"]), words, moment(row["queued_at"], place.now_ms), person(row["actor"]),
        silent,
    )  # fmt: skip
