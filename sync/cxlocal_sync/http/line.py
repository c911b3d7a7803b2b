"""The line to a server: requests within a time, by the HTTP library, in words when it fails.

The whole of a request, looking up the name included, happens in a thread that is waited for as long
as the caller allows and then left behind. Time limits of sockets hold for one read each, and a
server that sends a byte a second, or a name server that does not answer, would pass them all.

A request that met a connection which had been lying idle, and was closed by the other end
meanwhile, is sent a second time.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from cxlocal.errors import ConfigError, CxError
from cxlocal.extras import how_to_install
from cxlocal.values import NamedTuple
from cxlocal_sync.http import wire
from cxlocal_sync.surroundings import CERTIFICATES, PROXIES, Proxy, blamed, proxy_for

CONNECT_SECONDS = 2.0
"""How long a connection may take."""
IDLE_SECONDS = 20.0
"""A connection idle for longer is not used again; the server keeps it a little longer."""

Request = tuple[str, str, bytes, dict[str, str]]
"""Method, address, body, headers."""


class HttpAnswer(NamedTuple):
    """What came back."""

    status: int
    content: bytes
    is_json: bool


class NoAnswer(Exception):
    """Nothing came back that could be used."""

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint


class Line:
    """One kept connection to the server at ``url``; used by one thread at a time.

    ``find_authority`` gives PEM text of the one certificate authority to trust, or an empty text
    for those of the system. Asked when a connection is first needed.
    """

    def __init__(self, url: str, find_authority: Callable[[], str]) -> None:
        self.url = url
        self.host = urlsplit(url).hostname or ""
        self.used = False
        self._find_authority = find_authority
        self._client: httpx2.Client | None = None

    def ask(self, request: Request, timeout: float, longest: int) -> HttpAnswer:
        """Send ``request``; its answer, of ``longest`` bytes at most, within ``timeout`` seconds.

        Raises NoAnswer, and ConfigError where the library or the certificate is wrong.
        """
        asking = _Asking(self, self._open(), request, max(timeout, 0.001), longest)
        answer, error = asking.wait()
        if answer is not None:
            self.used = True
            return answer
        if error is None:
            # The thread closes its client when it comes back; nobody uses it again.
            self._client = None
            raise NoAnswer(f"no answer from {self.host} in time")
        self.close()
        if isinstance(error, NoAnswer):
            raise error
        proxy = None if self.url.startswith("http:") else proxy_for(self.url, os.environ)
        raise NoAnswer(*explain(error, self.host, proxy)) from error

    def close(self) -> None:
        """Close the connection; the next request makes another."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _open(self) -> httpx2.Client:
        if self._client is None:
            try:
                import httpx2
            except ImportError as error:
                raise ConfigError(
                    f"{self.url} needs a library that is not installed",
                    why=str(error),
                    hint=how_to_install("https"),
                    name="no-http-library",
                ) from error
            plain = self.url.startswith("http:")
            try:
                self._client = httpx2.Client(
                    # Plain HTTP stays on this machine: a proxy would be another one.
                    trust_env=not plain,
                    verify=False if plain else _trust(self._find_authority()),
                    limits=httpx2.Limits(max_connections=1, keepalive_expiry=IDLE_SECONDS),
                )
            except CxError:
                raise
            except Exception as error:  # whatever a variable makes the library raise
                raise NoAnswer(*explain_setting_up(error, os.environ)) from error
            self.used = False
        return self._client


def _trust(authority: str) -> Any:
    if not authority:
        return True
    try:
        return ssl.create_default_context(cadata=authority)
    except ssl.SSLError as error:
        raise ConfigError(
            "the file of --ca holds no certificate",
            why=str(error),
            hint="it must be PEM text: -----BEGIN CERTIFICATE-----",
            name="bad-authority",
        ) from error


class _Asking:
    """One request in a thread of its own."""

    def __init__(
        self, line: Line, client: httpx2.Client, request: Request, timeout: float, longest: int
    ) -> None:
        self._line = line
        self._client = client
        self._request = request
        self._timeout = timeout
        self._longest = longest
        self._lock = threading.Lock()
        self._given_up = False
        self._answer: HttpAnswer | None = None
        self._error: BaseException | None = None

    def wait(self) -> tuple[HttpAnswer | None, BaseException | None]:
        """The answer or the error; neither when the time was up first."""
        thread = threading.Thread(target=self._run, name="cxlocal-exchange", daemon=True)
        thread.start()
        thread.join(self._timeout)
        with self._lock:
            self._given_up = self._answer is None and self._error is None
            return self._answer, self._error

    def _run(self) -> None:
        answer: HttpAnswer | None = None
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

    def _send(self) -> HttpAnswer:
        try:
            return self._once()
        except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
            if not self._line.used or self._given_up:
                raise
            return self._once()

    def _once(self) -> HttpAnswer:
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
                    raise NoAnswer(f"its answer has more than {self._longest} bytes")
                parts.append(part)
            kind = response.headers.get("content-type", "")
            return HttpAnswer(
                response.status_code, b"".join(parts), kind.startswith(wire.JSON_TYPE)
            )


def explain_setting_up(error: Exception, environ: Mapping[str, str]) -> tuple[str, str]:
    """What a library raised before anything was sent, and which variable is to blame."""
    of_files = isinstance(error, OSError)  # ssl.SSLError is one
    words = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    text = f"{words} {getattr(error, 'filename', None) or ''}"
    about = blamed(text, environ, CERTIFICATES if of_files else (*PROXIES, "NO_PROXY", "no_proxy"))
    said = f"no contact can be set up: {public_words(words)}"
    return (
        f"{said} ({about})" if about else said
    ), "correct that variable, or unset it" if about else ""


def public_words(words: str) -> str:
    """The first sentence of a library's words, without the user of an address in them."""
    return re.sub(r"//[^/@\s'\"]*@", "//", words)[:200]


def explain(error: BaseException, host: str, proxy: Proxy | None = None) -> tuple[str, str]:
    """What was seen, and what to do about it (empty: nothing but waiting). ``proxy`` is what stands
    between us and ``host``."""
    if proxy is not None and isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        broken = [one for one in _chain(error) if isinstance(one, ssl.SSLError)]
        if not broken:  # a certificate that came through it is the server's
            return _of_proxy(error, proxy), proxy.hint(host)
    for one in _chain(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return _certificate(one, host)
        if isinstance(one, ssl.SSLError):
            return f"no TLS with {host}: {one.reason or one}", "is it https:// on both sides?"
        if isinstance(one, socket.gaierror):
            return f"the name {host} is not known", ""
        if isinstance(one, ConnectionRefusedError):
            return f"{host} refused the connection: no server listens there", ""
        if isinstance(one, OSError) and one.errno is not None:
            return f"{host}: {one.strerror or one}", ""
    if isinstance(error, httpx2.ProxyError):
        named = f"the proxy {proxy.address} ({proxy.variable})" if proxy else "the proxy"
        return f"{named} says no: {error}", proxy.hint(host) if proxy else "see HTTPS_PROXY"
    if isinstance(error, httpx2.LocalProtocolError):
        # Its text repeats what it could not send, and that may be a secret.
        return "the request cannot be sent: a header would not be one", ""
    if isinstance(error, httpx2.ConnectTimeout):
        return f"no connection to {host} in time", ""
    if isinstance(error, httpx2.TimeoutException):
        return f"no answer from {host} in time", ""
    if isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError):
        return f"the connection to {host} was cut: {error or type(error).__name__}", ""
    return f"{host}: {error or type(error).__name__}", ""


def _of_proxy(error: BaseException, proxy: Proxy) -> str:
    named = f"the proxy {proxy.address} ({proxy.variable})"
    for one in _chain(error):
        if isinstance(one, socket.gaierror):
            return f"{named} is not known by that name"
        if isinstance(one, ConnectionRefusedError):
            return f"{named} refused the connection"
        if isinstance(one, OSError) and one.errno is not None:
            return f"{named}: {one.strerror or one}"
    return f"{named} does not answer"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what caused it; an HTTP library wraps the reason several times."""
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _certificate(error: ssl.SSLCertVerificationError, host: str) -> tuple[str, str]:
    message = error.verify_message
    if "expired" in message:
        return f"the certificate of {host} has expired", "renew it at the server"
    if "not yet valid" in message:
        return f"the certificate of {host} is not valid yet", "compare the clocks of both machines"
    if "mismatch" in message or "doesn't match" in message or "not valid for" in message:
        return f"the certificate is not for {host}: {message}", "use the name it was made for"
    return (
        f"the certificate of {host} is not trusted: {message}",
        "if an authority of your own signed it: cxlocal store join URL --code CODE --ca FILE",
    )
