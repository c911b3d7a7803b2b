"""HTTP as the tools of targets need it: one request, an answer or the reason why there is none.

Nothing is tried twice here: whether bytes were taken is asked of the target, not guessed. Credentials go to the
address they were given for, and follow no redirection.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import IO, Any, Literal
from urllib.error import HTTPError
from urllib.parse import urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from cxlocal.hooks.tool import Context, Held, ToolFailure
from cxlocal.values import NamedTuple

SECONDS = 30.0
"""Without a byte from the target."""
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


_OPENER = build_opener(_Stay)


def send(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | IO[bytes] | None = None,
    size: int | None = None,
    seconds: float = SECONDS,
    limit: int = BODY_BYTES,
) -> Answer:
    """One request. ``size`` of a body that is a file. Redirections of a GET are followed, without credentials
    to another host. Raises Unreached."""
    told = dict(headers or {})
    for _ in range(REDIRECTIONS):
        if urlsplit(url).scheme not in ("http", "https"):
            raise Unreached(f"{url[:80]!r} is no address of a web server")
        request = Request(url, data=body, headers=told, method=method)
        if size is not None:
            request.add_header("Content-Length", str(size))
        try:
            with _OPENER.open(request, timeout=seconds) as found:
                return Answer(found.status, dict(found.headers.items()), found.read(limit), url)
        except HTTPError as error:
            with error:
                where = error.headers.get("Location", "")
                if (
                    method not in ("GET", "HEAD")
                    or not where
                    or error.code not in (301, 302, 303, 307, 308)
                ):
                    return Answer(error.code, dict(error.headers.items()), _read(error, limit), url)
            following = urljoin(url, where)
            if urlsplit(following).netloc != urlsplit(url).netloc:
                told = {name: value for name, value in told.items() if name.lower() not in SECRET}
            url = following
        except (OSError, HTTPException, ValueError) as problem:
            reason = getattr(problem, "reason", problem)
            raise Unreached(
                f"{urlsplit(url).netloc}: {reason or type(problem).__name__}"
            ) from problem
    raise Unreached(f"{urlsplit(url).netloc} sends from one address to another")


SECRET = ("authorization", "private-token", "job-token", "cookie")


def _read(answer: HTTPError, limit: int) -> bytes:
    try:
        return answer.read(limit)
    except (OSError, HTTPException):
        return b""


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
