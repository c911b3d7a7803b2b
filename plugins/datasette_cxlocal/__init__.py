"""Pages of a journal in Datasette, for two lines of it.

Not here: writing. It reads databases.

One module serves Datasette 0.65 and 1.0: hooks that a line does not know are ignored there, and
where the two differ we look for the feature, never for the version. On databases that are not
journals nothing changes. Only reads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from pluggy import HookimplMarker

from cxlocal.projection.asked import PAGE_ROWS
from cxlocal.projection.functions import add_functions
from datasette_cxlocal.cells import CellPlace, show_cell
from datasette_cxlocal.csv_errors import with_errors
from datasette_cxlocal.home import home_of
from datasette_cxlocal.journals import (
    first_journal,
    has_query,
    is_journal,
    may_view,
    page_address,
    run_addresses,
)
from datasette_cxlocal.routes import answer_problem, routes
from datasette_cxlocal.story import STORY, story_of

hookimpl = HookimplMarker("datasette")

TOLD_TO_NOBODY = frozenset(
    {("contact", "token"), ("contact", "proposal"), ("asked", "request"), ("carried", "request")}
)
"""Table and column by which a machine shows its store that it is itself."""


@hookimpl
def prepare_connection(conn: sqlite3.Connection) -> None:
    """Give SQL our functions, and nobody what only this machine and its store
    may know: whoever says it passes for this machine."""
    add_functions(conn)
    conn.set_authorizer(hide_tokens)


def hide_tokens(
    action: int, table: str | None, column: str | None, database: str | None, trigger: str | None
) -> int:
    """For ``set_authorizer``: what is hidden reads as nothing, so that pages of its table go on."""
    hidden = action == sqlite3.SQLITE_READ and (table, column) in TOLD_TO_NOBODY
    return sqlite3.SQLITE_IGNORE if hidden else sqlite3.SQLITE_OK


@hookimpl
def register_routes() -> list[tuple[str, Any]]:
    """Our own pages, below the address of a journal."""
    return routes()


@hookimpl
def asgi_wrapper(datasette: Any) -> Callable[[Any], Any]:
    """CSV of a question that cannot be answered is an error."""
    return lambda app: with_errors(app, datasette)


@hookimpl
def handle_exception(
    datasette: Any, request: Any, exception: BaseException
) -> Callable[[], Awaitable[Any]]:
    """What took too long is no error of the pages, and what is not there leads on."""

    async def answered() -> Any:
        return await answer_problem(request, datasette, exception)

    return answered


@hookimpl
def render_cell(
    row: Any, value: Any, column: str, table: str | None, database: str, datasette: Any
) -> Callable[[], Awaitable[Any]] | None:
    """Times, durations, digests, states and runs of a journal in readable form."""
    if value is None or value == "":
        return None

    async def shown() -> Any:
        if not await is_journal(datasette, database):
            return None
        place = CellPlace(
            column=column,
            table=table,
            run=row["id"] if table == "run" else None,
            story=run_addresses(datasette, database),
        )
        return show_cell(value, place)

    return shown


@hookimpl
def extra_css_urls(database: str | None, datasette: Any) -> Callable[[], Awaitable[list[str]]]:
    """Our style sheet, on pages of journals and where a journal is listed."""

    async def urls() -> list[str]:
        if database is None:
            wanted = await first_journal(datasette) is not None
        else:
            wanted = await is_journal(datasette, database)
        return [datasette.urls.static_plugins("cxlocal", "cxlocal.css")] if wanted else []

    return urls


@hookimpl
def extra_template_vars(
    template: str, database: str | None, request: Any, datasette: Any
) -> Callable[[], Awaitable[dict[str, Any]]]:
    """What ``cxlocal_home.html`` shows, on the home page and on a journal's own, and what
    ``cxlocal_story.html`` shows above the story of a run."""

    async def variables() -> dict[str, Any]:
        name = None
        if template == "index.html":
            name = await first_journal(datasette)
        elif template.startswith("database") and database is not None:
            name = database if await is_journal(datasette, database) else None
        actor = getattr(request, "actor", None)
        story = None
        if (
            template.startswith("query")
            and request is not None
            and request.path.endswith(f"/{STORY}")
        ):
            asked = {one: request.args.get(one) or "" for one in ("run", "deliverable")}
            if await is_journal(datasette, database):
                story = await story_of(datasette, str(database), actor, asked)
        return {
            "cxlocal_home": await home_of(datasette, name, actor) if name else None,
            "cxlocal_story": story,
            "cxlocal_next": next_page(request) if template.startswith("query") else None,
        }

    return variables


def next_page(request: Any) -> dict[str, Any]:
    """Where the rows after those of a stored query stand; its pages have ``PAGE_ROWS`` at most."""
    given = {name: request.args.get(name) for name in request.args} if request is not None else {}
    page = given.get("page") or "1"
    number = int(page) if page.isdecimal() and len(page) < 6 else 1
    return {"rows": PAGE_ROWS, "address": "?" + urlencode({**given, "page": number + 1})}


@hookimpl
def menu_links(datasette: Any, actor: Any) -> Callable[[], Awaitable[list[dict[str, str]]]]:
    """The ways into a journal, in the menu of every page."""

    async def links() -> list[dict[str, str]]:
        name = await first_journal(datasette)
        if name is None or not await may_view(datasette, actor, name, "release_board"):
            return []
        found = [(page_address(datasette, name, "board"), "Release board")]
        for query, view, label in (
            ("runs", "run_board", "Runs"),
            ("numbers", "number_ledger", "Numbers"),
        ):
            stored = await has_query(
                datasette, name, query
            )  # shows few rows at a time: not all lines
            address = (
                datasette.urls.query(name, query) if stored else datasette.urls.table(name, view)
            )
            found.append((address, label))
        return [{"href": href, "label": label} for href, label in found]

    return links
