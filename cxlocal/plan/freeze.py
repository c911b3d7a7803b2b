"""A plan as bytes: canonical JSON and its digest, and back.

The same plan always gives the same bytes, whatever order its tables were written in.
"""

from __future__ import annotations

import hashlib

import msgspec

from cxlocal.errors import ConfigError
from cxlocal.plan.types import FORMAT, Plan
from cxlocal.version import VERSION

_encoder = msgspec.json.Encoder(order="sorted")


class _Format(msgspec.Struct):
    """Only as much of a plan as tells whether we can read it."""

    format: int


def freeze(plan: Plan) -> tuple[bytes, str]:
    """The plan as canonical JSON, and the SHA-256 of that in hexadecimal."""
    content = _encoder.encode(plan)
    return content, hashlib.sha256(content).hexdigest()


def thaw(content: bytes | str) -> Plan:
    """The plan in ``content``. Unknown fields of the same format are left aside.

    Raises ConfigError for a plan of a newer format, and for anything that is not a plan.
    """
    try:
        found = msgspec.json.decode(content, type=_Format).format
        if found > FORMAT:
            raise ConfigError(
                "this plan was frozen by a newer cxlocal",
                why=f"it has format {found}; cxlocal {VERSION} reads up to {FORMAT}",
                hint="continue the run with the cxlocal that began it, or a newer one",
                name="newer-plan",
            )
        return msgspec.json.decode(content, type=Plan)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ConfigError(
            "this is not a frozen plan", why=str(error), hint="cxlocal verify", name="bad-plan"
        ) from None
