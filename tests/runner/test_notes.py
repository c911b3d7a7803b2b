"""``cxlocal notes``: since what, from what, on real journals and repositories."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typed import FENCE, place, type_in

PAGE = Path(__file__).resolve().parents[2] / "docs" / "notes.md"
BUILD = '[version]\nline = "1.0"\n[stages]\nbuild = { command = "true" }\n'
LIVE = (
    BUILD + 'live = { kind = "deploy", needs = ["build"], environment = "production",'
    ' command = "true" }\n[environments.production]\n'
)


def notes(shop: Any, *arguments: str) -> Any:
    done = shop.command("notes", *arguments, "--format", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def subjects(found: Any) -> list[str]:
    return [one["subject"] for one in found["commits"]]


def test_the_page_says_what_happens(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(shop.cx.program).parent}{os.pathsep}{os.environ['PATH']}")
    for name, value in shop.environ.items():
        monkeypatch.setenv(name, value)
    shop.git("config", "push.autoSetupRemote", "true")
    for language, file, text in FENCE.findall(PAGE.read_text(encoding="utf-8")):
        if language == "console":
            type_in(shop.tree, text)
        else:
            place(shop.tree, file, text)


def test_a_library_is_compared_with_its_line_or_the_one_before(shop: Any) -> None:
    """And what was recorded says the same where the repository is not at hand."""
    shop.write(BUILD.replace("1.0", "1.1.0-rc"))
    shop.git("tag", "v1.0.4", "HEAD")
    for message in ("one", "two"):
        shop.push(message)
        assert shop.run().code == 0
    shop.write(BUILD.replace("1.0", "1.1"))
    assert shop.run().code == 0
    shop.push("three")
    assert shop.run().code == 0
    since = {
        version: (found["since"]["version"], subjects(found))
        for version in ("1.1.0-rc.1", "1.1.0-rc.2", "1.1.0", "1.1.1")
        for found in [notes(shop, version)]
    }
    assert since == {
        "1.1.0-rc.1": ("1.0.4", ["one"]),
        "1.1.0-rc.2": ("1.1.0-rc.1", ["two"]),
        "1.1.0": ("1.0.4", ["a change", "two", "one"]),
        "1.1.1": ("1.1.0", ["three"]),
    }
    away = shop.cx("notes", "1.1.0", "--format", "json", cwd=shop.root, env=shop.environ)
    assert subjects(away.json()) == ["a change", "two", "one"]
    between = shop.cx(
        "notes",
        "1.1.1",
        "--since",
        "1.1.0-rc.1",
        "--format",
        "json",
        cwd=shop.root,
        env=shop.environ,
    )
    assert set(subjects(between.json())) >= {"three", "two"} and between.json()["total"] is None
    assert subjects(notes(shop, "1.1.1", "--since", "1.0.4")) == ["three", "a change", "two", "one"]


def test_what_is_live_counts_and_git_completes_what_was_recorded(shop: Any) -> None:
    shop.write(LIVE)
    assert shop.run("--to", "production").code == 0
    loop = "for n in $(seq 203); do c=$(git commit-tree -p ${c:-HEAD} -m work HEAD^{tree}); done; git reset -q $c"
    subprocess.run(["bash", "-ec", loop], cwd=shop.tree, check=True)
    shop.push("fix: last\n\nBREAKING CHANGE: all of it")
    assert shop.run().code == 0  # stops before production
    here = notes(shop, "1.0.1")
    assert (here["total"], here["more"], len(here["commits"])) == (204, 0, 204)
    assert here["commits"][0]["breaks"] == "all of it"
    away = shop.cx("notes", "1.0.1", cwd=shop.root, env=shop.environ).out
    assert f"and 4 more (`{here['range']}`)" in away
    head = notes(shop)
    assert head["since"]["place"] == "production" and head["total"] == 204
    assert notes(shop, "--since", "production")["total"] == 204
    assert notes(shop, "--since", "1.0.1")["total"] == 0


def test_before_anything_was_released_and_what_is_not_known(shop: Any) -> None:
    shop.write(LIVE)
    first = shop.command("notes")
    assert first.code == 0 and "The first release, with 1 commit" in first.out, first.err
    assert not (shop.home / "journal.db").exists(), "looking makes no journal"
    nothing = shop.command("notes", "--since", "production")
    assert nothing.code == 3 and "nothing of shop is live in production" in nothing.err
    unknown = shop.command("notes", "--since", "9.9.9")
    assert unknown.code == 2 and "9.9.9" in unknown.err
    assert shop.command("notes", "9.9.9").code != 0


def test_the_changelog_of_the_commit_and_what_is_new_in_it(shop: Any) -> None:
    text = "# Changes\n\n## Unreleased\n\n- Apples.\n"
    shop.write(BUILD, {"CHANGES.md": text})
    assert shop.run().code == 0
    shop.write(BUILD, {"CHANGES.md": text + "- Pears.\n"})
    assert shop.run().code == 0
    # Uncommitted words do not go out.
    (shop.tree / "CHANGES.md").write_text(text + "- Pears.\n- Never.\n")
    assert notes(shop, "1.0.0")["changelog"] == "- Apples."
    assert notes(shop, "1.0.1")["changelog"] == "- Pears."
    assert notes(shop)["changelog"] == ""
    shop.write(BUILD, {"CHANGES.md": "# Changes\n\n## 1.0.2\n\n- Plums.\n\n" + text[11:]})
    assert shop.run().code == 0
    assert notes(shop, "1.0.2")["changelog"] == "- Plums."
    # What stood open beside the section of 1.0.2 was none of its notes: the next one has it.
    shop.push("more")
    assert shop.run().code == 0
    assert notes(shop, "1.0.3")["changelog"] == "- Apples."
