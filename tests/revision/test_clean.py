"""A working tree is clean when a clean checkout would hold the same bytes, whatever git was told."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxlocal.errors import Refused
from cxlocal.revision.clean import differences, require_clean
from cxlocal.revision.filters import agreed_filters

ALLOW = ("-c", "protocol.file.allow=always")


@pytest.fixture(scope="module")
def pattern(module_desk: Any) -> Any:
    """Files, a link, a program, folders, and two levels of submodules, all pushed."""
    desk = module_desk
    desk.project("inner")
    library, _ = desk.project("library")
    library.git(*ALLOW, "submodule", "add", "-q", f"file://{desk.folder}/inner-remote.git", "in")
    library.commit("with an inner one")
    library.git("push", "-q", "origin", "main")
    work, _ = desk.project()
    work.write(".gitignore", "*.o\n")
    work.write("f", "one\n")
    work.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    (work.path / "link").symlink_to("f")
    work.commit("files", a__x="a\n", b__x="b\n")
    work.git(*ALLOW, "submodule", "add", "-q", f"file://{desk.folder}/library-remote.git", "lib")
    work.git(*ALLOW, "submodule", "update", "-q", "--init", "--recursive")
    work.commit("with a library")
    work.git("push", "-q", "origin", "main")
    return work


@pytest.fixture
def work(pattern: Any, tmp_path: Path) -> Any:
    """A copy of it: a test may do as it likes."""
    shutil.copytree(pattern.path, tmp_path / "work", symlinks=True)
    copy = type(pattern)(tmp_path / "work")
    copy.git("status")  # The index still speaks of the files that were copied.
    return copy


def same_size_and_time(work: Any) -> None:
    """A change that a careless look at the file's data does not show."""
    about = (work.path / "f").stat()
    work.write("f", "two\n")
    os.utime(work.path / "f", ns=(about.st_atime_ns, about.st_mtime_ns))


def ways(work: Any) -> dict[str, tuple[Callable[[], Any], tuple[str, ...]]]:
    """What is done to the tree, and the files that differ then."""
    git, write, path = work.git, work.write, work.path

    def do(*steps: Callable[[], Any] | tuple[Any, ...]) -> Callable[[], None]:
        def all_of_them() -> None:
            for step in steps:
                if isinstance(step, tuple):
                    git(*step)
                else:
                    step()

        return all_of_them

    def sub(*words: str) -> Callable[[], Any]:
        return lambda: git("-C", "lib", *words)

    change = lambda: write("f", "two\n")
    in_lib = lambda: write("lib/work.txt", "two\n")
    return {
        "changed": (change, ("f",)),
        "staged": (do(change, ("add", "f")), ("f",)),
        "deleted": ((path / "f").unlink, ("f",)),
        "removed from the index": (do(("rm", "-q", "--cached", "f")), ()),
        "removed": (do(("rm", "-q", "f")), ("f",)),
        "new": (lambda: write("new", "x"), ("new",)),
        "new and staged": (do(lambda: write("new", "x"), ("add", "new")), ("new",)),
        "new folder": (lambda: write("d/new", "x"), ("d/",)),
        "executable": (lambda: (path / "f").chmod(0o755), ("f",)),
        "not executable": (lambda: (path / "run.sh").chmod(0o644), ("run.sh",)),
        "executable, told not to look": (
            do(("config", "core.fileMode", "false"), lambda: (path / "f").chmod(0o755)), ("f",),
        ),
        "another link": (
            do((path / "link").unlink, lambda: (path / "link").symlink_to("a/x")), ("link",),
        ),
        "a file for a link": (
            do(("config", "core.symlinks", "false"), (path / "link").unlink,
               lambda: write("link", "f")), ("link",),
        ),
        "a folder for a file": (do((path / "f").unlink, lambda: write("f/y", "x")), ("f",)),
        "skip-worktree": (do(("update-index", "--skip-worktree", "f"), change), ("f",)),
        "skip-worktree, gone": (
            do(("update-index", "--skip-worktree", "f"), (path / "f").unlink), ("f",),
        ),
        "assume-unchanged": (do(("update-index", "--assume-unchanged", "f"), change), ("f",)),
        "ignoreStat": (
            do(("config", "core.ignoreStat", "true"), ("update-index", "--refresh"), change), ("f",),
        ),
        "trustctime": (
            do(("config", "core.trustctime", "false"), ("config", "core.checkStat", "minimal"),
               lambda: same_size_and_time(work)), ("f",),
        ),
        "sparse": (do(("sparse-checkout", "set", "--cone", "a")), ("b/x",)),
        "sparse, by patterns": (
            do(("sparse-checkout", "set", "--no-cone", "/*", "!/b/")), ("b/x",),
        ),
        "untracked are not shown": (
            do(("config", "status.showUntrackedFiles", "no"), lambda: write("new", "x")), ("new",),
        ),
        "a filter of the repository": (
            do(("config", "filter.up.clean", "echo one"),
               lambda: write(".git/info/attributes", "f filter=up\n"), change), ("f",),
        ),
        "a filter of the person": (
            do(("config", "--global", "filter.up.clean", "echo one"),
               lambda: write(".git/info/attributes", "f filter=up\n"), change), ("f",),
        ),
        "ends of lines": (
            do(("config", "--global", "core.autocrlf", "true"),
               lambda: (path / "f").write_bytes(b"one\r\n")), ("f",),
        ),
        "attributes of the person": (
            do(("config", "--global", "core.attributesFile", "~/attributes"),
               lambda: (Path.home() / "attributes").write_text("* text\n"),
               lambda: (path / "f").write_bytes(b"one\r\n")), ("f",),
        ),
        "submodule": (in_lib, ("lib/work.txt",)),
        "submodule, ignore = dirty in .git/config": (
            do(("config", "submodule.lib.ignore", "dirty"), in_lib), ("lib/work.txt",),
        ),
        "submodule, ignore = all in .git/config": (
            do(("config", "submodule.lib.ignore", "all"), in_lib), ("lib/work.txt",),
        ),
        "submodule, diff.ignoreSubmodules of the person": (
            do(("config", "--global", "diff.ignoreSubmodules", "all"), in_lib), ("lib/work.txt",),
        ),
        "submodule, new file": (
            do(("config", "submodule.lib.ignore", "untracked"), lambda: write("lib/new", "x")),
            ("lib/new",),
        ),
        "submodule, skip-worktree in it": (
            do(sub("update-index", "--skip-worktree", "work.txt"), in_lib), ("lib/work.txt",),
        ),
        "submodule at another commit": (
            do(("config", "submodule.lib.ignore", "all"), sub("checkout", "-q", "HEAD~1")), ("lib",),
        ),
        "submodule of a submodule": (
            do(sub("config", "submodule.in.ignore", "all"), lambda: write("lib/in/work.txt", "2")),
            ("lib/in/work.txt",),
        ),
        "submodule that is not here": (do(("submodule", "--quiet", "deinit", "lib")), ("lib",)),
        "touched": (lambda: os.utime(path / "f", ns=(1, 1)), ()),
        "ignored": (lambda: write("x.o", "x"), ()),
        "an open run": (lambda: write(".cx/run", "x"), ()),
        "other index": (do(("read-tree", "HEAD~1")), ()),
    }  # fmt: skip


NAMES = list(ways(type("None", (), {"git": None, "write": None, "path": Path("x")})))


@pytest.mark.parametrize("name", NAMES)
def test_what_differs(work: Any, name: str) -> None:
    act, expected = ways(work)[name]
    head = work.head()
    act()
    assert differences(work.open(), head) == expected
    if expected:
        with pytest.raises(Refused):
            require_clean(work.open(), head)
    leftover = [one.name for one in (work.path / ".git").iterdir() if "cxlocal" in one.name]
    assert leftover == []


@pytest.mark.parametrize("ignore", ["dirty", "all", "untracked"])
def test_ignore_in_gitmodules(work: Any, ignore: str) -> None:
    assert differences(work.open(), work.head()) == ()
    work.git("config", "-f", ".gitmodules", "submodule.lib.ignore", ignore)
    work.commit("ignore it")
    assert differences(work.open(), work.head()) == ()
    work.write("lib/new", "x")
    work.write("lib/work.txt", "x")
    assert differences(work.open(), work.head()) == ("lib/new", "lib/work.txt")


def test_a_submodule_left_out_by_the_commit(work: Any) -> None:
    work.git("config", "-f", ".gitmodules", "submodule.lib.update", "none")
    work.commit("leave it out")
    work.write("lib/work.txt", "x")
    assert differences(work.open(), work.head()) == ("lib/work.txt",)
    work.git("submodule", "--quiet", "deinit", "-f", "lib")
    assert differences(work.open(), work.head()) == ()
    work.write("lib/work.txt", "x")
    assert differences(work.open(), work.head()) == ("lib",)


def test_what_the_project_itself_converts_is_no_difference(desk: Any) -> None:
    work, _ = desk.project()
    work.write(
        ".gitattributes",
        "*.bat text eol=crlf\n*.u text working-tree-encoding=UTF-16LE-BOM\n*.i ident\n"
        "*.lfs filter=lfs\n*.key filter=git-crypt\n*.c text eol=lf\n",
    )
    content = b"large" * 1000
    digest = hashlib.sha256(content).hexdigest()
    work.write(
        "f.lfs", f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 5000\n"
    )
    (work.path / "f.bat").write_bytes(b"a\r\nb\r\n")
    (work.path / "f.u").write_bytes("ü\n".encode("utf-16"))
    work.write("f.i", "$Id$\n")
    work.write("f.c", "x\n")
    work.write("f.key", "x\n")
    work.commit("converted")
    (work.path / "f.i").unlink()
    work.git("checkout", "-q", "--", "f.i")
    (work.path / "f.lfs").write_bytes(content)
    assert "$Id:" in (work.path / "f.i").read_text()
    assert differences(work.open(), work.head()) == ()
    (work.path / "f.bat").write_bytes(b"a\nb\n")
    (work.path / "f.lfs").write_bytes(content[1:])
    (work.path / "f.u").write_bytes("ö\n".encode("utf-16"))
    (work.path / "f.c").write_bytes(b"x\r\n")
    expected = ("f.bat", "f.c", "f.lfs", "f.u")
    assert differences(work.open(), work.head()) == expected
    assert differences(work.open(), work.head(), ["f.bat"]) == ("f.bat",)
    work.git("checkout", "-q", "--", ".")
    assert differences(work.open(), work.head()) == ("f.lfs",), "a pointer is not the file"


def test_an_agreed_filter_is_no_difference(desk: Any) -> None:
    work, _ = desk.project()
    work.commit("odd", **{".gitattributes": "*.up filter=up\n", "a.up": "text\n"})
    work.git("config", "--global", "filter.up.smudge", "tr a-z A-Z")
    work.write("a.up", "TEXT\n")
    assert differences(work.open(), work.head()) == ("a.up",)
    filters = agreed_filters(work.open(), ["up"])
    assert differences(work.open(), work.head(), filters=filters) == ()
    work.write("a.up", "OTHER\n")
    assert differences(work.open(), work.head(), filters=filters) == ("a.up",)


def test_paths_limit_the_question(work: Any) -> None:
    for name in ("a/x", "b/x", "lib/work.txt"):
        work.write(name, "other\n")
    ask = lambda *paths: differences(work.open(), work.head(), paths)
    assert ask() == ("a/x", "b/x", "lib/work.txt")
    assert ask("a/", "f") == ("a/x",)
    assert ask("lib", "b") == ("b/x", "lib/work.txt")
    assert ask("./lib/work.txt") == ("lib/work.txt",)


@pytest.mark.parametrize("kind", ["worktree", "shallow", "odd names"])
def test_every_kind_of_tree(desk: Any, tmp_path: Path, kind: str) -> None:
    work, remote = desk.project()
    if kind == "worktree":
        work.git("worktree", "add", "-q", "--detach", tmp_path / "side")
        work = type(work)(tmp_path / "side")
    elif kind == "shallow":
        work = desk.clone(remote, "copy", "--depth=1")
    else:
        for name in (b"caf\xe9", b"a\nb", b" lead", b"-rf", b":(x)"):
            (work.path / os.fsdecode(name)).write_text("x\n")
        work.git("config", "core.autocrlf", "false")
        work.write(".gitattributes", "* text eol=crlf\n")
        work.commit("odd")
        for file in work.path.iterdir():
            if file.is_file():
                file.unlink()
        work.git("checkout", "-q", "--", ".")
    assert differences(work.open(), work.head()) == ()
    work.write("work.txt", "x")
    assert differences(work.open(), work.head()) == ("work.txt",)


def test_the_refusal_names_files(desk: Any) -> None:
    work, _ = desk.project()
    for name in ("a", "b", "c", "d", "e"):
        work.write(name, "x")
    with pytest.raises(Refused) as error:
        require_clean(work.open(), work.head())
    assert error.value.what == "the working tree has uncommitted changes: a, b, c and 2 more"
    assert "told not to look at" in error.value.why
    assert error.value.data["files"] == ["a", "b", "c", "d", "e"]
