"""Writes what is told from one description: datasette-metadata.yml, docs/schema.md,
docs/questions.md.

``--write`` writes them, ``--check`` says whether they are up to date. The description is that of the
projected tables, the views, the stored queries, and the comments in the DDL of the journal's own
tables.
"""

from __future__ import annotations

import difflib
import re
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from sqlite_utils import Database

from cxlocal.journal.local_tables import ALL as LOCAL_TABLES
from cxlocal.journal.migrate import steps
from cxlocal.journal.schema import EVENT_SQL
from cxlocal.projection.meanings import EVENT_LOG_MEANING, SHAPES, VIEW_COLUMNS
from cxlocal.projection.queries import QUERIES
from cxlocal.projection.questions import QUESTIONS
from cxlocal.projection.tables import REFERENCES, TABLES
from cxlocal.projection.views import VIEWS

ROOT = Path(__file__).resolve().parents[2]
METADATA = ROOT / "datasette-metadata.yml"
SCHEMA_PAGE = ROOT / "docs" / "schema.md"
QUESTIONS_PAGE = ROOT / "docs" / "questions.md"

# The journal's DDL says most; columns that speak for themselves there get their sentence here.
PLAIN = {
    "deliverable": "Deliverable it is about.",
    "line": "Version line.",
    "lo": "First number.",
    "hi": "Last number.",
    "node": "Id of the journal chain.",
    "branch": "0, or which second history of the chain.",
    "generation": "Life of the store it belongs to.",
    "sequence": "Position in the chain.",
    "hash": "SHA-256, in hexadecimal.",
    "run": "Run it belongs to.",
    "url": "Address of the store.",
    "id": "Number of the row.",
    "token": "Random value the store knows us by.",
    "token_count": "How often it was exchanged.",
    "proposal": "Random value to be exchanged next.",
    "proposal_count": "Count that goes with it.",
    "failed_at_ms": "When it did not answer, in milliseconds since 1970 (UTC).",
    "why": "Why.",
    "migration_set": "Whose steps.",
    "name": "What it is called.",
    "applied_at": "When the step was taken (UTC).",
}
STEPS_TABLE = "_sqlite_migrations"
STEPS_MEANING = "Which steps of making this file's tables were taken; kept by sqlite-utils."


class Described(NamedTuple):
    """A table or view: meaning, columns with type and meaning."""

    name: str
    kind: str
    """projected, view, event, local."""
    meaning: str
    columns: dict[str, tuple[str, str]]


def described() -> list[Described]:
    """Everything a journal holds, projected tables first, then views, the event table, the rest."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    steps().apply(Database(connection, execute_plugins=False))
    names = connection.execute(
        "SELECT name, type, sql FROM sqlite_master WHERE type IN ('table', 'view')"
        " AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    found = [_describe(connection, *row) for row in names]
    connection.close()
    order = [*TABLES, *VIEW_COLUMNS, "event"]
    rank = {name: place for place, name in enumerate(order)}
    return sorted(found, key=lambda one: (rank.get(one.name, len(rank)), one.name))


def _describe(connection: sqlite3.Connection, name: str, kind: str, sql: str) -> Described:
    types = {
        row[0]: row[1]
        for row in connection.execute("SELECT name, type FROM pragma_table_info(?)", (name,))
    }
    if name in TABLES:
        table = TABLES[name]
        meanings = {column: spec.meaning for column, spec in table.columns.items()}
        meanings |= {
            f"{group}_from": f"Event that wrote {_some(columns)}: its sequence and hash."
            for group, columns in table.groups.items()
        }
        kind, meaning = "projected", table.meaning
    elif kind == "view":
        meanings = VIEW_COLUMNS.get(name, {})
        meaning = VIEWS[name][0] if name in VIEWS else EVENT_LOG_MEANING
    else:
        kind = "event" if name == "event" else "local"
        meanings = _commented(sql)
        meaning = STEPS_MEANING if name == STEPS_TABLE else _above(name)
    columns = {
        column: (types[column] or "", sentence(meanings.get(column, ""), capital=kind == "local"))
        for column in types
    }
    return Described(name, kind, sentence(meaning, capital=True), columns)


def sentence(text: str, *, capital: bool = False) -> str:
    """With a full stop. A capital letter only where the text is prose: many meanings begin with a
    value as it stands in the data."""
    text = text.strip()
    if not text:
        return ""
    text = text if text.endswith((".", "?")) else text + "."
    return text[0].upper() + text[1:] if capital else text


def _some(columns: tuple[str, ...]) -> str:
    return ", ".join(columns[:2]) + (" and so on" if len(columns) > 2 else "")


def _commented(sql: str) -> dict[str, str]:
    pattern = re.compile(r'^\s*"?(\w+)"?\s[^-\n]*?--\s*(.+)$', re.MULTILINE)
    said = dict(pattern.findall(sql))
    words = re.findall(r"^\s*\"?(\w+)\"?\s+(?:TEXT|INTEGER|BLOB|REAL)", sql, re.MULTILINE)
    return {word: said.get(word) or PLAIN.get(word, "") for word in words}


def _above(name: str) -> str:
    """The comment above a CREATE TABLE of the journal's own DDL."""
    text = f"{EVENT_SQL}\n{LOCAL_TABLES}"
    found = re.search(rf"((?:^--[^\n]*\n)+)CREATE TABLE IF NOT EXISTS {name}\b", text, re.MULTILINE)
    return " ".join(line.strip("- ") for line in found[1].splitlines()) if found else ""


def metadata() -> dict[str, Any]:
    """What datasette-metadata.yml holds; right for Datasette 0.65 (-m) and 1.0 (-m and -c)."""
    return {
        "title": "cxlocal: releases of this machine",
        "description": "What was released, where it runs, and how it got there. Read live from the"
        " journal on this machine.",
        # 1.0 reads settings from -c; 0.65 takes them from the command line, as cxlocal browse does.
        "settings": {
            "suggest_facets": False,
            "sql_time_limit_ms": 1000,
            "default_cache_ttl": 0,
            "default_page_size": 50,
            "truncate_cells_html": 200,
        },
        "databases": {
            "journal": {
                "title": "Releases",
                "description_html": _description(),
                "tables": {one.name: _table_entry(one) for one in described()},
                "queries": {
                    name: {
                        "title": query.title,
                        "description": query.description,
                        "hide_sql": True,
                        "params": [*query.parameters, "page"],
                        "sql": query.paged + "\n",
                    }
                    for name, query in QUERIES.items()
                },
            }
        },
    }


def _description() -> str:
    links = " · ".join(
        f'<a href="journal/{name}">{title}</a>'
        for name, title in (
            ("-/board", "Release board"),
            ("runs", "Runs"),
            ("numbers", "Numbers"),
            ("event_log?_sort_desc=id", "Every event"),
        )
    )
    return (
        "<p>The journal of this machine: every run, decision and deployment it knows of, written"
        " first here and copied to the store. Reload a page to see what came since; times are shown"
        f" in local time with UTC beside.</p>\n<p>{links}</p>\n"
    )


def _table_entry(one: Described) -> dict[str, Any]:
    shape = SHAPES.get(one.name)
    entry: dict[str, Any] = {"description": one.meaning}
    if shape and shape.label:
        entry["label_column"] = shape.label
    if shape and shape.newest:
        entry["sort_desc"] = shape.newest
    if shape and shape.facets:
        entry["facets"] = list(shape.facets)
    if one.kind == "local":
        entry["hidden"] = True
    entry["columns"] = {name: meaning for name, (_, meaning) in one.columns.items()}
    return entry


class _Dumper(yaml.SafeDumper):
    """Plain YAML with long texts as blocks."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)

METADATA_HEAD = """\
# What Datasette shows of a journal: words, order, links, stored queries.
#
# Written by tests/browse/pages.py from the description of tables, views and queries in
# cxlocal/projection; a test compares them. For Datasette 0.65:  datasette journal.db -m FILE
# For 1.0:  datasette journal.db -m FILE -c FILE      `cxlocal browse` does either by itself.
"""


def metadata_page() -> str:
    text = yaml.dump(
        metadata(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, indent=2
    )
    return METADATA_HEAD + text


KINDS = {
    "projected": (
        "Projected tables",
        (
            "Written from the events, in the transaction that appends them; `cxlocal journal rebuild`"
            " makes them anew. *Merges by* says what happens where two machines speak of one row:"
            " *owned* (the highest sequence of the owning machine wins), *union* (rows are only added),"
            " *replaces* (pairs; they decide what is live). Columns ending in `_from` name the event"
            " that wrote the columns beside them."
        ),
    ),
    "view": ("Views", "Short names for what people ask most. A view holds nothing of its own."),
    "event": (
        "The log",
        (
            "The only table that matters: rows are added, never changed or removed. Its format is fixed"
            " for good."
        ),
    ),
    "local": ("Local tables", "Look-ups and bookkeeping of this file; never sent anywhere."),
}


def schema_page() -> str:
    """docs/schema.md."""
    return "".join(_schema_lines())


def _schema_lines() -> Iterator[str]:
    yield (
        "# Tables and views of a journal\n\n"
        "This page is written by `tests/browse/pages.py`; a test compares it. Times are UTC text"
        " such as `2026-11-23T02:14:05.123Z`, durations are numbers of seconds and end in"
        " `_seconds`. Times compare as texts: write `queued_at < '2026-11-30T23:00'` (UTC, with the T; with a"
        " space in its place the whole day is left out), or"
        " `strftime('%Y-%m-%dT%H:%M:%fZ', '2026-11-30 23:00+01:00')`, which takes each form. Short SQL for the usual questions: [questions.md](questions.md).\n"
    )
    everything = described()
    for kind, (title, words) in KINDS.items():
        yield f"\n## {title}\n\n{words}\n"
        for one in everything:
            if one.kind == kind:
                yield from _schema_table(one)


def _schema_table(one: Described) -> Iterator[str]:
    yield f"\n### {one.name}\n\n{one.meaning}"
    if one.name in TABLES:
        table = TABLES[one.name]
        yield f" Key: {', '.join(table.key)}. Merges by: {table.rule}."
    yield "\n\n| column | type | means |\n|---|---|---|\n"
    for column, (kind, meaning) in one.columns.items():
        target = REFERENCES.get((one.name, column))
        link = f" Names a row of [{target}](#{target})." if target else ""
        yield f"| {column} | {kind.lower()} | {meaning}{link} |\n"


def questions_page() -> str:
    """docs/questions.md."""
    lines = [
        (
            "# Questions in SQL\n\n"
            "Each of these is stored in the pages (`cxlocal browse`), and runs as"
            " `cxlocal sql -q NAME -p parameter value`. A parameter may be left out. The tests execute"
            " them on a full journal and compare the answers. The pages show 50 rows at a time (`page` is"
            " 2 for the next); the command has all. This page is written by"
            " `tests/browse/pages.py`. The tables: [schema.md](schema.md).\n\n"
            'For questions of your own begin with one of these, and change it: `cxlocal sql "SELECT …"`.'
            " Beside what SQLite has there are `median(x)` and `percentile(x, 90)`, `human_duration(seconds)`,"
            " `semver_key(version)` to sort versions by, and `hlc_time(clock)` for the column of that name."
            " `percentile` counts from 0 to 100 (0.9 is not 90) and lies between two values in proportion; the stored"
            " questions take the nearest value that was there. Times compare as texts: `'2026-11-30T23:00'`,"
            " not `'2026-11-30 23:00'` ([why](schema.md)):\n\n"
            "```sql\nSELECT version, human_duration(duration_seconds) AS took FROM run\n"
            "WHERE kind = 'release' ORDER BY semver_key(version) DESC LIMIT 10\n```\n"
        ),
        "\n## Ten questions\n",
    ]
    for place, (name, query) in enumerate(QUERIES.items()):
        if place == len(QUESTIONS):
            lines.append("\n## More\n")
        given = "".join(f" `{one}`" for one in query.parameters)
        with_parameters = f" Parameters:{given}." if given else ""
        lines.append(
            f"\n### {query.title}: `{name}`\n\n{query.description}{with_parameters}\n\n"
            f"```sql\n{query.sql}\n```\n"
        )
    return "".join(lines)


PAGES = {METADATA: metadata_page, SCHEMA_PAGE: schema_page, QUESTIONS_PAGE: questions_page}


def main(arguments: list[str]) -> int:
    """The exit code is 1 if a page differs."""
    different = 0
    for path, page in PAGES.items():
        wanted = page()
        if "--write" in arguments:
            path.write_text(wanted, encoding="utf-8")
            continue
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        different |= found != wanted
        sys.stdout.writelines(
            difflib.unified_diff(
                found.splitlines(True), wanted.splitlines(True), path.name, "the description"
            )
        )
    return int(different)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
