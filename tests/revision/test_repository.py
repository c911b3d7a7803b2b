"""Repositories and revisions as git has them, the odd ones included."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from cxlocal.errors import UsageError
from cxlocal.revision.repository import (
    dirty,
    identity,
    list_files,
    open_repository,
    read_file,
    read_files,
    repository_key,
    resolve,
    shown,
    tags_like,
    version_tags,
)


def test_revision_says_what_is_recorded(desk: Any) -> None:
    work = desk.new("shop")
    when = {"GIT_COMMITTER_DATE": "2026-11-23T03:14:05+01:00"}
    work.write("a", "a")
    work.git("add", "-A")
    work.git("commit", "-q", "-m", "Fix the till\n\nlong text", env=when)
    work.git("tag", "v1")
    work.git("tag", "-a", "shop/2", "-m", "annotated")
    found = resolve(work.open())
    assert found.commit == work.head()
    assert found.subject == "Fix the till"
    assert found.author == "Test Author <author@example.org>"
    assert found.committed_at == "2026-11-23T02:14:05.000Z"
    assert found.committed_ms == 1795400045000
    assert (found.branch, found.tags, found.parents) == ("main", ("shop/2", "v1"), 0)


def test_names_of_a_commit(desk: Any) -> None:
    work = desk.new("shop")
    first = work.commit("first")
    second = work.commit("second")
    work.git("branch", "feature/x", first)
    work.git("tag", "-a", "v1", "-m", "one", first)
    repository = work.open()
    for name in ("HEAD", "@", "main", "heads/main", "refs/heads/main", second, second[:10]):
        assert resolve(repository, name).commit == second
    for name in ("HEAD~1", "HEAD^", "feature/x", "v1", "refs/tags/v1"):
        assert resolve(repository, name).commit == first
    assert resolve(repository, "feature/x").branch == "feature/x"
    assert resolve(repository, "HEAD").branch == "main"


@pytest.mark.parametrize(
    "name",
    ["", "main..x", "^main", ":/fix", "a b", "x\ny", "main:cx.toml", "*", "a\x00b", "...", "\x7f"],
)
def test_a_name_that_is_no_commit_is_refused(desk: Any, name: str) -> None:
    work = desk.new("shop")
    work.commit()
    with pytest.raises(UsageError) as error:
        resolve(work.open(), name)
    assert error.value.name == "bad-revision-name"


@pytest.mark.parametrize("name", ["--all", "-1", "--output=hacked", "-h", "--exec=touch hacked"])
def test_a_name_is_never_an_option(desk: Any, name: str) -> None:
    work = desk.new("shop")
    work.commit()
    with pytest.raises(UsageError) as error:
        resolve(work.open(), name)
    assert error.value.name in ("no-such-revision", "bad-revision-name")
    assert not (work.path / "hacked").exists()


def test_hostile_ref_names_resolve_to_themselves(desk: Any) -> None:
    work = desk.new("shop")
    commit = work.commit()
    for name in ("$(touch x)", "a;b", "a'b\"c", "<b>&amp;", "ünï", "a,b", "@x", "tag,v"):
        name = name.replace(" ", "_")
        work.git("update-ref", f"refs/heads/{name}", commit)
        work.git("update-ref", f"refs/tags/{name}", commit)
        found = resolve(work.open(), f"refs/heads/{name}")
        assert (found.commit, found.branch) == (commit, name)
        assert name in found.tags


def test_an_unknown_name(desk: Any) -> None:
    work = desk.new("shop")
    work.commit()
    with pytest.raises(UsageError) as error:
        resolve(work.open(), "v9")
    assert error.value.name == "no-such-revision"
    assert "git fetch" in error.value.hint


def test_empty_repository(desk: Any) -> None:
    repository = desk.new("shop").open()
    with pytest.raises(UsageError) as error:
        resolve(repository)
    assert error.value.name == "empty-repository"
    assert "git push -u origin HEAD" in error.value.hint, "works for the first push, too"
    assert version_tags(repository) == ()


def test_not_a_repository(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        open_repository(tmp_path)
    assert error.value.name == "not-a-repository"


def test_no_git_at_all(desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = desk.new("shop")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(UsageError) as error:
        open_repository(work.path)
    assert error.value.name == "no-git"
    assert "install git" in error.value.hint


def test_variables_of_a_surrounding_git_change_nothing(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = desk.new("other")
    other.commit("other")
    work = desk.new("shop")
    commit = work.commit("ours")
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.path))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.path / ".git" / "index"))
    repository = open_repository(work.path)
    assert resolve(repository).commit == commit
    assert dirty(repository) == ()


def test_replaced_objects_are_not_believed(desk: Any) -> None:
    work = desk.new("shop")
    first = work.commit("first", **{"cx.toml": "honest"})
    second = work.commit("second", **{"cx.toml": "replaced"})
    work.git("replace", first, second)
    assert read_file(work.open(), first, "cx.toml") == b"honest"


def test_a_folder_below_the_top(desk: Any) -> None:
    work = desk.new("shop")
    work.commit("first", services__shop__cx="x")
    repository = open_repository(work.path / "services" / "shop")
    assert repository.root == work.path
    assert repository.prefix == "services/shop"
    assert identity(repository, work.head()).path == "services/shop"


def test_detached_head_has_no_branch(desk: Any) -> None:
    work, _ = desk.project()
    work.git("checkout", "-q", "--detach", "HEAD~1")
    assert resolve(work.open()).branch == ""


def test_linked_worktree(desk: Any, tmp_path: Path) -> None:
    work, _ = desk.project()
    work.git("worktree", "add", "-q", "-b", "side", tmp_path / "side")
    repository = open_repository(tmp_path / "side")
    assert repository.git_dir != repository.common_dir
    assert repository.root == tmp_path / "side"
    assert repository.common_dir == work.path / ".git"
    assert resolve(repository).branch == "side"
    assert identity(repository, work.head()) == identity(work.open(), work.head())


def test_bare_repository(desk: Any) -> None:
    work, remote = desk.project()
    repository = remote.open()
    assert repository.bare
    assert resolve(repository).commit == work.head()
    assert dirty(repository) == ()


def test_identity_is_the_same_in_every_clone(desk: Any) -> None:
    work, remote = desk.project()
    copy = desk.clone(remote, "copy")
    assert identity(copy.open(), copy.head()) == identity(work.open(), work.head())
    assert identity(work.open(), work.head()).root_commit == work.head("HEAD~1")


def test_a_shallow_clone_does_not_know_its_root(desk: Any) -> None:
    _, remote = desk.project()
    shallow = desk.clone(remote, "shallow", "--depth=1").open()
    assert shallow.shallow
    assert identity(shallow, resolve(shallow).commit).root_commit == ""
    assert repository_key(shallow, resolve(shallow).commit) == f"folder:{shallow.common_dir}"


def test_dirty_names_files(desk: Any) -> None:
    work, _ = desk.project()
    work.write(".gitignore", "*.log\n")
    work.commit("ignore logs")
    work.write("work.txt", "changed")
    work.write("new.txt", "new")
    work.write("build.log", "ignored")
    work.write(".cx/run", "ours")
    work.write("services/shop/x", "new")
    repository = work.open()
    assert set(dirty(repository)) == {"work.txt", "new.txt", "services/"}
    assert dirty(repository, ["services"]) == ("services/",)
    assert dirty(repository, ["*"]) == ()


def test_file_names_that_are_no_utf8(desk: Any) -> None:
    work, _ = desk.project()
    raw = b"caf\xe9\n\"'.txt"
    (work.path / os.fsdecode(raw)).write_text("x")
    assert dirty(work.open()) == (os.fsdecode(raw),), "it can be opened by this name"
    assert shown(dirty(work.open())) == ("caf\\xe9\n\"'.txt",)
    work.git("add", "-A")
    work.git("commit", "-q", "-m", "odd")
    plain = b"dir/na\xefve"
    (work.path / "dir").mkdir()
    (work.path / os.fsdecode(plain)).write_text("inside")
    work.git("add", "-A")
    work.git("commit", "-q", "-m", "odd")
    assert list_files(work.open(), work.head(), "dir") == (os.fsdecode(plain),)
    assert read_file(work.open(), work.head(), os.fsdecode(plain)) == b"inside"


def test_subjects_and_names_that_are_no_utf8(desk: Any) -> None:
    work = desk.new("shop")
    work.write("a", "a")
    work.git("add", "-A")
    message = work.path.parent / "message"
    message.write_bytes(b"caf\xe9 \x1b[31m")
    work.git("commit", "-q", "-F", message)
    found = resolve(work.open())
    assert found.subject.encode("utf-8").startswith(b"caf")


def test_files_come_from_the_commit(desk: Any) -> None:
    work, _ = desk.project()
    work.write("cx.toml", "changed and not committed")
    repository, commit = work.open(), work.head()
    assert read_file(repository, commit, "cx.toml") == b"cx = 1\n"
    found = read_files(repository, commit, ["work.txt", "gone", "cx.toml", ""])
    assert found == {"work.txt": b"second", "gone": None, "cx.toml": b"cx = 1\n", "": None}
    assert read_files(repository, commit, []) == {}
    with pytest.raises(UsageError):
        read_file(repository, commit, "a\nb")


LINKS = [
    ("to", "real/cx.toml"), ("by/way", "../real/cx.toml"), ("chain", "to"),
    ("folder/cx.toml", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "target"), LINKS)
def test_links_are_followed_within_the_commit(desk: Any, name: str, target: str | None) -> None:
    work, _ = desk.project()
    work.write("real/cx.toml", "content\n")
    (work.path / "to").symlink_to("real/cx.toml")
    (work.path / "folder").symlink_to("real")
    if target and name != "to":
        (work.path / name).parent.mkdir(exist_ok=True)
        (work.path / name).symlink_to(target)
    commit = work.commit("links")
    (work.path / "real/cx.toml").write_text("of the working tree\n")
    assert read_files(work.open(), commit, (name, "work.txt"))[name] == b"content\n"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "itself"])
def test_a_link_that_leads_out_of_the_commit_is_said(desk: Any, target: str) -> None:
    work, _ = desk.project()
    (work.path / "itself").symlink_to(target)
    with pytest.raises(UsageError) as error:
        read_file(work.open(), work.commit("link"), "itself")
    assert error.value.name == "bad-path" and target in error.value.why


@pytest.mark.parametrize("target", ["nothing", "work.txt/x", "a"])
def test_a_link_to_nothing_has_no_content(desk: Any, target: str) -> None:
    work, _ = desk.project()
    (work.path / "link").symlink_to(target)
    commit = work.commit("link", a__x="x", **{"work.txt": "y"})
    assert read_files(work.open(), commit, ("link", "work.txt")) == {
        "link": None, "work.txt": b"y",
    }  # fmt: skip


def test_tags_by_pattern(desk: Any) -> None:
    work, _ = desk.project()
    for tag in ("v1", "v2", "shop/3", "x"):
        work.git("tag", tag)
    tags = version_tags(work.open())
    assert tags == ("shop/3", "v1", "v2", "x")
    assert tags_like(tags, "v*") == ("v1", "v2")
    assert tags_like(tags, "shop/*") == ("shop/3",)


def test_a_repository_of_another_user(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    work, _ = desk.project()
    # git's own switch for its tests: pretend that every folder belongs to someone else
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UsageError) as error:
        open_repository(work.path)
    assert error.value.name == "unsafe-repository"
    assert f"safe.directory {work.path}" in error.value.hint


def test_hooks_and_monitors_of_a_repository_are_not_started(desk: Any, tmp_path: Path) -> None:
    work, _ = desk.project()
    program = tmp_path / "spy"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/spied\n")
    program.chmod(0o755)
    work.git("config", "core.fsmonitor", program)
    shutil.copy(program, work.path / ".git" / "hooks" / "post-checkout")
    dirty(work.open())
    resolve(work.open())
    assert not (tmp_path / "spied").exists()
