"""What is really contacted at the address of a store: the form in which addresses are agreed to and
compared.

An address leaves things to its surroundings: libpq fills in variables and a service file, a bucket
its endpoint and region, a path its links. Whoever agrees to an address agrees to what comes of it
here and now; where the surroundings lead elsewhere later, it is another one. No password is in it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from cxlocal.address import LIBPQ, database_parts, is_secret

EMBEDDED = "sqlite:"
"""Where no store is configured: a file beside the journal."""

_PORTS = {"https": 443, "http": 80}
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")


def destination(url: str, environ: Mapping[str, str], home: Path) -> str:
    """What a store at ``url`` is, with all that ``environ`` adds; paths begin in ``home``. An
    address of no known kind stands for itself."""
    scheme = url.partition(":")[0]
    try:
        if scheme in _PORTS:
            return _served(url)
        if scheme in ("sqlite", "folder"):
            return _file(scheme, url, home)
        if scheme == "s3":
            return _bucket(url, environ)
        return _database(url, environ) if scheme == "postgresql" else url
    except ValueError:
        return url  # whoever opens it says what is wrong with it


def _served(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    port = parts.port or _PORTS[parts.scheme]
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{shown}:{port}{parts.path.rstrip('/')}{query}"


def _file(scheme: str, url: str, home: Path) -> str:
    rest = unquote(url.removeprefix(f"{scheme}:").removeprefix("//"))
    return f"{scheme}://{os.path.realpath(home / (rest or 'store.db'))}"


def _bucket(url: str, environ: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    for key, variables in (("endpoint", _ENDPOINTS), ("region", _REGIONS)):
        found = asked.get(key) or next((environ[v] for v in variables if environ.get(v)), "")
        asked[key] = found
    told = urlencode(sorted((key, value) for key, value in asked.items() if value))
    return f"s3://{parts.netloc}/{parts.path.strip('/')}" + (f"?{told}" if told else "")


def _database(url: str, environ: Mapping[str, str]) -> str:
    found = database_parts(url)
    service = found.pop("service", "") or environ.get("PGSERVICE", "")
    for key, value in _of_service(service, environ).items():
        found.setdefault(key, value)
    for key, variable in LIBPQ.items():
        if environ.get(variable):
            found.setdefault(key, environ[variable])
    hosts, port = found.pop("host", ""), found.pop("port", "")
    user = found.pop("user", "") or environ.get("USER", "")
    name = found.pop("dbname", "") or user
    told = urlencode(sorted((key, one) for key, one in found.items() if not is_secret(key)))
    where = f"{user}@{hosts}:{port or '5432'}/{name}"
    return f"postgresql://{where}" + (f"?{told}" if told else "")


def _of_service(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What the service file says; nothing without one. libpq takes it before its variables."""
    if not name:
        return {}
    named = environ.get("PGSERVICEFILE")
    personal = os.path.join(environ.get("HOME", ""), ".pg_service.conf")
    system = os.path.join(environ.get("PGSYSCONFDIR", ""), "pg_service.conf")
    for path in (named or personal, system):
        found = _section(path, name)
        if found is not None:
            return found
    return {"service": name}


def _section(path: str, name: str) -> dict[str, str] | None:
    try:
        text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    found: dict[str, str] | None = None
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            if found is not None:
                break
            found = {} if line.startswith(f"[{name}]") else None
        elif found is not None and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, value)
    return found
