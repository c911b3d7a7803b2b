"""``cxlocal artifact``: what was made is listed with its place, and copied out under its name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

STAGES = """
[stages]
build = { kind = "build", command = "mkdir out; echo $CXLOCAL_VERSION > out/app-$CXLOCAL_VERSION.txt; printf '#!/bin/sh\\\\necho hi\\\\n' > out/tool; chmod +x out/tool", produces = { app = "out/app-*.txt", tool = "out/tool" } }
"""


@pytest.fixture
def released(shop: Any) -> Any:
    """Two versions."""
    shop.write(STAGES)
    for _ in range(2):
        done = shop.run()
        assert done.code == 0, done.err
    return shop


def test_artifacts_are_copied_out_by_version_and_name(released: Any, tmp_path: Path) -> None:
    shop = released

    def get(*words: str) -> tuple[list[str], Any]:
        done = shop.command("artifact", "get", *words)
        return [Path(line).name for line in done.out.splitlines()], done

    out = tmp_path / "to"
    assert get("0.1.0", "--to", str(out / "old"))[0] == ["app-0.1.0.txt", "tool"]
    assert get("--to", str(out / "new"))[0] == ["app-0.1.1.txt", "tool"]
    assert get("app", "--to", str(out / "one"))[0] == ["app-0.1.1.txt"]
    assert get("0.1.0", "app-0.1.0.txt", "--to", str(out / "file"))[0] == ["app-0.1.0.txt"]
    assert get(shop.last()[:8], "tool", "--to", str(out / "run"))[0] == ["tool"]
    assert (out / "old" / "app-0.1.0.txt").read_text() == "0.1.0\n"
    assert (out / "new" / "tool").stat().st_mode & 0o111 and not (
        out / "new" / "app-0.1.1.txt"
    ).stat().st_mode & 0o111
    # into this folder, once more, and over another file
    assert get("0.1.0", "app")[0] == ["app-0.1.0.txt"] == get("0.1.0", "app")[0]
    (shop.tree / "app-0.1.0.txt").write_text("mine")
    _, refused = get("0.1.0", "app")
    assert refused.code == 3 and (shop.tree / "app-0.1.0.txt").read_text() == "mine"
    assert get("0.1.0", "app", "--force")[1].code == 0
    assert (shop.tree / "app-0.1.0.txt").read_text() == "0.1.0\n"


def test_what_is_not_there_is_said(released: Any) -> None:
    shop = released
    for words, code, what in (
        (("9.9.9",), 2, "no run is known here as '9.9.9'"),
        (("0.1.0", "ap"), 2, "has no artifact 'ap'"),
        (("nothing",), 2, "no run is known here as 'nothing'"),
    ):
        done = shop.command("artifact", "get", *words)
        assert (done.code, what in done.err) == (code, True), done.err
    hint = shop.command("artifact", "get", "0.1.0", "ap").err.splitlines()[-1]
    assert shop.command(*hint.removeprefix("To do: cxlocal ").split()).out == "app-0.1.0.txt\n", (
        hint
    )
    (digest,) = shop.query("SELECT sha256 FROM artifact WHERE name = 'app' AND version = '0.1.0'")
    blob = shop.home / "blobs" / digest[:2] / digest
    blob.chmod(0o644)
    blob.write_text("other")
    assert shop.command("artifact", "get", "0.1.0", "app", "--to", "x").code == 10
    blob.unlink()
    done = shop.command("artifact", "get", "0.1.0", "app", "--to", "x")
    assert done.code == 9 and "cannot be had here" in done.err
    rows = {
        row["name"]: row["path"]
        for row in shop.command("artifact", "list", "0.1.0", "--json").json()
    }
    assert rows["app"] == "" and Path(rows["tool"]).is_file()


def test_show_says_where_they_lie(released: Any) -> None:
    rows = released.command("show", "0.1.1", "--json").json()["artifacts"]
    for row in rows:
        assert hashlib.sha256(Path(row["path"]).read_bytes()).hexdigest() == row["sha256"]
        assert row["path"] in released.command("show", "0.1.1").out


def test_a_name_that_leads_elsewhere_stays_in_the_folder(released: Any, tmp_path: Path) -> None:
    """A journal may come from elsewhere: the name of a file in it is not trusted."""
    from cxlocal.commands.artifact import _copy
    from cxlocal.runner.needed import Needed

    (digest,) = released.query(
        "SELECT sha256 FROM artifact WHERE name = 'app' AND version = '0.1.0'"
    )

    class Journal:
        home = released.home

    for name in ("../../etc/passwd", "/etc/passwd", "..", ".", ""):
        one = Needed(digest, 0, False, "0.1.0", "app", name)
        target = _copy(Journal(), one, tmp_path / "to", force=True)  # type: ignore[arg-type]
        assert target.parent == tmp_path / "to" and target.read_text() == "0.1.0\n"
