"""``cxlocal plugins new``, and docs/developing.md done as it says."""

from __future__ import annotations

import copy
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import promised
import pytest

from cxlocal import testing
from cxlocal.errors import UsageError
from cxlocal.hooks import class_checks, sink, tool
from cxlocal.hooks.new_plugin import KINDS, new_plugin

PAGE = Path(__file__).resolve().parents[2] / "docs" / "developing.md"


PASSED = {"tool": 17, "target": 13, "reader": 2, "gate": 1, "sink": 11}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_passes_its_test(kind: str, tmp_path: Path, cx: Any) -> None:
    cx.ok("plugins", "new", "my-one", "--kind", kind, cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cxlocal_my_one.py", "pyproject.toml", "test_cxlocal_my_one.py",
    ]  # fmt: skip
    again = cx("plugins", "new", "my-one", cwd=tmp_path)
    assert again.code == 2 and "is there already" in again.err
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0 and f"{PASSED[kind]} passed" in done.stdout, done.stdout


def test_the_contract_of_the_template_sees_what_a_tool_leaves_half_made(
    tmp_path: Path, cx: Any
) -> None:
    cx.ok("plugins", "new", "my-one", cwd=tmp_path)
    plugin = tmp_path / "cxlocal_my_one.py"
    right = "shutil.rmtree(_places(ctx) / ctx.resource, ignore_errors=True)"
    wrong = '(_places(ctx) / ctx.resource / "label.json").unlink(missing_ok=True)'
    code = plugin.read_text()
    assert right in code
    plugin.write_text(code.replace(right, wrong))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", "killed_while"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "self.remains(bench, resource) == []" in done.stdout, (
        done.stdout
    )


def test_a_package_that_is_there_is_told_what_it_needs(tmp_path: Path, cx: Any) -> None:
    first = cx.ok("plugins", "new", "my-one", cwd=tmp_path)
    assert "entry-points" not in first.err
    package = (tmp_path / "pyproject.toml").read_text()
    said = cx.ok("plugins", "new", "my-gate", "--kind", "gate", cwd=tmp_path).err
    line = 'my-gate = "cxlocal_my_gate"'
    assert f"[project.entry-points.cxlocal]: {line}" in said
    assert "add cxlocal_my_gate.py to its files" in said
    assert (tmp_path / "pyproject.toml").read_text() == package and line not in package


def test_the_page_says_how_one_package_brings_several(tmp_path: Path, cx: Any) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    package = tomllib.loads(block)
    named = package["project"]["entry-points"]["cxlocal"]
    assert len(named) == 3
    for name in named:
        cx.ok("plugins", "new", name, cwd=tmp_path)
    modules = {path.stem for path in tmp_path.glob("cxlocal_*.py")}
    assert set(named.values()) == modules
    included = package["tool"]["hatch"]["build"]["targets"]["wheel"]["include"]
    assert set(included) == {f"{name}.py" for name in modules}


def test_what_is_written_is_taken(tmp_path: Path, cx: Any) -> None:
    own = tmp_path / ".cx" / "plugins"
    own.mkdir(parents=True)
    for kind in KINDS:
        [code, *_] = new_plugin(f"a-{kind}", kind).values()
        (own / f"a_{kind}.py").write_text(code)
    (tmp_path / "cx.toml").write_text('cx = 1\n[deliverable]\nname = "shop"\n')
    cx.ok("trust", "--yes", cwd=tmp_path)
    rows = {row["name"]: row for row in cx("plugins", "--json", cwd=tmp_path).json()}
    assert [rows[f"a_{kind}"]["state"] for kind in KINDS] == ["loaded"] * len(KINDS)
    assert rows["a_tool"]["gives"] == ["tool a-tool"] and rows["a_sink"]["gives"] == [
        "sink for a-sink"
    ]


def test_a_wrong_name_writes_nothing(tmp_path: Path, cx: Any) -> None:
    for words in (("new",), ("new", "My Tool"), ("new", "../x"), ("wheel", "pytest")):
        assert cx("plugins", *words, cwd=tmp_path).code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["", "A", "a_b", "-a", "a--b", "a.b", "é", "wheel", "docker", "junit"]
)
def test_names(name: str) -> None:
    with pytest.raises(UsageError):
        new_plugin(name)
    assert set(new_plugin("a-b2")) == {"cxlocal_a_b2.py", "test_cxlocal_a_b2.py", "pyproject.toml"}


class Desk:
    """An environment of its own, whose programs are found first; what it lacks is that of the tests."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
        self.bin = folder / "env" / "bin"
        python = self.bin / "python"
        asked = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        own = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
        (Path(own) / "tests.pth").write_text(
            f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
        )
        for program in ("cxlocal", "pip"):
            file = self.bin / program
            file.write_text(f'#!/bin/sh\nexec {shlex.quote(str(python))} -m {program} "$@"\n')
            file.chmod(0o755)
        self.folder = folder / "plugin"
        self.folder.mkdir()
        # No index is asked: what the build needs is in the environment of the tests.
        self.env = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}", "PIP_NO_INDEX": "1",
                    "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0",
                    "CXLOCAL_HOME": str(folder / "home")}  # fmt: skip

    def sh(self, lines: str) -> str:
        """Carry out lines; fail with what was said."""
        done = subprocess.run(
            ["sh", "-euc", lines],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{lines}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_page_as_an_author(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    begin, install, in_place, strictly = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    desk = Desk(tmp_path)
    desk.sh(begin)
    assert "site-check" in desk.sh(install)
    module = desk.folder / "cxlocal_site_check.py"
    for there, source in (
        (".cx/plugins/own.py", module),
        ("tests/test_own.py", module.with_name(f"test_{module.name}")),
    ):
        (desk.folder / there).parent.mkdir(parents=True)
        (desk.folder / there).write_text(source.read_text().replace(module.stem, "own"))
    assert "1 passed" in desk.sh(in_place)
    shutil.rmtree(desk.folder / ".cx")
    shutil.rmtree(desk.folder / "tests")
    gates = "cxlocal plugins --hook gate --json"
    module.write_text(module.read_text() + "\nraise RuntimeError('changed')\n")
    with pytest.raises(AssertionError, match="RuntimeError: changed"):
        desk.sh("cxlocal plugins")
    module.write_text(module.read_text().partition("\nraise")[0])
    package = desk.folder / "pyproject.toml"
    package.write_text(package.read_text().replace('site-check = "', 'other-name = "'))
    assert "other-name" not in desk.sh(gates), "a name is read when it is installed"
    said = desk.sh(strictly)
    assert "other-name" in said and "1 passed" in said


def test_the_page_names_every_kind_and_number() -> None:
    text = PAGE.read_text(encoding="utf-8")
    said = re.search(r"`--kind` is (.*?)\. It writes", text, re.DOTALL)
    assert said is not None and set(re.findall(r"`(\w+)`", said[1])) == set(KINDS)
    rows = dict(re.findall(r"^\| (tools|sinks) \| (\d) \| \d \|$", text, re.MULTILINE))
    assert rows == {"tools": str(tool.API), "sinks": str(sink.API)}
    assert tool.API in class_checks.SERVED
    named = set(
        re.findall(
            r"`(\w+)(?:\(.*?\))?`",
            text.partition("## What to test with")[2].partition("## In CI")[0],
        )
    )
    assert set(testing.__all__) - {"bench", "example", "Receiver"} <= named


def test_what_was_promised_holds() -> None:
    kept, now = promised.json.loads(promised.KEPT.read_text()), promised.surface()
    assert promised.broken(kept, now) == []
    new = [name for name in now["classes"] if name not in kept["classes"]]
    assert new == [] and now["hooks"].keys() == kept["hooks"].keys(), "promised.py --write"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda now: now["hooks"].pop("cxlocal_gate"), "argument question of cxlocal_gate"),
        (lambda now: now["hooks"]["cxlocal_gate"].update(answer="bool"), "answer of cxlocal_gate"),
        (lambda now: now["classes"]["Case"]["fields"].pop("seconds"), "seconds of Case"),
        (lambda now: now["classes"]["Case"]["fields"].update(seconds=["int", ""]), "seconds of Case"),
        (lambda now: now["classes"]["Case"]["fields"].update(owner=["str", ""]), "owner of Case has no"),
        (lambda now: now["classes"]["Context"]["methods"].update(intend="self"), "intend of Context"),
        (lambda now: now["classes"].pop("Sink"), "module of Sink"),
        (lambda now: now["verbs"].remove("observe"), "verb observe"),
    ],
)  # fmt: skip
def test_a_promise_that_is_broken_is_seen(change: Any, said: str) -> None:
    now = promised.surface()
    kept = copy.deepcopy(now)
    change(now)
    assert any(said in one for one in promised.broken(kept, now))


def test_what_grows_breaks_nothing() -> None:
    now = promised.surface()
    kept = copy.deepcopy(now)
    now["hooks"]["cxlocal_gate"]["arguments"]["more"] = "str"
    now["classes"]["Context"]["fields"]["more"] = ["str", ""]
    now["classes"]["Case"]["fields"]["more"] = ["str", "`''`"]
    now["verbs"].append("mend")
    assert promised.broken(kept, now) == []
