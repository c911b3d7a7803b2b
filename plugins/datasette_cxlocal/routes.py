"""Addresses of our pages: who may see them, what is asked, how often they look again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import tzinfo
from typing import Any
from urllib.parse import unquote

from datasette.database import QueryInterrupted
from datasette.utils import tilde_decode
from datasette.utils.asgi import Forbidden, NotFound, Response

from cxlocal.clock import SystemClock
from cxlocal.values import NamedTuple
from cxlocal.zones import zone_of
from datasette_cxlocal.board import board_page
from datasette_cxlocal.cells import size_text
from datasette_cxlocal.diary import NoTime, diary_page, feed
from datasette_cxlocal.difference import difference_page
from datasette_cxlocal.evidence import evidence_page
from datasette_cxlocal.figures import figures_page
from datasette_cxlocal.journals import first_journal, is_journal, may_view
from datasette_cxlocal.machines import machines_page
from datasette_cxlocal.parts import Place
from datasette_cxlocal.product import product_page
from datasette_cxlocal.run_page import LATEST, run_page
from datasette_cxlocal.then import then_page
from datasette_cxlocal.unusual import unusual_page
from datasette_cxlocal.way import way_page
from datasette_cxlocal.words import ZONE, plain, shown, state_mark, zone_text

REFRESH_SECONDS, REFRESH_IDLE_SECONDS = 5, 60
ZONE_COOKIE, ZONE_SECONDS = "cxlocal-zone", 365 * 24 * 3600
"""A zone that was asked for stays, in that browser."""
ARGUMENT_CHARACTERS_MAX = 300
HEADERS = {
    # Nothing but our style sheet: what a journal holds was written by others.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

LESS = (
    ("board", "What is live"), ("run/latest", "The newest run"), ("diary", "What went out on a day"),
)  # fmt: skip
"""Pages that ask for little, for somebody whose question was too much."""

Asked = Mapping[str, str]
Make = Callable[[Place, str, Asked], Awaitable[dict[str, Any]]]


class Page(NamedTuple):
    """One of our pages."""

    template: str
    make: Make
    view: str
    """Whoever may see this view may see the page."""
    title: str = ""
    """In the menu; empty for a page that is about something."""


async def _board(place: Place, what: str, asked: Asked) -> dict[str, Any]:
    return await board_page(place, asked)


async def _run(place: Place, what: str, asked: Asked) -> dict[str, Any]:
    return await run_page(place, what or asked.get("run", ""), asked.get("deliverable", ""))


PAGES = {
    "board": Page("cxlocal_board.html", _board, "release_board", "Board"),
    "diary": Page("cxlocal_diary.html", diary_page, "release_board", "Diary"),
    "product": Page("cxlocal_product.html", product_page, "release_board"),
    "then": Page("cxlocal_then.html", then_page, "release_board", "Then"),
    "unusual": Page("cxlocal_sections.html", unusual_page, "run_board", "Unusual"),
    "figures": Page("cxlocal_sections.html", figures_page, "run_board", "Figures"),
    "machines": Page("cxlocal_sections.html", machines_page, "run_board", "Machines"),
    "evidence": Page("cxlocal_sections.html", evidence_page, "run_board"),
    "run": Page("cxlocal_run.html", _run, "run_board"),
    "way": Page("cxlocal_way.html", way_page, "run_board"),
    "difference": Page("cxlocal_difference.html", difference_page, "run_board"),
}
"""By the last word of the address; more come with their modules."""


def routes() -> list[tuple[str, Any]]:
    """For the hook of the same name."""
    names = "|".join(PAGES)
    return [
        (rf"^/(?P<database>[^/.]+)/-/(?P<page>{names})(?:/(?P<what>[^/]+))?/?$", answer),
        (r"^/(?P<database>[^/.]+)/-/diary\.(?P<form>ics|atom)$", answer_feed),
    ]


async def _place(request: Any, datasette: Any, view: str) -> Place:
    """The journal of an address, for those who may see ``view`` of it. Raises NotFound, Forbidden."""
    database = tilde_decode(request.url_vars["database"])
    if not await is_journal(datasette, database):
        raise NotFound("There is no journal of this name.")
    if not await may_view(datasette, request.actor, database, view):
        raise Forbidden("You may not see this journal.")
    return Place(datasette, database, SystemClock().now_ms())


async def answer_feed(request: Any, datasette: Any) -> Any:
    """What happened, for calendars and readers."""
    place = await _place(request, datasette, PAGES["diary"].view)
    base = f"{request.scheme}://{request.host}"
    text, media = await feed(place, request.url_vars["form"], base)
    return Response(text, content_type=media, headers=HEADERS)


async def answer(request: Any, datasette: Any) -> Any:
    """One of our pages."""
    given = request.url_vars
    page = PAGES[given["page"]]
    try:
        place = await _place(request, datasette, page.view)
    except Forbidden:
        closed = await _lead_on(request, datasette, tilde_decode(given["database"]), 403)
        if closed is None:
            raise
        return closed
    asked = {
        name: (request.args.get(name) or "")[:ARGUMENT_CHARACTERS_MAX] for name in request.args
    }
    what = _decoded(given.get("what"))[:ARGUMENT_CHARACTERS_MAX]
    wanted = asked.get("zone")
    token = ZONE.set(
        _zone(datasette, request.cookies.get(ZONE_COOKIE, "") if wanted is None else wanted)
    )
    try:
        return await _answer_in_zone(request, place, page, what, asked)
    finally:
        ZONE.reset(token)


def _zone(datasette: Any, wanted: str) -> tzinfo | None:
    """The zone that is asked for, else that of the settings, else None for that of the machine."""
    usual = (datasette.plugin_config("cxlocal") or {}).get("zone", "")
    return zone_of(wanted) or zone_of(str(usual))


async def _answer_in_zone(request: Any, place: Place, page: Page, what: str, asked: Asked) -> Any:
    datasette = place.datasette
    template, status = page.template, 200
    try:
        context = await page.make(place, what, asked)
        status = 404 if context.get("missing") else 200
    except NoTime as problem:
        template, status = "cxlocal_sections.html", 400
        context = {"title": "No such time", "missing": str(problem), "live": False}
    wait = _refresh(context, what == LATEST or "wall" in asked, "hold" in asked)
    hold = (
        request.path + ("?" if not request.query_string else f"?{request.query_string}&") + "hold=1"
    )
    others = [(name, value) for name, value in asked.items() if name != "zone"]
    frame = {**frame_of(place, page), "refresh_seconds": wait, "hold": hold, "wall": "wall" in asked,
             "path": request.path, "others": others, "zone_name": _zone_name(),
             "no_zone": plain(asked["zone"]) if asked.get("zone") and not zone_of(asked["zone"]) else ""}  # fmt: skip
    text = await datasette.render_template(template, {**context, **frame}, request=request)
    refresh = {"Refresh": str(wait)} if wait else {}
    response = Response.html(text, status=status, headers={**HEADERS, **refresh})
    if "zone" in asked and (not asked["zone"] or zone_of(asked["zone"])):
        keep = ZONE_SECONDS if asked["zone"] else 0
        response.set_cookie(
            ZONE_COOKIE, asked["zone"], max_age=keep, path=datasette.setting("base_url"), httponly=True,
            samesite="lax",
        )  # fmt: skip
    return response


def _zone_name() -> str:
    """What stands in the field for a zone."""
    zone = ZONE.get()
    return "" if zone is None else str(getattr(zone, "key", "") or zone)


def frame_of(place: Place, page: Page | None) -> dict[str, Any]:
    """What every page of ours needs beside its own."""
    urls = place.datasette.urls
    return {
        "place": place, "database": place.database, "zone": zone_text(place.now_ms),
        "shown": shown, "state_mark": state_mark, "size_text": size_text,
        "menu": [(place.page(name), one.title, one is page) for name, one in PAGES.items() if one.title],
        "tables": str(urls.database(place.database)), "newest": place.page("run", LATEST),
        "css": urls.static_plugins("cxlocal", "pages.css"), "refresh_seconds": 0,
    }  # fmt: skip


NOT_HERE = {
    403: ("Not for you", "You may not see this page; whoever runs these pages says who may."),
    404: (
        "Nothing is here",
        "There is nothing at this address: it is mistyped, or what it was about is not in this journal.",
    ),
}


async def answer_problem(request: Any, datasette: Any, problem: BaseException) -> Any:
    """Instead of an error of Datasette: that a question took too long, and how to ask for less, or that
    there is nothing to see, with the ways on; None for other problems, and where no journal is asked."""
    named = tilde_decode((getattr(request, "url_vars", None) or {}).get("database") or "")
    database = named if named in datasette.databases else await first_journal(datasette)
    if database is None or not await is_journal(datasette, database):
        return None
    for_programs = request.path.partition("?")[0].endswith((".json", ".csv"))
    if isinstance(problem, QueryInterrupted) or getattr(problem, "title", "") == "SQL Interrupted":
        return await _answer_late(request, datasette, database, problem, for_programs)
    if getattr(problem, "status", 500) != 404 or for_programs:
        return None
    return await _lead_on(request, datasette, database, 404)


async def _lead_on(request: Any, datasette: Any, database: str, status: int) -> Any:
    """That there is nothing to see, and the way to what is; None where that would be closed, too."""
    if not await may_view(datasette, getattr(request, "actor", None), database, "release_board"):
        return None
    title, words = NOT_HERE[status]
    place = Place(datasette, database, SystemClock().now_ms())
    context = {**frame_of(place, None), "title": title, "missing": words}
    text = await datasette.render_template("cxlocal_sections.html", context, request=request)
    return Response.html(text, status=status, headers=HEADERS)


async def _answer_late(
    request: Any, datasette: Any, database: str, problem: BaseException, for_programs: bool
) -> Any:
    seconds = datasette.setting("sql_time_limit_ms") / 1000
    if for_programs:
        words = f"the question took longer than {seconds:g} s; ask for less, or use: cxlocal sql"
        return Response.json({"ok": False, "error": words, "status": 400}, status=400)
    place = Place(datasette, database, SystemClock().now_ms())
    context = {
        **frame_of(place, None), "title": "This question took too long", "seconds": f"{seconds:g} s",
        "sql": plain(getattr(problem, "sql", "") or request.args.get("sql") or "", keep="\n\t")[:4000],
        "questions": [(place.page(name), title) for name, title in LESS],
    }  # fmt: skip
    text = await datasette.render_template("cxlocal_late.html", context, request=request)
    return Response.html(text, status=400, headers=HEADERS)


def _decoded(text: str | None) -> str:
    return unquote(text or "")


def _refresh(context: Mapping[str, Any], always: bool, hold: bool) -> int:
    """Seconds until the page looks again; 0 for never."""
    if hold:
        return 0
    if context.get("live"):
        return REFRESH_SECONDS
    return REFRESH_IDLE_SECONDS if always else 0
