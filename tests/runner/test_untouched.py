"""Artifacts that something wrote into after they were made are used by no stage."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cxlocal.errors import Conflict
from cxlocal.hooks.tool import ArtifactRef
from cxlocal.journal.blobs import blob_path, keep_file
from cxlocal.runner import products, untouched
from cxlocal.runner.untouched import Untouched, refuse_changed

GOOD, BAD = b"good", b"evil"


def set_back(path: Path) -> None:
    before = path.stat()
    path.write_bytes(BAD)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(BAD)
    other.rename(path)


WAYS: dict[str, tuple[Callable[[Path], Any], bool]] = {
    "written": (lambda path: path.write_bytes(BAD + BAD), True),
    "written with its time set back": (set_back, True),
    "another file in its place": (replaced, True),
    "touched": (lambda path: os.utime(path), False),
    "written as it was": (lambda path: path.write_bytes(GOOD), False),
    "linked": (lambda path: os.link(path, path.with_name("name")), False),
    "gone": (Path.unlink, False),
    "left alone": (lambda path: None, False),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_has_other_bytes_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    path, (change, changed) = tmp_path / "app", WAYS[way]
    path.write_bytes(GOOD)
    one = ArtifactRef(name="app", path=path, sha256=hashlib.sha256(GOOD).hexdigest(), size=4)
    watched = Untouched()
    watched.believe([one])
    change(path)
    for _ in range(2):
        assert watched.changed([one]) == (["app"] if changed else [])
    read: list[Path] = []
    monkeypatch.setattr(untouched, "digest_of", lambda path: read.append(path) or (one.sha256, 4))
    watched.changed([one])
    assert bool(read) is changed, "what stands as it stood is not read again"


def test_one_that_nobody_read_is_read() -> None:
    here = Path(__file__)
    one = ArtifactRef(name="app", path=here, sha256="0" * 64, size=1)
    with pytest.raises(Conflict, match="app has other bytes"):
        refuse_changed(Untouched().changed([one]))


@pytest.mark.parametrize("evil", ["the stage", "what it left running"])
def test_a_stage_that_writes_into_an_artifact_ends_the_release(shop: Any, evil: str) -> None:
    write = 'echo evil > "$CXLOCAL_ARTIFACT_APP"'
    later = f"( until test -e {shop.tree}/go; do sleep 0.05; done; {write}; touch {shop.tree}/wrote ) > /dev/null 2>&1 &"
    waits = f"touch {shop.tree}/go; until test -e {shop.tree}/wrote; do sleep 0.05; done"
    shop.write(f"""
[stages]
build = {{ command = "echo good > app.txt", produces = {{ app = "app.txt" }} }}
evil = {{ command = '''chmod u+w "$CXLOCAL_ARTIFACT_APP"; {write if evil == "the stage" else later}''', needs = ["build"] }}
wait = {{ command = '''{"true" if evil == "the stage" else waits}''', needs = ["evil"] }}
live = {{ kind = "deploy", command = "cp $CXLOCAL_ARTIFACT_APP {shop.tree}/live", environment = "production", needs = ["wait"] }}
[environments]
production = {{ protected = false }}
""")
    done = shop.run("--no-input")
    assert done.code == 9 and "app has other bytes than when it was made" in done.err, done.err
    assert not (shop.tree / "live").exists()
    expected = "evil" if evil == "the stage" else "wait"
    assert shop.outcomes()[expected] == "error"
    (shop.tree / "wrote").unlink(missing_ok=True)
    assert shop.command("artifact", "get", "0.1.0", "app").code == 10


def in_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "app").write_bytes(BAD)


def linked_elsewhere(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(GOOD)
    path.unlink()
    path.symlink_to(other)


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


IN_PLACE: dict[str, tuple[Callable[[Path], Any], bool]] = {
    "another file": (replaced, False),
    "a folder": (in_a_folder, False),
    "a link to what may change": (linked_elsewhere, False),
    "a link to nothing": (lambda path: (path.unlink(), path.symlink_to("none")), False),
    "a pipe": (as_pipe, False),
    "gone": (Path.unlink, False),
    "left alone": (lambda path: None, True),
}


@pytest.mark.parametrize("way", IN_PLACE)
@pytest.mark.parametrize("links", [True, False], ids=["linked", "copied"])
def test_what_has_the_name_of_an_artifact_has_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, links: bool
) -> None:
    change, kept = IN_PLACE[way]
    made = tmp_path / "made"
    made.write_bytes(GOOD)
    digest, _ = keep_file(tmp_path, made)
    record: Any = SimpleNamespace(run="r", journal=SimpleNamespace(home=tmp_path))
    if not links:
        monkeypatch.setattr(products.os, "link", refuse)
    path = products.give_name(record, digest, "app")
    before = path.stat().st_ino
    change(path)
    assert products.give_name(record, digest, "app") == path
    assert path.read_bytes() == GOOD and not path.is_symlink()
    assert path.samefile(blob_path(tmp_path, digest)) is links
    assert not kept or path.stat().st_ino == before
    assert {one.name for one in path.parent.iterdir()} <= {"app", "other"}


def refuse(*_: Any) -> None:
    raise OSError(1, "no links here")


def test_other_bytes_in_the_place_of_an_artifact_are_used_by_nothing_later(shop: Any) -> None:
    """By a stage that replaces the file (the kept one stays whole), and by somebody between two commands."""
    shop.write(f"""
[stages]
build = {{ command = "echo good > app.txt", produces = {{ app = "app.txt" }} }}
evil = {{ command = 'test -e {shop.tree}/ok || sed -i s/good/evil/ "$CXLOCAL_ARTIFACT_APP"', needs = ["build"] }}
live = {{ kind = "deploy", command = "cp $CXLOCAL_ARTIFACT_APP {shop.tree}/live", environment = "production", needs = ["evil"] }}
[environments]
production = {{ protected = false }}
[targets.mirror]
tool = "folder"
artifacts = ["app"]
with = {{ folder = "{shop.tree}/out" }}
""")
    (shop.tree / "out").mkdir()
    done = shop.run("--no-input")
    assert done.code == 9 and "app has other bytes" in done.err, done.err
    (shop.tree / "ok").touch()
    live = shop.tree / "live"
    resumed = shop.run("--resume", "latest", "--no-input")
    assert resumed.code == 0 and live.read_text() == "good\n", resumed.err
    [named] = [one for one in (shop.home / "artifacts").rglob("*") if one.is_file()]
    replaced(named)
    deployed = shop.command("deploy", "0.1.0")
    assert deployed.code == 0 and live.read_text() == "good\n", deployed.err
    replaced(named)
    assert shop.command("trust", "--yes").code == 0
    published = shop.command("publish", "0.1.0")
    there = [one.read_text() for one in (shop.tree / "out").rglob("*") if one.is_file()]
    assert published.code == 0 and "good\n" in there and BAD.decode() not in there, published.err


def test_single_commands_neither_change_nor_use_other_bytes(shop: Any) -> None:
    shop.write("""
[stages]
build = { command = "true", produces = { app = "app.txt" } }
evil = { command = "true", needs = ["build"] }
live = { kind = "deploy", command = "true", environment = "production", needs = ["build"] }
[environments]
production = { protected = false }
""")
    (shop.tree / ".gitignore").write_text("app.txt\n.cx/\n")
    shop.push("ignore")
    assert shop.command("run", "start").code == 0
    assert shop.command("stage", "build", "--", "sh", "-c", "echo good > app.txt").code == 0
    write = ("sh", "-c", 'chmod u+w "$CXLOCAL_ARTIFACT_APP"; echo evil > "$CXLOCAL_ARTIFACT_APP"')
    wrote = shop.command("stage", "evil", "--", *write)
    assert wrote.code == 9 and "app has other bytes than when it was made" in wrote.err, wrote.err
    live = shop.command("stage", "live", "--", "touch", str(shop.tree / "live"))
    assert live.code == 126 and "damaged" in live.err and not (shop.tree / "live").exists()
    assert (
        shop.query("SELECT outcome FROM stage_run WHERE stage IN ('evil', 'live')") == ["error"] * 2
    )
    assert shop.query("SELECT count(*) FROM deployment") == [0]
