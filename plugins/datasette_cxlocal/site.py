"""The same pages as plain files, for a web server or a mail: relative links, absolute times, no request
to anybody, and equal bytes of an unchanged journal."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cxlocal.domain import path_part
from cxlocal.projection.page_questions import BOARD_PRODUCTS
from cxlocal.values import NamedTuple
from cxlocal.zones import zone_of
from datasette_cxlocal import journals
from datasette_cxlocal.board import ROWS_MAX
from datasette_cxlocal.diary import feed, utc_of_day
from datasette_cxlocal.parts import Place
from datasette_cxlocal.routes import PAGES, frame_of
from datasette_cxlocal.run_page import LATEST
from datasette_cxlocal.words import ABSOLUTE, ZONE, local, moment_text, today

LIMIT_MS = 60_000
"""For one part: nobody waits for the page, and a part that is left out would not be there the next time."""
INDEX = "index.html"
CSS = "pages.css"
FEEDS = ("diary.ics", "diary.atom")
_RUNS = """
SELECT id, deliverable, queued_at, (SELECT p.id FROM run p WHERE p.deliverable = r.deliverable
    AND p.queued_at < r.queued_at AND p.kind = 'release' AND p.version IS NOT NULL
  ORDER BY p.queued_at DESC LIMIT 1) AS release_before
FROM run r WHERE kind = 'release' AND queued_at >= :since AND :deliverable IN ('', deliverable)
ORDER BY queued_at DESC, id LIMIT :count
"""
_NOW = "SELECT received, strftime('%Y-%m-%dT%H:%M:%fZ', received / 1000.0, 'unixepoch') AS at FROM event ORDER BY id DESC LIMIT 1"  # fmt: skip
_FORM = re.compile(r"<form\b.*?</form>", re.DOTALL)
_NOWHERE = re.compile(r'<a\b[^>]*\bhref=""[^>]*>(.*?)</a>', re.DOTALL)


class Scope(NamedTuple):
    """What is written."""

    deliverable: str = ""
    """Of this one alone; empty for all."""
    since: str = ""
    """Releases that were asked for since then (UTC)."""
    releases: int = 200
    """Of the newest releases; -1 for all."""
    log_lines: bool = False
    zone: str = ""
    """Of times, days and months; empty for that of the machine."""


class _Site:
    """Which pages there are, and where they stand; what is kept beside the one that is being made."""

    def __init__(self, scope: Scope, runs: Sequence[Mapping[str, Any]], products: Sequence[str],
                 days: Sequence[date], boards: int) -> None:  # fmt: skip
        self.log_lines = scope.log_lines
        self.before = {row["id"]: row["release_before"] for row in runs}
        self.newest = runs[0]["id"] if runs else ""
        self.products, self.days, self.boards = products, list(days), boards
        self.here = ""
        self.beside: list[tuple[str, str, Sequence[Mapping[str, Any]]]] = []

    def file(self, name: str, what: str, given: Mapping[str, object]) -> str:
        """The file of a page; empty where it is not among those that are written."""
        asked = {key: str(value) for key, value in given.items() if value not in ("", None)}
        if name == "board":
            part = int(asked.get("part", "1"))
            return "" if part > self.boards else INDEX if part == 1 else f"board-{part}.html"
        if name in ("unusual", *FEEDS):
            return name if name in FEEDS else "unusual.html"
        if name in ("product", "figures"):
            product = asked.get("deliverable", "") or (self.products[0] if self.products else "")
            known = product in self.products and "until" not in asked
            return f"{name}/{path_part(product)}.html" if known else ""
        if name in ("diary", "then"):
            day = self._day(asked)
            return f"{name}/{day}.html" if day else ""
        if name == "difference":
            run = asked.get("newer", "")
            return f"difference/{path_part(run)}.html" if run and self.before.get(run) == asked.get("older") else ""  # fmt: skip
        if name in ("run", "way", "evidence"):
            run = self.newest if what == LATEST else what
            return f"{name}/{path_part(run)}.html" if run in self.before else ""
        return ""

    def _day(self, asked: Mapping[str, str]) -> date | None:
        if "month" in asked:
            return max((day for day in self.days if f"{day:%Y-%m}" == asked["month"]), default=None)
        if "day" in asked or "at" in asked:
            return next((day for day in self.days if f"{day}" == asked.get("day", asked.get("at"))), None)  # fmt: skip
        return max(self.days, default=None)

    def page(self, name: str, what: str, given: Mapping[str, object]) -> str:
        """As ``Files`` has it."""
        return self._from_here(self.file(name, what, given))

    def keep(
        self, name: str, title: str, rows: Sequence[Mapping[str, Any]]
    ) -> tuple[str, str, str]:
        """As ``Files`` has it."""
        called, number = name, 1
        while called in {one for one, _, _ in self.beside}:
            number += 1
            called = f"{name}-{number}"
        self.beside.append((called, title, rows))
        base = self.here.removesuffix(".html")
        return "", self._from_here(f"{base}.json"), self._from_here(f"{base}.{called}.csv")

    def _from_here(self, file: str) -> str:
        return quote("../" * self.here.count("/") + file) if file else ""

    def css(self) -> str:
        """The style sheet."""
        return self._from_here(CSS)


async def make_site(datasette: Any, scope: Scope) -> AsyncIterator[tuple[str, bytes]]:
    """The files of a site: name and content, each name once. Sets the zone and the limit of this process."""
    journals.PART_LIMIT_MS = LIMIT_MS
    ABSOLUTE.set(True)
    ZONE.set(zone_of(scope.zone))
    await datasette.invoke_startup()
    database = await journals.first_journal(datasette) or "journal"
    yield CSS, (Path(__file__).parent / "static" / "pages.css").read_bytes()
    newest = await journals.rows_of(datasette, database, _NOW) or []
    place = Place(datasette, database, newest[0]["received"] if newest else 0, scope.deliverable)
    site = await _plan(place, scope)
    written = moment_text(newest[0]["at"]) if newest else ""
    for name in FEEDS:
        site.here = name
        text, _ = await feed(place._replace(files=site), name.rpartition(".")[2], since=scope.since)
        yield name, text.encode()
    for name, what, given in _addresses(site):
        site.here, site.beside = site.file(name, what, given), []
        page = PAGES[name]
        there = place._replace(files=site)
        context = await page.make(there, what, {key: str(value) for key, value in given.items()})
        frame = {**frame_of(there, page), "css": site.css(), "tables": "", "written": written}
        frame["menu"] = [one for one in frame["menu"] if one[0]]
        text = await datasette.render_template(page.template, {**context, **frame})
        yield site.here, _NOWHERE.sub(r"\1", _FORM.sub("", text)).encode()
        for each in _rows_beside(site):
            yield each


async def _plan(place: Place, scope: Scope) -> _Site:
    """What there is to be written."""
    limits = {"since": scope.since, "deliverable": scope.deliverable, "count": scope.releases}
    runs = await journals.rows_of(place.datasette, place.database, _RUNS, limits) or []
    products = list(dict.fromkeys(str(row["deliverable"]) for row in runs))
    board = await place.ask("board", rows=ROWS_MAX)
    boards = max(1, -(-int(board.first.get("products", 0)) // BOARD_PRODUCTS))
    times = [at.date() for row in runs if (at := local(row["queued_at"]))]
    return _Site(scope, runs, products, await _busy_days(place, times), boards)


async def _busy_days(place: Place, times: Sequence[date]) -> list[date]:
    """The days on which something happened, from the first release that is written until the last thing."""
    if not times:
        return []
    first, last = min(times), today(place.now_ms) + timedelta(days=1)
    days = [first + timedelta(days=n) for n in range((last - first).days)]
    told = [(f"{one}", utc_of_day(one), utc_of_day(one + timedelta(days=1))) for one in days]
    part = await place.ask("diary-days", {"days": json.dumps(told)}, 10 * len(days))
    return [
        date.fromisoformat(one)
        for one in sorted({str(row["day"]) for row in part.rows if row["day"]})
    ]


def _addresses(site: _Site) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Every page: its name, what it is about, and what it is given."""
    for part in range(1, site.boards + 1):
        yield "board", "", {"part": part} if part > 1 else {}
    yield "unusual", "", {}
    for product in site.products:
        yield "product", "", {"deliverable": product}
        yield "figures", "", {"deliverable": product}
    for day in site.days:
        yield "diary", "", {"day": f"{day}"}
        yield "then", "", {"at": f"{day}"}
    for run, before in site.before.items():
        for name in ("run", "way", "evidence"):
            yield name, run, {}
        if before:
            yield "difference", "", {"newer": run, "older": before}


def _rows_beside(site: _Site) -> Iterator[tuple[str, bytes]]:
    base = site.here.removesuffix(".html")
    told = {name: {"title": title, "rows": rows} for name, title, rows in site.beside}
    yield f"{base}.json", (json.dumps(told, ensure_ascii=False, indent=1) + "\n").encode()
    for name, _, rows in site.beside:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(rows[0] if rows else [])
        writer.writerows(row.values() for row in rows)
        yield f"{base}.{name}.csv", text.getvalue().encode()
