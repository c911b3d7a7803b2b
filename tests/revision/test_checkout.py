"""Clean checkouts from what is on this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest

from cxlocal.errors import Trouble, UsageError
from cxlocal.revision.checkout import (
    checkout,
    sparse_patterns,
)
from cxlocal.revision.removal import remove_checkout
from cxlocal.revision.submodules import require_pushed


def files(folder: Path) -> set[str]:
    """Every file below a folder, without git's own."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def test_a_checkout_is_the_commit_and_nothing_else(desk: Any, tmp_path: Path) -> None:
    work, remote = desk.project()
    work.git("tag", "-a", "v1", "-m", "one")
    commit = work.head()
    work.write("work.txt", "changed")
    work.write("untracked", "x")
    target = tmp_path / "out" / "shop"
    done = checkout(work.open(), commit, target)
    assert done == (target, commit, (), 0, (), ())
    assert files(target) == {"cx.toml", "work.txt"}
    assert (target / "work.txt").read_text() == "second"
    inside = type(work)(target)
    assert inside.head() == commit
    assert inside.git("status", "--porcelain") == ""
    assert inside.git("describe") == "v1"
    assert inside.git("rev-parse", "--abbrev-ref", "HEAD") == "HEAD"
    assert inside.git("remote", "get-url", "origin") == str(remote.path)
    assert inside.git("fsck", "--connectivity-only") == ""


def test_an_older_commit(desk: Any, tmp_path: Path) -> None:
    work, _ = desk.project()
    checkout(work.open(), work.head("HEAD~1"), tmp_path / "out")
    assert files(tmp_path / "out") == {"cx.toml"}


def test_a_folder_in_use_is_left_alone(desk: Any, tmp_path: Path) -> None:
    work, _ = desk.project()
    target = tmp_path / "out"
    target.mkdir()
    checkout(work.open(), work.head(), target)
    with pytest.raises(UsageError) as error:
        checkout(work.open(), work.head(), target)
    assert error.value.name == "target-in-use"
    assert files(target) == {"cx.toml", "work.txt"}


def test_a_commit_that_is_not_there(desk: Any, tmp_path: Path) -> None:
    work, _ = desk.project()
    with pytest.raises(Trouble) as error:
        checkout(work.open(), "1" * 40, tmp_path / "out")
    assert error.value.name == "checkout-failed"
    assert not (tmp_path / "out").exists()
    for text in ("--help", "main", ""):
        with pytest.raises(UsageError):
            checkout(work.open(), text, tmp_path / "out")


@pytest.mark.parametrize("kind", ["shallow", "worktree", "bare", "borrowing", "sha256"])
def test_every_kind_of_repository(desk: Any, tmp_path: Path, kind: str) -> None:
    work, remote = desk.project()
    if kind == "shallow":
        source = desk.clone(remote, "copy", "--depth=1")
    elif kind == "worktree":
        work.git("worktree", "add", "-q", "--detach", tmp_path / "copy")
        source = type(work)(tmp_path / "copy")
    elif kind == "bare":
        source = remote
    elif kind == "borrowing":
        source = desk.clone(str(remote.path), "copy", "--shared")
    else:
        folder = tmp_path / "copy"
        folder.mkdir()
        source = type(work)(folder)
        source.git("init", "-q", "--object-format=sha256")
        source.commit("only", **{"work.txt": "second", "cx.toml": "x"})
    checkout(source.open(), source.head(), tmp_path / "out")
    assert (tmp_path / "out" / "work.txt").read_text() == "second"
    assert type(work)(tmp_path / "out").git("log", "-1", "--format=%H") == source.head()


def test_paths_limit_it(desk: Any, tmp_path: Path) -> None:
    work, _ = desk.project()
    work.commit(
        "monorepo",
        services__shop__a="x", services__shop__deep__b="x", services__other__c="x",
        **{"libs/co[m]mon/d": "x", "libs/other/e": "x", "README": "x", ".cx/plugins/p.py": "x",
           "#odd name/f": "x", "!x": "x"},
    )  # fmt: skip
    target = tmp_path / "out"
    paths = ["services/shop/", "./libs/co[m]mon", "#odd name", "!x"]
    checkout(work.open(), work.head(), target, paths=paths)
    assert files(target) == {
        "cx.toml", ".cx/plugins/p.py", "services/shop/a", "services/shop/deep/b",
        "libs/co[m]mon/d", "#odd name/f", "!x",
    }  # fmt: skip
    assert type(work)(target).git("status", "--porcelain") == ""


def test_paths_that_mean_everything() -> None:
    assert sparse_patterns(()) == sparse_patterns(["."]) == sparse_patterns(["a", "/"]) == ()


@pytest.mark.parametrize("path", ["../x", "a/../../b", "a\nb", "a\x00b", ".."])
def test_paths_that_lead_out(path: str) -> None:
    with pytest.raises(UsageError) as error:
        sparse_patterns([path])
    assert error.value.name == "bad-path"


def test_bytes_do_not_depend_on_the_user(desk: Any, tmp_path: Path, home: Path) -> None:
    work, _ = desk.project()
    work.commit("lines", text="one\ntwo\n")
    (home / "attributes").write_text("* text eol=crlf\n")
    (home / ".gitconfig").write_text(
        f"[core]\n autocrlf = true\n attributesFile = {home}/attributes\n hooksPath = {home}/hooks\n"
        f"[init]\n templateDir = {home}/template\n"
    )
    for folder in ("hooks", "template/hooks"):
        hook = home / folder / "post-checkout"
        hook.parent.mkdir(parents=True)
        hook.write_text(f"#!/bin/sh\ntouch {home}/ran\n")
        hook.chmod(0o755)
    checkout(work.open(), work.head(), tmp_path / "out")
    assert (tmp_path / "out" / "text").read_bytes() == b"one\ntwo\n"
    assert not (home / "ran").exists()


def test_odd_file_names(desk: Any, tmp_path: Path) -> None:
    work, _ = desk.project()
    names = [b"caf\xe9", b"a\nb", b" lead", b"-rf", b"quo\"te'", "ünï".encode()]
    for name in names:
        (work.path / os.fsdecode(name)).write_text("x")
    work.commit("odd")
    checkout(work.open(), work.head(), tmp_path / "out")
    assert {os.fsencode(name) for name in files(tmp_path / "out")} >= set(names)


def test_a_repository_in_an_odd_folder(desk: Any, tmp_path: Path) -> None:
    folder = desk.folder / 'so: "odd" \\ #1'
    folder.mkdir()
    work = type(desk)(folder).new("shop")
    work.commit("first")
    checkout(work.open(), work.head(), tmp_path / "out #2: x")
    assert files(tmp_path / "out #2: x") == {"work.txt"}


def with_library(desk: Any, nested: bool = False) -> Any:
    """A project with a submodule, which may itself have one; all pushed and present."""
    allow = ("-c", "protocol.file.allow=always")
    library, _ = desk.project("library")
    if nested:
        desk.project("inner")
        library.git(*allow, "submodule", "add", "-q", f"file://{desk.folder}/inner-remote.git",
                    "deep/inner")  # fmt: skip
        library.commit("with an inner one")
        library.git("push", "-q", "origin", "main")
    work, _ = desk.project()
    work.git(*allow, "submodule", "add", "-q", f"file://{desk.folder}/library-remote.git", "lib")
    work.git(*allow, "submodule", "update", "-q", "--init", "--recursive")
    work.commit("with a library")
    work.git("push", "-q", "origin", "main")
    return work


def test_submodules_come_from_this_machine(desk: Any, tmp_path: Path) -> None:
    work = with_library(desk, nested=True)
    for name in ("library-remote.git", "inner-remote.git", "shop-remote.git"):
        (desk.folder / name).rename(desk.folder / f"gone-{name}")
    done = checkout(work.open(), work.head(), tmp_path / "out")
    assert done.submodules == ("lib", "lib/deep/inner")
    assert (tmp_path / "out/lib/work.txt").read_text() == "with an inner one"
    assert (tmp_path / "out/lib/deep/inner/work.txt").read_text() == "second"
    assert type(work)(tmp_path / "out").git("status", "--porcelain") == ""


def test_submodules_of_a_linked_worktree(desk: Any, tmp_path: Path) -> None:
    work = with_library(desk)
    side = tmp_path / "side"
    work.git("worktree", "add", "-q", "--detach", side)
    done = checkout(type(work)(side).open(), work.head(), tmp_path / "out")
    assert done.submodules == ("lib",)


def test_a_submodule_that_is_not_here(desk: Any, tmp_path: Path) -> None:
    work = with_library(desk)
    copy = desk.clone(f"file://{desk.folder}/shop-remote.git", "copy")
    with pytest.raises(Trouble) as error:
        checkout(copy.open(), copy.head(), tmp_path / "out")
    needed = work.git("ls-tree", "HEAD", "lib").split()[2][:12]
    assert str(error.value) == (
        "the submodule lib is not on this machine\n"
        f"the commit needs {needed} of it, and a checkout is made without network\n"
        "git submodule update --init --recursive --checkout -- lib\n"
        "or leave it out of every release: update = none in .gitmodules"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("here", [True, False])
def test_a_submodule_that_the_commit_leaves_out(desk: Any, tmp_path: Path, here: bool) -> None:
    """``update = none``: left out on every machine, whether it is here or not."""
    work = with_library(desk, nested=True)
    work.git("config", "-f", ".gitmodules", "submodule.lib.update", "none")
    work.commit("leave it out")
    source = work if here else desk.clone(work, "copy")
    done = checkout(source.open(), work.head(), tmp_path / "out")
    assert (done.submodules, done.absent) == ((), ("lib",))
    assert list((tmp_path / "out/lib").iterdir()) == []
    require_pushed(source.open(), work.head())


def test_an_inner_submodule_that_its_commit_leaves_out(desk: Any, tmp_path: Path) -> None:
    work = with_library(desk, nested=True)
    inner = type(work)(work.path / "lib")
    inner.git("config", "-f", ".gitmodules", "submodule.deep/inner.update", "none")
    inner.commit("leave it out")
    done = checkout(work.open(), work.commit("newer library"), tmp_path / "out")
    assert (done.submodules, done.absent) == (("lib",), ("lib/deep/inner",))


def test_only_the_commit_leaves_a_submodule_out(desk: Any, tmp_path: Path) -> None:
    """What this machine says is no reason: another one would release other bytes."""
    work = with_library(desk)
    work.git("config", "submodule.lib.update", "none")
    assert checkout(work.open(), work.head(), tmp_path / "out").submodules == ("lib",)
    copy = desk.clone(work, "copy")
    copy.git("config", "submodule.lib.update", "none")
    with pytest.raises(Trouble) as error:
        checkout(copy.open(), copy.head(), tmp_path / "none")
    command = error.value.hint.splitlines()[0].removeprefix("git ").split()
    copy.git("-c", "protocol.file.allow=always", *command)
    assert checkout(copy.open(), copy.head(), tmp_path / "none").submodules == ("lib",)


@pytest.mark.parametrize("path", ["../x", "/etc", "a/../../x", ".", "lib/", "a/./b", ""])
def test_a_submodule_whose_path_is_no_folder_of_the_tree(
    desk: Any, tmp_path: Path, path: str
) -> None:
    work, _ = desk.project()
    work.commit("odd", **{".gitmodules": f'[submodule "x"]\n\tpath = {path}\n\turl = x\n'})
    assert checkout(work.open(), work.head(), tmp_path / "out").submodules == ()


def test_a_submodule_outside_the_paths_is_not_needed(desk: Any, tmp_path: Path) -> None:
    with_library(desk)
    copy = desk.clone(f"file://{desk.folder}/shop-remote.git", "copy")
    done = checkout(copy.open(), copy.head(), tmp_path / "out", paths=["work.txt"])
    assert done.submodules == ()


def test_a_submodule_name_does_not_lead_out(desk: Any, tmp_path: Path) -> None:
    """``.gitmodules`` comes from the commit; its names must not choose a folder elsewhere."""
    work = with_library(desk)
    secret = desk.new("secret")
    commit = secret.commit("secret", secret="x")
    work.write(".gitmodules", '[submodule "../../../secret/.git"]\n path = lib\n url = x\n')
    work.git("update-index", "--cacheinfo", f"160000,{commit},lib")
    work.git("add", ".gitmodules")
    work.git("commit", "-q", "-m", "hostile")
    with pytest.raises(Trouble) as error:
        checkout(work.open(), work.head(), tmp_path / "out")
    assert error.value.name == "submodule-missing"


def lfs_project(desk: Any, content: bytes) -> tuple[Any, str]:
    """A commit as git-lfs makes it: a pointer in the tree, the bytes in ``lfs/objects``."""
    digest = hashlib.sha256(content).hexdigest()
    work, _ = desk.project()
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"
    )
    attributes = "*.bin filter=lfs diff=lfs merge=lfs -text\n"
    work.commit("with lfs", **{".gitattributes": attributes, "big.bin": pointer, "plain": pointer})
    store = work.path / ".git/lfs/objects" / digest[:2] / digest[2:4]
    store.mkdir(parents=True)
    (store / digest).write_bytes(content)
    (work.path / "big.bin").chmod(0o755)
    work.commit("executable", x="x")
    return work, digest


def test_lfs_files_come_from_this_machine(desk: Any, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    work, _ = lfs_project(desk, content)
    done = checkout(work.open(), work.head(), tmp_path / "out")
    assert done.lfs_files == 1
    assert (tmp_path / "out/big.bin").read_bytes() == content
    assert (tmp_path / "out/big.bin").stat().st_mode & stat.S_IXUSR
    assert (tmp_path / "out/plain").read_text().startswith("version https://git-lfs")
    assert type(work)(tmp_path / "out").git("status", "--porcelain") == ""


def test_an_lfs_file_that_is_not_here(desk: Any, tmp_path: Path) -> None:
    work, digest = lfs_project(desk, b"x" * 5000)
    (work.path / ".git/lfs/objects" / digest[:2] / digest[2:4] / digest).unlink()
    with pytest.raises(Trouble) as error:
        checkout(work.open(), work.head(), tmp_path / "out")
    assert str(error.value) == (
        "the file big.bin is kept by Git LFS and is not on this machine\n"
        "a checkout is made without network\n"
        "git lfs fetch --all"
    )
    assert not (tmp_path / "out").exists()


def test_an_lfs_file_that_is_damaged(desk: Any, tmp_path: Path) -> None:
    work, digest = lfs_project(desk, b"x" * 5000)
    (work.path / ".git/lfs/objects" / digest[:2] / digest[2:4] / digest).write_bytes(b"y" * 5000)
    with pytest.raises(Trouble) as error:
        checkout(work.open(), work.head(), tmp_path / "out")
    assert error.value.name == "lfs-damaged"


def test_a_partial_clone_brings_its_missing_files(desk: Any, tmp_path: Path) -> None:
    _, remote = desk.project()
    remote.git("config", "uploadpack.allowFilter", "true")
    partial = desk.clone(remote, "partial", "--filter=blob:none", "--no-checkout")
    checkout(partial.open(), partial.head(), tmp_path / "out")
    assert files(tmp_path / "out") == {"cx.toml", "work.txt"}
    remote.path.rename(remote.path.with_name("gone"))
    fresh = desk.clone(f"file://{remote.path.with_name('gone')}", "other", "--filter=blob:none",
                       "--no-checkout")  # fmt: skip
    remote.path.with_name("gone").rename(remote.path)
    with pytest.raises(Trouble) as error:
        checkout(fresh.open(), fresh.head(), tmp_path / "none")
    assert "git fetch --refetch" in error.value.hint


def test_removal_takes_all_and_follows_no_link(desk: Any, tmp_path: Path) -> None:
    work, _ = desk.project()
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    target = tmp_path / "out"
    checkout(work.open(), work.head(), target)
    (target / "link").symlink_to(kept)
    locked = target / "cache" / "read-only"
    locked.mkdir(parents=True)
    (locked / "file").write_text("x")
    locked.chmod(0o555)
    remove_checkout(target)
    assert not target.exists()
    assert (kept / "file").exists()
    remove_checkout(target)


def test_removal_of_folders_a_build_locked(desk: Any) -> None:
    """As an ordinary user, whom read-only folders stop; in a folder such a user may enter."""
    base = Path(tempfile.mkdtemp())
    base.chmod(0o777)
    child = os.fork()
    if child == 0:
        if os.getuid() == 0:
            os.setuid(65534)
        target = base / "out"
        (target / "locked" / "inner").mkdir(parents=True)
        (target / "locked" / "inner" / "file").write_text("x")
        (target / "locked" / "inner").chmod(0o000)
        (target / "locked").chmod(0o555)
        try:
            remove_checkout(target)
        finally:
            os._exit(1 if target.exists() else 0)
    _, status = os.waitpid(child, 0)
    shutil.rmtree(base)
    assert os.waitstatus_to_exitcode(status) == 0
