"""The tool ``pytest``: outcomes by exit code, a report in every case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cxlocal_plugins.pytest_tool import Pytest, missing_module
from cxlocal_plugins.wheel import Wheel

from cxlocal.hooks.tool import ArtifactRef

Run = Callable[..., Any]
OURS = {"paths": ["tests"]}


def test_passing_tests_leave_a_report(run_verb: Run, checkout: Path) -> None:
    before = sorted(checkout.rglob("*"))
    ran = run_verb(Pytest, "test", OURS)
    assert ran.outcome.outcome == "success", ran.log
    (report,) = ran.outcome.result.reports
    assert b"test_a_basket_is_added_up" in report.path.read_bytes()
    assert sorted(checkout.rglob("*")) == before, "the checkout stays as it came"


def test_a_failing_test_is_a_failure_and_its_report_is_kept(run_verb: Run, checkout: Path) -> None:
    (checkout / "tests" / "test_red.py").write_text("def test_red():\n    assert 1 == 2\n")
    ran = run_verb(Pytest, "test", OURS)
    assert ran.outcome.outcome == "failure"
    assert ran.outcome.reason == "1 of 4 tests failed: test_red"
    (report,) = ran.outcome.result.reports
    assert b"test_red" in report.path.read_bytes()


def test_only_some_of_many_are_named(run_verb: Run, checkout: Path) -> None:
    many = "import pytest\n@pytest.mark.parametrize('x', range(9))\ndef test_x(x):\n    assert 0\n"
    (checkout / "tests" / "test_red.py").write_text(many)
    ran = run_verb(Pytest, "test", OURS)
    words = "9 of 12 tests failed: test_x[0], test_x[1], test_x[2] and 6 more"
    assert ran.outcome.reason == words


def test_finding_nothing_is_a_failure_unless_allowed(run_verb: Run, checkout: Path) -> None:
    (checkout / "empty").mkdir()
    assert run_verb(Pytest, "test", {"paths": ["empty"]}).outcome.outcome == "failure"
    allowed = {"paths": ["empty"], "allow_empty": True}
    assert run_verb(Pytest, "test", allowed).outcome.outcome == "success"


@pytest.mark.parametrize(
    ("file", "content"),
    [("test_broken.py", "import nothing_of_that_name\n"), ("conftest.py", "raise ValueError\n")],
)
def test_what_cannot_be_collected_is_an_error(
    run_verb: Run, checkout: Path, file: str, content: str
) -> None:
    (checkout / "tests" / file).write_text(content)
    assert run_verb(Pytest, "test", OURS).outcome.outcome == "error"


def test_wrong_arguments_are_an_error(run_verb: Run) -> None:
    ran = run_verb(Pytest, "test", {"args": ["--no-such-option"]})
    assert ran.outcome.outcome == "error" and "called wrongly" in ran.outcome.reason


def test_the_wheel_itself_can_be_tested(run_verb: Run, checkout: Path) -> None:
    wheel = run_verb(Wheel, "build").outcome.result.artifacts[0].path
    (checkout / "src" / "webshop" / "__init__.py").write_text("raise ImportError('the sources')\n")
    artifacts = {"wheel": ArtifactRef(name="wheel", path=wheel, sha256="a" * 64, size=1)}
    tested = run_verb(Pytest, "test", {**OURS, "install": ["wheel"]}, artifacts=artifacts)
    assert tested.outcome.outcome == "success", tested.log
    assert run_verb(Pytest, "test", OURS).outcome.outcome == "error"
    missing = run_verb(Pytest, "test", {**OURS, "install": ["nothing"]}, artifacts=artifacts)
    assert missing.outcome.outcome == "failure" and "'nothing'" in missing.outcome.reason


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import os\n    os._exit(0)", "exit code 0 and left no report"),
        ("import os\n    os._exit(1)", "exit code 1 and left no report"),
        ("import os\n    os.kill(os.getpid(), 9)", "ended by SIGKILL"),
    ],
)
def test_a_test_that_ends_the_process_does_not_pass(
    run_verb: Run, checkout: Path, body: str, words: str
) -> None:
    (checkout / "tests" / "test_end.py").write_text(f"def test_end():\n    {body}\n")
    ran = run_verb(Pytest, "test", OURS)
    assert ran.outcome.outcome == "error" and words in ran.outcome.reason


def test_the_report_stays_ours_whatever_the_project_says(run_verb: Run, checkout: Path) -> None:
    ini = "[pytest]\naddopts = --ff --junitxml=other.xml\ntestpaths = tests\n"
    (checkout / "pytest.ini").write_text(ini)
    before = sorted(checkout.rglob("*"))
    ran = run_verb(Pytest, "test", {"args": ["--junitxml=third.xml"]})
    assert ran.outcome.outcome == "success", ran.log
    assert ran.outcome.result.reports and sorted(checkout.rglob("*")) == before


def test_processes_that_tests_start_are_as_ever(run_verb: Run, checkout: Path) -> None:
    (checkout / "tests" / "helper.py").write_text("VALUE = 5\n")
    (checkout / "tests" / "script.py").write_text("import helper\nprint(helper.VALUE)\n")
    (checkout / "tests" / "test_script.py").write_text(
        "import subprocess, sys\ndef test_it():\n"
        "    assert subprocess.check_output([sys.executable, 'tests/script.py']) == b'5\\n'\n"
    )
    ran = run_verb(Pytest, "test", OURS)
    assert ran.outcome.outcome == "success", ran.log


def test_it_works_without_options(run_verb: Run, checkout: Path) -> None:
    import shutil

    shutil.rmtree(checkout / "smoke")
    assert run_verb(Pytest, "test").outcome.outcome == "success"


def test_a_flat_project_and_an_interpreter_of_its_own(run_verb: Run, tmp_path: Path) -> None:
    import venv

    flat = tmp_path / "flat"
    (flat / "shop").mkdir(parents=True)
    (flat / "shop" / "__init__.py").write_text("PRICE = 3\n")
    (flat / "test_shop.py").write_text(
        "import sys, shop\ndef test_it():\n    assert '.own' in sys.prefix and shop.PRICE == 3\n"
    )
    venv.create(flat / ".own", symlinks=True)
    (site,) = (flat / ".own" / "lib").glob("python*/site-packages")
    (site / "ours.pth").write_text(str(Path(pytest.__file__).parents[1]))
    ran = run_verb(Pytest, "test", {"python": ".own/bin/python"}, checkout=flat)
    assert ran.outcome.outcome == "success", ran.log
    (site / "ours.pth").unlink()
    ran = run_verb(Pytest, "test", {"python": ".own/bin/python"}, checkout=flat)
    assert ran.outcome.outcome == "error" and "No module named 'pytest'" in ran.outcome.reason
    assert "let the stage that makes .own/bin/python install" in ran.outcome.reason
    ran = run_verb(Pytest, "test", {"python": "nowhere/python"}, checkout=flat)
    assert ran.outcome.outcome == "error" and "nowhere/python" in ran.outcome.reason


def test_what_pytest_complains_of_is_the_reason(run_verb: Run, checkout: Path) -> None:
    (checkout / "tests" / "test_broken.py").write_text("import nothing_of_that_name\n")
    ran = run_verb(Pytest, "test", {})
    assert ran.outcome.outcome == "error"
    assert "No module named 'nothing_of_that_name'" in ran.outcome.reason
    assert ran.outcome.trace == ""


MISSING = [
    ("ModuleNotFoundError: No module named 'requests'", "requests"),
    ("E   ModuleNotFoundError: No module named 'a.b'", "a.b"),
    ("/x/python: No module named pytest", "pytest"),
    ("ImportError: Error importing plugin \"xdist\": No module named 'xdist'", "xdist"),
    ('Error importing plugin "pytest_django"', "pytest_django"),
    ("pytest.UsageError: Missing required plugins: pytest-asyncio", "pytest-asyncio"),
    ("ERROR: usage\npython: error: unrecognized arguments: --cov=x", "--cov"),
    ("1 failed in 0.1s", ""),
]


@pytest.mark.parametrize(("output", "absent"), MISSING)
def test_what_is_not_installed_is_read_from_what_is_said(output: str, absent: str) -> None:
    assert missing_module(output) == absent


@pytest.mark.parametrize(
    ("file", "content", "outcome"),
    [
        ("tests/test_x.py", "import not_there\n", "error"),
        ("tests/conftest.py", "import not_there\n", "error"),
        ("tests/conftest.py", "pytest_plugins = ['not_there']\n", "error"),
        ("tests/test_x.py", "def test_x():\n    import not_there\n", "failure"),
    ],
)
def test_a_missing_module_comes_with_the_remedy(
    run_verb: Run, checkout: Path, file: str, content: str, outcome: str
) -> None:
    (checkout / file).write_text(content)
    ran = run_verb(Pytest, "test", OURS)
    assert ran.outcome.outcome == outcome
    assert "not_there is not installed in the Python that cxlocal runs in" in ran.outcome.reason
    assert 'python = ".venv/bin/python"' in ran.outcome.reason
    assert "trying again does not help" in ran.outcome.reason
