"""Rows come out in the forms of sqlite-utils, harmless to a terminal, the same in every form."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from cxlocal.commands.frame import command
from cxlocal.commands.output import (
    Output,
    json_text,
    put,
    rows_options,
    write_document,
    write_rows,
)
from cxlocal.commands.terminal import Progress, harmless, is_live, use_color
from cxlocal.errors import UsageError

ROWS = [
    {"version": "2.7.14", "runs": 3, "seconds": 1.23456, "note": None},
    {"version": "2.7.114", "runs": 12, "seconds": 10.0, "note": "taken offline"},
]


def _written(rows: Any, columns: Any = None, **how: Any) -> str:
    stream = io.StringIO()
    write_rows(rows, columns, Output(**how), stream=stream)
    return stream.getvalue()


def test_table() -> None:
    assert _written(ROWS) == (
        "version  runs  seconds  note\n"
        "-------  ----  -------  -------------\n"
        "2.7.14      3    1.235\n"
        "2.7.114    12     10.0  taken offline\n"
    )


def test_table_without_headers_and_with_columns() -> None:
    assert _written(ROWS, ("runs", "absent"), headers=False) == " 3\n12\n"


def test_table_of_nothing_is_nothing() -> None:
    assert _written([], ("a",)) == ""


def test_json_and_lines() -> None:
    assert json.loads(_written(ROWS, shape="json")) == ROWS
    assert [json.loads(line) for line in _written(ROWS, shape="nl").splitlines()] == ROWS
    assert _written([], shape="json") == "[]\n"
    assert json.loads(_written(ROWS, ("note", "absent"), shape="json"))[0] == {
        "note": None,
        "absent": None,
    }


def test_csv_and_tsv() -> None:
    assert _written(ROWS, ("version", "note"), shape="csv") == (
        "version,note\n2.7.14,\n2.7.114,taken offline\n"
    )
    assert _written(ROWS, ("version", "runs"), shape="tsv", headers=False) == (
        "2.7.14\t3\n2.7.114\t12\n"
    )
    assert _written([], ("a", "b"), shape="csv") == "a,b\n"


def test_formats_of_tabulate() -> None:
    assert _written(ROWS, ("version", "runs"), fmt="github").splitlines()[0].startswith("| version")
    with pytest.raises(UsageError, match="no table format 'nope'"):
        _written(ROWS, fmt="nope")


def test_values_that_are_not_text() -> None:
    row = {"flag": True, "list": [1, "a"], "bytes": b"\x00\x01"}
    assert _written([row], headers=False) == 'true  [1, "a"]  <2 bytes>\n'
    assert json.loads(_written([row], shape="json"))[0]["bytes"] == {
        "$base64": True,
        "encoded": "AAE=",
    }


def test_escape_sequences_do_not_reach_the_terminal() -> None:
    row = {"na\x1bme": "a\x1b]0;title\x07\nb\u202ec\x9b"}
    for shape in ("table", "json", "nl", "csv", "tsv"):
        text = _written([row], ["na\x1bme"], shape=shape)
        assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(text), shape
    assert "a\\x1b]0;title\\x07\\nb\\u202ec\\x9b" in _written([row])
    assert json.loads(_written([row], shape="json")) == [row]


def test_a_line_of_data_is_harmless_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    put("a\x1b[2Jb\u202e\rc\td\n")
    assert capsys.readouterr().out == "a\\x1b[2Jb\\u202e\\rc\td\n\n"


def test_wide_characters_stay_aligned() -> None:
    lines = _written([{"a": "日本", "b": "x"}, {"a": "long", "b": "y"}], headers=False).splitlines()
    assert lines == ["日本  x", "long  y"]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_cuts_the_widest_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    write_rows([{"id": "7", "text": "x" * 100, "end": "."}], stream=stream)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 40
    assert "…" in lines[-1]
    assert lines[-1].endswith(".")
    assert "x" * 100 in _written([{"id": "7", "text": "x" * 100}])


def test_a_terminal_too_narrow_gets_a_record_for_each_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    rows = [
        {
            "version": f"2.7.{number}",
            "number": "in use, not yet confirmed",
            "started": f"2026-11-23T02:14:{number}.123Z",
            "subject": "Let the shop open on Sundays",
            "note": None,
        }
        for number in (14, 15)
    ]
    stream = Terminal()
    write_rows(rows, stream=stream)
    assert stream.getvalue() == "\n".join(
        f"version  2.7.{number}\n"
        "number   in use, not yet confirmed\n"
        f"started  2026-11-23T02:14:{number}.123Z\n"
        "subject  Let the shop open on Sundays\n"
        for number in (14, 15)
    )
    stream = Terminal()
    write_rows(
        rows, ("version", "number", "started", "subject"), Output(headers=False), stream=stream
    )
    assert stream.getvalue().splitlines()[:2] == ["2.7.14", "in use, not yet confirmed"]


def test_a_narrow_table_breaks_sentences_and_leaves_out_what_is_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [
        {"state": "ok", "found": "it is at origin", "to_do": "cxlocal mirror add PATH", "none": ""},
        {"state": "note", "found": "answers", "to_do": None, "none": None},
    ]

    def shown(columns: int) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        stream = Terminal()
        write_rows(rows, stream=stream)
        return stream.getvalue().splitlines()

    assert shown(60)[0] == "state  found            to_do                    none"
    assert shown(30) == [
        "state  found       to_do",
        "-----  ----------  -----------",
        "ok     it is at    cxlocal",
        "       origin      mirror add",
        "                   PATH",
        "note   answers",
    ]
    # Narrower than its words a table is none.
    assert shown(19)[:2] == ["state  ok", "found  it is at origin"]
    assert "none" in _written(rows)


def test_sentences_of_a_record_are_broken_between_words_and_ids_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    digest = "sha256:" + "0123456789abcdef" * 4
    row = {
        "version": "2.7.14", "digest": digest, "why": "held for the day the store is away, until then",
        "who": "店を開ける 日曜日に店を開ける", "n": 1, "plan": '{"name": "a plan of the shop"}',
    }  # fmt: skip
    stream = Terminal()
    write_rows([row], stream=stream)
    assert stream.getvalue() == (
        "version  2.7.14\n"
        f"digest   {digest}\n"
        "why      held for the day the\n"
        "         store is away, until\n"
        "         then\n"
        "who      店を開ける\n"
        "         日曜日に店を開ける\n"
        "n        1\n"
        'plan     {"name": "a plan of the shop"}\n'
    )
    piped = io.StringIO()
    write_rows([row], stream=piped)
    assert "held for the day the store is away, until then" in piped.getvalue()


def test_numbers_and_times_are_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "64")
    row = {"at": "2026-11-23T02:14:05.123Z", "size": 12345678901234567890, "text": "x" * 60}
    stream = Terminal()
    write_rows([row], stream=stream)
    lines = stream.getvalue().splitlines()
    assert lines[-1] == f"{row['at']}  {row['size']}  {'x' * 15}…"
    assert max(map(len, lines)) <= 64


def test_documents() -> None:
    stream = io.StringIO()
    write_document({"a": [1]}, stream=stream)
    assert json.loads(stream.getvalue()) == {"a": [1]}


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.fixed_dictionaries({"a": TEXTS, "b": st.integers()}), max_size=5))
def test_every_form_holds_the_same_rows(rows: list[dict[str, Any]]) -> None:
    assert json.loads(_written(rows, ("a", "b"), shape="json")) == rows
    assert [json.loads(line) for line in _written(rows, shape="nl").split("\n") if line] == rows
    table = _written(rows, ("a", "b"))
    assert table.count("\n") == (len(rows) + 2 if rows else 0)
    read = list(csv.DictReader(io.StringIO(_written(rows, ("a", "b"), shape="csv"), newline="")))
    assert [row["a"] for row in read] == [harmless(row["a"], keep="\n\t") for row in rows]


@settings(deadline=None, max_examples=80)
@given(st.text(max_size=30))
def test_harmless_text_is_printable_and_stable(text: str) -> None:
    clean = harmless(text)
    assert harmless(clean) == clean
    clean.encode("utf-8")
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in clean)
    assert json.loads(json_text([text])) == [text]


@pytest.mark.parametrize(
    ("choice", "environ", "terminal", "colored"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_who_decides_about_colour(
    choice: str, environ: dict[str, str], terminal: bool, colored: bool
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    assert use_color(choice, environ, stream) is colored


def test_lines_are_drawn_over_only_on_a_terminal() -> None:
    assert is_live("auto", {}, Terminal())
    assert not is_live("auto", {}, io.StringIO())
    assert not is_live("auto", {"CI": "true"}, Terminal())
    assert not is_live("plain", {}, Terminal())


def test_progress() -> None:
    stream = io.StringIO()
    plain = Progress(stream=stream, live=False)
    plain.now("building")
    plain.done("built\x1b[0m")
    assert stream.getvalue() == "built\\x1b[0m\n"
    stream = io.StringIO()
    live = Progress(stream=stream, live=True)
    live.now("x" * 500)
    live.done("built")
    assert stream.getvalue().endswith("\r\x1b[Kbuilt\n")
    assert "x" * 80 not in stream.getvalue()


@command(examples=[("cxlocal list", "the list")])
@click.option("--limit", default=9, help="How many.")
@rows_options
def listing(limit: int, output: Output) -> None:
    """List."""
    write_rows(ROWS[:limit], ("version", "runs"), output)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "version  runs\n-------  ----\n2.7.14      3\n2.7.114    12\n"),
        (["--csv"], "version,runs\n2.7.14,3\n2.7.114,12\n"),
        (["--tsv", "--no-headers"], "2.7.14\t3\n2.7.114\t12\n"),
        (["--nl", "--limit", "1"], '{"version": "2.7.14", "runs": 3}\n'),
        (["--json", "--limit", "1"], '[{"version": "2.7.14", "runs": 3}]\n'),
        (["--json", "-t", "--limit", "1"], "version  runs\n-------  ----\n2.7.14      3\n"),
        (["--fmt", "plain", "--no-headers"], "2.7.14   3\n2.7.114  12\n"),
    ],
)
def test_the_flags(arguments: list[str], wanted: str) -> None:
    result = CliRunner().invoke(listing, arguments)
    assert (result.exit_code, result.output) == (0, wanted)
