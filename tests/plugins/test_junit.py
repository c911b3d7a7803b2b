"""JUnit XML as it is found in the world, and as somebody hostile would write it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
from cxlocal_plugins import junit_elements
from cxlocal_plugins.junit import JUnit, seconds_of
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cxlocal.hooks.report import Report


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "report.xml"


def read(file: Path, content: str | bytes, suite: str = "") -> Report:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return JUnit().read(file, suite=suite)


def outcomes(report: Report) -> dict[str, str]:
    return {f"{case.suite}.{case.name}": case.outcome for case in report.cases}


def test_results_by_their_elements(file: Path) -> None:
    report = read(
        file,
        """<?xml version="1.0" encoding="utf-8"?>
        <testsuites name="all" tests="99" failures="99"><testsuite name="shop" errors="99">
        <properties><property name="a" value="b"/></properties>
        <testcase classname="t.A" name="good" time="1,234.5"><system-out>error</system-out></testcase>
        <testcase classname="t.A" name="bad" time="x"><failure message="1 != 2">trace</failure></testcase>
        <testcase classname="t.A" name="broken"><error>
           ValueError: no
           more</error></testcase>
        <testcase classname="t.A" name="later"><skipped message="not now"/></testcase>
        </testsuite></testsuites>""",
    )
    assert report.problem == ""
    assert outcomes(report) == {
        "t.A.good": "passed", "t.A.bad": "failed", "t.A.broken": "error", "t.A.later": "skipped",
    }  # fmt: skip
    good, bad, broken, later = report.cases
    assert (good.seconds, bad.seconds) == (1234.5, None)
    assert (bad.message, later.message) == ("1 != 2", "not now")
    assert broken.message.startswith("ValueError: no")
    assert (report.suite, report.outcome) == ("all", "failure")


def test_a_failed_call_and_a_failed_teardown_are_one_test(file: Path) -> None:
    report = read(
        file,
        '<testsuites><testsuite name="pytest"><testcase classname="t" name="a"><failure'
        ' message="call"/></testcase><testcase classname="t" name="a"><error message="teardown"/>'
        '</testcase><testcase classname="t" name="b"/></testsuite></testsuites>',
    )
    assert outcomes(report) == {"t.a": "failed", "t.b": "passed"}
    assert report.cases[0].message == "call" and report.outcome == "failure"


def test_what_pytest_itself_writes(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.fixture\ndef late():\n    yield\n    raise ValueError('late')\n"
        "def test_both(late):\n    assert 0, 'early \\x1b[31m \\x00'\n"
        "def test_late(late):\n    pass\n"
        "@pytest.mark.parametrize('x', ['<a&\"b>', 'ä'])\ndef test_x(x):\n    print('\\x07', x)\n"
    )
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=r.xml"],
        cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    report = JUnit().read(tmp_path / "r.xml", suite="unit")
    assert report.problem == "" and report.suite == "unit"
    found = outcomes(report)
    assert found["test_it.test_both"] == "failed" and found["test_it.test_late"] == "error"
    assert len(found) == 4 and report.count("passed") == 2


SUITE = '<testsuites><testsuite name="s">{}</testsuite></testsuites>'
PASS = '<testcase classname="c" name="a" time="1"/>'
FAIL = '<testcase classname="c" name="a"><failure message="no"/></testcase>'
ERROR = '<testcase classname="c" name="a"><error message="trouble"/></testcase>'
SKIP = '<testcase classname="c" name="a"><skipped/></testcase>'


@pytest.mark.parametrize(
    ("elements", "found"),
    [
        # Other tests of the same name: rows of a table, a scenario written twice.
        ([PASS, PASS], ["passed", "passed"]),
        ([FAIL, FAIL], ["failed", "failed"]),
        ([ERROR, ERROR], ["error", "error"]),
        ([SKIP, SKIP, PASS], ["skipped", "skipped", "passed"]),
        # Nobody runs a test again that has passed.
        ([PASS, FAIL], ["passed", "failed"]),
        ([PASS, ERROR], ["passed", "error"]),
        ([FAIL, SKIP], ["failed", "skipped"]),
        # One call: it failed, and its clean-up had an error. There is one clean-up.
        ([FAIL, ERROR], ["failed"]),
        ([FAIL, ERROR, ERROR], ["failed", "error"]),
        # Run again until it passed.
        ([FAIL, PASS], ["flaky"]),
        ([ERROR, PASS], ["flaky"]),
        ([FAIL, FAIL, FAIL, PASS], ["flaky"]),
        ([FAIL, ERROR, FAIL, PASS], ["flaky"]),
        ([FAIL, PASS, PASS], ["flaky", "passed"]),
        ([FAIL, PASS, FAIL, PASS], ["flaky", "flaky"]),
        ([FAIL, PASS, FAIL], ["flaky", "failed"]),
        ([PASS, FAIL, PASS], ["passed", "flaky"]),
    ],
)  # fmt: skip
def test_elements_of_one_name(file: Path, elements: list[str], found: list[str]) -> None:
    report = read(file, SUITE.format("".join(elements)))
    assert [case.outcome for case in report.cases] == found
    assert len({case[:2] for case in report.cases}) == len(found), "each has a name of its own"
    flaky = [case for case in report.cases if case.outcome == "flaky"]
    assert all(case.message in ("no", "trouble") for case in flaky)


@pytest.mark.parametrize(
    ("elements", "found"),
    [
        # pytest-rerunfailures writes an attempt that is followed by another as if it had passed.
        ([PASS, PASS], ["flaky"]),
        ([PASS, PASS, FAIL], ["failed"]),
        ([PASS, FAIL, ERROR], ["failed"]),
        ([PASS, ERROR], ["error"]),
        ([PASS, SKIP], ["skipped"]),
        ([PASS], ["passed"]),
        ([FAIL, ERROR], ["failed"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("root", ['<testsuites name="pytest tests">', "<testsuites>"])
def test_in_reports_of_pytest_a_name_is_a_test(
    file: Path, root: str, elements: list[str], found: list[str]
) -> None:
    suite = "pytest" if root == "<testsuites>" else "unit"
    body = f'{root}<testsuite name="{suite}">{"".join(elements)}</testsuite></testsuites>'
    assert [case.outcome for case in read(file, body).cases] == found


def test_the_key_of_a_test(file: Path) -> None:
    """Suites, host, file and line tell tests of one class and name apart; a passing one of another
    place says nothing about a failed one."""
    case, fail = '<testcase classname="c" name="a"{}/>', FAIL
    for first, second in (
        (f'<testsuite name="x">{fail}</testsuite>', f'<testsuite name="y">{PASS}</testsuite>'),
        (f'<testsuite name="x">{fail}</testsuite>', f'<testsuite name="x">{PASS}</testsuite>'),
        (f'<testsuite name="x" hostname="chrome">{fail}</testsuite>',
         f'<testsuite name="x" hostname="firefox">{PASS}</testsuite>'),
        (f'<testsuite name="x"><testsuite name="y">{fail}</testsuite>',
         f'<testsuite name="z">{PASS}</testsuite></testsuite>'),
        (fail.replace(' name="a"', ' name="a" file="one.py"'), case.format(' file="two.py"')),
        (fail.replace(' name="a"', ' name="a" line="3"'), case.format(' line="9"')),
    ):  # fmt: skip
        report = read(file, f"<testsuites>{first}{second}</testsuites>")
        assert [case.outcome for case in report.cases] == ["failed", "passed"], first
        assert len({case[:2] for case in report.cases}) == 2, first


def test_names_of_tests_that_share_one(file: Path) -> None:
    """By their suites; by the host only where these are the same; else counted. A test that shares
    its name with nobody keeps it."""
    report = read(
        file,
        '<testsuites><testsuite name="cart" hostname="job-17"><testcase classname="t" name="adds"/>'
        '<testcase classname="t" name="own"/></testsuite>'
        '<testsuite name="list" hostname="job-17"><testcase classname="t" name="adds"/>'
        '<testcase classname="t" name="adds (2)"/><testcase classname="t" name="adds"/></testsuite>'
        '<testsuite name="e2e" hostname="chrome"><testcase classname="t" name="pays"/></testsuite>'
        '<testsuite name="e2e" hostname="gecko"><testcase classname="t" name="pays"/></testsuite>'
        "</testsuites>",
    )
    assert [case[:2] for case in report.cases] == [
        ("cart / t", "adds"), ("t", "own"), ("list / t on job-17", "adds"), ("t", "adds (2)"),
        ("list / t on job-17", "adds (2)"), ("e2e / t on chrome", "pays"),
        ("e2e / t on gecko", "pays"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "outcome"),
    [
        ('status="run" result="completed"', "passed"),
        ('status="passed"', "passed"),
        ('status="notrun" result="suppressed"', "skipped"),
        ('status="run" result="skipped"', "skipped"),
        ('status="disabled"', "skipped"),
        ('status="Skipped"', "skipped"),
        ('status="untested"', "skipped"),
        ('status="ignored"', "skipped"),
        ('status="fail"', "failed"),
        ('status="failed"', "failed"),
        ('result="failure"', "failed"),
        ('status="error"', "error"),
        *((f'status="{word}"', "passed") for word in (
            "PASS", "Passed", "ok", "SUCCESS", "successful", "run", " completed ", "")),
        *((f'{name}="{word}"', "error") for name in ("status", "result") for word in (
            "aborted", "Interrupted", "cancelled", "canceled", "panicked", "TIMED_OUT", "timed-out",
            "incomplete", "hook_error", "killed")),
        *((f'{name}="{word}"', "skipped") for name in ("status", "result") for word in (
            "whatever", "undefined", "inconclusive", "blocked", "unknown", "not passed", "unpassed",
            "passedButRunAborted", "0", "none", "x" * 5000, "Not-Executed", "NOT RUN")),
        ('status="run" result="blocked"', "skipped"),
        ('status="blocked" result="passed"', "skipped"),
        ('status="blocked" result="failed"', "failed"),
        ('status="whatever" result="aborted"', "error"),
        ('status="NOT OK"', "failed"),
    ],
)  # fmt: skip
def test_outcomes_by_attribute(file: Path, attributes: str, outcome: str) -> None:
    report = read(file, SUITE.format(f'<testcase name="a" {attributes}/>'))
    assert [case.outcome for case in report.cases] == [outcome]
    worse = read(file, SUITE.format(f'<testcase name="a" {attributes}><failure/></testcase>'))
    assert worse.outcome == "failure", "an element that says worse counts"


@pytest.mark.parametrize("word", ["undefined", "inconclusive", "blocked", "whatever", "0", "?!"])
def test_words_that_nobody_knows_make_no_success_alone(file: Path, word: str) -> None:
    alone = read(file, SUITE.format(f'<testcase name="a" status="{word}"/>'))
    assert (alone.outcome, f"no test of it passed, and one says '{word}'" in alone.problem) == (
        "error", True,
    )  # fmt: skip
    assert f"it says '{word}'" in alone.cases[0].message
    passed = read(file, SUITE.format(f'<testcase name="a" status="{word}"/><testcase name="b"/>'))
    assert (passed.outcome, passed.count("skipped"), passed.count("passed")) == ("success", 1, 1)
    said = f'<testcase name="a" status="{word}"><skipped/></testcase>'
    assert read(file, SUITE.format(said)).outcome == "success", "its element says what it is"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0.255", 0.255), ("0,255", 0.255), ("1,234", 1.234), ("1,234.5", 1234.5),
        ("1.234,5", 1234.5), ("1,234,567", 1234567.0), ("1.234.567", 1234567.0),
        ("1 234,5", 1234.5), ("1\u00a0234,5", 1234.5), ("1\u202f234,5", 1234.5),
        ("1'234.5", 1234.5), ("12", 12.0), (".5", 0.5), ("1.", 1.0), ("9.4e-05", 9.4e-05),
        ("0,5e-3", 0.0005), (" 2 ", 2.0), ("", None), (".", None), (",", None), (",.", None), ("-1", None),
        ("nan", None), ("inf", None), ("1e99", None), ("1_0", None), ("fast", None),
        ("9" * 5000, None),
    ],
)  # fmt: skip
def test_durations(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


@given(st.text("0123456789.,' eE+-", max_size=70))
@settings(deadline=None)
def test_no_duration_raises(text: str) -> None:
    value = seconds_of(text)
    assert value is None or 0 <= value < 1e9


@pytest.mark.parametrize("prefix", ["j:", "ns2:", ""])
def test_prefixed_names(file: Path, prefix: str) -> None:
    bare = (
        '<{0}testsuites xmlns:j="urn:j" xmlns:ns2="urn:n"><{0}testsuite name="s" time="0,5">'
        '<{0}testcase classname="c" name="x"><{0}failure message="no"/></{0}testcase>'
        '<{0}testcase classname="c" name="y"/></{0}testsuite></{0}testsuites>'
    )
    report = read(file, bare.format(prefix))
    assert report.problem == "" and outcomes(report) == {"c.x": "failed", "c.y": "passed"}
    assert report.cases[0].message == "no" and report.suite == "s"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        # Only the totals speak of it: a file that could not be loaded.
        ('<testsuites errors="1"><testsuite name="b" tests="0" errors="1"/></testsuites>', ["error"]),
        ('<testsuite name="b" tests="0" failures="2"/>', ["error"]),
        ('<testsuites failures="1"><testsuite name="b">' + PASS + "</testsuite></testsuites>",
         ["passed", "error"]),
        ('<testsuite name="b"><error message="x"/></testsuite>', ["error"]),
        ('<testsuite name="b" errors="1"><failure>x</failure>' + PASS + "</testsuite>",
         ["failed", "passed"]),
        # Totals that the elements bear out, or that say nothing.
        ('<testsuites failures="7"><testsuite name="b" failures="7">' + FAIL
         + "</testsuite></testsuites>", ["failed"]),
        ('<testsuite name="b" failures="1">' + FAIL + PASS + "</testsuite>", ["flaky"]),
        ('<testsuite name="b" failures="0" errors="00">' + PASS + "</testsuite>", ["passed"]),
        ('<testsuite name="b" failures="" errors="none">' + PASS + "</testsuite>", ["passed"]),
        ('<testsuite name="b" failures="' + "9" * 9000 + '"/>', ["error"]),
        *((f'<testsuite name="b" {name}="{total}">{PASS}</testsuite>', ["passed", "error"])
          for name in ("failures", "errors")
          for total in ("3.0", "1,000", "1.000", "1 000", "+2", "-1", "1e3", "0x1", "three", "true", "٣",
                        "0.5", "1/2", "3 of 4", "?")),
        *((f'<testsuite name="b" failures="{total}">{PASS}</testsuite>', ["passed"])
          for total in ("0.0", "0,0", "+0", "-0", " 0 ", "NaN", "null", "-", "N/A")),
    ],
)  # fmt: skip
def test_errors_of_suites(file: Path, content: str, found: list[str]) -> None:
    assert [case.outcome for case in read(file, content).cases] == found


@pytest.mark.parametrize(
    ("totals", "cases", "problem"),
    [
        ('failures="7"', FAIL + PASS, "it counts 7 failures, and its tests show 1"),
        ('failures="1" errors="2"', FAIL + PASS, "it counts 1 failures and 2 errors, and its tests show 1"),
        ('failures="1"', FAIL + PASS, ""),
        ('failures="2"', FAIL + FAIL + PASS, ""),
        ('failures="7"', FAIL, ""),  # it is red as it is
    ],
)  # fmt: skip
def test_failures_that_no_attempt_shows(file: Path, totals: str, cases: str, problem: str) -> None:
    for inner in (f'<testsuite name="b" {totals}>{cases}</testsuite>',
                  f'<testsuites {totals}><testsuite>{cases}</testsuite></testsuites>'):  # fmt: skip
        report = read(file, inner)
        assert report.problem == problem
        assert report.outcome != "success" or not problem


def test_only_results_of_the_test_itself_count(file: Path) -> None:
    """What was printed may hold anything; cases of steps within a case count for themselves."""
    report = read(
        file,
        '<testsuite name="s"><testcase name="a"><system-out><failure message="old"/></system-out>'
        '</testcase><testcase name="b"><testcase name="step"><failure message="x"/></testcase>'
        "<skipped/></testcase></testsuite>",
    )
    assert outcomes(report) == {"s.a": "passed", "s.step": "failed", "s.b": "skipped"}


def test_surefire_reruns(file: Path) -> None:
    report = read(
        file,
        '<testsuite name="s"><testcase classname="c" name="flaky"><flakyFailure message="once">'
        '<stackTrace>x</stackTrace></flakyFailure></testcase><testcase classname="c" name="bad">'
        '<failure message="first"/><rerunFailure message="second"/></testcase>'
        '<testcase classname="c" name="worse"><error/><rerunError/></testcase></testsuite>',
    )
    assert outcomes(report) == {"c.flaky": "flaky", "c.bad": "failed", "c.worse": "error"}
    assert [case.message for case in report.cases] == ["once", "first", ""]


def test_suites_nest_and_lend_their_name(file: Path) -> None:
    report = read(
        file,
        '<testsuites><testsuite name="outer"><testsuite name="inner"><testcase name="a"/>'
        '</testsuite><testcase name="a"><failure/></testcase></testsuite></testsuites>',
    )
    assert outcomes(report) == {"inner.a": "passed", "outer.a": "failed"}


def test_a_suite_that_could_not_be_set_up_does_not_pass(file: Path) -> None:
    report = read(file, '<testsuite name="s"><error message="no database"/></testsuite>')
    assert outcomes(report) == {"s.(suite)": "error"} and report.outcome == "error"


@pytest.mark.parametrize(
    "content",
    ['<testsuite name="s"><testcase name="a"/></testsuite>', '<testcase name="a"/>',
     '\n\n <?xml version="1.0"?><testsuite name="s"><testcase name="a"/></testsuite>',
     '\ufeff<testsuite><testcase name="a"/></testsuite>'],
)  # fmt: skip
def test_roots_as_they_come(file: Path, content: str) -> None:
    report = read(file, content)
    assert report.problem == "" and report.count("passed") == 1


BOMB = (
    '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY a{i} "{f"&a{i - 1 or str()};" * 10}">' for i in range(1, 12))
    + ']><testsuite><testcase name="&a11;"/></testsuite>'
)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (BOMB, "declares entities"),
        ('<!DOCTYPE b [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuite name="&x;"/>',
         "declares entities"),
        ('<!DOCTYPE b [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x">%p;]><testsuite/>',
         "declares entities"),
        ('<testsuite><testcase name="a"/><testcase name="b"><fail', "no well-formed XML"),
        ('<testsuite name="&nope;"/>', "no well-formed XML"),
        ("", "no well-formed XML"),
        ("<html><body/></html>", "no JUnit report"),
        ("<a>" * 70, "nest deeper"),
        ("<testsuite>" * 100_000, "nest deeper"),
        ('<!DOCTYPE b [<!ENTITY a "x">]><testsuite>' + "&a;" * 100_000, "declares entities"),
        ('<?xml version="1.0" encoding="rot13"?><testsuite/>', "'rot13' is not known"),
        ('<?xml version="1.0" encoding="nonsense"?><testsuite/>', "'nonsense' is not known"),
        ('<?xml version="1.0" encoding="unicode_escape"?><testsuite/>', "is not known"),
        ("<testsuite/><testsuite/>", "junk after"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(file: Path, content: str, problem: str) -> None:
    report = read(file, content)
    assert problem in report.problem and report.outcome != "success"


def test_half_a_file_keeps_what_was_read(file: Path) -> None:
    report = read(file, '<testsuite><testcase name="a"><failure/></testcase><testcase name="b"')
    assert report.count("failed") == 1 and report.problem and report.outcome == "failure"


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [("utf-8", "utf-8"), ("latin-1", "ISO-8859-1"), ("cp1252", "windows-1252"),
     ("utf-16", "UTF-16"), ("utf-16-le", "UTF-16"), ("utf-32-be", "UTF-32"),
     ("utf-8-sig", "utf-8"), ("utf-8", "utf-16"), ("utf-8", "us-ascii")],
)  # fmt: skip
def test_encodings(file: Path, encoding: str, declared: str) -> None:
    text = f'<?xml version="1.0" encoding="{declared}"?><testsuite name="Prüfung">'
    text += "<system-out>" + "ü" * 1_100_000 + "</system-out>"
    report = read(file, (text + '<testcase name="größer"/></testsuite>').encode(encoding))
    assert outcomes(report) == {"Prüfung.größer": "passed"} and report.problem == ""


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32-le", "utf-8", "latin-1"])
def test_plain_text_in_any_encoding(file: Path, encoding: str) -> None:
    report = read(file, '<testsuite><testcase name="plain"/></testsuite>'.encode(encoding))
    assert outcomes(report) == {".plain": "passed"} and report.problem == ""


def test_bytes_of_another_encoding_do_not_lose_the_rest(file: Path) -> None:
    content = (
        b'<testsuite><testcase name="a"><failure message="gr\xfc\xdfe\x1b[0m\x00"/></testcase>'
    )
    report = read(file, content + b'<testcase name="b"/></testsuite>')
    assert outcomes(report) == {".a": "failed", ".b": "passed"} and report.problem == ""
    assert report.cases[0].message == "gr\ufffd\ufffde?[0m?"


def test_messages_and_names_are_bounded(file: Path) -> None:
    long = "x" * 3000
    report = read(
        file,
        f'<testsuite><testcase name="{long}1"><failure message="{"ü" * 3000}"/></testcase>'
        f'<testcase name="{long}2"><failure>{"ü" * 3000}</failure></testcase></testsuite>',
    )
    assert [len(case.message.encode()) for case in report.cases] == [1024, 1024]
    names = {case.name for case in report.cases}
    assert len(names) == 2 and max(map(len, names)) <= junit_elements.NAME_CHARACTERS_MAX


def test_failures_do_not_hide_behind_many_passes(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(junit_elements, "CASES_MAX", 10)
    cases = "".join(f'<testcase name="{number}"/>' for number in range(30))
    report = read(file, f'<testsuite>{cases}<testcase name="z"><failure/></testcase></testsuite>')
    assert len(report.cases) == 11 and "20 cases" in report.problem
    assert report.outcome == "failure"


def test_wide_characters_count_as_what_they_take(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(junit_elements, "KEPT_BYTES_MAX", 40_000)
    cases = "".join(f'<testcase name="{"😀" * 1000}{number}"/>' for number in range(30))
    assert 8 <= len(read(file, f"<testsuite>{cases}</testsuite>").cases) <= 11


@pytest.mark.parametrize("kind", ["absent", "folder", "pipe", "nul"])
def test_what_is_no_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "nul":
        path = Path(f"{tmp_path}/a\0b")
    assert JUnit().read(path, suite="").problem


MEASURED = """
import resource, sys
from pathlib import Path
from cxlocal_plugins.junit import JUnit
report = JUnit().read(Path(sys.argv[1]), suite="")
if sys.platform == "darwin":
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
else:
    # getrusage counts what the parent had before exec(2); VmHWM begins with this program.
    status = Path("/proc/self/status").read_text()
    most = int(status.partition("VmHWM:")[2].split()[0]) * 1024
print(len(report.cases), most, report.problem)
"""


@pytest.mark.parametrize(
    ("begin", "piece", "count", "cases"),
    [
        ('<testsuite><testcase name="a"><system-out>', "0123456789 output\n", 6_000_000, 1),
        ('<testsuite><testcase name="', "0123456789 long name", 5_000_000, 0),
        ("<testsuite><!--", "0123456789 long comment", 5_000_000, 0),
        ("<testsuite><testcase", ' a="0123456789"', 5_000_000, 0),
        ('<testsuite><testcase name="a"><', "0123456789", 5_000_000, 0),
        ("<testsuite><?x ", "0123456789 long instruction", 5_000_000, 0),
        ("<!DOCTYPE a [", "<!ELEMENT b (c)>", 5_000_000, 0),
        # Every one is a test; what is beyond the limit is said.
        ("<testsuite>", '<testcase classname="c" name="same"/>', 300_000, 200_000),
    ],
)
def test_memory_stays_small_whatever_the_size(
    file: Path, begin: str, piece: str, count: int, cases: int
) -> None:
    end = "</system-out></testcase></testsuite>" if "out>" in begin else "</testsuite>"
    block = piece * 10_000
    with open(file, "w", encoding="ascii") as target:
        target.write(begin)
        target.writelines(block for _ in range(count // 10_000))
        target.write(end)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(file)], capture_output=True, text=True, check=True
    )
    found, most, *problem = done.stdout.split(maxsplit=2)
    assert int(found) == cases and bool(problem) == (cases != 1), done.stdout
    assert int(most) < 120 * 1024 * 1024, "bytes at most"


@given(st.binary(max_size=300), st.sampled_from([b"", b"<testsuite>", b"<testsuite><testcase "]))
@example(b'<?xml version="1.0" encoding="undefined"?>', b"")
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_bytes_never_raise(file: Path, content: bytes, begin: bytes) -> None:
    report = read(file, begin + content)
    assert report.problem or report.cases or b"testsuite" in begin + content
    for case in report.cases:
        f"{case.suite}{case.name}{case.message}".encode()


XML_TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), max_size=20
)


@given(
    st.dictionaries(
        st.tuples(XML_TEXT.filter(bool), XML_TEXT),
        st.sampled_from(["passed", "failed", "error", "skipped"]),
        min_size=1,
    )
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_written_is_read(file: Path, cases: dict[tuple[str, str], str]) -> None:
    inner = {"passed": "", "failed": "<failure/>", "error": "<error/>", "skipped": "<skipped/>"}
    body = "".join(
        f"<testcase classname={quoteattr(suite)} name={quoteattr(name)}>{inner[outcome]}</testcase>"
        for (suite, name), outcome in cases.items()
    )
    report = read(file, f"<testsuites><testsuite>{body}</testsuite></testsuites>")
    assert report.problem == ""
    assert {(case.suite, case.name): case.outcome for case in report.cases} == cases
    for outcome in inner:
        assert report.count(outcome) == list(cases.values()).count(outcome)
