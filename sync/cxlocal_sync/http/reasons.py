"""Why a request over HTTP failed, in words an operator can act on."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import httpx2


def explain(error: BaseException, host: str) -> tuple[str, str]:
    """What was seen, and what to do about it (empty: nothing but waiting)."""
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
        return f"the proxy says no: {error}", "see HTTPS_PROXY and NO_PROXY"
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
