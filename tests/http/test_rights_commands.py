"""Rights and tokens, as people meet them: whole commands against a server."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from http_kit import ProcessServer

STAGES = '[version]\nline = "1.0"\n[stages]\nb = {{ command = "true" }}\n'
TOML = 'cx = 1\n[deliverable]\nname = "{name}"\n[store]\nurl = "{url}"\n{more}' + STAGES


class Team:
    """Projects with remotes, and machines with homes, around one server."""

    def __init__(self, cx: Any, server: ProcessServer, folder: Path, run: Any) -> None:
        self.cx, self.server, self.folder, self.run = cx, server, folder, run

    def product(self, name: str, more: str = "") -> None:
        tree = self.folder / name
        self.run("git", "init", "-q", "--bare", f"{tree}.git")
        self.run("git", "init", "-q", "-b", "main", str(tree))
        text = TOML.format(name=name, url=self.server.url, more=more)
        (tree / "cx.toml").write_text(text)
        for words in (
            ("add", "-A"), ("commit", "-qm", name), ("remote", "add", "origin", f"{tree}.git"),
            ("push", "-q", "origin", "main"),
        ):  # fmt: skip
            self.run("git", "-C", str(tree), *words)

    def at(self, who: str, where: str, *words: str, **env: str | None) -> Any:
        home = {"CXLOCAL_HOME": str(self.folder / f"home-{who}")}
        return self.cx(*words, cwd=self.folder / where, env={**home, **env})

    def join(self, who: str, code: str) -> None:
        done = self.at(who, ".", "store", "join", self.server.url, "--code", code)
        assert done.code == 0, done.err


@pytest.fixture
def team(cx: Any, tmp_path: Path, process_server: ProcessServer) -> Team:
    import subprocess

    def run(*words: str) -> None:
        subprocess.run(words, check=True, capture_output=True, cwd=tmp_path)

    made = Team(cx, process_server, tmp_path, run)
    found = re.search(r"--code (\S+)", process_server.said())
    assert found is not None
    made.join("ada", found[1])
    return made


@pytest.mark.timeout(120)
def test_a_refused_run_poisons_nothing(team: Team) -> None:
    for name in ("shop", "engine"):
        team.product(name)
    assert team.at("ada", "engine", "run").code == 0
    invited = team.at(
        "ada", "shop", "store", "invite", "bob", "--deliverable", "shop", "--read", "engine"
    )
    team.join("bob", invited.out.strip())
    assert team.at("bob", "shop", "run").code == 0
    for words in (("run",), ("run", "start", "--offline")):
        refused = team.at("bob", "engine", *words)
        assert refused.code == 3, refused.err
        assert "nothing was recorded" in refused.err
        assert "--deliverable engine --deliverable shop" in refused.err
    for where, words in (
        ("shop", ("run", "--require-sync")), ("shop", ("store", "status")),
        (".", ("sync", "--require-sync")),
    ):  # fmt: skip
        done = team.at("bob", where, *words)
        assert done.code == 0, (where, words, done.err)
    status = team.at("bob", "shop", "status")
    assert "did not answer" not in status.out + status.err


def test_a_token_variable_that_is_not_set(team: Team) -> None:
    team.product("shop", more='token = { env = "STORE_TOKEN" }\n')
    # Enrolled: the home's own token is used at its own address.
    for words in (("run",), ("sync",), ("store", "status")):
        for value in (None, ""):
            done = team.at("ada", "shop", *words, STORE_TOKEN=value)
            assert done.code == 0, (words, value, done.err)
    # Not enrolled any more: away, by name, and the release goes on from the reserve.
    shutil.move(team.folder / "home-ada" / "credentials.json", team.folder / "kept")
    done = team.at("ada", "shop", "run")
    assert done.code == 0, done.err
    assert "number from the reserve" in done.err and "STORE_TOKEN" in done.err
    assert team.at("ada", "shop", "sync").code == 5
