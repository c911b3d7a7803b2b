"""A pushed project, and shells that report to its runs: every command a process of its own."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # Test folders are no packages.

from repositories import make_pair

CONFIG = """\
cx = 1
[deliverable]
name = "shop"
[version]
line = "2.7"
reserve = 3
[stages]
build = { kind = "build", command = "make", produces = { app = "app.bin" } }
unit = { kind = "test", command = "make test", needs = ["build"] }

[stages.deploy]
kind = "deploy"
command = "sh deploy.sh"
needs = ["unit"]
environment = "production"
requires = ["READY"]

[promotions]
READY = { after = ["unit"] }
APPROVED = {}
[environments]
production = { lifetime = "lasting" }
"""
DEPLOY = 'mkdir -p "$LIVE" && cp "$CXLOCAL_ARTIFACT_APP" "$LIVE/app.bin"\n'


GITHUB = {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "900", "GITHUB_JOB": "unit",
          "GITHUB_RUN_ATTEMPT": "1", "GITHUB_SERVER_URL": "https://github.com",
          "GITHUB_REPOSITORY": "acme/shop"}  # fmt: skip


class Told(NamedTuple):
    """What a shell left behind."""

    code: int
    out: str
    err: str


class Desk:
    """A working tree with its remote, and a journal of its own."""

    def __init__(self, root: Path, cx: Any) -> None:
        self.root = root
        self.cx = cx
        self.tree = root / "tree"
        self.home = root / "home"
        self.live = root / "live"
        self.tree.mkdir()
        self.environ = {
            "CXLOCAL_HOME": str(self.home),
            "CXLOCAL_ACTOR": "Ann <ann@example.org>",
            "PATH": f"{Path(cx.program).parent}{os.pathsep}{os.environ['PATH']}",
        }
        make_pair(self.tree, root / "remote.git")

    def git(self, *words: str) -> None:
        """Run git in the tree."""
        subprocess.run(["git", *words], cwd=self.tree, check=True, capture_output=True)

    def head(self) -> str:
        """The commit that is checked out."""
        words = ["git", "rev-parse", "HEAD"]
        return subprocess.run(
            words, cwd=self.tree, check=True, capture_output=True, text=True
        ).stdout.strip()

    def write(self, files: Mapping[str, str]) -> None:
        """Write files, commit and push."""
        for name, content in files.items():
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / name).write_text(content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "a change")
        self.git("push", "-q", "origin", "HEAD:main")

    def __call__(
        self, *words: str, env: Mapping[str, str | None] | None = None, **rest: Any
    ) -> Any:
        """One command."""
        rest.setdefault("cwd", self.tree)
        return self.cx(*words, env={**self.environ, **(env or {})}, **rest)

    def shell(
        self, script: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Told:
        """One shell that ends at its first failing command."""
        done = subprocess.run(
            ["/bin/sh", "-eu", "-c", script],
            cwd=cwd or self.tree,
            env={**os.environ, **self.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=50,
            check=False,
        )
        decoded = (one.decode("utf-8", "backslashreplace") for one in (done.stdout, done.stderr))
        return Told(done.returncode, *decoded)

    def start(self, *words: str, env: Mapping[str, str | None] | None = None) -> str:
        """Begin a run; its id."""
        done = self("run", "start", "--json", *words, env=env)
        assert done.code == 0, done.err
        return str(done.json()["run"])

    def rows(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        """Rows of the journal."""
        connection = sqlite3.connect(f"file:{self.home}/journal.db?mode=ro", uri=True)
        connection.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in connection.execute(sql, parameters)]
        finally:
            connection.close()

    def stages(self) -> list[tuple[str, int, str | None, int | None]]:
        """Stage, attempt, outcome and exit code of every stage run, as they began."""
        rows = self.rows("SELECT stage, attempt, outcome, exit_code FROM stage_run ORDER BY rowid")
        return [(one["stage"], one["attempt"], one["outcome"], one["exit_code"]) for one in rows]

    def release(self) -> str:
        """A whole run of single commands; its version."""
        done = self.shell(
            'eval "$(cxlocal run start)"; cxlocal stage build -- sh -c'
            " 'echo $CXLOCAL_VERSION > app.bin'; cxlocal stage unit -- true; cxlocal run finish;"
            " cxlocal promote READY >&2; echo $CXLOCAL_VERSION"
        )
        assert done.code == 0, done.err
        return done.out.split()[-1]


@pytest.fixture
def desk(tmp_path: Path, cx: Any) -> Desk:
    """The project, pushed."""
    made = Desk(tmp_path, cx)
    made.write(
        {
            "cx.toml": CONFIG,
            "deploy.sh": f'LIVE="{made.live}"\n{DEPLOY}',
            ".gitignore": ".cx/run\n*.bin\n*.xml\n",
        }
    )
    return made


class Server:
    """A CI server whose every job has an empty home and a clone of its own."""

    def __init__(self, desk: Any, kind: str = "sqlite") -> None:
        self.desk = desk
        self.store = desk.root / "shared" / "store.db"
        where = self.store if kind == "sqlite" else self.store.parent
        where.parent.mkdir(exist_ok=True)
        if kind == "folder":
            where.mkdir()
        self.environ = {"CXLOCAL_STORE": f"{kind}://{where}", "CXLOCAL_PATIENCE": "2s"}
        assert desk("store", "create", self.environ["CXLOCAL_STORE"], env=self.environ).code == 0

    def job(self, name: str, environ: Mapping[str, str] = GITHUB, commit: str = "") -> Job:
        """A job that begins now."""
        return Job(self, name, environ, commit)

    def away(self) -> None:
        """The store's folder is a file now."""
        self.store.parent.rename(self.store.parent.with_name("away"))
        self.store.parent.touch()

    def back(self) -> None:
        """It can be reached again."""
        self.store.parent.unlink()
        self.store.parent.with_name("away").rename(self.store.parent)

    def runs(self) -> list[tuple[Any, ...]]:
        """Version and outcome of every run that the store has heard of."""
        assert self.desk("sync", env=self.environ).code == 0
        rows = self.desk.rows("SELECT version, outcome FROM run ORDER BY queued_at")
        return [tuple(row.values()) for row in rows]


class Job:
    """One job: its commands share a home that goes with it."""

    def __init__(self, server: Server, name: str, environ: Mapping[str, str], commit: str) -> None:
        self.desk = server.desk
        self.tree = server.desk.root / "jobs" / name
        self.environ = {
            **server.environ, **environ, "CXLOCAL_HOME": str(server.desk.root / f"home-{name}"),
        }  # fmt: skip
        self.clone(commit)

    def clone(self, commit: str = "") -> None:
        """The checkout that the server makes."""
        shutil.rmtree(self.tree, ignore_errors=True)
        source = str(self.desk.root / "remote.git")
        subprocess.run(["git", "clone", "-qb", "main", source, self.tree], check=True)
        if commit:
            subprocess.run(["git", "checkout", "-q", commit], cwd=self.tree, check=True)

    def __call__(self, *words: str) -> Any:
        return self.desk(*words, env=self.environ, cwd=self.tree)

    def start(self, *words: str) -> dict[str, Any]:
        """``run start``, which must succeed; what it said."""
        done = self("run", "start", "--json", *words)
        assert done.code == 0, done.err
        return {**done.json(), "said": done.err}


@pytest.fixture
def make_server(desk: Desk) -> Callable[..., Server]:
    """A CI server whose jobs share a store of some kind."""
    return lambda kind="sqlite": Server(desk, kind)


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    """The same with a store that is a file."""
    return make_server()
