"""What around us decides how a store is reached: variables of proxies, certificates and credentials.

Whatever a library raises because of them, while a contact is set up, means that nothing was reached: the
release goes on. Here it is found out which of them is to blame. Names are told, values never: they may
hold a password. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from cxlocal.address import public_address
from cxlocal.text import names_one
from cxlocal.values import NamedTuple

PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
CERTIFICATES = ("SSL_CERT_FILE", "SSLKEYLOGFILE")


class Proxy(NamedTuple):
    """What stands between us and a server."""

    variable: str
    address: str
    """Without a password."""

    def hint(self, host: str) -> str:
        """What to do when it does not work."""
        return f"start that proxy, unset {self.variable}, or add {host} to NO_PROXY"


def proxy_for(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy that HTTP libraries use for ``url``; None for none."""
    parts = urlsplit(url)
    excepted = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if _is_excepted((parts.hostname or "").lower(), excepted.lower()):
        return None
    for variable in (
        f"{parts.scheme}_proxy",
        f"{parts.scheme}_proxy".upper(),
        "all_proxy",
        "ALL_PROXY",
    ):
        value = environ.get(variable, "").strip()
        if value:
            address = public_address(value if "://" in value else f"http://{value}")
            return Proxy(variable, address.partition("://")[2] or address)
    return None


def _is_excepted(host: str, excepted: str) -> bool:
    names = [name.strip().lstrip(".") for name in excepted.split(",")]
    return any(name in ("*", host) or host.endswith(f".{name}") for name in names if name)


def blamed(text: str, environ: Mapping[str, str], names: Collection[str]) -> str:
    """Which of the variables called ``names`` (a name that ends in ``*`` stands for all that begin so) an
    error with this text is about, in words: those whose value it repeats, else those that no library can
    use, else all that are set. Empty where none is."""
    present = sorted(name for name in environ if environ[name] and names_one(names, name))
    repeated = [name for name in present if _repeats(text, environ[name].strip())]
    unusable = [
        name for name in present if not (environ[name].isascii() and environ[name].isprintable())
    ]
    found = repeated or unusable or present
    return (
        f"see the variable {found[0]}"
        if len(found) == 1
        else f"see {', '.join(found)}"
        if found
        else ""
    )


def _repeats(text: str, value: str) -> bool:
    return bool(value) and re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None
