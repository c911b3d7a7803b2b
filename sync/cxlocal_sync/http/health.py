"""How a served store is: what ``GET /v1/health`` and ``GET /metrics`` say. Pure.

Anybody who reaches the server may ask, so there is no name in it: neither of members and machines nor
of deliverables.
"""

from __future__ import annotations

from typing import Any

from cxlocal.exchange.messages import PROTOCOL
from cxlocal.text import utc_text
from cxlocal.values import NamedTuple
from cxlocal.version import VERSION

DAY_MS = 24 * 3600 * 1000
WELL, STOPPED, SILENT = 200, 409, 503
"""Statuses: all is well; the store answers and hands out no numbers, which wants a person; it does not
answer. They differ so that who spreads requests may go on sending to a store that has only stopped."""


class Contacts(NamedTuple):
    """Members and their machines."""

    members: int = 0
    machines: int = 0
    lately: int = 0
    """Machines in contact within a day."""
    newest_ms: int | None = None
    """The last contact of any; UTC."""
    wrong_codes: int = 0
    wrong_tokens: int = 0


class Disk(NamedTuple):
    """The file system that store and members lie on."""

    free_bytes: int
    size_bytes: int


class Look(NamedTuple):
    """What the store says of itself (``cxlocal_sync.stores.condition``)."""

    stopped: bool = False
    """No numbers at all are handed out."""
    stopped_deliverables: int = 0
    """Of how many deliverables none are."""
    unreported: int = 0
    """Numbers handed out lately of whose runs nothing came yet."""
    position: int = 0


class Health(NamedTuple):
    """One look at everything."""

    at_ms: int
    look: Look | None
    """None where no store answers."""
    contacts: Contacts = Contacts()
    disk: Disk | None = None
    certificate_ms: int | None = None
    """When the certificate in use ends; None without TLS."""
    backup_ms: int | None = None
    """When the last backup was made; None where nobody said that one was."""
    unsent: int | None = None
    """Events that wait on a lender; None where a store is served."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        if self.unsent is not None:
            return WELL
        if self.look is None:
            return SILENT
        return STOPPED if self.look.stopped or self.look.stopped_deliverables else WELL

    @property
    def certificate_days(self) -> float | None:
        """Until the certificate ends; negative afterwards."""
        if self.certificate_ms is None:
            return None
        return round((self.certificate_ms - self.at_ms) / DAY_MS, 1)

    def as_json(self) -> dict[str, Any]:
        """The answer of ``GET /v1/health``."""
        known: dict[str, Any] = {"cxlocal": VERSION, "protocol": PROTOCOL}
        if self.unsent is not None:
            known |= {"store": "none: this machine lends numbers", "unsynced": self.unsent}
        elif self.look is None:
            known |= {"store": "does not answer"}
        else:
            known |= {
                "store": "answers", "numbers": _words(self.look),
                "unsynced": self.look.unreported,
            }  # fmt: skip
        if self.disk is not None:
            known["disk"] = self.disk._asdict()
        contacts = self.contacts
        known["contacts"] = {
            "machines": contacts.machines, "within_a_day": contacts.lately,
            "last_at": _text(contacts.newest_ms),
        }  # fmt: skip
        known["certificate_days"] = self.certificate_days
        known["backup"] = {
            "last_at": _text(self.backup_ms),
            "age_hours": None
            if self.backup_ms is None
            else round((self.at_ms - self.backup_ms) / 3_600_000, 1),
        }
        return known


def _words(look: Look) -> str:
    if look.stopped:
        return "stopped"
    if look.stopped_deliverables:
        return f"stopped for {look.stopped_deliverables} deliverables"
    return "handed out"


def _text(time_ms: int | None) -> str | None:
    return None if time_ms is None else utc_text(time_ms)
