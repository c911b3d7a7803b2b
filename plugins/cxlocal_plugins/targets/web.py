"""HTTP as the tools of targets need it: one request, an answer or the reason why there is none.

Nothing is tried twice here: whether bytes were taken is asked of the target, not guessed. An answer is whole or
none: one that is cut off, longer than it may be, or later than it may be says nothing. Credentials go to the address
they were given for, and follow no redirection.
"""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import IO, Any, Literal, Self
from urllib.error import HTTPError
from urllib.parse import urljoin, urlsplit
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    Request,
    build_opener,
)

from cxlocal.hooks.tool import Context, Held, ToolFailure
from cxlocal.values import NamedTuple

SECONDS = 30.0
"""Without a byte from the target."""
WHOLE_SECONDS = 90.0
"""From the first request for an answer to its last byte, beside what a file takes that comes with it."""
SLOWEST = 128 * 1024
"""Bytes a second at which a file that is fetched has to come at least."""
BODY_BYTES = 32 * 1024 * 1024
"""Of an answer that is read as a whole."""
REDIRECTIONS = 5
REASON_CHARACTERS = 300

Trouble = Literal["", "credential", "unreached"]


class Answer(NamedTuple):
    """What a target said."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    address: str
    """Where it came from, after redirections."""
    sized: bool = True
    """It said where it ends, so that it is known to be whole."""

    def header(self, name: str) -> str:
        """One header, whatever the size of its letters; empty where there is none."""
        return next((text for key, text in self.headers.items() if key.lower() == name.lower()), "")

    def json(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def words(self) -> str:
        """The status, and the first line of what was said with it."""
        text = self.body[:4096].decode("utf-8", "replace").strip()
        said = self.json()
        if isinstance(said, dict):
            text = str(said.get("message") or said.get("error") or said.get("reason") or text)
        lines = [
            line.strip() for line in text.splitlines() if line.strip() and line.strip()[0] != "<"
        ]
        return f"it answers {self.status}" + (f": {lines[0][:REASON_CHARACTERS]}" if lines else "")

    @property
    def trouble(self) -> Trouble:
        """What kind of trouble the status tells of; empty for none, and for a plain no."""
        if self.status in (401, 403, 407):
            return "credential"
        return "unreached" if self.status >= 500 or self.status in (408, 425, 429) else ""


class Unreached(Exception):
    """No answer came."""


class _Stay(HTTPRedirectHandler):
    """Redirections are answers: who asked decides whether to follow."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class _Watch:
    """Ends the connection whose answer is not whole in time, however it is dripped."""

    def __init__(self, seconds: float) -> None:
        self.late, self._link = False, None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def begin(self, link: Any) -> None:
        """What was asked is sent: the time of the answer begins."""
        self._link = link
        self._timer.start()

    def _end(self) -> None:
        self.late = True
        with suppress(OSError):
            socket.socket.shutdown(self._link, socket.SHUT_RDWR)  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


class _Asked(Request):
    """A request whose answer is watched."""

    def __init__(self, watch: _Watch, url: str, **told: Any) -> None:
        self.watch = watch
        super().__init__(url, **told)


class _Plain(HTTPConnection):
    """A connection that is watched from when its request is sent."""

    def __init__(self, *words: Any, watch: _Watch, **told: Any) -> None:
        super().__init__(*words, **told)
        self._watch = watch

    def getresponse(self) -> HTTPResponse:
        self._watch.begin(self.sock)
        return super().getresponse()


class _Secure(_Plain, HTTPSConnection):
    """The same over TLS."""


class _PlainHandler(HTTPHandler):
    def http_open(self, req: Request) -> HTTPResponse:
        kind: Any = partial(_Plain, watch=req.watch)  # type: ignore[attr-defined]
        return self.do_open(kind, req)


class _SecureHandler(HTTPSHandler):
    def https_open(self, req: Request) -> HTTPResponse:
        kind: Any = partial(_Secure, watch=req.watch)  # type: ignore[attr-defined]
        return self.do_open(kind, req, context=self._context)  # type: ignore[attr-defined]


_OPENER = build_opener(_Stay, _PlainHandler, _SecureHandler)


def send(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | IO[bytes] | None = None,
    size: int | None = None,
    seconds: float = SECONDS,
    limit: int = BODY_BYTES,
    whole: float = WHOLE_SECONDS,
) -> Answer:
    """One request. ``size`` of a body that is a file; ``seconds`` without a byte, ``whole`` for an answer of at
    most ``limit`` bytes. Redirections of a GET are followed, without credentials to another host. Raises Unreached
    also for an answer that is not whole."""
    told = dict(headers or {})
    for _ in range(REDIRECTIONS):
        if urlsplit(url).scheme not in ("http", "https"):
            raise Unreached(f"{url[:80]!r} is no address of a web server")
        with _Watch(max(whole, seconds)) as watch:
            request = _Asked(watch, url, data=body, headers=told, method=method)
            if size is not None:
                request.add_header("Content-Length", str(size))
            answer = _answered(request, seconds, limit)
        where = answer.header("Location")
        moved = where and answer.status in (301, 302, 303, 307, 308)
        if method not in ("GET", "HEAD") or not moved:
            return answer
        following = urljoin(url, where)
        if urlsplit(following).netloc != urlsplit(url).netloc:
            told = {name: value for name, value in told.items() if name.lower() not in SECRET}
        url = following
    raise Unreached(f"{urlsplit(url).netloc} sends from one address to another")


def _answered(request: _Asked, seconds: float, limit: int) -> Answer:
    """The whole answer to one request. Raises Unreached."""
    url = request.full_url
    host = urlsplit(url).netloc
    try:
        try:
            found: Any = _OPENER.open(request, timeout=seconds)
        except HTTPError as error:
            found = error
        with found:
            headers = dict(found.headers.items())
            length = found.headers.get("Content-Length", "")
            chunked = found.headers.get("Transfer-Encoding", "")
            status = found.code if isinstance(found, HTTPError) else found.status
            body = found.read(limit + 1)
    except (OSError, HTTPException, ValueError) as problem:
        reason = getattr(problem, "reason", problem)
        late = "its answer takes too long" if request.watch.late else ""
        raise Unreached(f"{host}: {late or reason or type(problem).__name__}") from problem
    if request.watch.late:
        raise Unreached(f"{host}: its answer takes too long")
    if len(body) > limit:
        raise Unreached(f"{host}: its answer has more than {limit} bytes")
    short = length.isdecimal() and len(body) < int(length)
    if short and request.get_method() != "HEAD" and status not in (204, 304):
        raise Unreached(f"{host}: its answer ends after {len(body)} of {length} bytes")
    return Answer(status, headers, body, url, sized=bool(length or chunked))


def slowest(size: int) -> float:
    """Seconds within which a file of so many bytes has to be fetched."""
    return WHOLE_SECONDS + size / SLOWEST


SECRET = ("authorization", "private-token", "job-token", "cookie")


def basic(user: str, password: str) -> dict[str, str]:
    """The header of a name and password."""
    both = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {both}"}


def secret_of(ctx: Context, name: str) -> str:
    """The secret an option names; empty where it names none. Raises ToolFailure where it was not given."""
    if not name:
        return ""
    if not ctx.secrets.get(name):
        raise ToolFailure(
            f"the secret {name} is not given: add it to the secrets of the target",
            trouble="credential",
        )
    return ctx.secrets[name]


def unknown(why: str, trouble: Trouble = "unreached", wanted: str = "") -> Held:
    """A file of which nobody can say anything."""
    return Held(state="not known", why=why, trouble=trouble, wanted=wanted)


def refused(what: str, answer: Answer) -> ToolFailure:
    """A put that did not go well."""
    return ToolFailure(f"{what}: {answer.words}", trouble=answer.trouble)
