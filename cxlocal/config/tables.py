"""What tables of configuration files are made of: the base of their types, the sentence about a key, durations."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec


def says(description: str, unit: str = "", **limits: Any) -> msgspec.Meta:
    """The sentence about a key, its unit, and the limits of its value."""
    # The unit goes into the schema too; editors show `$comment` or leave it aside.
    comment = {"$comment": f"unit: {unit}"} if unit else None
    return msgspec.Meta(description=description, extra_json_schema=comment, **limits)


Duration = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^\s*(\d{1,9}\s*[smhdwy]\s*)+$", examples=["90s", "15m", "1h 30m", "90d"]
    ),
]
"""Text such as ``90s``, ``15m``, ``1h 30m``, ``90d``, ``1y``."""

Names = list[str]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The base of every table."""
