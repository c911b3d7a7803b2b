"""The contract finds what it is for: each of these tools breaks one promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

GOOD = """
import json, os, pathlib, shutil, signal, sys, time
from cxlocal.hooks.running import alive, identity
from cxlocal.hooks.tool import Context, Done, Observed, Tool, ToolFailure
from cxlocal.testing import ToolContract


class Mine(Tool):
    name = "mine"
    api = 2

    class Options(Tool.Options, frozen=True):
        size: int = 1

    def provision(self, ctx):
        root = ctx.environment.folder / "mine"
        ctx.intend({"root": str(root)})
        root.mkdir(exist_ok=True)
        (root / "version").write_text(ctx.version)
        return Done(details={"uri": "http://127.0.0.1:1"})

    def observe(self, ctx):
        if ctx.handle is None:
            return Observed()
        return Observed(version=pathlib.Path(ctx.handle["root"], "version").read_text())

    def destroy(self, ctx):
        shutil.rmtree(ctx.handle["root"], ignore_errors=True)


class TestMine(ToolContract):
    tool = Mine
    kill_after_seconds = (0.0, 0.2)

    def inspected(self, bench):
        return "".join(one.read_text() for one in bench.environment.folder.glob("mine/labels"))
"""

BROKEN = {
    "takes any option": (
        "class Options(Tool.Options, frozen=True):",
        "class Options(Tool.Options, frozen=True, forbid_unknown_fields=False):",
        "test_options_are_checked",
    ),
    "makes first and says it then": (
        "        ctx.intend(",
        "        root.mkdir(exist_ok=True)\n        ctx.intend(",
        "test_nothing_is_made_before_it_was_announced",
    ),
    "never says what it makes": (
        '        ctx.intend({"root": str(root)})\n',
        "",
        "test_nothing_is_made_before_it_was_announced",
    ),
    "goes on when the intent is refused": (
        '        ctx.intend({"root": str(root)})\n',
        ("        try:\n            ctx.intend({'root': str(root)})\n        except Exception:\n"
        "            pass\n"),
        "test_nothing_is_made_before_it_was_announced",
    ),
    "prints a secret": (
        "        root = ctx.environment.folder",
        "        print(*ctx.secrets.values(), flush=True)\n        root = ctx.environment.folder",
        "test_a_life_ends_well_and_no_secret_is_said",
    ),
    "gives a secret to a program as an argument": (
        "        root = ctx.environment.folder",
        "        ctx.exec(['sh', '-c', 'sleep 0.2', *ctx.secrets.values()])\n        root = ctx.environment.folder",
        "test_a_life_ends_well_and_no_secret_is_said",
    ),
    "keeps a secret in its result": (
        '"http://127.0.0.1:1"',
        '"http://" + "".join(ctx.secrets.values())',
        "test_a_life_ends_well_and_no_secret_is_said",
    ),
    "writes a secret where others may read it": (
        '(root / "version").write_text(ctx.version)',
        ('(root / "version").write_text(ctx.version)\n'
        '        (root / "settings").write_text(str(dict(ctx.secrets)))'),
        "test_a_life_ends_well_and_no_secret_is_said",
    ),
    "leaves a secret in the checkout": (
        '(root / "version").write_text(ctx.version)',
        ('(root / "version").write_text(ctx.version)\n'
        '        (ctx.checkout / ".netrc").write_text(str(dict(ctx.secrets)))'),
        "test_a_life_ends_well_and_no_secret_is_said",
    ),
    "shows a secret to whoever looks at what it made": (
        '(root / "version").write_text(ctx.version)',
        ('(root / "version").write_text(ctx.version)\n'
        '        labels = root / "labels"\n'
        '        labels.touch(0o600)\n'
        '        labels.write_text(str(dict(ctx.secrets)))'),
        "test_a_life_ends_well_and_no_secret_is_said",
    ),
    "puts a secret into what it built": (
        "    def destroy(self",
        ("    def build(self, ctx):\n"
        "        from cxlocal.hooks.tool import Produced\n"
        "        path = ctx.scratch / 'app'\n"
        "        path.write_text(ctx.version + ''.join(ctx.secrets.values()))\n"
        "        return Done(artifacts=(Produced(name='app', path=path),))\n\n"
        "    def destroy(self"),
        "test_a_life_ends_well_and_no_secret_is_said",
    ),
    "destroys only once": (", ignore_errors=True)", ")", "test_twice_is_as_good_as_once"),
    "leaves files behind": (
        'shutil.rmtree(ctx.handle["root"], ignore_errors=True)',
        'pathlib.Path(ctx.handle["root"], "version").unlink(missing_ok=True)',
        "test_killed_at_any_moment_it_can_be_destroyed",
    ),
    "leaves a process behind": (
        "        root.mkdir(exist_ok=True)\n",
        ("        root.mkdir(exist_ok=True)\n"
        "        ctx.daemon([sys.executable, '-c', 'import time; time.sleep(5)'],\n"
        "                   cwd=ctx.scratch, env=dict(os.environ), log=ctx.scratch / 'log')\n"
        "        time.sleep(0.5)\n"),
        "test_killed_at_any_moment_it_can_be_destroyed",
    ),
    "provisions only once": ("root.mkdir(exist_ok=True)", "root.mkdir()", "test_twice_is_as_good_as_once"),
    "sees something else each time": (
        'return Observed(version=pathlib.Path(ctx.handle["root"], "version").read_text())',
        "return Observed(version=str(time.time()))",
        "test_twice_is_as_good_as_once",
    ),
    "looks for a handle where nothing was made": (
        "        if ctx.handle is None:\n            return Observed()\n", "",
        "test_it_observes_where_nothing_was_ever_made",
    ),
    "sees what is not there": (
        "            return Observed()\n", "            return Observed(version='1.0.0')\n",
        "test_it_observes_where_nothing_was_ever_made",
    ),
    "never comes to its intent": (
        "        root = ctx.environment.folder", "        raise ToolFailure('no')\n        root = ctx.environment.folder",
        "test_killed_at_any_moment_it_can_be_destroyed",
    ),
    "has no destroy": ("def destroy(", "def probe(", "test_nothing_is_made_before_it_was_announced"),
    "fails": ("        root.mkdir(", "        raise ToolFailure('no')\n        root.mkdir(",
              "test_a_life_ends_well_and_no_secret_is_said"),
    "has no name": ('name = "mine"', 'name = "Mine!"', "test_it_is_a_tool"),
}  # fmt: skip


def run_contract(folder: Path, text: str, *arguments: str) -> str:
    (folder / "test_mine.py").write_text(text)
    return run_pytest(folder, "test_mine.py", *arguments)


def run_pytest(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", "-rf", *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip
    return done.stdout + done.stderr


def test_a_good_tool_keeps_it(tmp_path: Path) -> None:
    assert "8 passed" in run_contract(tmp_path, GOOD)


def test_a_tool_gets_its_secrets_and_what_it_built(tmp_path: Path) -> None:
    """In every test, not only in the one that listens for secrets."""
    text = GOOD.replace("    api = 2\n", "    api = 2\n    secrets = ('TOKEN',)\n").replace(
        "        ctx.intend(",
        "        assert len(ctx.secrets['TOKEN']) > 8\n"
        "        assert ctx.artifacts['app'].path.read_text() == ctx.version\n"
        "        ctx.intend(",
    )
    text = text.replace(
        "    def observe(self",
        "    def build(self, ctx):\n"
        "        path = ctx.scratch / 'app'\n"
        "        path.write_text(ctx.version)\n"
        "        return Done(artifacts=(Produced(name='app', path=path),))\n\n"
        "    def observe(self",
    ).replace("Observed, Tool", "Observed, Produced, Tool")
    assert "8 passed" in run_contract(tmp_path, text)


@pytest.mark.timeout(240)  # each promise is tried by the workers that a real test has
def test_a_broken_promise_is_found(tmp_path: Path) -> None:
    """All of them in one process of pytest, whose start would cost more than the rest."""
    wanted = {}
    for number, (good, bad, name) in enumerate(BROKEN.values()):
        assert good in GOOD
        (tmp_path / f"test_mine_{number}.py").write_text(GOOD.replace(good, bad))
        wanted[f"test_mine_{number}.py::TestMine::{name}"] = list(BROKEN)[number]
    said = run_pytest(tmp_path, *wanted)
    failed = set(re.findall(r"^FAILED (\S+)", said, re.MULTILINE))
    assert [fault for test, fault in wanted.items() if test not in failed] == [], said


def test_the_tool_of_the_page_keeps_it(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "own-tool.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "cxlocal_tarball.py").write_text(blocks[0])
    said = run_contract(tmp_path, next(block for block in blocks if "ToolContract" in block))
    assert "9 passed" in said, said
