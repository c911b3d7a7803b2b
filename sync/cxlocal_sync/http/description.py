"""The OpenAPI description of the served store, for people and tools that are not cxlocal."""

from __future__ import annotations

from cxlocal.version import VERSION
from cxlocal_sync.http import wire
from cxlocal_sync.http.shapes import DIGEST, SCHEMAS, Schema

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


def _blob() -> Schema:
    digest = {"name": "digest", "in": "path", "required": True, "schema": DIGEST}
    nothing = {wire.JSON_TYPE: {"schema": {"type": "object"}}}
    return {
        "put": _operation(
            "put", "Keep a blob", nothing, (400, 403, 409, 413), body={wire.BYTES_TYPE: _BINARY},
            parameters=(digest,),
        ),
        "get": _operation(
            "get", "A blob by its SHA-256", {wire.BYTES_TYPE: _BINARY}, (400, 403, 404),
            parameters=(digest,),
        ),
        "delete": _operation("drop", "Have a blob no more", nothing, (400, 403), parameters=(digest,)),
    }  # fmt: skip


def _left() -> Schema:
    words = "How many numbers of a line this machine could lend"
    return _operation("left", words, _content("Left"), (400, 403, 413), body=_content("Line"))


def describe() -> Schema:
    """The description as an OpenAPI 3.1 document."""
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
            wire.BLOB + "{digest}": _blob(),
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
            wire.LEFT: {"post": _left()},
            wire.PAGES: {"post": _operation(
                "pages", "Where this member's pages are: a key that opens them once, or one of feeds",
                _content("Pages"), (400, 403, 413), body=_content("Look"),
            )},
            wire.DESCRIPTION: {"get": _operation(
                "description", "This document",
                {wire.JSON_TYPE: {"schema": {"type": "object"}}}, (), member=False,
            )},
        },
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }  # fmt: skip
