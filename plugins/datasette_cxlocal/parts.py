"""Parts of pages: each is a stored question, asked within a limit, with its rows one click away as SQL,
JSON and CSV. A part that is late or broken is missing alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from cxlocal.projection.asked import PAGE_ROWS
from cxlocal.projection.queries import QUERIES
from cxlocal.values import NamedTuple, Protocol
from datasette_cxlocal.journals import has_query, page_address, rows_of


class Part(NamedTuple):
    """What one question found."""

    title: str
    rows: list[dict[str, Any]]
    late: bool
    """It was not answered in time, or not at all."""
    more: bool
    """There may be more rows than these."""
    sql: str
    """Addresses of the statement with its rows, and of the rows as JSON and CSV."""
    json: str
    csv: str

    @property
    def first(self) -> dict[str, Any]:
        """The first row; empty without one."""
        return self.rows[0] if self.rows else {}


class Files(Protocol):
    """Where pages stand that are plain files."""

    log_lines: bool

    def page(self, name: str, what: str, given: Mapping[str, object]) -> str:
        """The address of another page, from the one that is being made; empty where there is none."""

    def keep(
        self, name: str, title: str, rows: Sequence[Mapping[str, Any]]
    ) -> tuple[str, str, str]:
        """Keep the rows of a part beside its page; the addresses of the statement (none), JSON and CSV."""


class Place(NamedTuple):
    """The journal that a page is about, and how addresses of pages are made."""

    datasette: Any
    database: str
    now_ms: int
    only: str = ""
    """The deliverable that all of it is about; empty for every one."""
    files: Files | None = None
    """Where the pages are written to; None for pages of a server."""

    @property
    def holder(self) -> str:
        """Who knows what the pages say: this machine, or the store that a server shows."""
        return "the store" if self.of_store else "this machine"

    @property
    def of_store(self) -> bool:
        """Whether this is what a store told, on the server that shows it to members."""
        return bool((self.datasette.plugin_config("cxlocal") or {}).get("store"))

    def page(self, name: str, what: str = "", **given: object) -> str:
        """The address of one of our pages."""
        if self.files is not None:
            return self.files.page(name, what, given)
        path = page_address(self.datasette, self.database, name, what)
        kept = {key: value for key, value in given.items() if value not in ("", None)}
        return f"{path}?{urlencode(kept)}" if kept else path

    def run(self, run: object) -> str:
        """The page of a run; empty without one."""
        return self.page("run", str(run)) if run else ""

    async def ask(
        self, name: str, given: Mapping[str, str] | None = None, rows: int = PAGE_ROWS
    ) -> Part:
        """The answer to a stored question, ``rows`` of it at most."""
        query = QUERIES[name]
        usual = {"deliverable": self.only}
        asked = {one: (given or {}).get(one) or usual.get(one, "") for one in query.parameters}
        # sql: a stored statement, and a count
        sql = f"{query.sql}\nLIMIT {int(rows) + 1}"
        found = await rows_of(self.datasette, self.database, sql, asked)
        kept = (found or [])[:rows]
        more = len(found or ()) > rows
        if self.files is not None:
            # Whether something was heard of within the hour changes while nothing happens.
            kept = [{**row, "heard_of": 0} if "heard_of" in row else row for row in kept]
            return Part(
                query.title, kept, found is None, more, *self.files.keep(name, query.title, kept)
            )
        return Part(query.title, kept, found is None, more, *(await self.ways(name))(asked))

    async def ways(self, name: str) -> Callable[[Mapping[str, str]], tuple[str, str, str]]:
        """A function from what is given to a stored question to the addresses of its answer: a page, JSON and
        CSV."""
        if self.files is not None:
            return lambda asked: ("", "", "")
        urls = self.datasette.urls
        stored = await has_query(self.datasette, self.database, name)
        base = str(urls.query(self.database, name) if stored else urls.database(self.database))

        def made(asked: Mapping[str, str]) -> tuple[str, str, str]:
            given = {key: value for key, value in asked.items() if value}
            if not stored:  # without the metadata, the statement itself
                empty = dict.fromkeys(QUERIES[name].parameters, "")
                given = {"sql": QUERIES[name].sql, **empty, **asked}
            tail = f"?{urlencode(given)}" if given else ""
            also = f"&{urlencode(given)}" if given else ""
            return f"{base}{tail}", f"{base}.json?_shape=array{also}", f"{base}.csv{tail}"

        return made
