"""``cxlocal sql``: reads, in every form; changes nothing, whatever it is told."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from cxlocal.commands import sql as module
from cxlocal.errors import CxError, Trouble, UsageError
from cxlocal.projection.queries import QUERIES


@pytest.fixture
def env(full_copy: Path) -> dict[str, str]:
    return {"CXLOCAL_HOME": str(full_copy.parent)}


def test_a_statement_in_every_form(cx: Any, env: dict[str, str]) -> None:
    statement = "SELECT version, number FROM run WHERE version IN (:one, '1.0.3') ORDER BY number"
    given = (statement, "-p", "one", "1.0.2")
    assert cx.ok("sql", *given, "--json", env=env).json() == [
        {"version": "1.0.2", "number": 2},
        {"version": "1.0.3", "number": 3},
    ]
    assert cx.ok("sql", *given, "--csv", env=env).out == "version,number\n1.0.2,2\n1.0.3,3\n"
    assert cx.ok("sql", *given, env=env).out.splitlines()[2].split() == ["1.0.2", "2"]


def test_stored_queries(cx: Any, env: dict[str, str]) -> None:
    listed = cx.ok("sql", "--list", "--json", env=env).json()
    assert [row["query"] for row in listed] == list(QUERIES)
    rows = cx.ok("sql", "-q", "live-now", "--nl", env=env).out.splitlines()
    assert [json.loads(row)["version"] for row in rows][:2] == ["1.0.6", "1.0.101"]
    given = ("sql", "-q", "version-history", "-p", "version", "1.0.2", "--json")
    assert len(cx.ok(*given, env=env).json()) == 6


@pytest.mark.parametrize("name", QUERIES)
def test_every_stored_query_runs(full_file: Path, name: str) -> None:
    query = QUERIES[name]
    columns, _ = module.read(full_file, query.sql, dict.fromkeys(query.parameters, ""), lambda: 0)
    assert len(set(columns)) == len(columns) > 1


@pytest.mark.parametrize(
    ("statement", "meant"),
    [
        ("SELECT a.bytes FROM artifact a", "did you mean 'size_bytes'? columns: run, name, "),
        ("SELECT machine FROM number_uses WHERE how = 'reserve'", "columns: deliverable, line, "),
        ("SELECT sizebytes FROM artifact", "did you mean 'size_bytes'? columns: run, "),
        ("SELECT m.zzz FROM run r, machine m", "columns: node, host, "),
        ("SELECT Versoin FROM run", "did you mean 'version'? "),
        ("SELECT * FROM deploymnt", "did you mean 'deployment'? tables: "),
        ("SELECT * FROM nowhere_at_all", "tables: "),
        ("SELECT 1 +", "cxlocal sql 'SELECT name, type FROM sqlite_master'"),
    ],
)
def test_a_name_that_is_not_there(full_file: Path, statement: str, meant: str) -> None:
    """The hint has what there is, so that nobody looks for it elsewhere."""
    with pytest.raises(UsageError) as caught:
        module.read(full_file, statement, {}, lambda: 0)
    assert caught.value.hint.startswith(meant), caught.value.hint


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM run",
        "UPDATE run SET version = 'x'",
        "INSERT INTO local_value VALUES ('a', 'b')",
        "DROP TABLE run",
        "CREATE TEMP TABLE t (x)",
        "ATTACH ':memory:' AS other",
        "PRAGMA query_only = OFF",
        "PRAGMA user_version = 9",
        "PRAGMA journal_mode = WAL",
        "PRAGMA writable_schema = ON",
        "VACUUM INTO '/tmp/never'",
        "BEGIN IMMEDIATE",
        "SELECT load_extension('x')",
        "WITH a AS (SELECT 1) DELETE FROM run",
        "REINDEX",
        "UPDATE sqlite_master SET sql = ''",
        "ANALYZE",
    ],
)
def test_changes_nothing(full_copy: Path, statement: str) -> None:
    before = hashlib.sha256(full_copy.read_bytes()).hexdigest()
    with pytest.raises(CxError) as caught:
        module.read(full_copy, statement, {}, lambda: 0)
    assert caught.value.name in ("only-reading", "bad-statement")
    assert caught.value.exit_code in (2, 3)
    assert hashlib.sha256(full_copy.read_bytes()).hexdigest() == before


@pytest.mark.parametrize(
    ("statement", "code", "said"),
    [
        ("SELECT 1; SELECT 2", 2, "one statement"),
        ("SELECT * FROM no_such", 2, "no such table"),
        ("SELEC 1", 2, "syntax error"),
        ("SELECT :a", 2, "a"),
        ("DELETE FROM event", 3, "only reads"),
    ],
)
def test_words_of_refusal(
    cx: Any, env: dict[str, str], statement: str, code: int, said: str
) -> None:
    result = cx("sql", statement, env=env)
    assert result.code == code and said in result.err
    assert "Traceback" not in result.err and "To do:" in result.err


def test_unknown_names(cx: Any, env: dict[str, str]) -> None:
    result = cx("sql", "-q", "live-nwo", env=env)
    assert result.code == 2 and "live-now" in result.err
    result = cx("sql", "-q", "live-now", "-p", "x", "1", env=env)
    assert result.code == 2 and "no parameter 'x'" in result.err
    assert cx("sql", env=env).code == 2
    assert cx("sql", "SELECT 1", "-q", "live-now", env=env).code == 2


def test_a_slow_query_is_ended(full_file: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"
    looks = iter(range(10_000))
    with pytest.raises(Trouble) as caught:
        module.read(full_file, endless, {}, lambda: next(looks))
    assert caught.value.name == "query-too-slow"


LARGE = {
    "one value": "SELECT zeroblob(500000000)",
    "one text": "SELECT replace(hex(zeroblob(8000000)), '0', 'xxxxxxxx')",
    "many columns": "SELECT " + ", ".join(["zeroblob(15000000)"] * 20),
    "put together": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 90)"
    " SELECT group_concat(hex(zeroblob(100000))) || hex(zeroblob(5000000)) FROM n",
    "many rows": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    " SELECT i, hex(zeroblob(100000)) FROM n",
}  # fmt: skip


@pytest.mark.needs("prlimit")
@pytest.mark.parametrize("shape", ["-t", "--nl"])
@pytest.mark.parametrize("name", LARGE)
def test_what_would_fill_the_memory_is_refused(
    cx: Any, env: dict[str, str], name: str, shape: str
) -> None:
    """Under a limit of the system: 700 MiB of address space, Python and its libraries included."""
    done = cx("sql", LARGE[name], shape, env=env, under=["prlimit", f"--as={700 << 20}"])
    assert done.code == 9, done.err[-500:]
    assert "too large" in done.err or "longer than 30 seconds" in done.err
    assert "Traceback" not in done.err and len(done.out) < 1000


def test_many_rows_go_through_in_little_memory(cx: Any, env: dict[str, str]) -> None:
    statement = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)"
        " SELECT i, hex(zeroblob(20000)) AS text FROM n"
    )
    done = cx("sql", statement, "--nl", env=env, under=["prlimit", f"--as={700 << 20}"])
    assert done.code == 0, done.err[-500:]
    assert len(done.out.splitlines()) == 1500 and len(done.out) > 50 << 20


def test_looking_at_the_schema_is_reading(full_file: Path) -> None:
    _, rows = module.read(full_file, "PRAGMA table_info(run)", {}, lambda: 0)
    assert len(rows) > 30
    _, rows = module.read(full_file, "SELECT name FROM pragma_table_info('run')", {}, lambda: 0)
    assert len(rows) > 30


def test_columns_of_one_name_are_all_there(cx: Any, env: dict[str, str]) -> None:
    assert cx.ok("sql", "SELECT 1 AS a, 2 AS a", "--json", env=env).json() == [{"a": 1, "a_2": 2}]


def test_hostile_text_does_not_reach_the_terminal(cx: Any, env: dict[str, str]) -> None:
    out = cx.ok("sql", "SELECT char(27) || '[31m' AS red", env=env).out
    assert "\x1b" not in out


def test_no_rows_and_no_journal(cx: Any, env: dict[str, str], tmp_path: Path) -> None:
    result = cx.ok("sql", "SELECT * FROM run WHERE 0", env=env)
    assert (result.out, "No rows." in result.err) == ("", True)
    assert cx.ok("sql", "SELECT * FROM run WHERE 0", "--json", env=env).out == "[]\n"
    assert cx("sql", "SELECT 1", env={"CXLOCAL_HOME": str(tmp_path / "no")}).code == 9


def test_every_statement_of_the_page_runs(full_file: Path) -> None:
    """Also the one that is no stored question."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "questions.md").read_text("utf-8")
    blocks = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    assert len(blocks) > len(QUERIES)
    for block in blocks:
        given = dict.fromkeys(re.findall(r"(?<!:):([a-z]\w*)", block), "")
        columns, _ = module.read(full_file, block, given, lambda: 0)
        assert columns, block


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("live-at", "deliverable", "webshopp"), "deliverable: nothing here is named 'webshopp'"),
        (("commits", "run", "9.9.9"), "run: nothing here is named '9.9.9'"),
        (("version-history", "version", "1.0.33"), "did you mean '1.0.3"),
        (("commits-between", "newer", "nosuch"), "newer: nothing here is named 'nosuch'"),
    ],
)
@pytest.mark.parametrize("form", ["", "--json", "--csv"])
def test_a_name_that_nothing_has_is_said(
    cx: Any, env: dict[str, str], given: tuple[str, str, str], said: str, form: str
) -> None:
    name, parameter, value = given
    done = cx.ok("sql", "-q", name, "-p", parameter, value, *([form] if form else []), env=env)
    assert said in done.err and said not in done.out


def test_a_known_name_without_rows_is_not_said(full_file: Path) -> None:
    assert not list(module._misnamed(full_file, {"run": "1.0.2", "older": "", "version": "1.0.3"}))
    swapped = list(module._misnamed(full_file, {"older": "1.0.3", "newer": "1.0.2"}))
    assert swapped == ["older: 1.0.3 was made after 1.0.2; did you mean them the other way round?"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("SELECT median(version) FROM run", "take numbers"),
        ("SELECT percentile(number, 190) FROM run", "from 0 to 100"),
        ("SELECT percentile(number, '90') FROM run", "take numbers"),
        ("SELECT avergae(number) FROM run", "median(x), percentile(x, 90), human_duration"),
        ("SELECT median(number, 1) FROM run", "median(x), percentile(x, 90)"),
        ("SELECT 1; SELECT 2", "two statements"),
        ("SELECT version FROM run r JOIN promotion p ON p.run = r.id", "say of which table"),
    ],
)
def test_a_fault_in_a_statement_is_told_in_words(
    full_file: Path, statement: str, words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        module.read(full_file, statement, {}, lambda: 0)
    assert words in str(caught.value) and "sqlite_master" not in str(caught.value)


def test_both_forms_of_a_time_compare_as_the_page_says(full_file: Path) -> None:
    when = "queued_at < '2026-11-24T23:00'"
    taken = "queued_at < strftime('%Y-%m-%dT%H:%M:%fZ', '2026-11-25 00:00+01:00')"
    counts = [
        module.read(full_file, f"SELECT count(*) FROM run WHERE {one}", {}, lambda: 0)[1][0][0]
        for one in (when, taken)
    ]
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("more", [(), ("--all",), ("--json",)])
def test_log_of_an_unknown_deliverable_is_as_show_of_one(
    cx: Any, env: dict[str, str], more: tuple[str, ...]
) -> None:
    done = cx("log", "-d", "nosuch", *more, env=env)
    assert done.code == cx("show", "nosuch", env=env).code == 2
    assert "no deliverable is known here as 'nosuch'" in done.err
