"""Which releases hold a commit: asked of the clone, not of what each run brought."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from cxlocal.errors import CxError
from cxlocal.revision.containing import having


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, Any]:
    r"""a - b - d (merge) - e
    \ - c /        f: from nowhere"""
    folder = tmp_path / "tree"
    git(tmp_path, "init", "-q", "-b", "main", str(folder))
    found: dict[str, Any] = {"folder": folder}

    def commit(name: str, *more: str) -> None:
        git(folder, "commit", "-q", "--allow-empty", "-m", name, *more)
        found[name] = git(folder, "rev-parse", "HEAD")

    commit("a")
    commit("b")
    git(folder, "checkout", "-q", "-b", "side", found["a"])
    commit("c")
    git(folder, "checkout", "-q", "main")
    git(folder, "merge", "-q", "--no-ff", "-m", "d", "side")
    found["d"] = git(folder, "rev-parse", "HEAD")
    commit("e")
    git(folder, "checkout", "-q", "--orphan", "other")
    commit("f")
    return found


@pytest.mark.parametrize(
    ("commit", "inside"),
    [("a", "abcde"), ("b", "bde"), ("c", "cde"), ("d", "de"), ("e", "e"), ("f", "f")],
)
@pytest.mark.parametrize("short", [True, False])
def test_a_commit_is_in_all_that_come_after_it(
    commit: str, inside: str, short: bool, tree: dict[str, Any]
) -> None:
    names = {tree[each]: each for each in "abcdef"}
    name = tree[commit][:9] if short else tree[commit]
    # What the clone does not know is not said to hold it.
    found = having(tree["folder"], name, {*names, "0" * 40})
    assert "".join(sorted(names[each] for each in found)) == inside


def test_a_commit_that_is_not_here(tree: dict[str, Any], tmp_path: Path) -> None:
    for name in ("0" * 40, "--all", "no-branch", ""):
        with pytest.raises(CxError):
            having(tree["folder"], name, {tree["a"]})
    assert having(tree["folder"], "main", set()) == frozenset()
    (tmp_path / "empty").mkdir()
    with pytest.raises(CxError):
        having(tmp_path / "empty", "main", {tree["a"]})


def test_the_log_of_what_holds_a_commit(cx: Any, tmp_path: Path) -> None:
    """A later release brought others, and holds it all the same."""
    env = {"CXLOCAL_HOME": str(tmp_path / "home")}
    folder = tmp_path / "work"
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "remote.git")
    git(tmp_path, "clone", "-q", str(tmp_path / "remote.git"), str(folder))
    text = 'cx = 1\n[deliverable]\nname = "shop"\n[version]\nline = "1.0"\n[stages]\nb = { command = "true" }\n'
    commits = []
    for content in (text, text + "# two\n", text + "# three\n"):
        (folder / "cx.toml").write_text(content)
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", "x")
        git(folder, "push", "-q", "origin", "HEAD:main")
        assert cx("run", cwd=folder, env=env).code == 0
        commits.append(git(folder, "rev-parse", "HEAD"))
    shown = cx("log", "--contains", commits[1][:8], "--json", cwd=folder, env=env)
    assert [row["version"] for row in shown.json()] == ["1.0.2", "1.0.1"]
    assert cx("log", "--contains", "nothing", cwd=folder, env=env).code == 2
    middle = cx(
        "sql", "SELECT median(number) AS m, percentile(number, 50) AS p FROM version", "--json",
        cwd=folder, env=env,
    )  # fmt: skip
    assert middle.json() == [{"m": 1.0, "p": 1.0}]
