"""The address of a store as it may be shown, stored and compared: without what is secret in it.
Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from cxlocal.errors import UsageError
from cxlocal.patterns import compile_late
from cxlocal.text import parse_utc

_SECRET = ("password", "secret", "token", "scram")
"""What the name of a parameter holds whose value nobody may see."""


def public_address(url: str) -> str:
    """``url`` without its passwords; where it cannot be told apart, rather too little is left.

    ``postgresql://user:password@host/db?sslpassword=x`` becomes ``postgresql://user@host/db``.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        return _without_user(url)
    user, place = split_user(rest)
    name = user.partition(":")[0]
    rest = f"{name}@{place}" if name else place
    base, mark_query, query = rest.partition("?")
    kept = [part for part in query.split("&") if not is_secret(part)]
    return f"{scheme}://{base}{mark_query if kept and kept != [''] else ''}{'&'.join(kept)}"


def handed_address(url: str) -> str:
    """``url`` as programs get it that are to know no secret of it: without its passwords, and where it is
    one of a web server without the user, as the name alone may be a token."""
    scheme, mark, rest = public_address(url).partition("://")
    if mark and scheme.lower() in ("http", "https"):
        return f"{scheme}://{split_user(rest)[1]}"
    return f"{scheme}{mark}{rest}"


def passwords(url: str) -> list[str]:
    """What ``url`` holds that ``handed_address`` leaves out, as it is written and as it is meant."""
    scheme, mark, rest = url.partition("://")
    if not mark or handed_address(url) == url:
        return []
    user, place = split_user(rest)
    name, _, word = user.partition(":")
    found = [word or name if scheme.lower() in ("http", "https") else word]
    query = place.partition("?")[2]
    found += [part.partition("=")[2] for part in query.split("&") if is_secret(part)]
    return [one for each in found if each for one in dict.fromkeys((each, unquote(each)))]


def own_credentials(environ: Mapping[str, str]) -> list[str]:
    """The passwords and tokens that variables give cxlocal itself. A command may have been given them,
    too; what is logged of it does not show them."""
    found: list[str] = []
    for name, value in environ.items():
        if name.startswith(_OURS):
            found += [value] if name.endswith("_TOKEN") else passwords(value)
    return found


_OURS = ("CXLOCAL_STORE", "CXLOCAL_LENDER")

_HEAD = compile_late(r"[A-Za-z0-9+.-]*:[/\\]*")


def _without_user(text: str) -> str:
    """What is no address, as somebody mistyped one: whatever may hold a password is left out. The path
    of a file is no such thing."""
    if "@" not in text or text.startswith(("sqlite:", "folder:")):
        return text
    head = _HEAD.match(text)
    return ("" if head is None else head[0]) + text.rpartition("@")[2]


def argument_address(url: str | None) -> str | None:
    """``url`` as an argument of a command, which every user of the machine can see in the list of
    processes. Raises UsageError where it holds a password."""
    if url is not None and public_address(url) != url:
        raise UsageError(
            "a password does not belong into an argument",
            why="everybody on this machine can read the arguments of a command",
            hint="leave it out and put it into the file of PGPASSFILE (see docs/postgresql.md)",
            name="secret-argument",
        )
    return url


def split_user(rest: str) -> tuple[str, str]:
    """What stands before and after the ``@`` of an address (without its scheme). Where a password
    holds ``@``, ``/``, ``?`` or ``#`` as they are, all of it is on the left."""
    ends = [rest.index(char) for char in "/?#" if char in rest]
    authority = rest[: min(ends, default=len(rest))]
    if "@" in authority:
        user, _, _ = authority.rpartition("@")
        return user, rest[len(user) + 1 :]
    port = authority.rpartition(":")[2]
    if ":" in authority and "@" in rest and not port.isdigit() and "]" not in port:
        user, _, place = rest.rpartition("@")
        return user, place
    return "", rest


def is_secret(part: str) -> bool:
    """Whether a parameter (``name`` or ``name=value``) is one whose value nobody may see."""
    name = unquote(part.partition("=")[0]).lower()
    return any(word in name for word in _SECRET)


LIBPQ = {
    "host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT", "dbname": "PGDATABASE",
    "user": "PGUSER",
}  # fmt: skip
"""What says where a database is, and the variable libpq takes it from."""

_DATABASE = compile_late(
    r"postgresql://(?:(?P<user>[^@/?#]*)@)?(?P<hosts>[^@/?#]*)(?:/(?P<name>[^@/?#]*))?"
    r"(?:\?(?P<query>[^@?#]*))?"
)
"""The addresses of databases that can be read in one way only: libpq ends a user at the first ``@``
behind any ``?``, others do not."""


def database_parts(url: str) -> dict[str, str]:
    """The parts of an address as libpq names them: what it leaves empty is not there. Raises
    ValueError for one that may be read in two ways."""
    found = _DATABASE.fullmatch(url)
    if found is None:
        raise ValueError("not of the form postgresql://user@host:port/database?name=value")
    each = [_host_and_port(one) for one in found["hosts"].split(",")]
    parts = {
        "user": unquote((found["user"] or "").partition(":")[0]),
        "host": ",".join(unquote(host) for host, _ in each),
        "port": ",".join(port for _, port in each),
        "dbname": unquote(found["name"] or ""),
    }
    parts = {key: value for key, value in parts.items() if value}
    query = found["query"]
    told = [part.partition("=")[::2] for part in query.split("&")] if query else []
    named = {unquote(key): unquote(value) for key, value in told}
    if len(named) < len(told):
        raise ValueError("it names a parameter twice")
    return parts | named


def _host_and_port(text: str) -> tuple[str, str]:
    host, _, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    return (host, port) if host else (text.removesuffix(":"), "")


PLACEHOLDERS = (
    "run", "stage", "environment", "from", "to", "from_ms", "to_ms", "version", "deliverable",
    "commit", "ticket",
)  # fmt: skip
"""What may stand in braces in an address that pages lead to. ``from`` and ``to`` are UTC times."""
TICKET = compile_late(r"(?<![\w-])(?:[A-Z][A-Z0-9]{1,9}-|#)[0-9]{1,9}(?![\w-])")
"""What looks like a ticket in a commit message: SHOP-12, #12."""
TEMPLATE_CHARACTERS_MAX = 500
_PLACEHOLDER = compile_late(r"\{([^{}]*)\}")
_WEB = compile_late(r"https?://[A-Za-z0-9\[][^\s\\@<>\"'`]*", re.IGNORECASE)


def is_web_address(text: str) -> bool:
    """Whether a page may make a link of it: http or https, a host, nobody's name or password. Scripts,
    data, files and what a browser reads differently than it looks are none."""
    return _WEB.fullmatch(text) is not None and text.isprintable()


def template_problem(template: str) -> str:
    """Why pages cannot lead to a template of an address; empty where they can."""
    if len(template) > TEMPLATE_CHARACTERS_MAX:
        return f"it has more than {TEMPLATE_CHARACTERS_MAX} characters"
    unknown = [name for name in _PLACEHOLDER.findall(template) if name not in PLACEHOLDERS]
    if unknown:
        return f"{{{unknown[0]}}} is none of {', '.join(PLACEHOLDERS)}"
    bare = _PLACEHOLDER.sub("x", template)
    if "{" in bare or "}" in bare:
        return "a brace stands alone"
    if not is_web_address(bare):
        return "an address begins with https:// or http:// and a host, and names no user"
    host = re.split("[/?#]", template.partition("://")[2])[0]
    return "a placeholder stands in the host" if "{" in host else ""


def web_link(template: object, given: Mapping[str, str | None]) -> str:
    """The address a template makes of what is known; empty where it is none that a page may lead to, or
    something it names is not known."""
    if not isinstance(template, str) or template_problem(template):
        return ""
    if any(not given.get(name) for name in _PLACEHOLDER.findall(template)):
        return ""
    return _PLACEHOLDER.sub(lambda found: quote(given[found[1]] or "", safe=""), template)


def ticket_link(template: object, named: str) -> str:
    """The address of a ticket as a commit message names it (``SHOP-12``, ``#12``); as ``web_link``."""
    return web_link(template, {"ticket": named.lstrip("#")})


def stage_link(
    links: Mapping[str, object], kind: str, run: Mapping[str, Any], stage: Mapping[str, Any]
) -> str:
    """Where what a stage left elsewhere (``log``, ``metric``) can be looked at, for exactly its time;
    empty without a template, or where it needs what is not known."""
    given = {
        "run": run["run"], "stage": stage["stage"], "environment": stage["environment"],
        "version": run["version"], "deliverable": run["deliverable"], "commit": run["revision"],
        "from": stage["started_at"], "to": stage["finished_at"],
        "from_ms": _ms(stage["started_at"]), "to_ms": _ms(stage["finished_at"]),
    }  # fmt: skip
    known = {name: None if value is None else str(value) for name, value in given.items()}
    return web_link(links.get(kind), known)


def _ms(text: str | None) -> int | None:
    try:
        return parse_utc(text) if text else None
    except ValueError:
        return None
