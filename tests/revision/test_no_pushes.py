"""From the checkout of a rehearsal nothing is pushed, whichever way somebody asks git to."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cxlocal.revision.borrowed import NOWHERE
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
                  ("push", f"file://{library_remote.path}", "HEAD:refs/heads/new")):  # fmt: skip
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
