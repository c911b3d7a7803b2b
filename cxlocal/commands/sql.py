"""``cxlocal sql``: one reading statement over the journal, or one of the stored queries."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.output import Output, put, rows_options, write_rows
from cxlocal.commands.terminal import say, warn
from cxlocal.config.problems import near
from cxlocal.errors import CxError, JournalDamaged, Refused, Trouble, UsageError
from cxlocal.exchange.state import store_state
from cxlocal.journal.rebuild import catch_up
from cxlocal.projection.asked import HOW_TO_WRITE, NOT_A_TIME, SINCE_ROWS
from cxlocal.projection.functions import FUNCTIONS, add_functions
from cxlocal.text import quoted

LIMIT_SECONDS = 30.0
"""A reader keeps writers waiting; after this a query is better asked of a copy."""
VALUE_BYTES_MAX = 16 * 1024 * 1024
"""Of one value: above any document, and below what would be felt."""
HEAP_BYTES_MAX = 96 * 1024 * 1024
"""What SQLite may need for a statement; sorting goes to a file beyond its cache."""
TABLE_BYTES_MAX = 16 * 1024 * 1024
"""Of the values of a table, which is laid out as a whole: its cells take some ten times as much."""
ASIDE_BYTES_MAX = 256 * 1024 * 1024
"""Of the values that are written row by row; they wait in a temporary file."""
CHUNK_BYTES = 1024 * 1024
CHECK_EVERY = 10_000
"""Steps of SQLite's machine between two looks at the clock: well below a millisecond apart."""
READING_PRAGMAS = ("table_info", "table_xinfo", "table_list", "index_list", "index_info",
                   "foreign_key_list", "user_version", "application_id")  # fmt: skip


@command(
    examples=[
        ("cxlocal sql 'SELECT * FROM release_board'", "what is live where"),
        ("cxlocal sql --list", "stored queries: the usual questions"),
        ("cxlocal sql -q version-history -p version 2.7.14", "run one of them"),
        ("cxlocal sql 'SELECT * FROM run' --csv", "for a spreadsheet"),
    ]
)
@click.argument("statement", required=False)
@click.option("-q", "--query", metavar="NAME", help="A stored query instead of a statement.")
@click.option(
    "-p", "--param", "parameters", nargs=2, multiple=True, metavar="NAME VALUE",
    help="Value of :NAME in the statement.",
)  # fmt: skip
@click.option("--list", "listing", is_flag=True, help="List the stored queries.")
@click.option(
    "--store", metavar="ADDRESS", help="Of several journals the one of this store; a part will do."
)
@rows_options
@pass_app
def sql(
    app: App,
    statement: str | None,
    query: str | None,
    parameters: tuple[tuple[str, str], ...],
    listing: bool,
    store: str | None,
    output: Output,
) -> None:
    """Ask the journal in SQL; nothing can be changed by it.

    One SELECT, 30 seconds at most. Tables and views are described in docs/schema.md; values for
    :NAME are given with -p.
    """
    if listing:
        _list(output)
        return
    text, given = _chosen(statement, query, dict(parameters))
    with app.journal(create=False, path=_where(app, store)) as journal:
        # Opening it for writing once repairs what a killed process left, and reading sees all.
        catch_up(journal)
        path = journal.path
        if len(app.journal_paths()) > 1 and output.for_people:
            say(f"Asked: the journal of {store_state(journal.connection).url or 'no store yet'}")
    bound_heap()
    if output.shape == "table" or output.fmt is not None:
        names, rows = read(path, text, given, app.clock.monotonic)
        write_rows([dict(zip(names, row, strict=True)) for row in rows], names, output)
        if not rows and output.for_people:
            say("No rows.")
        empty = not rows
    else:
        empty = not _write_aside(path, text, given, app.clock.monotonic, output)
    if empty and query is not None:
        for words in _misnamed(path, given):
            warn(words)


def _where(app: App, store: str | None) -> Path | None:
    """The journal of a store that is named; None for that of the project, or the only one."""
    if store is None:
        return None
    from cxlocal.commands.journals import journal_named

    return journal_named(app, store)


def bound_heap() -> None:
    """For the rest of this process: what SQLite needs for sorting, joining and putting texts together
    stays within ``HEAP_BYTES_MAX``."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        # sql: a number of ours, and PRAGMA takes no parameters
        connection.execute(f"PRAGMA hard_heap_limit={HEAP_BYTES_MAX}")


def _write_aside(
    path: Path, statement: str, given: dict[str, str], monotonic: Any, output: Output
) -> int:
    """Row by row into a temporary file, and from there to whoever reads: a slow reader must not keep
    the journal open, and a large result not fill the memory. The number of rows."""
    count = 0
    how: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogatepass", "newline": ""}
    with tempfile.SpooledTemporaryFile(CHUNK_BYTES, "w+", **how) as aside:
        with asked(path, statement, given, monotonic, ASIDE_BYTES_MAX) as (names, rows):

            def named() -> Iterator[dict[str, Any]]:
                nonlocal count
                for row in rows:
                    count += 1
                    yield dict(zip(names, row, strict=True))

            write_rows(named(), names, output, stream=cast("TextIO", aside))
        aside.seek(0)
        while part := aside.read(CHUNK_BYTES):
            put(part, nl=False)
    return count


_RUNS_NAMED = "SELECT version, id, queued_at FROM run WHERE version = ? OR id >= ? AND id < ? || '~' ORDER BY queued_at DESC LIMIT 1"  # fmt: skip
_NAMES = {
    "deliverable": "SELECT id FROM deliverable",
    "version": f"SELECT version FROM run WHERE version <> '' ORDER BY queued_at DESC LIMIT {SINCE_ROWS}",
}  # sql: a number of ours


def _misnamed(path: Path, given: dict[str, str]) -> Iterator[str]:
    """Why a stored query may have had no rows: what it was given names nothing here, or an older version
    that is the newer one."""
    with contextlib.closing(
        sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
    ) as connection:
        found: dict[str, Any] = {}
        for name in ("deliverable", "run", "version", "older", "newer"):
            value = given.get(name, "")
            if not value:
                continue
            if name == "deliverable":
                here = "SELECT 1 FROM run WHERE deliverable = ? LIMIT 1"
                found[name] = connection.execute(here, (value,)).fetchone()
            else:
                found[name] = connection.execute(_RUNS_NAMED, (value,) * 3).fetchone()
            if found[name] is None:
                kind = "deliverable" if name == "deliverable" else "version"
                known = [str(row[0]) for row in connection.execute(_NAMES[kind])]
                close = near(value, known)
                meant = f"; did you mean {close!r}?" if close else ""
                yield f"{name}: nothing here is named {value!r}{meant}"
        older, newer = found.get("older"), found.get("newer")
        if older and newer and older[2] > newer[2]:
            yield f"older: {given['older']} was made after {given['newer']}; did you mean them the other way round?"


def _list(output: Output) -> None:
    from cxlocal.projection.queries import QUERIES

    rows = [
        {"query": name, "answers": one.title, "parameters": " ".join(one.parameters)}
        for name, one in QUERIES.items()
    ]
    write_rows(rows, ("query", "answers", "parameters"), output)


def _chosen(
    statement: str | None, query: str | None, given: dict[str, str]
) -> tuple[str, dict[str, str]]:
    """Statement and parameters; a stored query's absent ones are empty. Raises UsageError."""
    if (statement is None) == (query is None):
        raise UsageError(
            "Give either a statement or -q NAME",
            why="one question is asked at a time",
            hint="cxlocal sql --list shows the stored queries",
            name="no-statement",
        )
    if statement is not None:
        return statement, given
    from cxlocal.projection.queries import QUERIES

    if query not in QUERIES:
        from difflib import get_close_matches

        near = get_close_matches(str(query), QUERIES, 1)
        raise UsageError(
            f"There is no stored query {query!r}",
            why=f"Did you mean {near[0]!r}?" if near else "",
            hint="cxlocal sql --list",
            name="no-query",
        )
    known = QUERIES[query].parameters
    for name in given:
        if name not in known:
            raise UsageError(
                f"The query {query} has no parameter {name!r}",
                why=f"It has {', '.join(known)}" if known else "It has none",
                hint="cxlocal sql --list shows the queries with their parameters",
                name="no-parameter",
            )
    return QUERIES[query].sql, {**dict.fromkeys(known, ""), **given}


def read(
    path: Path, statement: str, parameters: dict[str, str], monotonic: Any
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and all rows of one reading statement. Raises as ``asked``."""
    with asked(path, statement, parameters, monotonic, TABLE_BYTES_MAX) as (names, rows):
        return names, list(rows)


@contextlib.contextmanager
def asked(
    path: Path, statement: str, parameters: dict[str, str], monotonic: Any, most: int
) -> Iterator[tuple[list[str], Iterator[tuple[Any, ...]]]]:
    """Column names and rows of one reading statement, ``most`` bytes of them.

    Raises UsageError (no such table, two statements, a missing value), Refused (it would change
    something), Trouble (too slow, too large).
    """
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
    deadline = monotonic() + LIMIT_SECONDS
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
        connection.execute("PRAGMA query_only=ON")
        add_functions(connection)
        connection.set_authorizer(_authorize)
        connection.set_progress_handler(lambda: monotonic() > deadline, CHECK_EVERY)
        cursor = connection.execute(statement, parameters)
        names = _distinct([column[0] for column in cursor.description or ()])
        yield names, _counted(cursor, most)
    except (MemoryError, sqlite3.DataError) as problem:
        raise _too_large(str(problem) or "SQLite needs more memory for it than it may") from problem
    except (sqlite3.Error, sqlite3.Warning) as problem:
        hint = _what_there_is(connection, statement, str(problem))
        raise _explain(problem, late=monotonic() > deadline, hint=hint) from problem
    finally:
        connection.close()


def _counted(cursor: sqlite3.Cursor, most: int) -> Iterator[tuple[Any, ...]]:
    size = 0
    for row in cursor:
        size += sum(len(each) if isinstance(each, str | bytes) else 8 for each in row)
        if size > most:
            raise _too_large(f"its rows have more than {most >> 20} MiB")
        yield row


def _too_large(why: str) -> Trouble:
    return Trouble(
        "the result is too large",
        why=why,
        hint="ask for fewer rows or columns (LIMIT, count, substr); a table holds"
        f" {TABLE_BYTES_MAX >> 20} MiB, --nl and --csv {ASIDE_BYTES_MAX >> 20} MiB",
        name="result-too-large",
    )


def _distinct(names: list[str]) -> list[str]:
    """``a, a`` as ``a, a_2``: rows are objects with one value a name."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return result


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Only what reads. A pragma may look at the schema; with a value it would set something."""
    reading = (
        sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
    )  # fmt: skip
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() == "load_extension":
        return sqlite3.SQLITE_DENY
    if action in reading:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_UPDATE and first == "sqlite_master":
        # Asked for while pragma_table_info() and its like declare themselves; SQLite lets nobody
        # write there, least of all in a file opened for reading.
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and (first or "").lower() in READING_PRAGMAS:
        named = (first or "").lower() not in ("user_version", "application_id")
        return sqlite3.SQLITE_OK if named or second is None else sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_DENY


def _what_there_is(connection: sqlite3.Connection, statement: str, said: str) -> str:
    """What a statement may have meant by a name that is not there: of the columns of the tables that it
    names, or of the tables."""
    if said.startswith(("no such function", "wrong number of arguments")):
        return f"beside those of SQLite there are {', '.join(FUNCTIONS)}"
    if ambiguous := re.match(r"ambiguous column name: (?:\w+\.)*(\w+)", said):
        return f"say of which table: run.{ambiguous[1]}, or the name after AS"
    missing = re.match(r"no such (column|table): (?:\w+\.)*(\w+)", said)
    if missing is None:
        return ""
    words = set(re.findall(r"(?i)(?:\bfrom|\bjoin|,)\s+(\w+)", statement))
    with contextlib.suppress(sqlite3.Error):
        connection.set_progress_handler(None, 0)
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        known = sorted(row[0] for row in rows)
        if missing[1] == "column":
            tables = [one for one in known if one in words]
            asked = "SELECT name FROM pragma_table_info(?)"
            known = [row[0] for one in tables for row in connection.execute(asked, (one,))]
        close = near(missing[2], known)
        meant = f"did you mean {close!r}? " if close else ""
        listed = ", ".join(dict.fromkeys(known))
        return f"{meant}{missing[1]}s: {listed} (docs/schema.md)" if known else ""
    return ""


def _explain(problem: Exception, *, late: bool, hint: str = "") -> CxError:
    code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_INTERRUPT or late:
        return Trouble(
            f"The query took longer than {LIMIT_SECONDS:.0f} seconds and was ended",
            why="while it reads, no run can write to the journal",
            hint="ask less at once, or ask a copy: cp $(cxlocal journal path) copy.db",
            name="query-too-slow",
        )
    if code in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY):
        return Refused(
            "cxlocal sql only reads",
            why=f"the statement would change something: {problem}",
            hint="write a SELECT; events are never changed",
            name="only-reading",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Trouble(
            "The journal is busy",
            why="another process is writing to it",
            hint="run the command again",
            name="journal-busy",
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return JournalDamaged("The journal is damaged", why=str(problem), hint="cxlocal verify")
    refused = re.search(rf'(".*" {re.escape(NOT_A_TIME)})', str(problem), re.DOTALL)
    if refused:
        return UsageError(
            refused[1].replace(f", {HOW_TO_WRITE}", ""),
            why="a guess could answer for another day",
            hint=HOW_TO_WRITE,
            name="not-a-time",
        )
    unfit = re.search(r"user-defined aggregate's '\w+' method raised", str(problem))
    if unfit:
        return UsageError(
            "median(x) and percentile(x, p) take numbers",
            why="a value is a text, or p is not one number from 0 to 100",
            hint="percentile(x, 90) is the value below which 90 of 100 lie; CAST(x AS REAL) makes a number",
            name="bad-statement",
        )
    if "You can only execute one statement" in str(problem):
        return UsageError(
            "these are two statements, and one statement is asked at a time",
            why="the answer is one table",
            hint="run the command once for each",
            name="bad-statement",
        )
    unbound = re.search(r"binding parameter :(\w+)", str(problem))
    if unbound:
        return UsageError(
            f"the statement asks for a value of :{unbound[1]}",
            why="none was given",
            hint=f"cxlocal sql -p {quoted(unbound[1])} VALUE 'SELECT …'",
            name="no-value",
        )
    if re.search(r"Binding \d+ has no name|Incorrect number of bindings", str(problem)):
        return UsageError(
            "the statement asks for a value without a name",
            why="-p gives values by name",
            hint="cxlocal sql -p a VALUE 'SELECT … :a'",
            name="no-value",
        )
    return UsageError(
        f"SQLite does not accept the statement: {problem}",
        why="it is not SQL, or names what is not there",
        hint=hint or "cxlocal sql 'SELECT name, type FROM sqlite_master' lists tables and views",
        name="bad-statement",
    )
