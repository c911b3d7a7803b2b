"""A question that cannot be answered is an error as CSV, too: Datasette 0.65 answers 200 and an empty line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from datasette.utils import tilde_decode

from datasette_cxlocal.journals import is_journal

CSV = ".csv"
Asgi = Callable[[Any, Any, Any], Awaitable[None]]


def with_errors(app: Asgi, datasette: Any) -> Asgi:
    """The application, where CSV of a journal without a column is asked for once more as JSON, whose error
    is the answer. Rows go through as they come."""

    async def answered(scope: Any, receive: Any, send: Any) -> None:
        if not await _is_csv(scope, datasette):
            await app(scope, receive, send)
            return
        held: list[Any] = []

        async def look(message: Any) -> None:
            held.append(message)
            if message["type"] != "http.response.start" and not message.get("body", b"").strip():
                return
            if message["type"] == "http.response.start" and message["status"] == 200:
                return
            await _tell(held, send)

        await app(scope, receive, look)
        if held:  # neither a column nor a row
            problem = await _as_json(app, scope, receive)
            await _tell(problem if problem[0]["status"] >= 400 else held, send)

    return answered


async def _is_csv(scope: Any, datasette: Any) -> bool:
    if scope["type"] != "http" or not scope["path"].endswith(CSV):
        return False
    path = scope["path"].removeprefix(datasette.setting("base_url").rstrip("/")).strip("/")
    name = tilde_decode(unquote(path.partition("/")[0].removesuffix(CSV)))
    return name in datasette.databases and await is_journal(datasette, name)


async def _tell(messages: list[Any], send: Any) -> None:
    while messages:
        await send(messages.pop(0))


async def _as_json(app: Asgi, scope: Any, receive: Any) -> list[Any]:
    told: list[Any] = []

    async def keep(message: Any) -> None:
        told.append(message)

    path = scope["path"].removesuffix(CSV) + ".json"
    raw = scope.get("raw_path") or scope["path"].encode()
    before, mark, after = raw.partition(b"?")
    raw = before.removesuffix(CSV.encode()) + b".json" + mark + after
    await app({**scope, "path": path, "raw_path": raw}, receive, keep)
    return told
