"""Whether a person agreed, on this machine, to the address of a store that a repository names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxlocal.address import public_address
from cxlocal.exchange.destination import EMBEDDED, destination

if TYPE_CHECKING:
    from cxlocal.config.settings import Settings


def unagreed(
    settings: Settings, environ: Mapping[str, str], home: Path, key: str = "store.url"
) -> str:
    """The address (without passwords) that a repository names and nobody agreed to; else empty."""
    url = settings.store_lender if key == "store.lender" else settings.store_url
    # A variable, a flag, an agreed cx.local.toml and the user's own file are a person's word.
    if settings.origins[key] != "cx.toml" or url == EMBEDDED:
        return ""
    from cxlocal.config.agreement import read

    known = destination(url, environ, home) in read(home).addresses
    return "" if known else public_address(url)


def agree_to(
    home: Path, url: str, environ: Mapping[str, str], *, how: str, at: str, token: Any = None
) -> None:
    """Note that a person agreed to an address. ``token``: the source that was shown with it."""
    from cxlocal.config.agreement import agree, read

    address = destination(url, environ, home)
    before = read(home).addresses.get(address, {})
    agree(home, addresses={address: {"how": how, "at": at, "token": token or before.get("token")}})
