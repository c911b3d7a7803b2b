"""From the checkout of a rehearsal nothing is pushed, whichever way somebody asks git to."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cxlocal.processes.environment import ANY_ADDRESS, NO_PUSHES, NOWHERE, stage_environment
from cxlocal.revision import remotes
from cxlocal.revision.checkout import checkout


class Surroundings(NamedTuple):
    """What a repository and the person's configuration say of remotes."""

    repository: tuple[tuple[str, str], ...] = ()
    person: tuple[tuple[str, str], ...] = ()


# REMOTE stands for the address of the remote, OTHER for that of another one.
WORLDS = {
    "plain": Surroundings(),
    "pushurl": Surroundings((("remote.origin.pushurl", "OTHER"),)),
    "several addresses": Surroundings((("remote.origin.url", "OTHER"),)),
    "another remote": Surroundings((("remote.backup.url", "OTHER"),)),
    "pushDefault": Surroundings((("remote.backup.url", "OTHER"), ("remote.pushDefault", "backup"))),
    "insteadOf": Surroundings(
        (("url.REMOTE.insteadOf", "short:"), ("remote.backup.url", "short:"))
    ),
    "pushInsteadOf": Surroundings((("url.OTHER.pushInsteadOf", "REMOTE"),)),
    "the person's insteadOf": Surroundings(person=(("url.OTHER.insteadOf", "REMOTE"),)),
    "the person's pushInsteadOf": Surroundings(person=(("url.OTHER.pushInsteadOf", "/"),)),
    "the person's remote": Surroundings(person=(("remote.backup.url", "OTHER"),)),
    "the person's pushurl": Surroundings(person=(("remote.backup.pushurl", "OTHER"),)),
    "the person's pushurl of origin": Surroundings(person=(("remote.origin.pushurl", "OTHER"),)),
    "the person's pushDefault": Surroundings(
        person=(("remote.backup.url", "OTHER"), ("remote.pushDefault", "backup"))
    ),
    "the person's hooks": Surroundings(person=(("core.hooksPath", "/nowhere"),)),
    "mirror": Surroundings((("remote.origin.mirror", "true"),)),
}
PUSHES = (
    ("push", "origin", "HEAD:refs/heads/new"),
    ("push", "backup", "HEAD:refs/heads/new"),
    ("push", "--mirror"),
    ("push", "REMOTE", "HEAD:refs/heads/new"),
    ("push", "file://REMOTE", "v9"),
    ("push", "--no-verify", "origin", "v9"),
    ("push", "--no-verify", "backup", "v9"),
    ("push", "--no-verify", "REMOTE", "v9"),
    ("push", "--no-verify", "file://REMOTE", "v9"),
    ("push", "--no-verify", "REMOTE/.", "v9"),
    ("push", "--no-verify", "--mirror", "file://REMOTE"),
    ("-c", "push.default=current", "push"),
)


@pytest.fixture(params=WORLDS.values(), ids=WORLDS)
def around(
    request: pytest.FixtureRequest, desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, Any, Any]:
    """A project with such surroundings, its remote, and another one."""
    work, remote = desk.project()
    other = desk.bare("other.git")
    home = tmp_path / "home of the person"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    person = home / ".gitconfig"
    person.write_text("[user]\nname = Ann\nemail = ann@example.org\n")

    def filled(text: str) -> str:
        return text.replace("REMOTE", str(remote.path)).replace("OTHER", str(other.path))

    for key, value in request.param.repository:
        work.git("config", "--add", filled(key), filled(value))
    for key, value in request.param.person:
        work.git("config", "--file", person, "--add", filled(key), filled(value))
    return work, remote, other


def test_no_way_of_pushing_reaches_a_remote(around: tuple[Any, Any, Any], tmp_path: Path) -> None:
    work, remote, other = around
    target = tmp_path / "rehearsal"
    checkout(work.open(), work.head(), target, pushes=False)
    inside = type(work)(target)
    inside.git("tag", "v9")
    before = remote.git("for-each-ref")
    for words in PUSHES:
        filled = [word.replace("REMOTE", str(remote.path)) for word in words]
        done = subprocess.run(
            ["git", *filled], cwd=target, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0, words
    assert (remote.git("for-each-ref"), other.git("for-each-ref")) == (before, "")


SPELLINGS = {
    "REMOTE": False, "file://REMOTE": False, "origin": False, "named": False,
    "https://host.invalid/a.git": False, "ssh://host.invalid/a": False, "git@host.invalid:a": False,
    "host.invalid:a": False, "git://host.invalid/a": False, "ext::false": False,
    "OTHER": True, "file://OTHER": True, "../other.git": True,
}  # fmt: skip
"""Addresses that a stage may push to, and whether it arrives there."""


@pytest.mark.parametrize("more", [(), ("--no-verify",), ("--mirror",)], ids=" ".join)
@pytest.mark.parametrize(("spelling", "arrives"), SPELLINGS.items())
def test_what_a_stage_clones_pushes_to_no_host_and_not_to_the_remote(
    desk: Any, tmp_path: Path, spelling: str, arrives: bool, more: tuple[str, ...]
) -> None:
    """Between folders of its own a test may push: so do those of other programs."""
    work, remote = desk.project()
    clone, other = tmp_path / "clone", tmp_path / "other.git"
    known = "\n".join(remotes.around(work.open()).addresses)
    env = {**stage_environment({**os.environ, NO_PUSHES: known}), "HOME": str(tmp_path)}

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", *words], cwd=clone, env=env, capture_output=True, text=True, check=False
        )

    clone.mkdir()
    assert git("clone", "--quiet", str(remote.path), ".").returncode == 0
    git("init", "--quiet", "--bare", str(other))
    git("remote", "add", "named", f"file://{remote.path}")
    before = remote.git("for-each-ref")
    address = spelling.replace("REMOTE", str(remote.path)).replace("OTHER", str(other))
    refs = () if "--mirror" in more else ("HEAD:refs/heads/new",)
    done = git("push", *more, address, *refs)
    assert (done.returncode == 0) is arrives, done.stderr
    assert arrives or "a-rehearsal-pushes-nowhere" in done.stderr
    assert remote.git("for-each-ref") == before
    assert git("fetch", "--quiet", "origin").returncode == 0


@pytest.mark.parametrize(
    ("count", "first"), [(None, 0), ("0", 0), ("2", 2), ("", 0), ("x", 0), ("-1", 0)]
)
def test_the_refusal_stands_after_what_a_stage_is_told_of_git(
    count: str | None, first: int
) -> None:
    base = {NO_PUSHES: "https://h/r\n/r", **({} if count is None else {"GIT_CONFIG_COUNT": count})}
    told = stage_environment(base, pass_env=["GIT_*"])
    last = int(told["GIT_CONFIG_COUNT"]) - 1
    assert (told[f"GIT_CONFIG_KEY_{first}"], told[f"GIT_CONFIG_VALUE_{first}"]) == ANY_ADDRESS
    assert told[f"GIT_CONFIG_VALUE_{last}"] == "file:///r"


def test_a_release_s_stages_are_told_nothing_of_git() -> None:
    base = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a.b", "GIT_CONFIG_VALUE_0": "c"}
    assert not [name for name in stage_environment(base) if name.startswith("GIT_")]


def test_what_fetches_goes_on(desk: Any, tmp_path: Path) -> None:
    work, remote = desk.project()
    checkout(work.open(), work.head(), tmp_path / "out", pushes=False)
    inside = type(work)(tmp_path / "out")
    assert inside.git("remote", "get-url", "origin") == str(remote.path)
    assert inside.git("remote", "get-url", "--push", "origin").endswith(NOWHERE)
    inside.git("fetch", "--quiet", "origin")


def test_submodules_push_nothing_either(desk: Any, tmp_path: Path) -> None:
    library, library_remote = desk.project("library")
    work, _ = desk.project()
    allow = ("-c", "protocol.file.allow=always")
    work.git(*allow, "submodule", "--quiet", "add", library_remote.path, "lib")
    work.git("commit", "--quiet", "-m", "with it")
    work.git("push", "--quiet")
    checkout(work.open(), work.head(), tmp_path / "out", pushes=False)
    inside = tmp_path / "out" / "lib"
    before = library_remote.git("for-each-ref")
    for words in (("push", "origin", "HEAD:refs/heads/new"), ("push", "--no-verify", "origin", "HEAD:x"),
                  ("push", f"file://{library_remote.path}", "HEAD:refs/heads/new"),
                  ("push", "--no-verify", f"file://{library_remote.path}", "HEAD:refs/heads/new"),
                  ("-c", f"remote.x.pushurl={library_remote.path}", "push", "x", "HEAD:refs/heads/x"),
                  ("-c", f"remote.x.pushurl={library_remote.path}", "push", "--no-signed", "x", "HEAD:refs/heads/x")):  # fmt: skip
        done = subprocess.run(
            ["git", *words], cwd=inside, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
    assert library_remote.git("for-each-ref") == before
    assert "This is a rehearsal" in done.stderr and 'kind = "publish"' in done.stderr
    assert library.head() == library_remote.head("main")


def test_a_checkout_of_a_release_pushes(desk: Any, tmp_path: Path) -> None:
    work, remote = desk.project()
    checkout(work.open(), work.head(), tmp_path / "out")
    type(work)(tmp_path / "out").git("push", "--quiet", "origin", "HEAD:refs/heads/new")
    assert remote.head("new") == work.head()
