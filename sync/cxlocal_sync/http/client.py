"""The store behind ``https://`` (and ``http://`` on this machine): one POST for each message.

Sending a request again is harmless (sync/README.md, 2.3, 2.6, 2.7).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from cxlocal.clock import Clock, Ids, SystemClock, SystemIds
from cxlocal.errors import Conflict, CxError, NotSignedIn, Refused, Trouble, error_from_json
from cxlocal.exchange.answers import ABOUT_THE_REQUEST
from cxlocal.exchange.messages import BLOB_BYTES_MAX, MESSAGE_BYTES_MAX
from cxlocal.exchange.store import StoreUnreachable, cannot_serve
from cxlocal.text import is_hexadecimal, quoted
from cxlocal_sync.http import wire
from cxlocal_sync.http.credentials import (
    Credential,
    forget_credential,
    keep_credential,
    known_authority,
    read_credential,
)
from cxlocal_sync.http.line import HttpAnswer, Line, NoAnswer
from cxlocal_sync.http.shapes import ANSWERS, SCHEMAS, misfit

MANAGE_SECONDS = 30.0
"""For enrolling and looking after members: a person waits, and wrong codes are answered late."""


UNREACHABLE_HINT = "see 'cxlocal doctor'; releases go on from the reserve"


class HttpStore:
    """A store behind an address. Nothing is reached before the first request."""

    def __init__(
        self, url: str, home: Path, *, clock: Clock | None = None, ids: Ids | None = None
    ) -> None:
        self.url = wire.check_address(url)
        self.home = home
        self._clock = clock or SystemClock()
        self._ids = ids or SystemIds()
        self._find_token: Callable[[], str] | None = None
        self._credential: Credential | None = None
        self._line = Line(self.url, self._trust)

    def sign_in(self, find_token: Callable[[], str]) -> None:
        """Use the token that ``find_token`` gives (``[store] token``) when one is first needed."""
        self._find_token = find_token

    def exchange(self, request: bytes, *, timeout: float) -> bytes:
        headers = {"content-type": wire.MESSAGE_TYPE}
        return self._ask("POST", wire.EXCHANGE, request, timeout, headers, MESSAGE_BYTES_MAX)

    def missing_blobs(self, digests: list[str], *, timeout: float) -> list[str]:
        deadline = self._clock.monotonic() + timeout
        missing: list[str] = []
        for start in range(0, len(digests), wire.DIGESTS_MAX):
            asked = digests[start : start + wire.DIGESTS_MAX]
            left = deadline - self._clock.monotonic()
            found = self._manage("POST", wire.MISSING, {"digests": asked}, left)
            missing += [each for each in found["missing"] if each in asked]
        return missing

    def put_blob(self, digest: str, content: bytes, *, timeout: float) -> None:
        if sha256(content).hexdigest() != digest:
            raise Conflict(
                "these are not the bytes of that digest",
                why=digest[:80],
                hint="the file changed while it was read: run the command again",
                name="blob-differs",
            )
        if len(content) > BLOB_BYTES_MAX:
            raise Refused(
                "the file is too long for the store",
                why=f"{len(content)} bytes, {BLOB_BYTES_MAX} at most",
                hint="keep it as an artifact",
                name="too-long",
            )
        headers = {"content-type": wire.BYTES_TYPE}
        self._ask("PUT", wire.BLOB + digest, content, timeout, headers, wire.JSON_BYTES_MAX)

    def get_blob(self, digest: str, *, timeout: float) -> bytes | None:
        if not is_hexadecimal(digest, 64):
            raise wire.BadRequest("a digest is 64 hexadecimal digits", digest[:80], "bad-digest")
        try:
            content = self._ask("GET", wire.BLOB + digest, b"", timeout, {}, BLOB_BYTES_MAX)
        except CxError as error:
            if error.name == "no-such-blob":
                return None
            raise
        return content if sha256(content).hexdigest() == digest else None

    def drop_blob(self, digest: str, *, timeout: float) -> None:
        if not is_hexadecimal(digest, 64):
            raise wire.BadRequest("a digest is 64 hexadecimal digits", digest[:80], "bad-digest")
        self._ask("DELETE", wire.BLOB + digest, b"", timeout, {}, wire.JSON_BYTES_MAX)

    def close(self) -> None:
        self._line.close()

    # Members

    def known_authority(self) -> tuple[str, str]:
        """PEM text and file of the authority that this machine trusts at this host already."""
        return known_authority(self.home, self.url)

    def join(
        self, code: str, authority: str = "", *, name: str | None = None, authority_file: str = ""
    ) -> dict[str, Any]:
        """Enrol this machine by a one-time code; what the store says about the member.

        The token is drawn here and kept before it is used, and the store is only told its hash: an
        answer that is lost costs nothing, the same command may be given again. ``authority`` is
        the PEM text of the certificate authority to trust, ``name`` what the member is to be called
        where the code names nobody: an empty one asks whether it does. Raises NotSignedIn for a
        wrong code, and UsageError, name ``name-wanted``.
        """
        waiting = f"{self.url} {sha256(code.encode()).hexdigest()[:16]}"
        drawn = read_credential(self.home, waiting)
        if drawn is None:
            drawn = Credential("", self._ids.token() + self._ids.token(), authority)
            keep_credential(self.home, waiting, drawn)
        self._credential = drawn._replace(authority=authority)
        self.close()
        told = {"code": code, "token_sha256": sha256(drawn.token.encode()).hexdigest()}
        if name is not None:
            told["name"] = name
        try:
            found = self._manage("POST", wire.JOIN, told, MANAGE_SECONDS)
        except NotSignedIn:
            forget_credential(self.home, waiting)
            raise
        member = found["member"]
        kept = Credential(member, drawn.token, authority, authority_file)
        keep_credential(self.home, self.url, kept)
        forget_credential(self.home, waiting)
        self._credential = kept
        return found

    def come_from(self, before: str) -> None:
        """Use the token this machine has for the address ``before`` here, where it has none: a person said
        that the same store answers here now. It is kept by ``stay``."""
        if self._find_token is None and read_credential(self.home, self.url) is None:
            self._credential = read_credential(self.home, before)

    def stay(self) -> None:
        """Keep the token in use for this address."""
        if self._find_token is None and self._credential is not None:
            keep_credential(self.home, self.url, self._credential)

    def members(self) -> dict[str, Any]:
        """Who is enrolled, and which machines were in contact when."""
        return self._manage("GET", wire.MEMBERS, None, MANAGE_SECONDS)

    def invite(self, name: str, rights: Mapping[str, Any]) -> dict[str, Any]:
        """A one-time code for the member ``name``. Raises Refused without the right to invite."""
        return self._manage("POST", wire.INVITE, {"name": name, "rights": rights}, MANAGE_SECONDS)

    def grant(self, name: str, rights: Mapping[str, Any]) -> dict[str, Any]:
        """Other rights for a member. Raises Refused without the right to manage."""
        return self._manage("POST", wire.GRANT, {"name": name, "rights": rights}, MANAGE_SECONDS)

    def revoke(self, name: str) -> dict[str, Any]:
        """End a member and its machines. Raises Refused without the right to."""
        return self._manage("POST", wire.REVOKE, {"name": name}, MANAGE_SECONDS)

    def pages(self, feed: bool) -> dict[str, Any]:
        """Where the pages are that this member may see, and a key: it opens them once, or (``feed``) the
        feeds until the next one. Raises Refused where nobody shows any."""
        return self._manage("POST", wire.PAGES, {"feed": feed}, MANAGE_SECONDS)

    # Lent numbers

    def lend(self, asked: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        """The number of a run out of the reserve of the machine there. Asking again is harmless.
        Raises StoreUnreachable, and what the machine refuses."""
        return self._of_lender(wire.LEND, asked, timeout)

    def left(self, asked: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        """How many numbers of a line could be lent. Raises as ``lend``."""
        return self._of_lender(wire.LEFT, asked, timeout)

    def _of_lender(self, path: str, asked: dict[str, Any], timeout: float) -> dict[str, Any]:
        try:
            return self._manage("POST", path, asked, timeout)
        except StoreUnreachable as error:
            running = f"see that 'cxlocal serve --lend' runs at {self.url}"
            raise StoreUnreachable(
                "the lender cannot be reached",
                why=error.why,
                hint=running if error.hint == UNREACHABLE_HINT else error.hint,
                url=self.url,
            ) from error
        except NotSignedIn as error:
            raise NotSignedIn(
                "the lender does not know this machine",
                why=error.why,
                hint="ask for a code ('cxlocal store invite NAME --store lend:' on the lender), then:"
                f" cxlocal store join {quoted(self.url)} --code CODE --print-token",
            ) from error

    # The wire

    def _manage(self, method: str, path: str, body: Any, timeout: float) -> dict[str, Any]:
        """One request; its answer as ``ANSWERS`` says. Raises as ``_ask``, and StoreUnreachable for an
        answer that is none."""
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"content-type": wire.JSON_TYPE}
        raw = self._ask(method, path, content, timeout, headers, MESSAGE_BYTES_MAX)
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise self._unreachable(f"its answer cannot be read: {error}") from error
        wrong = misfit(found, SCHEMAS[ANSWERS[path]])
        if wrong:
            raise self._unreachable(f"its answer cannot be read: {wrong}")
        read: dict[str, Any] = found
        return read

    def _ask(
        self, method: str, path: str, content: bytes, timeout: float, headers: dict[str, str],
        longest: int,
    ) -> bytes:  # fmt: skip
        """One request within ``timeout`` seconds. Raises StoreUnreachable and what was refused."""
        headers["accept-encoding"] = "identity"
        if path != wire.JOIN:
            headers["authorization"] = f"Bearer {self.token}"
        try:
            answer = self._line.ask((method, self.url + path, content, headers), timeout, longest)
        except NoAnswer as error:
            raise self._unreachable(error.why, error.hint) from error
        if answer.status == 200:
            return answer.content
        if answer.status == 413 and not answer.is_json:
            raise self._too_large_on_the_way(path, len(content))
        raise self._refusal(answer, path)

    @property
    def token(self) -> str:
        """The token of this machine. Raises NotSignedIn where there is none."""
        if self._credential is None and self._find_token is not None:
            self._credential = self._named_token(self._find_token)
        if self._credential is None:
            self._credential = read_credential(self.home, self.url)
        if self._credential is None:
            raise NotSignedIn(
                f"this machine is not enrolled at {self.url}",
                why="there is no token for it in the home folder",
                hint=f"ask for a code ('cxlocal store invite NAME'), then: "
                f"cxlocal store join {quoted(self.url)} --code CODE",
            )
        return self._credential.token

    def _named_token(self, find_token: Callable[[], str]) -> Credential:
        """The token of ``[store] token``; where its source gives none, the one this machine got when
        it was enrolled at this very address. Raises StoreUnreachable where it has none either."""
        kept = read_credential(self.home, self.url)
        try:
            return Credential("", _checked(find_token()), kept.authority if kept else "")
        except Trouble as error:
            if kept is not None:
                return kept
            raise self._unreachable(f"{error.what}: {error.why}", error.hint) from error

    def _refusal(self, answer: HttpAnswer, path: str) -> CxError:
        if 300 <= answer.status < 400:
            return self._unreachable(
                "it sends us to another address", "correct [store] url in cx.toml"
            )
        error = None
        if answer.is_json:
            try:
                error = error_from_json(json.loads(answer.content))
            except (ValueError, RecursionError):
                error = None
        if error is None:
            why = f"it answered {answer.status}, and not as a store does"
            return self._unreachable(why, after_seconds=answer.after_seconds)
        if answer.status >= 500 or answer.status == 429:
            why = ": ".join(filter(None, (error.what, error.why)))
            return self._unreachable(why, error.hint, after_seconds=answer.after_seconds)
        if path == wire.EXCHANGE and error.name not in ABOUT_THE_REQUEST:
            said = ": ".join(filter(None, (error.what, error.why)))
            return cannot_serve(self.url, f"{error.name} ({answer.status})", said, error.hint)
        error.hint = self._addressed(error.hint)
        return error

    def _too_large_on_the_way(self, path: str, size: int) -> CxError:
        """The store says in its own form what is too long; this is somebody before it."""
        why = f"something before the store refuses bodies of {size} bytes (413)"
        hint = (
            "let it pass bodies of 64 MiB: nginx client_max_body_size 64m; Apache LimitRequestBody"
            " 67108864; Traefik buffering maxRequestBodyBytes"
        )
        if path.startswith(wire.BLOB):
            # One file is too large, and the store can be reached: what is smaller goes on.
            return Refused(
                "the file does not get through to the store",
                why=f"{why}: {hint}",
                hint=hint,
                name="too-long-on-the-way",
            )
        return self._unreachable(why, hint)

    def _unreachable(self, why: str, hint: str = "", **data: Any) -> StoreUnreachable:
        return StoreUnreachable(
            "the store cannot be reached",
            why=why,
            hint=self._addressed(hint) or UNREACHABLE_HINT,
            url=self.url,
            **data,
        )

    def _addressed(self, hint: str) -> str:
        """A hint that can be typed: a server does not know by which address it was reached."""
        return hint.replace("store join URL ", f"store join {quoted(self.url)} ")

    def _trust(self) -> str:
        """PEM text of the one authority to trust; empty for those of the system."""
        if self._credential is None and self._find_token is None:
            self._credential = read_credential(self.home, self.url)
        return "" if self._credential is None else self._credential.authority


def _checked(token: str) -> str:
    """``token``, if a header can carry it. Raises NotSignedIn, without showing it."""
    if token and token.isascii() and token.isprintable() and " " not in token:
        return token
    raise NotSignedIn(
        "the token of [store] token is none",
        why="it is empty, or holds a line break, a space or another character that no token has",
        hint="look at what the source named there gives: the token alone, without a second line",
        name="bad-token",
    )
