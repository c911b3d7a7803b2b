"""``run --final``: a pre-release becomes the version it leads to, from the same commit and bytes."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

PLAIN = (
    '[version]\nscheme = "pep440"\nline = "3.2.0rc"\n[stages]\n'
    # What it builds differs each time, as many builds do.
    'build = { command = "cat /proc/sys/kernel/random/uuid > app; echo $CXLOCAL_VERSION > info;'
    ' echo $CXLOCAL_VERSION > shop-$CXLOCAL_VERSION.txt",'
    ' produces = { app = "app", info = "info", named = "shop-*.txt" } }\n'
    'test = { command = "cat app > seen", needs = ["build"], produces = { seen = "seen" } }\n'
)


def digests(shop: Any, version: str) -> dict[str, str]:
    return dict(
        shop.query(
            "SELECT a.name, a.sha256 FROM artifact a JOIN run r ON r.id = a.run WHERE r.version = ?",
            version,
        )
    )


def test_what_was_tested_goes_out(shop: Any) -> None:
    shop.write(PLAIN)
    for _ in range(2):
        assert shop.run().code == 0
    candidate = shop.git("rev-parse", "HEAD")
    shop.push("work goes on")
    shown = shop.run("--final", "3.2.0rc2", "--dry-run")
    assert shown.code == 0 and candidate[:12] in shown.err, shown.err
    done = shop.run("--final", "3.2.0rc2", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["version"], found["number"], found["revision"]) == ("3.2.0", 0, candidate)
    assert "final of  3.2.0rc2" in done.err and "app was built with other bytes now" in done.err
    before, after = digests(shop, "3.2.0rc2"), digests(shop, "3.2.0")
    # The version is in the bytes of one, and in the name of another: those were built.
    assert after["app"] == before["app"] != digests(shop, "3.2.0rc1")["app"]
    assert after["info"] != before["info"] and after["named"] != before["named"]
    assert after["seen"] == before["app"], "later stages work on what was tested"
    # Linked both ways.
    assert "the final version of 3.2.0rc2" in shop.command("show", "3.2.0").out
    assert "its final version is 3.2.0" in shop.command("show", "3.2.0rc2").out
    keys = [shop.query("SELECT sort_key FROM version WHERE text = ?", text)[0]
            for text in ("3.2.0rc1", "3.2.0rc2", "3.2.0")]  # fmt: skip
    assert keys == sorted(keys)
    # Once.
    for name in ("3.2.0rc1", "3.2.0rc2"):
        again = shop.run("--final", name)
        assert again.code == 3 and f"{name} cannot become 3.2.0" in again.err, again.err
        assert "the same commit" in again.err
    assert shop.run("--final", "3.2.0").code == 2
    assert shop.command("verify").code == 0


def test_a_final_that_failed_goes_on_as_one(shop: Any) -> None:
    flag = shop.root / "broken"
    shop.write(PLAIN + f'live = {{ command = "test ! -e {flag}", needs = ["test"] }}\n')
    assert shop.run().code == 0
    flag.touch()
    assert shop.run("--final", "3.2.0rc1").code == 1
    flag.unlink()
    done = shop.run("--resume", "3.2.0")
    assert done.code == 0, done.err
    assert digests(shop, "3.2.0")["app"] == digests(shop, "3.2.0rc1")["app"]


def test_another_commit_has_the_final_version(shop: Any) -> None:
    shop.write(PLAIN)
    assert shop.run().code == 0
    first = shop.git("rev-parse", "HEAD")
    shop.write(PLAIN.replace("3.2.0rc", "3.2"))
    assert shop.run().code == 0
    second = shop.git("rev-parse", "HEAD")
    refused = shop.run("--final", "3.2.0rc1")
    assert refused.code == 3, refused.err
    assert first[:12] in refused.err and second[:12] in refused.err


@pytest.mark.parametrize(
    ("line", "candidate", "tag", "words"),
    [
        ("3.2.0rc", "3.2.0rc1", "v3.2.0", "a tag of the repository says that 3.2.0"),
        ("3.2.1rc", "3.2.1rc1", "v3.2.4", "a tag of the repository says that 3.2.4"),
    ],
)
def test_a_tag_has_the_final_version(
    line: str, candidate: str, tag: str, words: str, shop: Any
) -> None:
    shop.write(PLAIN.replace("3.2.0rc", line))
    assert shop.run().code == 0
    shop.git("tag", tag)
    shop.git("push", "-q", "origin", tag)
    shop.git("tag", "-d", tag)
    refused = shop.run("--final", candidate)
    assert refused.code == 3 and words in refused.err, refused.err


def test_what_cannot_become_final(shop: Any) -> None:
    shop.write(PLAIN.replace("cat app > seen", "false"))
    assert shop.run().code == 1
    refused = shop.run("--final", "3.2.0rc1")
    assert refused.code == 3 and "did not succeed" in refused.err
    for words in (("--offline",), ("--resume", "3.2.0rc1"), ("--revision", "main")):
        assert shop.run("--final", "3.2.0rc1", *words).code == 2
    unknown = shop.run("--final", "9.9.9rc9")
    assert unknown.code == 2 and "no run is known" in unknown.err


def test_the_store_alone_gives_a_certain_number(shop: Any) -> None:
    store = f"sqlite://{shop.root}/shared/store.db"
    here, there = {"CXLOCAL_STORE": store}, {
        "CXLOCAL_STORE": store, "CXLOCAL_HOME": str(shop.root / "other"),
    }  # fmt: skip
    assert shop.command("store", "create", store).code == 0
    shop.write(PLAIN.replace('"3.2.0rc"', '"3.2"'))
    assert shop.run(env=here).code == 0  # a reserve on the line of the final version
    shop.write(PLAIN.replace("3.2.0rc", "3.2.1rc"))
    assert shop.run(env=here).code == 0
    # Another machine releases on the line, which this one has not heard of.
    shop.write(PLAIN.replace('"3.2.0rc"', '"3.2"'))
    assert json.loads(shop.run("--json", env=there).out)["version"] == "3.2.1"
    late = shop.run("--final", "3.2.1rc1", env=here)
    assert late.code == 3 and "3.2.1 cannot be given any more" in late.err, late.err
    shop.write(PLAIN.replace("3.2.0rc", "3.2.9rc"))
    assert shop.run(env=here).code == 0
    path = shop.root / "shared" / "store.db"
    path.rename(path.with_suffix(".away"))
    away = shop.run("--final", "3.2.9rc1", env=here)
    assert away.code == 5 and "3.2.9 cannot be had now" in away.err, away.err
    path.with_suffix(".away").rename(path)
    assert shop.command("sync", env=here).code == 0
    done = shop.run("--final", "3.2.9rc1", "--json", env=here)
    assert done.code == 0 and json.loads(done.out)["version"] == "3.2.9", done.err
    assert shop.command("verify", env=here).code == 0


@pytest.mark.parametrize("kept", [True, False], ids=["at the store", "nowhere"])
def test_another_machine_takes_the_bytes_of_the_store_or_says_so(kept: bool, shop: Any) -> None:
    store = f"sqlite://{shop.root}/shared/store.db"
    here, there = {"CXLOCAL_STORE": store}, {
        "CXLOCAL_STORE": store, "CXLOCAL_HOME": str(shop.root / "other"),
    }  # fmt: skip
    assert shop.command("store", "create", store).code == 0
    # The store keeps what was deployed for whoever puts it back.
    live = 'live = { kind = "deploy", command = "true", environment = "production", needs = ["test"] }\n'
    shop.write(PLAIN + (live + "[environments.production]\n" if kept else ""))
    asked = ("--to", "production") if kept else ()
    assert shop.run(*asked, env=here).code == 0
    for env in (here, there):
        assert shop.command("sync", env=env).code == 0
    shutil.rmtree(shop.root / "other" / "blobs", ignore_errors=True)
    done = shop.run("--final", "3.2.0rc1", *asked, env=there)
    assert done.code == 0, done.err
    assert ("app is not the one of 3.2.0rc1" in done.err) is not kept, done.err
    assert shop.command("sync", env=here).code == 0
    assert (digests(shop, "3.2.0")["app"] == digests(shop, "3.2.0rc1")["app"]) is kept
