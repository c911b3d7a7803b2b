"""Readers of plugins in real worker processes: what goes wrong in one harms the report that it reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from plugin_site import Seen, install

from cxlocal.clock import SystemClock
from cxlocal.hooks import reading, report_worker
from cxlocal.hooks.load import PluginPlace
from cxlocal.hooks.registered import FoundReader, readers
from cxlocal.hooks.report import Report
from cxlocal.processes.mask import Masker
from cxlocal.runner.driver import drive_apart
from cxlocal.runner.stage_reports import File, ReadReports, read_all
from cxlocal.runner.work import Around

CODE = """
import ctypes, os, signal, sys, time
from cxlocal.hooks.report import Case, Report
from cxlocal.hooks.specs import hookimpl

class Away(BaseException):
    pass

def endless():
    while True:
        pass

def swallow():
    while True:
        try:
            endless()
        except BaseException:
            pass

def memory():
    kept = []
    while True:
        kept.append(bytes(1 << 28))

def flood():
    while True:
        print("x" * 65536)

def garbage(line):
    for descriptor in range(3, 30):
        try:
            os.write(descriptor, line)
        except OSError:
            pass

def raises(error):
    raise error

class Odd:
    format = "odd"

    def read(self, path, *, suite):
        way = path.read_text()
        print("reading", way)
        found = eval(way)
        if isinstance(found, list):
            return Report("odd", suite, tuple(found))
        return Report("odd", suite, (Case(suite, way, "passed", 0.1, os.environ.get("SEEN", "")),))

@hookimpl
def cxlocal_register_report_readers():
    return [Odd()]
"""
"""Each report is the expression that its reader is to carry out."""
PLACE = PluginPlace("odd_readers", "odd.py", CODE)
ODD = {"odd": FoundReader(Any, PLACE, shipped=False)}  # type: ignore[arg-type]  # found here, read in the worker


class Kept:
    def __init__(self) -> None:
        self.size, self.end = 0, b""

    def write(self, chunk: bytes) -> None:
        self.size, self.end = self.size + len(chunk), (self.end + chunk)[-999:]


def read(folder: Path, ways: Sequence[str], found: Any = ODD, sink: Any = None) -> list[Report]:
    files = []
    for at, way in enumerate(ways):
        (folder / f"{at}").write_text(way)
        files.append(File("odd", folder / f"{at}", f"suite {at}"))
    around = Around(lambda: {**os.environ, "SEEN": "seen"}, sink or Kept())
    said: ReadReports = drive_apart(
        read_all(files, found, Masker(["s3cret"]), folder, around), SystemClock()
    )
    assert said.cancelled == "" and len(said.reports) == len(ways)
    return [one for one in said.reports if one is not None]


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("endless()", "no answer within"),
        ("swallow()", "no answer within"),
        ("time.sleep(60)", "no answer within"),
        ("flood()", "no answer within"),
        ("os.kill(os.getpid(), signal.SIGSTOP)", "no answer within"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "it ended without an answer: ended by SIGKILL"),
        ("ctypes.string_at(0)", "it ended without an answer: ended by SIGSEGV"),
        ("os._exit(0)", "it ended without an answer: exit code 0"),
        ("os._exit(3)", "it ended without an answer: exit code 3"),
        ("os.execvp('true', ['true'])", "it ended without an answer: exit code 0"),
        ("os.closerange(3, 99)", "it ended without an answer"),
        ("os.kill(os.getppid(), signal.SIGKILL) or os._exit(4)", "it ended without an answer"),
        ("memory()", "it needs more than 2 GiB of memory"),
        ("bytes(1 << 40)", "it needs more than 2 GiB of memory"),
        ("sys.exit(0)", "SystemExit: 0"),
        ("raises(Away('for good'))", "Away: for good"),
        ("raises(KeyboardInterrupt)", "KeyboardInterrupt"),
        ("raises(GeneratorExit())", "GeneratorExit"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("endless(1)", "TypeError"),
        ("sys.setrecursionlimit(10 ** 8) or eval('(' * 10 ** 5)", ""),
        ("garbage(b'nonsense\\n')", "it sent something that is no message"),
        ("garbage(b'[1]\\n')", "it sent something that is no message"),
        ("garbage(b'{\"cases\": 7}\\n')", "it sent something that is no message"),
        ("garbage(b'{\"cases\": [[1]]}\\n')", "it sent something that is no message"),
        ("garbage(b'{\"other\": 1}\\n')", "it sent something that is no message"),
        ("garbage(b'{\"problem\": \"\"}\\n' * 9)", ""),
        ("garbage(b'x' * (5 << 20))", "it sent a message of more than"),
        ("[Case('s', str(at), 'passed', None, '') for at in range(3000)]", "more than 2000 cases"),
    ],
)  # fmt: skip
def test_what_goes_wrong_with_one_report_is_said_and_the_others_are_read(
    way: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_worker, "READ_SECONDS", 2.0)
    monkeypatch.setattr(report_worker, "CASES_MAX", 2000)
    before, bad, after = read(tmp_path, ["1", way, "2"])
    if words:
        assert before.outcome == after.outcome == "success"
        assert bad.problem.startswith("the reader of odd failed: ") and words in bad.problem
    # Nothing that a reader says in the name of another report makes anything green that is not.
    assert [one.suite for one in (before, bad, after)] == ["suite 0", "suite 1", "suite 2"]
    assert before.cases[0].name == "1"


def test_each_report_has_the_time_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_worker, "READ_SECONDS", 2.0)
    assert [one.outcome for one in read(tmp_path, ["time.sleep(0.9)"] * 3)] == ["success"] * 3


def test_what_it_told_before_counts(tmp_path: Path) -> None:
    """A failure that was told stays one, whatever comes after."""
    line = b'{"cases": [["s", "pays", "failed", null, "no"]]}\n'
    [bad] = read(tmp_path, [f"garbage({line!r}) or os._exit(1)"])
    assert (bad.outcome, bad.count("failed")) == ("failure", 1) and "exit code 1" in bad.problem


@pytest.mark.parametrize(
    "value", ["float('nan')", "float('inf')", "-float('inf')", "-0.001", "-1", "1e9", "10 ** 400",
              "'nan'", "True", "[1]", "10 ** 5000"],
)  # fmt: skip
def test_seconds_that_are_none_are_named_with_reader_field_and_value(
    value: str, tmp_path: Path
) -> None:
    [bad] = read(
        tmp_path, [f"[Case('s', 'pays', 'passed', {value}, ''), Case('s', 'x', 'failed', 1, '')]"]
    )
    assert (
        "the reader of odd is wrong: seconds of 'pays' are a number from 0 or None, not "
        in bad.problem
    )
    shown = {"10 ** 400": "int", "10 ** 5000": "int", "-1": "-1", "1e9": "1000000000.0"}
    assert bad.problem.endswith(shown.get(value, value.replace("float('", "").replace("')", "")))
    assert [one.seconds for one in bad.cases] == [None, 1.0] and bad.outcome == "failure"


@pytest.mark.parametrize(
    "row", ['["s", "pays", "passed", NaN, ""]', '["s", "pays", "passed", -Infinity, ""]',
            '["s", "pays", "green", 1, ""]', '[null, 7, "passed", 1, ""]'],
)  # fmt: skip
def test_what_a_worker_tells_is_checked_again(row: str, tmp_path: Path) -> None:
    told = f'{{"cases": [{row}]}}\n'.encode()
    [bad] = read(tmp_path, [f"garbage({told!r})"])
    assert "the reader of odd is wrong: " in bad.problem and bad.outcome == "error"
    assert all(one.seconds is None or one.seconds >= 0 for one in bad.cases)


def test_it_is_given_the_surroundings_of_its_stage_and_prints_into_its_log(tmp_path: Path) -> None:
    sink = Kept()
    secret = "[Case('s', 's3' + 'cret', 'passed', None, os.getcwd())]"
    first, second = read(tmp_path, ["1", secret], sink=sink)
    assert first.cases[0].message == "seen" and second.cases[0].message == str(tmp_path)
    assert "s3cret" not in str(second) and b"reading 1\n" in sink.end


def test_many_reports_cost_one_process(tmp_path: Path) -> None:
    said = read(tmp_path, ["[Case('s', str(os.getpid()), 'passed', None, '')]"] * 40)
    assert len({one.cases[0].name for one in said}) == 1


def test_a_reader_of_an_installed_plugin_is_found_where_it_is(site: Path, tmp_path: Path) -> None:
    install(site, "odd", CODE)
    seen = Seen()
    found = readers(seen.manager)
    assert found["junit"].shipped and not found["odd"].shipped
    [said] = read(tmp_path, ["1"], found)
    assert said.outcome == "success" and said.cases[0].name == "1", said.problem


def test_a_plugin_that_has_changed_meanwhile(tmp_path: Path) -> None:
    for code, words in [
        (CODE.replace('"odd"', '"even"'), "has no reader of odd any more"),
        ("raise ImportError('gone')", "gone"),
        ("import os; os._exit(5)", "exit code 5"),
    ]:
        found = {"odd": ODD["odd"]._replace(place=PluginPlace("odd_readers", "odd.py", code))}
        first, second = read(tmp_path, ["1", "2"], found)
        assert words in first.problem and words in second.problem


@pytest.mark.parametrize("how", ["large", "slow"])
def test_a_shipped_reader_reads_in_a_worker_what_would_hold_us_up(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    junit = readers(Seen().manager)["junit"]
    path = tmp_path / "unit.xml"
    rows = "".join(f'<testcase classname="c" name="t{at}" time="0.1"/>' for at in range(500))
    path.write_text(f"<testsuite>{rows}<testcase name='b'><failure/></testcase></testsuite>")
    here = reading.read_in_place(junit.reader, "junit", path, "unit")
    assert here is not None and here.count("failed") == 1
    name, limit = {"large": ("IN_PLACE_BYTES", 99), "slow": ("IN_PLACE_SECONDS", 1e-5)}[how]
    monkeypatch.setattr(reading, name, limit)
    assert reading.read_in_place(junit.reader, "junit", path, "unit") is None
    around = Around(lambda: os.environ, Kept())
    files = [File("junit", path, "unit")]
    program = read_all(files, {"junit": junit}, Masker([]), tmp_path, around)
    assert drive_apart(program, SystemClock()).reports == [here]
