"""What both ends of the wire agree on: paths, headers, limits (sync/README.md, 1.8 to 1.13)."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from cxlocal.address import public_address
from cxlocal.errors import ConfigError, UsageError
from cxlocal.exchange.messages import MESSAGE_BYTES_MAX

EXCHANGE = "/v1/exchange"
MISSING = "/v1/blobs/missing"
BLOB = "/v1/blobs/"
HEALTH = "/v1/health"
METRICS = "/metrics"
"""Where Prometheus looks."""
JOIN = "/v1/join"
MEMBERS = "/v1/members"
INVITE = "/v1/members/invite"
GRANT = "/v1/members/grant"
REVOKE = "/v1/members/revoke"
LEND = "/v1/lend"
LEFT = "/v1/lend/left"
PAGES = "/v1/pages"
"""Where a member asks for the address of the pages."""
DESCRIPTION = "/v1/openapi.json"

MESSAGE_TYPE = "application/vnd.cxlocal.message"
BYTES_TYPE = "application/octet-stream"
JSON_TYPE = "application/json"

EXCHANGE_BYTES_MAX = MESSAGE_BYTES_MAX
JSON_BYTES_MAX = 128 * 1024
"""Of a body that is no message and no blob: 1,000 digests with room to spare."""
DIGESTS_MAX = 1000


class BadRequest(UsageError):
    """A request that no client of cxlocal makes: it passes between programs."""

    default_name = "bad-request"

    def __init__(self, what: str, why: str, name: str | None = None) -> None:
        hint = f"GET {DESCRIPTION} describes what the store answers"
        super().__init__(what, why=why, hint=hint, name=name)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine, so that plain HTTP leaves nothing open."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(url: str) -> str:
    """The address of a served store in its one form, without a slash at its end.

    Raises ConfigError for plain HTTP to another machine, and for an address with a password, a
    query or a fragment: addresses are written into journals and shown.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _bad(url, str(error)) from error
    if parts.scheme not in ("http", "https") or not host:
        raise _bad(url, "it is not of the form https://HOST or https://HOST:PORT")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise _bad(host, "it holds a user name, a password, a query or a fragment")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigError(
            f"plain http:// is for stores on this machine, and {host} is another",
            why="whoever listens on the way would read the machine's token",
            hint=f"set [store] url to https://{host}; 'cxlocal serve' takes --cert and --key",
            name="plain-http",
        )
    shown = f"[{host}]" if ":" in host else host
    where = shown if port is None else f"{shown}:{port}"
    return f"{parts.scheme}://{where}{parts.path.rstrip('/')}"


def _bad(shown: str, why: str) -> ConfigError:
    return ConfigError(
        f"{public_address(shown)!r} is no address of a store",
        why=why,
        hint="set [store] url such as 'https://store.example.org:8377'",
        name="bad-store-address",
    )
