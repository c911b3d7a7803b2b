"""Artifacts that something wrote into after they were made are used by no stage."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxlocal.errors import Conflict
from cxlocal.hooks.tool import ArtifactRef
from cxlocal.runner import untouched
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
