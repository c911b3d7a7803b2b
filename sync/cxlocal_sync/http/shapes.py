"""What the bodies of the served store look like: described to others, and read by our client. Pure."""

from __future__ import annotations

import re
from typing import Any

from cxlocal.exchange.messages import PROTOCOL
from cxlocal.exchange.rights import NAMES_MAX
from cxlocal_sync.http import wire

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
DIGEST: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_MAYBE_TEXT: Schema = {"type": ["string", "null"]}
_MAYBE_NUMBER: Schema = {"type": ["number", "null"]}
_NAMES: Schema = {
    "type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": NAMES_MAX,
    "description": "Ids of deliverables; * stands for all.",
}  # fmt: skip
_RIGHTS: Schema = {
    "type": "object",
    "properties": {
        "take": _NAMES, "push": _NAMES, "read": _NAMES, "manage": {"type": "boolean"},
    },
    "additionalProperties": False,
}  # fmt: skip


def _object(required: Schema, **rest: Any) -> Schema:
    return {"type": "object", "properties": required, "required": list(required), **rest}


SCHEMAS: dict[str, Schema] = {
    "Error": _object(
        {
            "error": _TEXT, "what": _TEXT, "why": _TEXT, "hint": _TEXT,
            "exit_code": {"type": "integer"}, "data": {"type": "object"},
        },
        description="What went wrong, as the command line says it with --json.",
    ),
    "Health": _object(
        {
            "store": _TEXT, "protocol": {"const": PROTOCOL}, "cxlocal": _TEXT,
            "disk": _object({"free_bytes": _COUNT, "size_bytes": _COUNT}),
            "contacts": _object(
                {"machines": _COUNT, "within_a_day": _COUNT, "last_at": _MAYBE_TEXT}
            ),
            "certificate_days": _MAYBE_NUMBER,
            "backup": _object({"last_at": _MAYBE_TEXT, "age_hours": _MAYBE_NUMBER}),
        },
        description="numbers: what is handed out; unsynced: numbers (of a lender: events) of which no"
        " word came yet.",
    ),
    "Digests": _object({"digests": {"type": "array", "items": DIGEST, "maxItems": 1000}}),
    "Missing": _object({"missing": {"type": "array", "items": DIGEST}}),
    "Join": {
        "type": "object", "required": ["code", "token_sha256"],
        "properties": {"code": _TEXT, "token_sha256": DIGEST, "name": _TEXT},
    },
    "Joined": _object({"member": _TEXT, "rights": _RIGHTS, "lends": {"type": "boolean"}}),
    "Invite": {
        "type": "object", "required": ["name"],
        "properties": {
            "name": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}, "rights": _RIGHTS,
        },
    },
    "Invited": _object({"name": _TEXT, "code": _TEXT}),
    "Granted": _object({"name": _TEXT, "rights": _RIGHTS, "before": _RIGHTS}),
    "Revoke": _object({"name": _TEXT}),
    "Revoked": _object({"name": _TEXT, "machines": _COUNT}),
    "Loan": _object(
        {
            "deliverable": _TEXT, "line": _TEXT, "scheme": _TEXT, "run": _TEXT,
            "node": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            "actor": {"type": "object", "additionalProperties": _TEXT},
            "above": {"type": "integer", "minimum": -1},
        }
    ),
    "Lent": _object(
        {
            "line": _TEXT, "number": _COUNT, "text": _TEXT, "lineage": _TEXT, "generation": _COUNT,
            "k": _COUNT, "node": _TEXT,
        }
    ),
    "Line": _object({"deliverable": _TEXT, "line": _TEXT}),
    "Left": _object({"left": _COUNT, "locked": {"type": "boolean"}}),
    "Look": _object({"feed": {"type": "boolean"}}),
    "Pages": _object(
        {
            "address": {"type": "string", "pattern": "^https?://[!-~]+$"},
            "key": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        }
    ),
    "Members": {
        "type": "object", "required": ["members", "machines", "codes"],
        "properties": {
            "members": {"type": "array", "items": _object(
                {"name": _TEXT, "rights": _RIGHTS, "joined_at": _TEXT, "revoked_at": _MAYBE_TEXT}
            )},
            "machines": {"type": "array", "items": _object(
                {"node": _TEXT, "member": _MAYBE_TEXT, "first_at": _TEXT, "last_at": _TEXT}
            )},
            "codes": {
                "type": "array", "items": _object({"name": _MAYBE_TEXT, "until": _TEXT}),
            },
            "wrong_codes": _COUNT, "wrong_tokens": _COUNT,
        },
        "description": "The counts are for members who may invite.",
    },
}  # fmt: skip


ANSWERS = {
    wire.MISSING: "Missing", wire.JOIN: "Joined", wire.MEMBERS: "Members", wire.INVITE: "Invited",
    wire.GRANT: "Granted", wire.REVOKE: "Revoked", wire.LEND: "Lent", wire.LEFT: "Left",
    wire.PAGES: "Pages",
}  # fmt: skip
"""What a path answers, where our client reads it."""


def misfit(value: object, schema: Schema, at: str = "it") -> str:
    """Why ``value`` is not what ``schema`` (of ``SCHEMAS``) says; empty where it is.

    What a newer store says besides is let through.
    """
    allowed = schema.get("type", [])
    if not any(_is(value, kind) for kind in ([allowed] if isinstance(allowed, str) else allowed)):
        return f"{at} is not of the type {allowed}"
    if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
        return f"{at} is no text"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        return f"{at} is not of the form {schema['pattern']}"
    if isinstance(value, int) and value < schema.get("minimum", value):
        return f"{at} is too small"
    if isinstance(value, list):
        parts = [(f"{at}[{n}]", one, schema["items"]) for n, one in enumerate(value)]
    elif isinstance(value, dict):
        lacking = [name for name in schema.get("required", ()) if name not in value]
        if lacking:
            return f"{at} has no {lacking[0]}"
        known = schema.get("properties", {})
        parts = [(name, value[name], known[name]) for name in known if name in value]
    else:
        return ""
    return next(filter(None, (misfit(one, part, name) for name, one, part in parts)), "")


def _is(value: object, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


_TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
    "boolean": bool, "null": type(None),
}  # fmt: skip
