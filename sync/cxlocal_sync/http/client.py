"""The store behind ``https://`` (and ``http://`` on this machine): one POST for each message.

The whole of a request, looking up the name included, happens in a thread that is waited for as long
as the caller allows and then left behind. Time limits of sockets hold for one read each, and a
server that sends a byte a second, or a name server that does not answer, would pass them all.

Sending a request again is harmless (sync/README.md, 2.3, 2.6, 2.7). So one that met a connection
which had been lying idle, and was closed by the other end meanwhile, is sent a second time.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from cxlocal.clock import Clock, Ids, SystemClock, SystemIds
from cxlocal.errors import ConfigError, Conflict, CxError, NotSignedIn, Refused, error_from_json
from cxlocal.exchange.messages import MESSAGE_BYTES_MAX
from cxlocal.exchange.store import StoreUnreachable
from cxlocal_sync.http import wire
from cxlocal_sync.http.credentials import Credential, keep_credential, read_credential

if TYPE_CHECKING:
    import httpx2

CONNECT_SECONDS = 2.0
"""How long a connection may take (DESIGN §6)."""
MANAGE_SECONDS = 30.0
"""For enrolling and looking after members: a person waits, and wrong codes are answered late."""
IDLE_SECONDS = 20.0
"""A connection idle for longer is not used again; the server keeps it a little longer."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    content: bytes
    is_json: bool


class HttpStore:
    """A store behind an address. Nothing is reached before the first request."""

    def __init__(
        self, url: str, home: Path, *, clock: Clock | None = None, ids: Ids | None = None
    ) -> None:
        self.url = wire.check_address(url)
        self.home = home
        self._host = urlsplit(self.url).hostname or ""
        self._clock = clock or SystemClock()
        self._ids = ids or SystemIds()
        self._find_token: Callable[[], str] | None = None
        self._credential: Credential | None = None
        self._client: httpx2.Client | None = None
        self._used = False

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
            missing += [each for each in found.get("missing", []) if each in asked]
        return missing

    def put_blob(self, digest: str, content: bytes, *, timeout: float) -> None:
        if sha256(content).hexdigest() != digest:
            raise Conflict(
                "these are not the bytes of that digest",
                why=digest[:80],
                hint="the file changed while it was read: run the command again",
                name="blob-differs",
            )
        if len(content) > wire.BLOB_BYTES_MAX:
            raise Refused(
                "the file is too long for the store",
                why=f"{len(content)} bytes, {wire.BLOB_BYTES_MAX} at most",
                hint="keep it as an artifact",
                name="too-long",
            )
        headers = {"content-type": wire.BYTES_TYPE}
        self._ask("PUT", wire.BLOB + digest, content, timeout, headers, wire.JSON_BYTES_MAX)

    def get_blob(self, digest: str, *, timeout: float) -> bytes | None:
        if not wire.is_digest(digest):
            raise wire.BadRequest("a digest is 64 hexadecimal digits", digest[:80], "bad-digest")
        try:
            content = self._ask("GET", wire.BLOB + digest, b"", timeout, {}, wire.BLOB_BYTES_MAX)
        except CxError as error:
            if error.name == "no-such-blob":
                return None
            raise
        return content if sha256(content).hexdigest() == digest else None

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # Members

    def join(self, code: str, authority: str = "") -> dict[str, Any]:
        """Enrol this machine by a one-time code; what the store says about the member.

        The token is drawn here and kept before it is used, and the store is only told its hash: an
        answer that is lost costs nothing, the same command may be given again. ``authority`` is
        the PEM text of the certificate authority to trust. Raises NotSignedIn for a wrong code.
        """
        waiting = f"{self.url} {sha256(code.encode()).hexdigest()[:16]}"
        drawn = read_credential(self.home, waiting)
        if drawn is None:
            drawn = Credential("", self._ids.token() + self._ids.token(), authority)
            keep_credential(self.home, waiting, drawn)
        self._credential = drawn._replace(authority=authority)
        self.close()
        told = {"code": code, "token_sha256": sha256(drawn.token.encode()).hexdigest()}
        found = self._manage("POST", wire.JOIN, told, MANAGE_SECONDS)
        kept = Credential(str(found.get("member", "")), drawn.token, authority)
        keep_credential(self.home, self.url, kept, forget=waiting)
        self._credential = kept
        return found

    def members(self) -> dict[str, Any]:
        """Who is enrolled, and which machines were in contact when."""
        return self._manage("GET", wire.MEMBERS, None, MANAGE_SECONDS)

    def invite(self, name: str, rights: Mapping[str, Any]) -> dict[str, Any]:
        """A one-time code for the member ``name``. Raises Refused without the right to invite."""
        return self._manage("POST", wire.INVITE, {"name": name, "rights": rights}, MANAGE_SECONDS)

    def revoke(self, name: str) -> dict[str, Any]:
        """End a member and its machines. Raises Refused without the right to."""
        return self._manage("POST", wire.REVOKE, {"name": name}, MANAGE_SECONDS)

    # The wire

    def _manage(self, method: str, path: str, body: Any, timeout: float) -> dict[str, Any]:
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"content-type": wire.JSON_TYPE}
        raw = self._ask(method, path, content, timeout, headers, MESSAGE_BYTES_MAX)
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise self._unreachable(f"its answer cannot be read: {error}") from error
        if not isinstance(found, dict):
            raise self._unreachable("its answer cannot be read: not an object")
        return found

    def _ask(
        self, method: str, path: str, content: bytes, timeout: float, headers: dict[str, str],
        longest: int,
    ) -> bytes:  # fmt: skip
        """One request within ``timeout`` seconds. Raises StoreUnreachable and what was refused."""
        headers["accept-encoding"] = "identity"
        if path != wire.JOIN:
            headers["authorization"] = f"Bearer {self.token}"
        asking = _Asking(self, (method, self.url + path, content, headers), timeout, longest)
        answer = asking.result()
        if answer.status == 200:
            return answer.content
        raise self._refusal(answer)

    @property
    def token(self) -> str:
        """The token of this machine. Raises NotSignedIn where there is none."""
        if self._find_token is not None:
            return self._find_token()
        if self._credential is None:
            self._credential = read_credential(self.home, self.url)
        if self._credential is None:
            raise NotSignedIn(
                f"this machine is not enrolled at {self.url}",
                why="there is no token for it in the home folder",
                hint=f"ask for a code ('cxlocal store invite NAME'), then: "
                f"cxlocal store join {self.url} --code CODE",
            )
        return self._credential.token

    def _refusal(self, answer: Answer) -> CxError:
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
            return self._unreachable(f"it answered {answer.status}, and not as a store does")
        if answer.status >= 500 or answer.status == 429:
            return self._unreachable(": ".join(filter(None, (error.what, error.why))), error.hint)
        return error

    def _unreachable(self, why: str, hint: str = "") -> StoreUnreachable:
        return StoreUnreachable(
            "the store cannot be reached",
            why=why,
            hint=hint or "see 'cxlocal doctor'; releases go on from the reserve",
            url=self.url,
        )

    def client(self) -> httpx2.Client:
        """The client of the library, made at first use. Raises ConfigError where it is missing."""
        if self._client is None:
            try:
                import httpx2
            except ImportError as error:
                raise ConfigError(
                    f"{self.url} needs a library that is not installed",
                    why=str(error),
                    hint="pip install 'cxlocal[https]'",
                    name="no-http-library",
                ) from error
            plain = self.url.startswith("http:")
            self._client = httpx2.Client(
                # Plain HTTP stays on this machine: a proxy would be another one.
                trust_env=not plain,
                verify=False if plain else self._trust(),
                limits=httpx2.Limits(max_connections=1, keepalive_expiry=IDLE_SECONDS),
            )
            self._used = False
        return self._client

    def _trust(self) -> Any:
        credential = self._credential
        if credential is None and self._find_token is None:
            credential = read_credential(self.home, self.url)
        if credential is None or not credential.authority:
            return True
        import ssl

        try:
            return ssl.create_default_context(cadata=credential.authority)
        except ssl.SSLError as error:
            raise ConfigError(
                "the file of --ca holds no certificate",
                why=str(error),
                hint="it must be PEM text: -----BEGIN CERTIFICATE-----",
                name="bad-authority",
            ) from error


class _Asking:
    """One request in a thread of its own, waited for ``timeout`` seconds in all."""

    def __init__(
        self, store: HttpStore, request: tuple[str, str, bytes, dict[str, str]], timeout: float,
        longest: int,
    ) -> None:  # fmt: skip
        self._store = store
        self._client = store.client()
        self._request = request
        self._timeout = max(timeout, 0.001)
        self._longest = longest
        self._lock = threading.Lock()
        self._given_up = False
        self._answer: Answer | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="cxlocal-exchange", daemon=True)

    def result(self) -> Answer:
        """The answer. Raises StoreUnreachable."""
        store = self._store
        self._thread.start()
        self._thread.join(self._timeout)
        with self._lock:
            self._given_up = self._answer is None and self._error is None
        if self._given_up:
            # The thread closes the client when it comes back; nobody uses it again.
            store._client = None
            raise store._unreachable(f"no answer from {store._host} in time")
        if self._error is None and self._answer is not None:
            store._used = True
            return self._answer
        store.close()
        error = self._error
        if isinstance(error, CxError):
            raise error
        from cxlocal_sync.http.reasons import explain

        assert error is not None
        why, hint = explain(error, store._host)
        raise store._unreachable(why, hint) from error

    def _run(self) -> None:
        answer: Answer | None = None
        error: BaseException | None = None
        try:
            answer = self._send()
        except BaseException as caught:  # noqa: BLE001 - it is raised where it is waited for
            error = caught
        with self._lock:
            self._answer, self._error = answer, error
            given_up = self._given_up
        if given_up:
            self._client.close()

    def _send(self) -> Answer:
        import httpx2

        try:
            return self._once()
        except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
            if not self._store._used or self._given_up:
                raise
            self._store._used = False
            return self._once()

    def _once(self) -> Answer:
        import httpx2

        method, url, content, headers = self._request
        limit = httpx2.Timeout(self._timeout, connect=min(CONNECT_SECONDS, self._timeout))
        with self._client.stream(
            method, url, content=content, headers=headers, timeout=limit
        ) as response:
            parts: list[bytes] = []
            size = 0
            for part in response.iter_raw():
                size += len(part)
                if size > self._longest:
                    raise self._store._unreachable(
                        f"its answer has more than {self._longest} bytes"
                    )
                parts.append(part)
            kind = response.headers.get("content-type", "")
            return Answer(response.status_code, b"".join(parts), kind.startswith(wire.JSON_TYPE))
