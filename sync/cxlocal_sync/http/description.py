"""The OpenAPI description of the served store, for people and tools that are not cxlocal."""

from __future__ import annotations

from typing import Any

from cxlocal.exchange.messages import PROTOCOL
from cxlocal.exchange.rights import NAMES_MAX
from cxlocal.version import VERSION
from cxlocal_sync.http import wire

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_DIGEST: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
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


_SCHEMAS: dict[str, Schema] = {
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
    "Digests": _object({"digests": {"type": "array", "items": _DIGEST, "maxItems": 1000}}),
    "Missing": _object({"missing": {"type": "array", "items": _DIGEST}}),
    "Join": {
        "type": "object", "required": ["code", "token_sha256"],
        "properties": {"code": _TEXT, "token_sha256": _DIGEST, "name": _TEXT},
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
    "Members": _object(
        {
            "members": {"type": "array", "items": _object({"name": _TEXT, "rights": _RIGHTS})},
            "machines": {"type": "array", "items": _object({"node": _TEXT, "last_at": _TEXT})},
            "codes": {
                "type": "array", "items": _object({"name": _MAYBE_TEXT, "until": _TEXT}),
            },
            "wrong_codes": _COUNT, "wrong_tokens": _COUNT,
        }
    ),
}  # fmt: skip

_BINARY = {"schema": {"type": "string", "format": "binary"}}


def _content(schema: str) -> Schema:
    return {wire.JSON_TYPE: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _errors(*statuses: int) -> Schema:
    texts = {
        400: "The request cannot be read", 401: "No token, or one nobody has",
        403: "The member may not", 404: "There is no such thing", 409: "Not the bytes named",
        413: "Too long", 429: "Too often", 500: "The server made a mistake",
        503: "The store behind does not answer, or has too much to do",
    }  # fmt: skip
    return {
        str(status): {"description": texts[status], "content": _content("Error")}
        for status in (*statuses, 429, 500, 503)
    }


def _operation(
    name: str, summary: str, answer: Schema, errors: tuple[int, ...], *, body: Schema | None = None,
    member: bool = True, parameters: tuple[Schema, ...] = (),
) -> Schema:  # fmt: skip
    found: Schema = {
        "operationId": name,
        "summary": summary,
        "responses": {
            "200": {"description": "Done", "content": answer},
            **_errors(*errors, *((401,) if member else ())),
        },
    }
    if body is not None:
        found["requestBody"] = {"required": True, "content": body}
    if parameters:
        found["parameters"] = list(parameters)
    if not member:
        found["security"] = []
    return found


_ABOUT: Schema = {
    "title": "cxlocal store", "version": VERSION,
    "description": "What the messages are: sync/README.md of cxlocal.",
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}  # fmt: skip


def _health() -> Schema:
    found = _operation(
        "health", "How server and store are", _content("Health"), (), member=False
    )  # fmt: skip
    found["responses"] |= {
        "409": {"description": "Numbers are stopped", "content": _content("Health")},
        "503": {"description": "The store does not answer", "content": _content("Health")},
    }
    return found


def describe() -> Schema:
    """The description as an OpenAPI 3.1 document."""
    digest = {"name": "digest", "in": "path", "required": True, "schema": _DIGEST}
    return {
        "openapi": "3.1.0",
        "info": _ABOUT,
        "security": [{"token": []}],
        "paths": {
            wire.EXCHANGE: {"post": _operation(
                "exchange", "One message, one transaction, one answer", {wire.MESSAGE_TYPE: _BINARY},
                (400, 413), body={wire.MESSAGE_TYPE: _BINARY},
            )},
            wire.MISSING: {"post": _operation(
                "missing", "Which blobs the store lacks", _content("Missing"), (400, 413),
                body=_content("Digests"),
            )},
            wire.BLOB + "{digest}": {
                "put": _operation(
                    "put", "Keep a blob", {wire.JSON_TYPE: {"schema": {"type": "object"}}},
                    (400, 403, 409, 413), body={wire.BYTES_TYPE: _BINARY}, parameters=(digest,),
                ),
                "get": _operation(
                    "get", "A blob by its SHA-256", {wire.BYTES_TYPE: _BINARY}, (400, 403, 404),
                    parameters=(digest,),
                ),
            },
            wire.HEALTH: {"get": _health()},
            wire.METRICS: {"get": _operation(
                "metrics", "The same and more, for Prometheus",
                {"text/plain": {"schema": {"type": "string"}}}, (), member=False,
            )},
            wire.JOIN: {"post": _operation(
                "join", "Enrol by a one-time code", _content("Joined"), (400, 401, 403, 413),
                body=_content("Join"), member=False,
            )},
            wire.MEMBERS: {"get": _operation(
                "members", "Who is enrolled, and who was in contact when", _content("Members"), ()
            )},
            wire.INVITE: {"post": _operation(
                "invite", "A one-time code", _content("Invited"), (400, 403, 413),
                body=_content("Invite"),
            )},
            wire.GRANT: {"post": _operation(
                "grant", "Other rights for a member, which keeps its token", _content("Granted"),
                (400, 403, 404, 413), body=_content("Invite"),
            )},
            wire.REVOKE: {"post": _operation(
                "revoke", "End a member and its machines", _content("Revoked"),
                (400, 403, 404, 413), body=_content("Revoke"),
            )},
            wire.LEND: {"post": _operation(
                "lend", "A number for a run out of this machine's reserve ('serve --lend')",
                _content("Lent"), (400, 403, 409, 413), body=_content("Loan"),
            )},
            wire.LEFT: {"post": _operation(
                "left", "How many numbers of a line this machine could lend", _content("Left"),
                (400, 403, 413), body=_content("Line"),
            )},
            wire.DESCRIPTION: {"get": _operation(
                "description", "This document",
                {wire.JSON_TYPE: {"schema": {"type": "object"}}}, (), member=False,
            )},
        },
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }  # fmt: skip
