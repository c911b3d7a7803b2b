"""Going on with a run: what its stages left in the checkout is there again, and nothing else changes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

# Each stage leaves a line in its own file outside, so that how often it ran is known.
STAGES = """
[version]
stamp = [{ file = "package.json", key = "version" }]
[stages]
deps = { command = "echo x >> $OUT/deps; mkdir node_modules; touch node_modules/m", caches = [{ path = "node_modules", key_files = ["package.json"] }] }
download = { command = "echo x >> $OUT/download; mkdir -p .npm modules; touch .npm/a modules/m", caches = [{ path = ".npm", key_files = ["package.json"] }] }
configure = { command = "echo x >> $OUT/configure; mkdir build; touch build/Makefile" }
compile = { kind = "build", command = "echo x >> $OUT/compile; echo o > build/a.o; date +%N > build/app", needs = ["configure"], produces = { app = "build/app" } }
pack = { kind = "build", command = "echo x >> $OUT/pack; mkdir dist; cp build/app dist/app.tgz", needs = ["compile"], produces = { package = "dist/app.tgz" } }
edit = { command = "echo x >> $OUT/edit; echo more >> lock" }
label = { command = "echo x >> $OUT/label; git tag label; git -c user.name=a -c user.email=a@b commit -q --allow-empty -m made" }
check = { kind = "test", command = "echo x >> $OUT/check; touch r.txt", needs = ["compile"] }
quiet = { command = "echo x >> $OUT/quiet" }
alone = { command = "echo x >> $OUT/alone; touch mine", isolated = true }
aside = { command = "echo x >> $OUT/aside; touch nobodys" }
put = { kind = "publish", command = "echo x >> $OUT/put; touch put.log", needs = ["check"] }
last = { needs = ["deps", "download", "pack", "edit", "label", "check", "quiet", "alone", "put"], command = "test -e $OUT/ok; ls; cat node_modules/m modules/m .npm/a build/a.o dist/app.tgz; cmp build/app $CXLOCAL_ARTIFACT_APP; grep more lock; git describe --tags label; git log -1 --format=%s" }
"""
JUNIT = 'echo "<testsuite><testcase classname=\\"s\\" name=\\"t\\"/></testsuite>"'
AGAIN = {"download", "configure", "compile", "edit", "label"}


def ran(shop: Any) -> dict[str, int]:
    """How often each stage ran."""
    out = shop.root / "out"
    return {
        path.name: path.read_text().count("x")
        for path in out.iterdir()
        if path.name != "ok"
    }  # fmt: skip


@pytest.fixture
def failed(shop: Any) -> Any:
    """A run of those stages whose last one failed."""
    (shop.root / "out").mkdir()
    stages = STAGES.replace("$OUT", str(shop.root / "out"))
    shop.write(stages, {"lock": "1\n", "package.json": '{"version": "0.0.0"}\n'})
    done = shop.run("-j", "1")
    assert done.code == 1 and "✗ last" in done.err, done.err
    return shop


def test_working_files_come_back_by_cache_or_repetition(failed: Any) -> None:
    shop = failed
    before = ran(shop)
    assert set(before.values()) == {1}
    outcomes = shop.outcomes()
    artifacts = shop.query("SELECT name, sha256 FROM artifact ORDER BY name")
    (shop.root / "out" / "ok").touch()
    (shop.tree / "cx.toml").write_text("cx = 1\n[deliverable]\nname = 'shop'\n[stages]\n")
    done = shop.run("--resume", shop.last())
    assert done.code == 0, done.err
    assert {name for name, times in ran(shop).items() if times == 2} == AGAIN
    # said: what comes from where, and that the plan is the one of the run
    assert "back      deps: node_modules comes from its cache" in done.err
    assert "back      download: runs again for its files only (modules/m)" in done.err
    assert "back      put: must not run twice, so put.log of it is missing" in done.err
    assert "the cx.toml here is another" in done.err
    assert not re.search(r"back +(quiet|alone|aside|check|pack)", done.err)
    # recorded: nothing new about the stages, but that they were repeated
    assert {**outcomes, "last": "success"} == shop.outcomes()
    assert shop.query("SELECT count(*) FROM stage_run WHERE stage <> 'last'") == [len(outcomes) - 1]
    assert shop.query("SELECT name, sha256 FROM artifact ORDER BY name") == artifacts
    shown = shop.command("show", "--json").json()["repeated"]
    assert {one["stage"] for one in shown} == AGAIN
    # other bytes are named, and those recorded before are used
    other = next(json.loads(one["other_bytes"]) for one in shown if one["stage"] == "compile")
    assert [one["name"] for one in other] == ["app"]
    assert other[0]["recorded"] == dict(artifacts)["app"] != other[0]["made"]
    assert "artifact app came out with other bytes" in done.err
    assert "compile" in shop.command("show").out.partition("Repeated")[2]


def test_what_stages_beside_left_is_not_put_down_to_each_other(shop: Any) -> None:
    shop.write(f"""
[stages]
a = {{ command = "while ! test -e b.xml; do sleep 0.02; done; date +%N > a.out", produces = {{ a = "a.out" }} }}
b = {{ kind = "test", command = '{JUNIT} > tmp.xml; mv tmp.xml b.xml; while ! test -e a.out; do sleep 0.02; done', reports = {{ junit = "b.xml" }} }}
c = {{ command = "test -e {shop.root}/ok", needs = ["a", "b"] }}
""")
    number = shop.run("-j", "2", "--json").json()["version"]
    assert shop.outcomes() == {"a": "success", "b": "success", "c": "failure"}
    (shop.root / "ok").touch()
    done = shop.run("--resume", number)
    assert done.code == 0, done.err
    assert "again" not in done.err and "other bytes" not in done.err


def test_a_repetition_that_fails_ends_the_run_and_can_be_tried_again(shop: Any) -> None:
    out = shop.root / "out"
    out.mkdir()
    shop.write(f"""
[stages]
deps = {{ command = "test ! -e {out}/broken; mkdir modules", produces = {{}} }}
unit = {{ kind = "test", command = "ls modules; test -e {out}/ok", needs = ["deps"] }}
""")
    number = shop.run("--json").json()["version"]
    (out / "broken").touch()
    (out / "ok").touch()
    done = shop.run("--resume", number)
    assert done.code == 1 and "✗ deps" in done.err and "deps failed" in done.err
    assert shop.outcomes() == {"deps": "success", "unit": "failure"}
    (out / "broken").unlink()
    done = shop.run("--resume", number, "--json")
    assert (done.code, done.json()["version"]) == (0, number), done.err
    assert shop.run("--json").json()["version"] != number


def test_in_place_nothing_is_lost_and_nothing_repeated(shop: Any) -> None:
    out = shop.root / "out"
    out.mkdir()
    shop.write(f"""
[defaults]
workspace = "in-place"
[stages]
deps = {{ command = "mkdir modules; touch modules/m" }}
unit = {{ kind = "test", command = "cat modules/m; test -e {out}/ok", needs = ["deps"] }}
""", {".gitignore": "modules\n"})  # fmt: skip
    number = shop.run("--json").json()["version"]
    (out / "ok").touch()
    done = shop.run("--resume", number)
    assert done.code == 0 and "back " not in done.err and "cx.toml here" not in done.err, done.err


def test_caches_are_found_by_the_commit_and_told(shop: Any) -> None:
    shop.write(
        """
[version]
stamp = [{ file = "pyproject.toml", key = "project.version" }]
[stages]
bump = { command = "echo $CXLOCAL_VERSION >> lock" }
deps = { command = "[ -d .venv ] || mkdir .venv; touch .venv/x", needs = ["bump"], caches = [{ path = ".venv", key_files = ["pyproject.toml", "lock"] }] }
clean = { command = "rm -rf new/*; mkdir -p new; touch new/a new/b new/c", caches = [{ path = "new", key_files = ["lock"] }] }
""",
        {"pyproject.toml": '[project]\nversion = "0"\n', "lock": "1\n"},
    )
    first, second, offline = shop.run(), shop.run(), shop.run("--offline")
    assert "cache .venv: miss, kept now" in first.err, first.err
    for done in (second, offline):
        assert done.code == 0 and re.search(r"cache \.venv: hit$", done.err, re.MULTILINE), done.err
        assert "cache new: hit, but the command emptied it first" in done.err
    rehearsed = shop.command("rehearse")
    assert re.search(r"cache \.venv: hit$", rehearsed.err, re.MULTILINE), rehearsed.err
    assert len(list((shop.home / "caches" / "shop").iterdir())) == 2
    (shop.tree / "lock").write_text("2\n")
    shop.push("another lock")
    assert "cache .venv: miss" in shop.run().err
