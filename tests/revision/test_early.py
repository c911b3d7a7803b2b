"""Questions begun early get the answers they would get when asked, and none outlives its moment."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from cxlocal.clock import SystemClock
from cxlocal.errors import UsageError
from cxlocal.revision import early, git
from cxlocal.revision.proof import prove
from cxlocal.revision.repository import (
    dirty,
    identity,
    open_repository,
    read_file,
    resolve,
)
from cxlocal.revision.settings import user
from cxlocal.revision.submodules import list_submodules


def _pushed(desk: Any) -> Any:
    folder = desk.new("work")
    folder.commit("first", cx__toml="cx = 1\n")
    folder.git("remote", "add", "origin", desk.bare("origin").path)
    folder.git("push", "--quiet", "origin", "main")
    return folder


def _all_answers(folder: Path, *, early_too: bool) -> list[Any]:
    if early_too:
        early.ask_about_head(folder)
    repository = open_repository(folder)
    revision = resolve(repository)
    read = early.read_file if early_too else read_file
    content = read(repository, revision.commit, "cx/toml")
    if early_too:
        early.ask_about_push(repository, (), ())
    root = identity(repository, revision.commit)
    proof = prove(repository, revision.commit, clock=SystemClock())
    who = user(repository.root)
    changed = dirty(repository)
    return [repository, revision, content, root, proof._replace(checked_at=""), who, changed]


def test_the_answers_are_those_of_questions_asked_in_time(desk: Any) -> None:
    folder = _pushed(desk)
    folder.write("new.txt", "not committed")
    with early.early_questions():
        found = _all_answers(folder.path, early_too=True)
        # Each was asked, so none was begun for nothing.
        assert [one for one in git._begun.questions.values() if one.asked] == []
    assert found == _all_answers(folder.path, early_too=False)
    assert found[2] == b"cx = 1\n"
    assert found[-1] == ("new.txt",)


@pytest.mark.parametrize("name", [
    "Ada", "Ada Lovelace", "A", ". Ada,", "Ada <x>", "Ada\nL", "Ä d à", "", " ", '"Ada"', "A'b", "Ada.", None,
])  # fmt: skip
@pytest.mark.parametrize("mail", ["ada@example.org", "<ada@example.org>", "", "a b", None])
def test_who_acts_is_whom_git_would_name(
    desk: Any, monkeypatch: pytest.MonkeyPatch, name: str | None, mail: str | None
) -> None:
    folder = desk.new("work")
    for variable in ("NAME", "EMAIL"):
        monkeypatch.delenv(f"GIT_AUTHOR_{variable}", raising=False)
    for key, value in (("user.name", name), ("user.email", mail)):
        folder.git("config", key, value if value is not None else "x")
        if value is None:
            folder.git("config", "--unset", key)
    said = git.git(folder.path, *git.ABOUT_USER)
    wanted = git.decode(said.stdout).rpartition(">")[0] + ">" if said.code == 0 else ""
    assert user(folder.path) == wanted


@pytest.mark.parametrize("way", ["author.name", "GIT_AUTHOR_NAME"])
def test_an_author_of_its_own_is_believed(
    desk: Any, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    folder = desk.new("work")
    for variable in ("NAME", "EMAIL"):
        monkeypatch.delenv(f"GIT_AUTHOR_{variable}", raising=False)
    for key in ("user.name", "user.email"):
        folder.git("config", key, "ada")
    if way.isupper():
        monkeypatch.setenv(way, "Eve")
    else:
        folder.git("config", way, "Eve")
    assert user(folder.path).startswith("Eve <")


def test_submodules_are_seen_as_ever(desk: Any) -> None:
    work, library = desk.new("work"), desk.new("library")
    library.commit()
    work.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", library.path, "lib")
    commit = work.commit("with a submodule", cx__toml="cx = 1\n")
    with early.early_questions():
        assert early.read_file(work.open(), commit, "cx/toml") == b"cx = 1\n"
        [module] = list_submodules(work.open(), commit)
    assert (module.path, module.commit) == ("lib", library.head())


def test_an_answer_is_given_once(desk: Any) -> None:
    folder = _pushed(desk)
    with early.early_questions():
        early.ask_about_head(folder.path)
        repository = open_repository(folder.path)
        first = resolve(repository)
        folder.commit("second")
        assert resolve(repository).commit == folder.head() != first.commit


def test_what_nobody_asked_is_dropped(desk: Any) -> None:
    folder = _pushed(desk)
    with early.early_questions():
        early.ask_about_head(folder.path)
        early.ask_about_push(folder.open(), (), ())
    assert git._begun.questions == {}
    folder.write("new.txt", "written later")
    assert dirty(folder.open()) == ("new.txt",)


def test_a_remote_is_left_alone_offline(desk: Any) -> None:
    folder = _pushed(desk)
    with early.early_questions():
        early.ask_about_push(folder.open(), None, ())
        assert [words[0] for _, words, _ in git._begun.questions] == ["status"]


def test_a_remote_that_hangs_does_not_outlive_the_question(
    desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = desk.new("work")
    folder.commit()
    folder.git("remote", "add", "origin", "ssh://nowhere.invalid/x.git")
    sign = tmp_path / "still-there"
    monkeypatch.setenv("GIT_SSH_COMMAND", f"sleep 1; touch {sign}; false")
    with early.early_questions():
        early.ask_about_push(folder.open(), (), ())
        assert any(words[0] == "ls-remote" for _, words, _ in git._begun.questions)
        time.sleep(0.2)
    time.sleep(1.2)
    assert not sign.exists()


def test_remotes_that_are_not_clear_are_told_by_the_proof_alone(desk: Any) -> None:
    folder = desk.new("work")
    folder.commit()
    with early.early_questions():
        early.ask_about_push(folder.open(), ("upstream",), ())
        assert not any(words[0] == "ls-remote" for _, words, _ in git._begun.questions)


def test_outside_of_a_repository_nothing_is_begun_in_vain(tmp_path: Path) -> None:
    with early.early_questions():
        early.ask_about_head(tmp_path)
        with pytest.raises(UsageError, match="not in a git repository"):
            open_repository(tmp_path)
        assert git._begun.questions == {}


def test_without_git_the_question_itself_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with early.early_questions():
        early.ask_about_head(tmp_path)
        with pytest.raises(UsageError, match="git was not found"):
            open_repository(tmp_path)


def test_another_thread_takes_and_drops_nothing(desk: Any) -> None:
    folder = _pushed(desk)

    def other() -> None:
        with early.early_questions():
            resolve(folder.open())

    with early.early_questions():
        early.ask_about_head(folder.path)
        begun = len(git._begun.questions)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert len(git._begun.questions) == begun
        assert resolve(open_repository(folder.path)).commit == folder.head()
