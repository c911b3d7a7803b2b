"""The examples of docs/pieces.md, as they stand there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "pieces.md"
GITHUB = {
    "CI": "true", "CXLOCAL_NODE": "kept", "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "8123456789",
    "GITHUB_RUN_ATTEMPT": "1", "GITHUB_REPOSITORY": "o/r",
    "GITHUB_SERVER_URL": "https://github.example", "GITHUB_ACTOR": "octo",
}  # fmt: skip
MAKEFILE = """\
app.zip: ; echo "$$CXLOCAL_VERSION" > app.zip
test: ; grep -q . app.zip
"""


def blocks(language: str) -> list[str]:
    """The examples of one language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def page(desk: Any) -> Any:
    """The repository that the page assumes."""
    ignored = ".cx/run\napp.zip\n"
    deploy = f'mkdir -p "{desk.live}" && cp "$CXLOCAL_ARTIFACT_APP" "{desk.live}/app.zip"\n'
    desk.write(
        {
            "cx.toml": blocks("toml")[0], "Makefile": MAKEFILE, "deploy.sh": deploy,
            ".gitignore": ignored,
        }
    )  # fmt: skip
    return desk


def _ok(desk: Any, script: str, **rest: Any) -> str:
    done = desk.shell(script, **rest)
    assert done.code == 0, f"{script}\n{done.out}\n{done.err}"
    return str(done.out)


def test_the_shell_and_what_comes_later(page: Any) -> None:
    first, approval, number, later, override = blocks("sh")
    assert _ok(page, first).endswith("released 2.7.0\n")
    assert (page.live / "app.zip").read_text() == "2.7.0\n"
    (page.tree / "app.zip").unlink()
    steps = first.replace("cxlocal deploy --to production\n", "")
    assert _ok(page, steps).endswith("released 2.7.1\n")
    assert "2.7.1" in _ok(page, later)
    assert (page.live / "app.zip").read_text() == "2.7.0\n"
    _ok(page, override)
    _ok(page, approval)
    _ok(page, number)
    rows = page.rows("SELECT version, outcome FROM run ORDER BY queued_at")
    assert [tuple(row.values()) for row in rows] == [
        (f"2.7.{n}", "success") for n in range(4)
    ]  # fmt: skip
    assert page("verify").code == 0


def test_the_makefile(page: Any) -> None:
    page.write({"Makefile": blocks("make")[0]})
    _ok(page, "make -s release")
    assert (page.tree / "app.zip").read_text() == "2.7.0\n"
    assert page.rows("SELECT outcome FROM run") == [{"outcome": "success"}]
    assert [one[:3] for one in page.stages()] == [("build", 1, "success"), ("unit", 1, "success")]


def test_the_five_jobs(page: Any) -> None:
    commands = re.findall(r"run: (.*?) \}\]", blocks("yaml")[0])
    assert len(commands) == 5
    for command in commands:
        # Another job is another process, in a checkout without .cx/run.
        (page.tree / ".cx" / "run").unlink(missing_ok=True)
        _ok(page, command, env=GITHUB)
    row = page.rows("SELECT version, outcome, place FROM run")
    assert [tuple(one.values()) for one in row] == [("2.7.0", "success", "github-actions")]
    assert (page.live / "app.zip").exists()


def test_the_python(page: Any) -> None:
    (page.root / "example.py").write_text(blocks("python")[0])
    assert _ok(page, f"{sys.executable} {page.root}/example.py") == "released 2.7.0\n"
    row = page.rows("SELECT outcome, reason FROM run")[0]
    assert tuple(row.values()) == ("success", "nightly")
    assert page.rows("SELECT name FROM artifact") == [{"name": "app"}]
