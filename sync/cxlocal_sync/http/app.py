"""The HTTP side of a served store: routes, bodies, errors in the one shape of the command line."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cxlocal.errors import CxError, ExitCode, Trouble
from cxlocal.exchange.messages import BLOB_BYTES_MAX
from cxlocal.text import clean_text
from cxlocal_sync.http import wire
from cxlocal_sync.http.description import describe
from cxlocal_sync.http.diary import log
from cxlocal_sync.http.limits import Budget, Busy, TooOften
from cxlocal_sync.http.members import Member
from cxlocal_sync.http.metrics import CONTENT_TYPE
from cxlocal_sync.http.service import Service

STATUSES: dict[int, int] = {
    ExitCode.USAGE: 400,
    ExitCode.REFUSED: 403,
    ExitCode.NOT_SIGNED_IN: 401,
    ExitCode.STORE_NEEDED: 503,
    ExitCode.CONFLICT: 409,
}
"""HTTP status by the exit code of an error; 500 for the rest."""
NAMED_STATUSES = {"no-such-blob": 404, "no-such-member": 404, "not-found": 404, "too-long": 413}
"""Errors that HTTP has a better status for."""


def make_app(service: Service) -> Starlette:
    """The ASGI application of a served store; closing it closes ``service``."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        flushing = asyncio.create_task(service.flush())
        try:
            yield
        finally:
            flushing.cancel()
            try:
                with contextlib.suppress(asyncio.CancelledError):
                    await flushing
            finally:
                await asyncio.to_thread(service.close)

    routes = Routes(service)
    plain: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        ("GET", wire.HEALTH, routes.health),
        ("GET", wire.METRICS, routes.metrics),
        ("GET", wire.DESCRIPTION, routes.description),
        ("POST", wire.JOIN, routes.join),
    ]
    members: list[tuple[str, str, Callable[[Request, Member], Awaitable[Response]]]] = [
        ("POST", wire.EXCHANGE, routes.exchange),
        ("POST", wire.MISSING, routes.missing),
        ("PUT", wire.BLOB + "{digest}", routes.put_blob),
        ("GET", wire.BLOB + "{digest}", routes.get_blob),
        ("DELETE", wire.BLOB + "{digest}", routes.drop_blob),
        ("GET", wire.MEMBERS, routes.listing),
        ("POST", wire.INVITE, routes.invite),
        ("POST", wire.GRANT, routes.grant),
        ("POST", wire.REVOKE, routes.revoke),
        ("POST", wire.LEND, routes.lend),
        ("POST", wire.LEFT, routes.left),
        ("POST", wire.PAGES, routes.pages),
    ]
    # They are gone through from the first on, and most of what comes is messages.
    every = [*((how, path, routes.for_members(handler)) for how, path, handler in members), *plain]
    table = [
        Route(path, guarded(routes.counted(path, handler)), methods=[how])
        for how, path, handler in every
    ]
    return Starlette(routes=table, lifespan=lifespan, exception_handlers={HTTPException: _no_route})


class Routes:
    """One method for each path."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.described = describe()

    def for_members(
        self, handler: Callable[[Request, Member], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Let members through only. Nobody else's body is kept in memory."""

        async def check(request: Request) -> Response:
            try:
                member = self.service.admit(request.headers.get("authorization", ""))
            except CxError:
                await _discard(request)
                raise
            request.state.sender = member.name
            return await handler(request, member)

        return check

    def counted(
        self, path: str, handler: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Count answers, and log those that refuse."""

        async def answer(request: Request) -> Response:
            status = 500
            try:
                response = await handler(request)
                status = response.status_code
            except CxError as error:
                status = status_of(error)
                if status < 500:
                    sender = getattr(request.state, "sender", "") or _address(request)
                    self.service.diary.refused(sender, error.name, error.what, path=path)
                raise
            finally:
                self.service.metrics.count(path, status)
            return response

        return answer

    async def exchange(self, request: Request, member: Member) -> Response:
        """Pass a message on."""
        budget = self.service.message_bytes
        async with _body(request, wire.EXCHANGE_BYTES_MAX, budget, member) as body:
            answer = await self.service.exchange(member, body)
        return Response(answer, media_type=wire.MESSAGE_TYPE)

    async def missing(self, request: Request, member: Member) -> Response:
        """Which blobs the store lacks."""
        return JSONResponse({"missing": await self.service.missing(await self._json(request))})

    async def put_blob(self, request: Request, member: Member) -> Response:
        """Keep a blob."""
        digest, budget = request.path_params["digest"], self.service.blob_bytes
        self.service.check_put(member, digest)
        async with _body(request, BLOB_BYTES_MAX, budget, member) as body:
            await self.service.put(digest, body)
        return JSONResponse({})

    async def get_blob(self, request: Request, member: Member) -> Response:
        """Give a blob."""
        content = await self.service.get(member, request.path_params["digest"])
        return _Held(self.service.blob_bytes, member, content)

    async def drop_blob(self, request: Request, member: Member) -> Response:
        """Have a blob no more."""
        await self.service.drop(member, request.path_params["digest"])
        return JSONResponse({})

    async def listing(self, request: Request, member: Member) -> Response:
        """Members and machines, as far as this member may see them."""
        return JSONResponse(await self.service.listing(member))

    async def invite(self, request: Request, member: Member) -> Response:
        """A code for a new member."""
        return JSONResponse(await self.service.invite(member, await self._json(request)))

    async def grant(self, request: Request, member: Member) -> Response:
        """Other rights for a member."""
        return JSONResponse(await self.service.grant(member, await self._json(request)))

    async def revoke(self, request: Request, member: Member) -> Response:
        """End a member."""
        return JSONResponse(await self.service.revoke(member, await self._json(request)))

    async def lend(self, request: Request, member: Member) -> Response:
        """A number for a run."""
        return JSONResponse(await self.service.lend(member, await self._json(request)))

    async def left(self, request: Request, member: Member) -> Response:
        """How many numbers could be lent."""
        return JSONResponse(await self.service.left(member, await self._json(request)))

    async def pages(self, request: Request, member: Member) -> Response:
        """Where this member sees the pages."""
        return JSONResponse(await self.service.pages(member, await self._json(request)))

    async def join(self, request: Request) -> Response:
        """Enrol by a one-time code."""
        asked = await self._json(request)
        return JSONResponse(await self.service.join(_address(request), asked))

    async def health(self, request: Request) -> Response:
        """How the server and the store behind it are."""
        found = await self.service.health()
        return JSONResponse(found.as_json(), status_code=found.status)

    async def metrics(self, request: Request) -> Response:
        """The same and more, for Prometheus."""
        text = self.service.metrics.text(await self.service.health())
        return Response(text, media_type=CONTENT_TYPE)

    async def description(self, request: Request) -> Response:
        """The OpenAPI description."""
        return JSONResponse(self.described)

    async def _json(self, request: Request) -> Any:
        raw = await _read(request, _announced(request, wire.JSON_BYTES_MAX))
        try:
            return json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise wire.BadRequest("the body is not JSON", str(error)) from error


@asynccontextmanager
async def _body(
    request: Request, most: int, budget: Budget, member: Member
) -> AsyncIterator[bytes]:
    """The body, counted among the bytes in memory as long as it is used."""
    size = _announced(request, most)
    content = bytearray()
    try:
        async for part in request.stream():
            budget.hold(member.id, len(part))
            content += part
            if len(content) > size:
                raise too_long(size)
        yield bytes(content)
    finally:
        budget.release(member.id, len(content))


class _Held(Response):
    """A blob on its way, counted among the bytes in memory until it is sent."""

    def __init__(self, budget: Budget, member: Member, content: bytes) -> None:
        super().__init__(content, media_type=wire.BYTES_TYPE)
        self._budget, self._member = budget, member.id

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            self._budget.hold(self._member, len(self.body))
        except Busy as error:
            await error_response(error)(scope, receive, send)
            return
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._budget.release(self._member, len(self.body))


def guarded(
    handler: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Turn every error into an answer of the one shape."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except CxError as error:
            if _is_own_trouble(error):
                words = clean_text(f"{error.what}: {error.why}")
                log.warning("trouble: %s %s: %s", request.method, request.url.path, words)
            return error_response(error)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody hears it
        except Exception:  # noqa: BLE001 - whatever it was, the server goes on
            log.exception("answering %s %s", request.method, request.url.path)
            return error_response(
                Trouble(
                    "the server made a mistake",
                    why="its log says which",
                    hint="report what the log of 'cxlocal serve' says",
                    name="bug",
                )
            )

    return answer


def _is_own_trouble(error: CxError) -> bool:
    """Whether it is trouble of the server itself. Its reasons name places on its disk and in its network, so they are
    for the log."""
    return status_of(error) >= 500 and not isinstance(error, Busy) and error.name != "bug"


def status_of(error: CxError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, Busy):
        return 429 if isinstance(error, TooOften) else 503
    return NAMED_STATUSES.get(error.name) or STATUSES.get(int(error.exit_code), 500)


def error_response(error: CxError) -> Response:
    """An error as it is answered."""
    status = status_of(error)
    headers = {}
    if isinstance(error, Busy):
        headers["retry-after"] = str(error.after_seconds)
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if status in (401, 413, 429) or isinstance(error, Busy):
        # What is left of the body is not waited for.
        headers["connection"] = "close"
    shape = error.as_json()
    if _is_own_trouble(error):
        why = "the log of 'cxlocal serve' says what keeps the server from it"
        hint = "tell whoever runs the server; releases go on from the reserve"
        shape |= {"why": why, "hint": hint, "data": {}}
    return JSONResponse(shape, status_code=status, headers=headers)


def _address(request: Request) -> str:
    """Where a request came from."""
    return request.client.host if request.client else ""


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = wire.BadRequest(
        f"the store answers no {request.method} {request.url.path[:200]}",
        "there is nothing under that address",
        "not-found" if error.status_code == 404 else "no-such-method",
    )
    return JSONResponse(known.as_json(), error.status_code, headers=error.headers)


def _announced(request: Request, most: int) -> int:
    """How many bytes the body has; ``most`` where it does not say. Raises too-long."""
    length = request.headers.get("content-length", "")
    size = int(length) if length.isdecimal() else most
    if size > most:
        raise too_long(most)
    return size


async def _read(request: Request, size: int) -> bytes:
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > size:
            raise too_long(size)
    return bytes(content)


async def _discard(request: Request) -> None:
    """Read and forget a body of ordinary length. Closing before it was read would tear down the
    connection before the other side has read why."""
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > wire.EXCHANGE_BYTES_MAX:
            return


def too_long(most: int) -> wire.BadRequest:
    """The error for a body that is longer than it may be."""
    return wire.BadRequest("the body is too long", f"{most} bytes at most", "too-long")
