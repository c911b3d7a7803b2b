"""Mirrors: made, pushed to, looked at, remembered on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from cxlocal.clock import SystemClock
from cxlocal.errors import Refused, Trouble, UsageError
from cxlocal.revision.mirrors import (
    Mirror,
    Pushed,
    add_mirror,
    list_mirrors,
    push_mirror,
    remove_mirror,
)
from cxlocal.revision.proof import prove
from cxlocal.revision.repository import repository_key


def add(work: Any, home: Path, location: str) -> Pushed:
    return add_mirror(work.open(), home, location, clock=SystemClock(), commit=work.head())


def test_a_mirror_is_made_filled_and_remembered(desk: Any, home: Path) -> None:
    work, _ = desk.project()
    work.git("tag", "v1")
    commit = work.commit("not pushed")
    place = desk.folder / "usb" / "shop.git"
    done = add(work, home, str(place))
    assert done.created
    assert (done.mirror.location, done.ref) == (str(place), "refs/heads/main")
    copy = type(work)(place)
    assert copy.head("main") == commit
    assert copy.head("v1") == work.head("v1")
    key = repository_key(work.open(), commit)
    assert list_mirrors(home, key) == (done.mirror,)
    assert list_mirrors(home, "another repository") == ()
    proof = prove(work.open(), commit, mirrors=list_mirrors(home, key), clock=SystemClock())
    assert proof.kind == "mirror only"


def test_adding_again_pushes_again_and_remembers_once(desk: Any, home: Path) -> None:
    work, _ = desk.project()
    place = str(desk.folder / "shop.git")
    first = add(work, home, place)
    newer = work.commit("newer")
    again = add(work, home, place)
    assert not again.created
    assert again.mirror == first.mirror
    assert type(work)(Path(place)).head("main") == newer
    assert len(list_mirrors(home, first.mirror.key)) == 1


def test_a_detached_commit_gets_a_branch_there(desk: Any, home: Path) -> None:
    work, _ = desk.project()
    work.git("checkout", "-q", "--detach")
    commit = work.commit("on no branch")
    done = add(work, home, str(desk.folder / "shop.git"))
    assert done.ref == f"refs/heads/cxlocal/{commit}"


def test_a_rewritten_branch_is_not_forced_over_the_one_there(desk: Any, home: Path) -> None:
    work, _ = desk.project()
    place = desk.folder / "shop.git"
    add(work, home, str(place))
    before = type(work)(place).head("main")
    work.git("reset", "-q", "--hard", "HEAD~1")
    commit = work.commit("instead")
    done = add(work, home, str(place))
    assert type(work)(place).head("main") == before
    assert done.ref == f"refs/heads/cxlocal/{commit}"


def test_a_url_of_a_repository_that_is_there(desk: Any, home: Path) -> None:
    work, _ = desk.project()
    bare = desk.bare("the re.git")
    address = f"file://localhost{bare.path}".replace(" ", "%20")
    done = add(work, home, address)
    assert not done.created
    assert done.mirror.location == str(bare.path)
    assert bare.head("main") == work.head()
    assert remove_mirror(home, done.mirror.key, address) == done.mirror


def test_relative_paths_are_remembered_whole(
    desk: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, _ = desk.project()
    work.write("deep/x", "x")
    monkeypatch.chdir(work.path / "deep")
    done = add(work, home, "../../there.git")
    assert done.mirror.location == str(desk.folder / "there.git")


@pytest.mark.parametrize("location", ["", "  ", "--upload-pack=touch x", "-x", "a\nb", "a\x1bb"])
def test_what_is_no_place_is_refused(desk: Any, home: Path, location: str) -> None:
    work, _ = desk.project()
    with pytest.raises(UsageError) as error:
        add(work, home, location)
    assert error.value.name == "bad-mirror"


def test_a_password_is_not_written_down(desk: Any, home: Path) -> None:
    work, _ = desk.project()
    with pytest.raises(UsageError) as error:
        add(work, home, "https://me:secret@example.invalid/x.git")
    assert error.value.name == "bad-mirror"
    assert "secret" not in str(error.value)
    assert not (home / "mirrors.json").exists()


@pytest.mark.parametrize(
    "how", [".", "{path}", "file://{path}", "{path}/.git", "../tree", "file://localhost{path}"]
)
def test_the_repository_itself_is_no_mirror(
    desk: Any, home: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, _ = desk.project()
    work.git("worktree", "add", "-q", "../tree")
    monkeypatch.chdir(work.path)
    with pytest.raises(Refused) as error:
        add(work, home, how.format(path=work.path))
    assert str(error.value).splitlines()[1:] == [
        "a commit in it has not left this working copy",
        "name a folder on another disk: cxlocal mirror add /media/usb/webshop.git",
    ]


def test_a_mirror_that_takes_nothing_is_not_remembered(desk: Any, home: Path) -> None:
    work, _ = desk.project()
    bare = desk.bare("closed.git")
    hook = bare.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(Refused) as error:
        add(work, home, str(bare.path))
    assert str(error.value) == (
        f"the mirror {bare.path} does not hold the commit after the push\n"
        f"failed to push some refs to '{bare.path}'\n"
        f"see that it can be written to, then: cxlocal mirror add {bare.path}"
    )
    assert list_mirrors(home, repository_key(work.open(), work.head())) == ()


def test_a_folder_full_of_other_things_is_not_touched(desk: Any, home: Path) -> None:
    work, _ = desk.project()
    folder = desk.folder / "photos"
    folder.mkdir()
    (folder / "one.jpg").write_text("x")
    with pytest.raises(Refused):
        add(work, home, str(folder))
    assert [entry.name for entry in folder.iterdir()] == ["one.jpg"]


def test_a_folder_that_cannot_be_made(desk: Any, home: Path) -> None:
    work, _ = desk.project()
    work.write("file", "x")
    with pytest.raises(Trouble) as error:
        add(work, home, str(work.path / "file" / "mirror.git"))
    assert error.value.name == "mirror-not-made"


def test_a_shallow_clone_says_what_it_needs(desk: Any, home: Path) -> None:
    _, remote = desk.project()
    shallow = desk.clone(remote, "shallow", "--depth=1")
    with pytest.raises(Refused) as error:
        add(shallow, home, str(desk.folder / "m.git"))
    assert "git fetch --unshallow" in error.value.hint


def test_remove(desk: Any, home: Path) -> None:
    work, _ = desk.project()
    one = add(work, home, str(desk.folder / "one.git")).mirror
    two = add(work, home, str(desk.folder / "two.git")).mirror
    assert remove_mirror(home, one.key, one.location) == one
    assert list_mirrors(home, one.key) == (two,)
    assert (desk.folder / "one.git").exists()
    with pytest.raises(UsageError) as error:
        remove_mirror(home, one.key, one.location)
    assert error.value.name == "no-such-mirror"
    assert str(desk.folder / "two.git") in error.value.why


def test_two_commands_at_once_both_count(desk: Any, home: Path) -> None:
    work, _ = desk.project()
    places = [str(desk.folder / f"m{number}.git") for number in range(4)]
    threads = [threading.Thread(target=add, args=(work, home, place)) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    key = repository_key(work.open(), work.head())
    assert sorted(mirror.location for mirror in list_mirrors(home, key)) == places


@pytest.mark.needs("strace")
def test_without_locks_the_list_is_not_changed(home: Path) -> None:
    """A lock file that somebody must take away again (a soft lock) is no lock."""
    code = (
        "import sys; from pathlib import Path; from cxlocal.revision.mirrors import _change;"
        " _change(Path(sys.argv[1]), list)"
    )
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=flock:error=ENOSYS",
         sys.executable, "-c", code, str(home)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "cannot be locked" in done.stderr, done.stderr
    assert "Function not implemented" in done.stderr
    assert not (home / "mirrors.json").exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 2, "mirrors": []}', '{"format": 1}', "\xff"]
)
def test_a_damaged_list_is_said_to_be_damaged(home: Path, text: str) -> None:
    (home / "mirrors.json").write_text(text, encoding="latin-1")
    with pytest.raises(Trouble) as error:
        list_mirrors(home, "key")
    assert error.value.name == "mirrors-unreadable"


def test_the_file_is_as_documented(desk: Any, home: Path) -> None:
    work, _ = desk.project()
    mirror = add(work, home, str(desk.folder / "one.git")).mirror
    assert json.loads((home / "mirrors.json").read_text()) == {
        "format": 1,
        "mirrors": [
            {
                "repository": work.head("HEAD~1"),
                "location": mirror.location,
                "added_at": mirror.added_at,
            }
        ],
    }


def test_push_to_a_known_mirror(desk: Any) -> None:
    work, _ = desk.project()
    bare = desk.bare("there.git")
    mirror = Mirror("key", str(bare.path), "")
    done = push_mirror(work.open(), mirror, clock=SystemClock(), commit=work.head("HEAD~1"))
    assert done.ref == "refs/heads/main"


def test_the_command(desk: Any, cx: Any, home: Path) -> None:
    work, _ = desk.project()
    env = {"CXLOCAL_HOME": str(home / "cx")}
    place = desk.folder / "usb.git"
    added = cx.ok("mirror", "add", place, cwd=work.path, env=env)
    assert f"Made a bare repository in {place}." in added.err
    assert "on refs/heads/main" in added.err
    listed = cx.ok("mirror", "list", "--json", cwd=work.path, env=env).json()
    assert [row["location"] for row in listed] == [str(place)]
    cx.ok("mirror", "remove", place, cwd=work.path, env=env)
    empty = cx.ok("mirror", "list", cwd=work.path, env=env)
    assert "cxlocal mirror add PATH" in empty.err
    wrong = cx("mirror", "remove", place, cwd=work.path, env=env)
    assert wrong.code == 2
