"""Rows out, with the flags of sqlite-utils: people get a table, pipes get the same rows.

A command takes ``@rows_options`` and hands what it found to ``write_rows``. The form never changes
because standard output is a pipe; only ``--json``, ``--nl``, ``--csv``, ``--tsv`` and ``--fmt``
change it. Every form shows the same rows with the same columns; a terminal that is too narrow for a
table gets it without those that hold nothing, sentences over several lines, or a record for each row.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any, TextIO, TypeVar

import click

from cxlocal.commands.terminal import columns as terminal_columns
from cxlocal.commands.terminal import harmless
from cxlocal.errors import UsageError
from cxlocal.processes.stdout import GONE, data, let_go
from cxlocal.values import NamedTuple

Row = Mapping[str, object]
Result = TypeVar("Result")

# Between two columns of the table.
GAP = "  "
# No word is cut below this many characters to make a table fit its terminal: less tells no
# state from another. Numbers and times are never cut, because a part of one says something else.
NARROWEST = 16
_TIME = r"\d{4}-\d\d-\d\d([T ][\d:.]+Z?)?|\d\d:\d\d:[\d.]+Z"
# What JSON may hold raw but a terminal must not: JSON text can always write it as an escape.
_JSON_HARMFUL = r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"


class Output(NamedTuple):
    """How the rows are wanted: ``table``, ``json``, ``nl``, ``csv`` or ``tsv``."""

    shape: str = "table"
    fmt: str | None = None
    headers: bool = True

    @property
    def for_people(self) -> bool:
        """Whether a person reads it: then sentences may stand around the rows on stderr."""
        return self.shape == "table"


TABLE = Output()


def rows_options(function: Callable[..., Result]) -> Callable[..., Result]:
    """Give a command the flags for rows; it receives them as one argument ``output``."""

    @functools.wraps(function)
    def call(*args: Any, shape: str | None, fmt: str | None, headers: bool, **rest: Any) -> Result:
        return function(*args, output=Output(shape or "table", fmt, headers), **rest)

    shapes = (
        ("--json", "json", "A JSON array of objects."),
        ("--nl", "nl", "JSON, one object a line."),
        ("--csv", "csv", "Comma-separated values."),
        ("--tsv", "tsv", "Tab-separated values."),
    )
    wrapped = click.option(
        "--no-headers", "headers", flag_value=False, default=True, help="Without column names."
    )(call)
    wrapped = click.option("--fmt", metavar="NAME", help="A table as github, grid, html, …")(
        wrapped
    )
    wrapped = click.option(
        "-t", "--table", "shape", flag_value="table", help="An aligned table (the default)."
    )(wrapped)
    for flag, value, text in reversed(shapes):
        wrapped = click.option(flag, "shape", flag_value=value, help=text)(wrapped)
    return wrapped


def json_option(function: Callable[..., Result]) -> Callable[..., Result]:
    """Give a command with one result the flag ``--json``; it receives ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")(
        function
    )


def write_rows(
    rows: Iterable[Row],
    columns: Sequence[str] | None = None,
    output: Output = TABLE,
    *,
    stream: TextIO | None = None,
) -> None:
    """Write ``rows`` to standard output (or ``stream``) in the form that ``output`` asks for.

    ``columns`` names and orders what is shown; without it the keys of the first row do. A key
    that a row lacks is null. JSON, CSV and TSV are written row by row; a table is read whole.
    """
    stream = stream or data()
    if output.fmt is not None:
        _write_formatted(rows, columns, output, stream)
    elif output.shape == "json":
        _write_json(rows, columns, stream)
    elif output.shape == "nl":
        for row in rows:
            stream.write(json_text(_chosen(row, columns)) + "\n")
    elif output.shape in ("csv", "tsv"):
        _write_separated(rows, columns, output, stream)
    else:
        _write_table(rows, columns, output, stream)


def put(text: object = "", *, nl: bool = True) -> None:
    """Write a line of data at once, harmless to a terminal; without ``nl`` the text alone."""
    stream = data()
    stream.write(harmless(str(text), keep="\n\t") + ("\n" if nl else ""))
    stream.flush()


@contextmanager
def after_work() -> Iterator[None]:
    """For the data of a command whose work is done and recorded: a reader that went away changes
    nothing of how it ended."""
    try:
        yield
        data().flush()
    except OSError as problem:
        if problem.errno not in GONE:
            raise
        let_go(data())


def write_document(document: object, *, stream: TextIO | None = None) -> None:
    """Write one JSON document, indented."""
    (stream or data()).write(json_text(document, indent=2) + "\n")


def json_text(value: object, *, indent: int | None = None) -> str:
    """``value`` as JSON that is safe on a terminal; bytes as sqlite-utils writes them."""
    encoding = (getattr(data(), "encoding", None) or "utf-8").lower().replace("-", "")
    text = json.dumps(value, ensure_ascii=encoding != "utf8", indent=indent, default=_plain)
    return harmless_json(text)


def harmless_json(text: str) -> str:
    """The same JSON, safe on a terminal: what would act there is written as an escape of JSON."""
    return re.sub(_JSON_HARMFUL, lambda match: f"\\u{ord(match[0]):04x}", text)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        import base64

        return {"$base64": True, "encoded": base64.b64encode(value).decode("ascii")}
    return str(value)


def _chosen(row: Row, columns: Sequence[str] | None) -> dict[str, object]:
    return dict(row) if columns is None else {name: row.get(name) for name in columns}


def _write_json(rows: Iterable[Row], columns: Sequence[str] | None, stream: TextIO) -> None:
    before = "["
    for row in rows:
        stream.write(before + json_text(_chosen(row, columns)))
        before = ",\n "
    stream.write("[]\n" if before == "[" else "]\n")


def _write_separated(
    rows: Iterable[Row], columns: Sequence[str] | None, output: Output, stream: TextIO
) -> None:
    import csv

    writer = csv.writer(
        stream, delimiter="," if output.shape == "csv" else "\t", lineterminator="\n"
    )
    header = columns
    if header is not None and output.headers:
        writer.writerow(map(harmless, header))
    for row in rows:
        if header is None:
            header = list(row)
            if output.headers:
                writer.writerow(map(harmless, header))
        writer.writerow(harmless(_cell(row.get(name)), keep="\n\t") for name in header)


def _cell(value: object) -> str:
    """One value as text: nothing for null, JSON for lists and objects."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, bool | list | dict):
        return json_text(value)
    return str(value)


def _matrix(
    rows: Iterable[Row], columns: Sequence[str] | None
) -> tuple[list[str], list[list[object]]]:
    found = list(rows)
    names = list(columns) if columns is not None else list(found[0]) if found else []
    return names, [[row.get(name) for name in names] for row in found]


def _write_table(
    rows: Iterable[Row], columns: Sequence[str] | None, output: Output, stream: TextIO
) -> None:
    """An aligned table, or a record for each row where the terminal is too narrow for one.

    Nothing at all without rows (the command says what is missing).
    """
    names, values = _matrix(rows, columns)
    if not values:
        return
    right = [_is_numeric(line[index] for line in values) for index in range(len(names))]
    cells = [[harmless(_shown(value)) for value in line] for line in values]
    heads = [harmless(name) for name in names]
    widths = _widths([heads, *cells] if output.headers else cells)
    if stream.isatty() and _excess(widths, terminal_columns(stream)) > 0:
        told = [i for i in range(len(names)) if any(line[i] for line in cells)]
        heads, right = [heads[i] for i in told], [right[i] for i in told]
        cells = [[line[i] for i in told] for line in cells]
        whole = [right[at] or _is_time(line[i] for line in values) for at, i in enumerate(told)]
        widths = _widths([heads, *cells] if output.headers else cells)
        least = [
            min(NARROWEST, max(_width(word) for cell in column for word in cell.split(" ")))
            for column in zip(heads, *cells, strict=True)
        ]
        least = [
            width if keep else low for low, width, keep in zip(least, widths, whole, strict=True)
        ]
        fitted = _fitted(widths, least, terminal_columns(stream))
        if fitted is None:
            _write_records(heads, cells, output, stream)
            return
        widths = fitted
    if output.headers:
        cells[:0] = [heads, ["-" * width for width in widths]]
    for line in cells:
        stream.writelines(
            GAP.join(map(_padded, row, widths, right)).rstrip() + "\n"
            for row in zip_longest(*map(_broken, line, widths), fillvalue="")
        )


def _widths(cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(_width, column)) for column in zip(*cells, strict=True)]


def _excess(widths: Sequence[int], available: int) -> int:
    """How many columns a table is too wide."""
    return sum(widths) + len(GAP) * (len(widths) - 1) - available


def _write_records(
    heads: list[str], cells: list[list[str]], output: Output, stream: TextIO
) -> None:
    """Each value whole, on lines of its own, and an empty line between two rows.

    Sentences are broken between words; ids, paths and other long words never, so that they can be
    copied.
    """
    widest = max(map(_width, heads))
    margin = widest + len(GAP) if output.headers else 0
    room = max(terminal_columns(stream) - margin, NARROWEST)
    for place, row in enumerate(cells):
        if place:
            stream.write("\n")
        for head, cell in zip(heads, row, strict=True):
            name = _padded(head, widest, False) + GAP if output.headers else ""
            first, *rest = _broken(cell, room)
            stream.write((name + first).rstrip() + "\n")
            stream.writelines(" " * margin + line + "\n" for line in rest)


def _broken(text: str, room: int) -> list[str]:
    """``text`` in lines of ``room`` columns, as far as it has spaces; at least one line."""
    if _width(text) <= room or text[:1] in "{[":  # JSON stays what it is
        return [text]
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and _width(longer) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _shown(value: object) -> str:
    """As ``_cell``, with three decimals at most: a table is for eyes."""
    return _cell(round(value, 3) if isinstance(value, float) else value)


def _is_numeric(values: Iterable[object]) -> bool:
    present = [value for value in values if value is not None]
    return bool(present) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in present
    )


def _is_time(values: Iterable[object]) -> bool:
    present = [value for value in values if value not in (None, "")]
    return bool(present) and all(
        isinstance(value, str) and re.fullmatch(_TIME, value) is not None for value in present
    )


def _width(text: str) -> int:
    """How many columns a terminal uses for ``text``."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _fitted(widths: list[int], least: list[int], available: int) -> list[int] | None:
    """Narrow the widest columns until the table fits, none below its ``least``; None where it cannot."""
    widths = list(widths)
    excess = _excess(widths, available)
    while excess > 0:
        room = [width if width > low else 0 for width, low in zip(widths, least, strict=True)]
        if not max(room):
            return None
        widths[room.index(max(room))] -= 1
        excess -= 1
    return widths


def _padded(text: str, width: int, right: bool) -> str:
    used = _width(text)
    while used > width:
        text = text[:-2] + "…"
        used = _width(text)
    space = " " * (width - used)
    return space + text if right else text + space


def _write_formatted(
    rows: Iterable[Row], columns: Sequence[str] | None, output: Output, stream: TextIO
) -> None:
    from tabulate import tabulate, tabulate_formats

    assert output.fmt is not None
    if output.fmt not in tabulate_formats:
        raise UsageError(
            f"There is no table format {output.fmt!r}",
            why="tabulate draws the tables, and does not know it",
            hint="use one of " + ", ".join(tabulate_formats),
        )
    names, values = _matrix(rows, columns)
    cells = [[harmless(_shown(value)) for value in line] for line in values]
    heads = [harmless(name) for name in names] if output.headers else ()
    stream.write(tabulate(cells, heads, tablefmt=output.fmt, disable_numparse=True) + "\n")
