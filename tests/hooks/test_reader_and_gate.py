"""docs/own-deploy.md, docs/own-reader.md and docs/own-gate.md, done as they say, in a project of their own."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cxlocal.hooks.reading import MEMORY_BYTES, READ_SECONDS

DOCS = Path(__file__).resolve().parents[2] / "docs"
LINES_MAX = 30


class Page:
    """The project that a page describes."""

    def __init__(self, name: str, folder: Path, cx: Any) -> None:
        self.text = (DOCS / name).read_text(encoding="utf-8")
        self.tree, self.cx = folder / "tree", cx
        self.env = {"CXLOCAL_HOME": str(folder / "home")}
        (self.code,), (config,) = self.blocks("python"), self.blocks("toml")
        plugin = re.search(r"`(\.cx/plugins/\w+\.py)`", self.text)
        assert plugin is not None
        self.plugin = self.tree / plugin[1]
        self.plugin.parent.mkdir(parents=True)
        self.plugin.write_text(self.code)
        (self.tree / "cx.toml").write_text(config)
        subprocess.run(["git", "init", "-q", "--bare", str(folder / "remote.git")], check=True)
        for words in ("init -q .", f"remote add origin {folder / 'remote.git'}"):
            self.git(*words.split())

    def blocks(self, kind: str) -> list[str]:
        return re.findall(rf"```{kind}\n(.*?)```", self.text, re.DOTALL)

    def git(self, *words: str) -> None:
        subprocess.run(["git", *words], cwd=self.tree, check=True, capture_output=True)

    def push(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", "x", "--allow-empty")
        self.git("push", "-q", "origin", "HEAD:main")

    def do(self) -> list[Any]:
        """Every command of the page."""
        (block,) = self.blocks("sh")
        return [
            self.cx(*shlex.split(line)[1:], cwd=self.tree, env=self.env)
            for line in block.splitlines()
        ]


@pytest.mark.parametrize("name", ["own-deploy.md", "own-reader.md", "own-gate.md"])
def test_the_code_is_short(name: str) -> None:
    text = (DOCS / name).read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) < LINES_MAX


@pytest.mark.parametrize(
    ("said", "code", "counts"),
    [
        ("ok 1 - adds\nok 2 - skips # SKIP later\n", 0, (1, 0, 1)),
        ("ok 1 - adds\nnot ok 2 - divides\n", 1, (1, 1, 0)),
        ("nonsense\n", 9, None),
    ],
)
def test_the_page_about_readers(
    said: str, code: int, counts: tuple[int, ...] | None, tmp_path: Path, cx: Any
) -> None:
    page = Page("own-reader.md", tmp_path, cx)
    (page.tree / "tests.sh").write_text(f"printf {shlex.quote(said)}\n")
    page.push()
    trusted, plugins, rehearsed = page.do()
    assert trusted.code == 0, trusted.err
    assert plugins.code == 0 and "tap" in plugins.out
    assert rehearsed.code == code, rehearsed.err
    assert ("no line begins with ok" in rehearsed.err) == (counts is None)
    if counts is None:
        # A report without a case is a failure, unless the stage says that it may be.
        (page.tree / "tests.sh").write_text("true\n")
        page.plugin.write_text(page.code.replace('"no line begins with ok"', '""'))
        config = page.tree / "cx.toml"
        for may, ends in (("", 1), (", allow_empty = true", 0)):
            config.write_text(config.read_text().replace("} }", f"}}{may} }}"))
            page.push()
            assert page.do()[-1].code == ends
    else:
        asked = "SELECT passed, failed, skipped FROM report"
        (row,) = cx("sql", asked, "--json", cwd=page.tree, env=page.env).json()
        assert tuple(row.values()) == counts


@pytest.mark.parametrize(
    ("day", "words", "code"),
    [
        ("Monday", (), 0), ("Friday", (), 3),
        ("Friday", ("--unplanned", "--reason", "the shop is down"), 0),
    ],
)  # fmt: skip
def test_the_page_about_gates(
    day: str, words: tuple[str, ...], code: int, tmp_path: Path, cx: Any
) -> None:
    page = Page("own-gate.md", tmp_path, cx)
    # The day of the test is the one it says.
    time = {"Friday": "2026-11-27T09:00:00.000Z", "Monday": "2026-11-30T09:00:00.000Z"}[day]
    page.plugin.write_text(page.code.replace("question.asked_at", repr(time)))
    page.push()
    if words:
        assert cx("trust", "--yes", cwd=page.tree, env=page.env).code == 0
        ran = cx("run", *words, cwd=page.tree, env=page.env)
    else:
        trusted, plugins, ran = page.do()
        assert trusted.code == plugins.code == 0 and "friday" in plugins.out
    assert ran.code == code, ran.err
    rows = cx("sql", "SELECT * FROM verdict", "--json", cwd=page.tree, env=page.env).json()
    wanted = "no deployments on Fridays" if code else "down" if words else "it is Monday"
    assert any(wanted in str(row) for row in rows)
    if code:  # not resumed but begun anew
        why = ("--unplanned", "--reason", "the shop is down")
        assert cx("run", "--resume", *why, cwd=page.tree, env=page.env).code == 2
        assert cx("run", "--anyway", *why, cwd=page.tree, env=page.env).code == 0


def test_the_page_about_deploying(tmp_path: Path, cx: Any) -> None:
    page = Page("own-deploy.md", tmp_path, cx)
    config, sites = page.tree / "cx.toml", tmp_path / "sites"
    config.write_text(config.read_text().replace("/srv/sites", str(sites)))
    (page.tree / "public").mkdir()
    (page.tree / "public" / "page.html").write_text("hello")
    page.push()
    done = page.do()
    assert [one.code for one in done] == [0] * 5, "\n".join(one.err for one in done)
    assert "0.1.0" in done[2].out
    [site] = (sites / "production" / "files").iterdir()
    assert (site / "VERSION").read_text() == "0.1.0" and (site / "page.html").read_text() == "hello"


def test_plugins_says_what_one_tool_takes(cx: Any, tmp_path: Path) -> None:
    shown = cx("plugins", "pytest", cwd=tmp_path)
    assert shown.code == 0 and "allow_empty" in shown.out and "test" in shown.out
    (row,) = cx("plugins", "local-service", "--json", cwd=tmp_path).json()
    assert "create" in row["verbs"] and row["secrets"] == []
    port = next(each for each in row["options"] if each["option"] == "port")
    assert port == {"option": "port", "type": "whole number", "default": "0"}
    assert "there is no tool 'nix'" in cx("plugins", "nix", cwd=tmp_path).err


@pytest.mark.parametrize(
    ("registers", "words"),
    [
        (
            "cxlocal_register_report_readers():\n    return [Reader]",
            "cxlocal_register_report_readers",
        ),
        ("cxlocal_register_tools():\n    return [Reader()]", "a tool is a class derived"),
        ("cxlocal_register_tools():\n    return Reader", "list of tool classes"),
        ("cxlocal_register_sinks(events):\n    return []", "takes events"),
    ],
)
def test_a_wrong_registration_is_named_when_it_is_looked_at(
    registers: str, words: str, cx: Any, tmp_path: Path
) -> None:
    """Before anything needs it; and the command ends with 1."""
    page = Page("own-reader.md", tmp_path, cx)
    head = "from cxlocal.hooks.specs import hookimpl\nclass Reader:\n    pass\n@hookimpl\ndef "
    page.plugin.write_text(head + registers + "\n")
    page.push()
    assert cx("trust", "--yes", cwd=page.tree, env=page.env).code == 0
    done = cx("plugins", "--json", cwd=page.tree, env=page.env)
    (row,) = [each for each in done.json() if each["origin"] == "project"]
    assert (done.code, row["state"]) == (1, "broken")
    assert words in row["error"]


def test_a_page_names_the_limits_of_a_reader() -> None:
    said = (DOCS / "own-reader.md").read_text(encoding="utf-8")
    assert f"`read` may take {READ_SECONDS:.0f} seconds" in said
    assert f"{MEMORY_BYTES >> 30} GiB of memory" in said
