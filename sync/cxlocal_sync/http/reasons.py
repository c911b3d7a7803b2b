"""Why a request over HTTP failed, in words an operator can act on."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping

import httpx2

from cxlocal_sync.surroundings import CERTIFICATES, PROXIES, Proxy, blamed


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
