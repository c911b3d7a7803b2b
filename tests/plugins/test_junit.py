"""The report reader: real reports, odd ones, and bytes that are none."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pytest
from cxlocal_plugins.junit import MESSAGE_BYTES_MAX, JUnit
from hypothesis import given, settings
from hypothesis import strategies as st

from cxlocal.hooks.report import Report


def read(content: bytes | str, folder: Path, suite: str = "") -> Report:
    path = folder / "report.xml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return JUnit().read(path, suite=suite)


def outcomes(report: Report) -> dict[str, str]:
    return {case.name: case.outcome for case in report.cases}


def test_what_pytest_writes(tmp_path: Path) -> None:
    (tmp_path / "test_all.py").write_text(
        "import pytest\n"
        "@pytest.fixture\ndef breaks():\n    yield\n    raise RuntimeError('teardown')\n"
        "@pytest.fixture\ndef broken():\n    raise RuntimeError('setup')\n"
        "def test_good(): pass\n"
        "def test_bad(): assert 1 == 2, 'one is not two'\n"
        "def test_both(breaks): assert False\n"
        "def test_late(breaks): pass\n"
        "def test_early(broken): pass\n"
        "def test_skipped(): raise pytest.skip.Exception('not today')\n"
        "@pytest.mark.xfail\ndef test_expected(): assert False\n"
        "def test_control(): raise ValueError('\\x1b[31mred\\x00')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "--junitxml=r.xml", "-p", "no:cacheprovider"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    report = JUnit().read(tmp_path / "r.xml", suite="unit")
    assert report.problem == "" and report.suite == "unit"
    assert outcomes(report) == {
        "test_good": "passed", "test_bad": "failed", "test_both": "error", "test_late": "error",
        "test_early": "error", "test_skipped": "skipped", "test_expected": "skipped",
        "test_control": "failed",
    }  # fmt: skip
    assert report.outcome == "failure"
    bad = next(case for case in report.cases if case.name == "test_bad")
    assert "one is not two" in bad.message and bad.seconds is not None


def test_nested_suites_without_a_root(tmp_path: Path) -> None:
    report = read(
        "<testsuite name='outer'><testsuite name='inner'><testcase name='a'/></testsuite>"
        "<testcase name='b' classname='k' time='1,234.5'/></testsuite>",
        tmp_path,
    )
    assert [(case.suite, case.name) for case in report.cases] == [("inner", "a"), ("k", "b")]
    assert report.cases[1].seconds == 1234.5
    assert report.suite == "outer" and report.outcome == "success"


def test_reruns_as_surefire_writes_them(tmp_path: Path) -> None:
    report = read(
        "<testsuite><testcase name='settled'><flakyFailure message='first try'/></testcase>"
        "<testcase name='never'><failure message='no'/><rerunFailure message='no'/></testcase>"
        "</testsuite>",
        tmp_path,
    )
    assert outcomes(report) == {"settled": "flaky", "never": "failed"}
    assert report.cases[0].message == "first try"


def test_a_message_in_the_text_is_found_and_bounded(tmp_path: Path) -> None:
    report = read(f"<testsuite><testcase name='a'><error>{'ü' * 5000}</error></testcase></testsuite>",
        tmp_path)  # fmt: skip
    (case,) = report.cases
    assert case.outcome == "error" and 1000 < len(case.message.encode()) <= MESSAGE_BYTES_MAX


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    text = f"<?xml version='1.0' encoding='{encoding}'?><testsuite><testcase name='Größe'/></testsuite>"
    assert outcomes(read(text.encode(encoding), tmp_path)) == {"Größe": "passed"}


def test_a_file_cut_at_any_byte_keeps_what_came_before(tmp_path: Path) -> None:
    cases = "".join(f"<testcase classname='c' name='t{n}' time='0.1'/>" for n in range(5))
    whole = f"<testsuites><testsuite name='s'>{cases}</testsuite></testsuites>".encode()
    seen = 0
    for end in range(len(whole)):
        report = read(whole[:end], tmp_path)
        assert report.problem and report.outcome != "success", end
        assert len(report.cases) >= seen, "what was read is not lost again"
        seen = len(report.cases)
    assert seen == 5


@pytest.mark.parametrize(
    "content",
    [
        "<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><testsuite name='&b;'/>",
        "<!DOCTYPE x [<!ENTITY f SYSTEM 'file:///etc/hostname'>]><testsuite>&f;</testsuite>",
    ],
)
def test_declared_entities_end_the_reading(tmp_path: Path, content: str) -> None:
    report = read(content, tmp_path)
    assert "entities" in report.problem and report.cases == () and report.outcome == "error"


@pytest.mark.parametrize("content", ["", "<html><body/></html>", "<a>" * 200, "not xml", "\0\0\0"])
def test_what_is_no_report_says_so(tmp_path: Path, content: str) -> None:
    report = read(content, tmp_path)
    assert report.problem and report.outcome == "error"


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    assert "No such file" in JUnit().read(tmp_path / "nothing", suite="").problem


def test_many_cases_with_control_characters(tmp_path: Path) -> None:
    body = b"".join(
        b"<testcase name='t%d'><system-out>\x1b[0m\x00\x08</system-out></testcase>" % n
        for n in range(50_000)
    )
    report = read(b"<testsuite>" + body + b"</testsuite>", tmp_path)
    assert len(report.cases) == 50_000 and report.problem == ""


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "ignore"))
)
def test_no_bytes_raise(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for prefix in (b"", b"<testsuite><testcase name='a'>"):
            read(prefix + content, Path(folder))


NAMES = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), max_size=20
)
CASES = st.lists(
    st.tuples(NAMES, NAMES, st.sampled_from(["passed", "failed", "error", "skipped"]), NAMES),
    max_size=8,
    unique_by=lambda case: (case[0], case[1]),
)
TAGS = {"failed": "failure", "error": "error", "skipped": "skipped"}


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_what_was_written_is_read_back(cases: list[tuple[str, str, str, str]]) -> None:
    parts = []
    for suite, name, outcome, message in cases:
        tag = TAGS.get(outcome)
        inner = f"<{tag} message={quoteattr(message)}>{escape(message)}</{tag}>" if tag else ""
        head = f"<testcase classname={quoteattr(suite or 'none')} name={quoteattr(name)}>"
        parts.append(f"{head}{inner}</testcase>")
    with tempfile.TemporaryDirectory() as folder:
        report = read(f"<testsuite>{''.join(parts)}</testsuite>", Path(folder))
    assert report.problem == ""
    expected = {(suite or "none", name): outcome for suite, name, outcome, _ in cases}
    assert {(case.suite, case.name): case.outcome for case in report.cases} == expected
