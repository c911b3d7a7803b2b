"""Members of a served store, looked after where their file is: without a token."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from cxlocal.address import public_address
from cxlocal.errors import UsageError
from cxlocal.exchange.rights import rights_from_json
from cxlocal_sync.http.codes import check_name
from cxlocal_sync.http.members import Members
from cxlocal_sync.stores.sqlite import path_of

ADDRESS = "address"
"""The value under which a server remembers where machines reach it."""

AUTHORITY = "authority"
"""The value that names the file of an authority of one's own, as ``serve --ca`` did."""

BACKUP = "backup_at"
"""The value that says when the last backup ended well; UTC."""

PAGES = "pages"
"""The value that says where the pages are, once they were served."""

LENDS = "lends"
"""The value that is not empty where numbers are lent and no store is served."""


def members_path(url: str, home: Path) -> Path:
    """Where the members of a served store are kept: beside an embedded store, else in ``home``."""
    if url.startswith("sqlite:"):
        path = path_of(url, home)
        return path.with_name(f"{path.name}.members")
    return home / f"served-{sha256(public_address(url).encode()).hexdigest()[:16]}.members"


class LocalManagement:
    """What ``HttpStore`` offers for members, on the file itself."""

    def __init__(self, url: str, path: Path) -> None:
        self.url = public_address(url)
        if not path.is_file():
            raise UsageError(
                "this machine does not serve that store",
                why=f"there is no {path}",
                hint="cxlocal serve --store URL   begins to; elsewhere name its https:// address",
                name="not-served",
            )
        self._members = Members(path)

    def members(self) -> dict[str, Any]:
        """Who is enrolled, and which machines were in contact when."""
        return self._members.listing()

    def invite(self, name: str, rights: Mapping[str, Any]) -> dict[str, Any]:
        """A one-time code, and the address to use it at."""
        code = self._members.invite(check_name(name), rights_from_json(rights))
        address, authority = map(self._members.value, (ADDRESS, AUTHORITY))
        return {"name": name, "code": code, "url": address, "authority_file": authority}

    def grant(self, name: str, rights: Mapping[str, Any]) -> dict[str, Any]:
        """Other rights for a member; its token stays."""
        before = self._members.grant(name, rights_from_json(rights))
        return {"name": name, "rights": dict(rights), "before": before.as_json()}

    def revoke(self, name: str) -> dict[str, Any]:
        """End a member and its machines."""
        return {"name": name, "machines": self._members.revoke(name)}

    def close(self) -> None:
        """Let go of the file."""
        self._members.close()
