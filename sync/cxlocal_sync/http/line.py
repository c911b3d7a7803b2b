"""The line to a server: requests within a time, by the standard library, in words when it fails.

The whole of a request, looking up the name included, happens in a thread that is waited for as long
as the caller allows and then left behind. Time limits of sockets hold for one read each, and a
server that sends a byte a second, or a name server that does not answer, would pass them all.

A request that met a connection which had been lying idle, and was closed by the other end
meanwhile, is sent a second time.
"""

from __future__ import annotations

import base64
import os
import re
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from math import ceil
from urllib.parse import unquote, urlsplit

from cxlocal.clock import SystemClock
from cxlocal.errors import ConfigError, CxError
from cxlocal.patterns import compile_late
from cxlocal.values import NamedTuple
from cxlocal_sync.http import wire
from cxlocal_sync.surroundings import CERTIFICATES, PROXIES, Proxy, blamed, proxy_for

CONNECT_SECONDS = 2.0
"""How long a connection may take."""
IDLE_SECONDS = 20.0
"""A connection idle for longer is not used again; the server keeps it a little longer."""
UNKNOWN_ISSUER = (19, 20, 21)
"""What OpenSSL calls a chain whose authority it did not find."""
_MAYBE_TLS = "a server with TLS ends what comes without it: does the address begin with https://?"
CUT = (HTTPException, ConnectionError)
"""What ends an exchange on a connection that was there."""

Request = tuple[str, str, bytes, dict[str, str]]
"""Method, address, body, headers."""


class HttpAnswer(NamedTuple):
    """What came back."""

    status: int
    content: bytes
    is_json: bool
    after_seconds: int = 0
    """How long to stay away, where it says so (Retry-After)."""


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
        self.proxy: Proxy | None = None
        self.used_at: float | None = None
        """When the connection was last used (monotonic); None while it is fresh."""
        self._find_authority = find_authority
        self._connection: HTTPConnection | None = None
        self._by_hash = True
        """Authorities of the system are looked for in the folder of their hashes alone."""

    def ask(self, request: Request, timeout: float, longest: int) -> HttpAnswer:
        """Send ``request``; its answer, of ``longest`` bytes at most, within ``timeout`` seconds.

        Raises NoAnswer, and ConfigError where the certificate is wrong.
        """
        now = SystemClock().monotonic
        if self.used_at is not None and now() > self.used_at + IDLE_SECONDS:
            self.close()
        asking = _Asking(self, self._open(), request, max(timeout, 0.001), longest)
        answer, error = asking.wait()
        if answer is not None:
            self.used_at = now()
            return answer
        if error is None:
            # The thread closes its connection when it comes back; nobody uses it again.
            self._connection = self.used_at = None
            raise NoAnswer(f"no answer from {self.host} in time")
        self.close()
        if isinstance(error, NoAnswer):
            raise error
        plain = self.url.startswith("http:")
        raise NoAnswer(*explain(error, self.host, plain=plain)) from error

    def close(self) -> None:
        """Close the connection; the next request makes another."""
        connection, self._connection, self.used_at = self._connection, None, None
        if connection is not None:
            connection.close()

    def _open(self) -> HTTPConnection:
        if self._connection is None:
            self.proxy = None if self.url.startswith("http:") else proxy_for(self.url, os.environ)
            try:
                self._connection = self._new()
            except CxError:
                raise
            except Exception as error:  # whatever a variable makes a library raise
                raise NoAnswer(*explain_setting_up(error, os.environ)) from error
        return self._connection

    def trust_more(self) -> HTTPConnection | None:
        """After a certificate whose issuer is not known: a connection that trusts all that the system
        does; None where this one did."""
        if not self._by_hash or self._find_authority():
            return None
        self._by_hash = False
        self._connection = self._new()
        return self._connection

    def _new(self) -> HTTPConnection:
        parts = urlsplit(self.url)
        if parts.scheme == "http":
            # Plain HTTP stays on this machine: a proxy would be another one.
            return HTTPConnection(self.host, parts.port or 80)
        trust = _trust(self._find_authority(), by_hash=self._by_hash)
        if self.proxy is None:
            return HTTPSConnection(self.host, parts.port or 443, context=trust)
        host, port, headers = read_proxy(os.environ[self.proxy.variable].strip())
        connection = HTTPSConnection(host, port, context=trust)
        connection.set_tunnel(self.host, parts.port or 443, headers)
        return connection


def read_proxy(value: str) -> tuple[str, int, dict[str, str]]:
    """Host and port of the proxy in a variable, and what it is told. Raises ValueError for one that is
    not reached by plain HTTP, which no message repeats: there may be a password in it."""
    parts = urlsplit(value if "://" in value else f"http://{value}")
    if parts.scheme != "http" or not parts.hostname or not parts.hostname.isascii():
        raise ValueError("a proxy is written http://HOST:PORT")
    headers = {}
    if parts.username is not None:
        known = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(known.encode()).decode()}"
    try:
        port = parts.port or 80
    except ValueError:
        raise ValueError("the port of the proxy is none") from None
    return parts.hostname, port, headers


def _trust(authority: str, *, by_hash: bool) -> ssl.SSLContext:
    """What is believed to be a server: the one authority, those of a variable, or the system's."""
    if not authority:
        file, folder = (os.environ.get(f"SSL_CERT_{what}") for what in ("FILE", "DIR"))
        if file or folder:
            return ssl.create_default_context(cafile=file or None, capath=folder or None)
        return _trust_of_the_system(by_hash)
    try:
        return ssl.create_default_context(cadata=authority)
    except ssl.SSLError as error:
        raise ConfigError(
            "the file of --ca holds no certificate",
            why=str(error),
            hint="it must be PEM text: -----BEGIN CERTIFICATE-----",
            name="bad-authority",
        ) from error


_HASHED = compile_late(r"[0-9a-f]{8}\.\d")


def _trust_of_the_system(by_hash: bool) -> ssl.SSLContext:
    """The authorities of the system. ``by_hash``: where each lies in a file named by its hash, OpenSSL reads
    the one it needs, and not a bundle of all at each start."""
    if sys.platform == "darwin":
        try:
            import truststore
        except ImportError:
            return ssl.create_default_context()
        found: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return found
    folder = ssl.get_default_verify_paths().openssl_capath
    hashed = by_hash and os.path.isdir(folder) and any(map(_HASHED.fullmatch, os.listdir(folder)))
    return ssl.create_default_context(capath=folder if hashed else None)


class _Asking:
    """One request in a thread of its own."""

    def __init__(
        self, line: Line, connection: HTTPConnection, request: Request, timeout: float, longest: int
    ) -> None:  # fmt: skip
        self._line = line
        self._connection = connection
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
            self._connection.close()

    def _send(self) -> HttpAnswer:
        try:
            return self._once()
        except CUT:
            if self._line.used_at is None or self._given_up:
                raise
            self._connection.close()
            return self._once()

    def _once(self) -> HttpAnswer:
        method, url, content, headers = self._request
        if self._connection.sock is None:
            self._connect()
        connection = self._connection
        connection.sock.settimeout(self._timeout)
        target = urlsplit(url)._replace(scheme="", netloc="").geturl()
        with suppress(BrokenPipeError, ConnectionResetError):
            # Who refuses a long body may have answered before it was sent; what was cut has no answer.
            connection.request(method, target, body=content or None, headers=headers)
        with connection.getresponse() as response:
            found = response.read(self._longest + 1)
            if len(found) > self._longest:
                raise NoAnswer(f"its answer has more than {self._longest} bytes")
            if response.length:
                raise IncompleteRead(found, response.length)
            if response.status == 200 and response.length is None and not response.chunked:
                raise HTTPException("it does not say how long its answer is")
            kind, after, date = (
                response.headers.get(name, "") for name in ("content-type", "retry-after", "date")
            )
            seconds = seconds_to_wait(after, date, SystemClock().now_ms() / 1000) if after else 0
            return HttpAnswer(response.status, found, kind.startswith(wire.JSON_TYPE), seconds)

    def _connect(self) -> None:
        proxy, host = self._line.proxy, self._line.host
        try:
            self._shake_hands()
        except ssl.SSLError:
            raise  # a certificate that came through a proxy is the server's
        except OSError as error:
            if proxy is not None:
                raise NoAnswer(_of_proxy(error, proxy), proxy.hint(host)) from error
            if isinstance(error, TimeoutError):
                raise NoAnswer(f"no connection to {host} in time") from error
            raise

    def _shake_hands(self) -> None:
        self._connection.timeout = min(CONNECT_SECONDS, self._timeout)
        try:
            self._connection.connect()
        except ssl.SSLCertVerificationError as error:
            other = self._line.trust_more() if error.verify_code in UNKNOWN_ISSUER else None
            if other is None:
                raise
            self._connection.close()
            self._connection = other
            other.timeout = min(CONNECT_SECONDS, self._timeout)
            other.connect()


def seconds_to_wait(after: str, date: str, now: float) -> int:
    """What ``Retry-After`` says, in whole seconds; 0 where it says nothing that can be read. A time in it is
    one of the clock that wrote it, which is the one of ``Date``; ``now`` (seconds since 1970) where there is
    none. Pure."""
    if after.isascii() and after.isdigit():
        return int(after[:9])
    until, written = _seconds_of(after), _seconds_of(date)
    return 0 if until is None else max(0, ceil(until - (now if written is None else written)))


def _seconds_of(date: str) -> float | None:
    try:
        found = parsedate_to_datetime(date)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


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


def explain(error: BaseException, host: str, *, plain: bool = False) -> tuple[str, str]:
    """What was seen, and what to do about it (empty: nothing but waiting). ``plain``: it was asked without
    TLS, which a server with it cuts off."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(error, host)
    if isinstance(error, ssl.SSLError):
        return f"no TLS with {host}: {error.reason or error}", "is it https:// on both sides?"
    if isinstance(error, socket.gaierror):
        return f"the name {host} is not known", ""
    if isinstance(error, ConnectionRefusedError):
        return f"{host} refused the connection: no server listens there", ""
    if isinstance(error, OSError) and error.errno is not None:
        return f"{host}: {error.strerror or error}", _MAYBE_TLS * (
            plain and isinstance(error, ConnectionResetError)
        )
    if isinstance(error, TimeoutError):
        return f"no answer from {host} in time", ""
    if isinstance(error, CUT):
        said = " ".join(str(error).split())[:200] or type(error).__name__
        return f"the connection to {host} was cut: {said}", _MAYBE_TLS * plain
    if isinstance(error, ValueError):
        # Its text repeats what it could not send, and that may be a secret.
        return "the request cannot be sent: a header would not be one", ""
    return f"{host}: {error or type(error).__name__}", ""


def _of_proxy(error: OSError, proxy: Proxy) -> str:
    named = f"the proxy {proxy.address} ({proxy.variable})"
    if isinstance(error, socket.gaierror):
        return f"{named} is not known by that name"
    if isinstance(error, ConnectionRefusedError):
        return f"{named} refused the connection"
    if isinstance(error, TimeoutError):
        return f"{named} does not answer"
    if error.errno is not None:
        return f"{named}: {error.strerror or error}"
    return f"{named} says no: {error}"


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
