"""What the tool ``postgresql`` does at a database: it is made, migrated, asked and taken away.

Each migration is a transaction that takes a lock first and looks what is there: two deployments at once apply each
once, also through a pooler that hands a connection on after every transaction.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, LiteralString
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from cxlocal.errors import Trouble
from cxlocal.hooks.tool import Applied, Context, Done, Observed, Previewed, ToolFailure
from cxlocal.text import quoted
from cxlocal_plugins.migrations import Migration, NotAllowed, pending, read_migrations

CONNECT_SECONDS = 10
LOCK = 0x63786C6F63616C  # "cxlocal"
"""The advisory lock that whoever migrates a database holds."""
NAME_BYTES = 63
"""Of a database's name, at most."""
TABLE: LiteralString = """
CREATE TABLE IF NOT EXISTS cxlocal_migration (
    name text PRIMARY KEY, sha256 text NOT NULL, deliverable text NOT NULL, version text NOT NULL,
    run text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
"""
HAS_TABLE: LiteralString = "SELECT to_regclass('cxlocal_migration') IS NOT NULL"
HAS_ANY: LiteralString = (
    "SELECT EXISTS (SELECT FROM pg_class JOIN pg_namespace s ON s.oid = relnamespace"
    " WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast'))"
)
COMMENT: LiteralString = (
    "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
)


def provision(ctx: Context) -> Done:
    """Make the environment's database. Raises ToolFailure where one of that name is somebody else's."""
    if ctx.options.url:
        return Done()
    name = _database(ctx)
    ctx.intend({"database": name})
    with _connected(ctx, ctx.options.server) as link:
        if not _is_there(ctx, link, name):
            link.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        # Only the label makes it ours; an empty one without any was cut off here.
        label = sql.Literal(_label(ctx))
        link.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), label))
    return Done(details={"database": name})


def destroy(ctx: Context) -> Done:
    """Take the environment's database away, whoever uses it. Raises ToolFailure for somebody else's."""
    if ctx.options.url:
        return Done()
    name = _database(ctx)
    with _connected(ctx, ctx.options.server) as link:
        found = _is_there(ctx, link, name)
        link.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )
    return Done(details={"destroyed": found})


def preview(ctx: Context) -> Previewed:
    """The migrations that are still to be applied, or why they may not be. Raises ToolFailure for a folder that cannot
    be read."""
    files = _files(ctx)
    try:
        waiting = _unapplied(ctx, files)
    except NotAllowed as no:
        return Previewed(refuses=str(no))
    lost = [f"{one.name} destroys: {each}" for one in waiting for each in one.destroys]
    return Previewed(
        changes=(*(f"applies {one.name}" for one in waiting), *lost), destroys=bool(lost)
    )


def _unapplied(ctx: Context, files: list[Migration]) -> list[Migration]:
    """What is to be applied. Raises NotAllowed."""
    try:
        with _connected(ctx, _address(ctx)) as link:
            return _waiting(ctx, files, link)
    except psycopg.errors.InvalidCatalogName:
        return _allowed(ctx, files, {})


def apply(ctx: Context) -> Applied:
    """Apply what is still to be applied. Raises ToolFailure with the last whole and the first open one."""
    files = [] if ctx.back else _files(ctx)
    done = ""
    try:
        with _connected(ctx, _address(ctx)) as link:
            while files and (one := _next(ctx, files, link, done)):
                done = one
    except psycopg.errors.InvalidCatalogName as error:
        place = ctx.environment.name if ctx.environment else ""
        raise ToolFailure(
            f"the database {_database(ctx)} is not there, and the record here says that it was made: if another"
            " machine took it away, 'cxlocal sync' brings its word; otherwise 'cxlocal env destroy"
            f" {quoted(place)} {quoted(ctx.component)}' says so, and the next deployment makes it anew"
        ) from error
    return Applied(changed=bool(done), **_outputs(ctx))


def observe(ctx: Context) -> Observed:
    """What was applied last, and by which version."""
    try:
        with _connected(ctx, _address(ctx)) as link:
            rows = _rows(link, "SELECT version, name, count(*) OVER () FROM cxlocal_migration"
                         " ORDER BY applied_at DESC, name DESC LIMIT 1")  # fmt: skip
    except psycopg.errors.InvalidCatalogName:
        rows = []
    if not rows:
        return Observed()
    version, last, count = rows[0]
    return Observed(version=version, healthy=True, details={"last": last, "migrations": count})


def _next(ctx: Context, files: list[Migration], link: Any, done: str) -> str:
    """Apply the first that waits, in a transaction of its own; its name, empty where none waits."""
    current = ""
    try:
        with link.transaction():
            limit = sql.Literal(f"{int(ctx.options.limit * 1000)}ms")
            link.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(limit))
            link.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            link.execute(TABLE)
            waiting = _waiting(ctx, files, link)
            if not waiting:
                return ""
            current = waiting[0].name
            ctx.progress(f"applying {current}")
            link.execute(waiting[0].sql.encode())
            link.execute(
                "INSERT INTO cxlocal_migration (name, sha256, deliverable, version, run)"
                " VALUES (%s, %s, %s, %s, %s)",
                [current, waiting[0].sha256, ctx.deliverable, ctx.version, ctx.run],
            )
            return current
    except (ToolFailure, psycopg.Error) as error:
        what = current or "migrations"
        if isinstance(error, psycopg.errors.LockNotAvailable):
            words = f"{what}: somebody else holds a lock for {ctx.options.limit:.0f} s"
        else:
            words = f"{what}: {str(error).strip()}" if current else str(error).strip()
        left = Applied(changed=bool(done), last=done, open=current)
        raise ToolFailure(words, left) from error


def _files(ctx: Context) -> list[Migration]:
    folder = ctx.options.migrations
    return read_migrations(ctx.checkout / folder) if folder else []


def _waiting(ctx: Context, files: list[Migration], link: Any) -> list[Migration]:
    """What is to be applied. Raises NotAllowed, also where another deliverable migrates this database."""
    rows = _rows(link, "SELECT name, sha256, deliverable FROM cxlocal_migration")
    others = sorted({whose for _, _, whose in rows} - {ctx.deliverable})
    if others:
        raise NotAllowed(
            f"{others[0]} applies migrations to this database; give it here by its url alone"
        )
    return _allowed(ctx, files, {name: digest for name, digest, _ in rows})


def _allowed(ctx: Context, files: list[Migration], applied: dict[str, str]) -> list[Migration]:
    options = ctx.options
    ahead = options.schema_ahead or ctx.ahead
    return pending(files, applied, out_of_order=options.out_of_order, ahead=ahead)


def _rows(link: Any, query: LiteralString) -> list[tuple[Any, ...]]:
    """Of our table; none where it was never made."""
    if not link.execute(HAS_TABLE).fetchone()[0]:
        return []
    return list(link.execute(query).fetchall())


@contextmanager
def _connected(ctx: Context, address: str) -> Iterator[Any]:
    """A connection. Raises Trouble when the server is away, InvalidCatalogName without the database, ToolFailure
    for what it refuses then."""
    try:
        link = psycopg.connect(
            address, password=_password(ctx) or None, autocommit=True,
            connect_timeout=CONNECT_SECONDS, application_name="cxlocal",
        )  # fmt: skip
    except psycopg.OperationalError as error:
        if (
            f'database "{urlsplit(address).path[1:]}" does not exist' in str(error)
            and not ctx.options.url
        ):
            raise psycopg.errors.InvalidCatalogName(str(error)) from error
        raise Trouble(
            f"the database cannot be reached at {_shown(address)}",
            why=_in_one_line(str(error)),
            hint="look at its address, and at the secret that password names",
        ) from error
    try:
        yield link
    except psycopg.OperationalError as error:
        raise Trouble(
            f"the database at {_shown(address)} broke off",
            why=str(error).strip().splitlines()[-1],
            hint="look whether its server is up, then run this again",
        ) from error
    except psycopg.Error as error:
        raise ToolFailure(str(error).strip()) from error
    finally:
        link.close()


def _in_one_line(said: str) -> str:
    """What libpq says, which has lines of its own and tabs before what goes on: "A\\n\\tIs it …?"."""
    return "; ".join(
        dict.fromkeys(" ".join(line.split()) for line in said.splitlines() if line.strip())
    )


def _password(ctx: Context) -> str:
    name = ctx.options.password
    if name and name not in ctx.secrets:
        raise Trouble(
            f"the secret {name} is not here",
            why="password names it",
            hint=f"add secrets = [{name!r}] to the component",
        )
    return str(ctx.secrets[name]) if name else ""


def _address(ctx: Context) -> str:
    """The database of the environment."""
    if ctx.options.url:
        return str(ctx.options.url)
    return urlunsplit(urlsplit(str(ctx.options.server))._replace(path=f"/{_database(ctx)}"))


def _database(ctx: Context) -> str:
    """The name of the environment's database; another one for each run where it lives for one."""
    if isinstance(ctx.handle, dict) and isinstance(ctx.handle.get("database"), str):
        return str(ctx.handle["database"])
    if ctx.environment is None:
        raise ToolFailure("postgresql works in an environment")
    whole = f"{ctx.options.database or ctx.deliverable}_{ctx.environment.instance}"
    name = re.sub(r"\W", "_", whole.lower(), flags=re.ASCII)
    if name == whole and len(name) <= NAME_BYTES:
        return name
    # Names that differ in what was replaced stay apart.
    return f"{name[: NAME_BYTES - 9]}_{sha256(whole.encode()).hexdigest()[:8]}"


def _label(ctx: Context) -> str:
    place = ctx.environment.instance if ctx.environment else ""
    return json.dumps({"cxlocal": ctx.deliverable, "environment": place})


def _is_there(ctx: Context, link: Any, name: str) -> bool:
    """Whether the database is there. Raises ToolFailure for one that is not ours."""
    row = link.execute(COMMENT, [name]).fetchone()
    if row is None:
        return False
    if row[0] == _label(ctx):
        return True
    address = urlunsplit(urlsplit(ctx.options.server)._replace(path=f"/{name}"))
    with _connected(ctx, address) as inner:
        if row[0] or inner.execute(HAS_ANY).fetchone()[0]:
            raise ToolFailure(
                f"the database {name} is there and is not ours: {row[0] or 'no label'}"
            )
    return True


def _outputs(ctx: Context) -> dict[str, Any]:
    """What other components are told: the address, in secret where it holds a password."""
    parts, password = urlsplit(_address(ctx)), _password(ctx)
    outputs = {
        "url": _shown(_address(ctx)), "host": parts.hostname or "", "port": str(parts.port or 5432),
        "database": parts.path.lstrip("/"), "user": parts.username or "",
    }  # fmt: skip
    if not password and not parts.password:
        return {"outputs": outputs}
    user = quote(parts.username or "", safe="")
    host = parts.netloc.rpartition("@")[2]
    secret = quote(password, safe="") or str(parts.password)
    address = urlunsplit(parts._replace(netloc=f"{user}:{secret}@{host}"))
    return {"outputs": outputs, "secret_outputs": {"url": address}}


def _shown(address: str) -> str:
    """Without the password."""
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}"))
