"""``cxlocal import --tags``: counting goes on above what was released before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

CONFIG = '[version]\nline = "1.0"\n[stages]\nbuild = { command = "true" }\n'
TAGS = (
    "v0.9.3",
    "v1.0.0",
    "v1.0.6",
    "v1.0.7",
    "v1.1.0-rc1",
    "nightly",
    "shop-0.8.2",
    "release/v0.9.4",
)


@pytest.fixture
def adopter(shop: Any) -> Any:
    """A repository with releases of its own time."""
    shop.write(CONFIG)
    for tag in TAGS:
        shop.git("tag", tag)
    return shop


def table(done: Any) -> dict[str, tuple[int, str, str]]:
    assert done.code == 0, done.err
    return {
        row["line"]: (row["up_to"], row["newest"], row["state"]) for row in json.loads(done.out)
    }


def test_the_next_release_follows_the_newest_tag(adopter: Any) -> None:
    refused = adopter.run()
    assert refused.code == 3 and "cxlocal import --tags" in refused.err, refused.err
    found = table(adopter.command("import", "--tags", "*", "--json"))
    assert found == {
        "0.8": (2, "shop-0.8.2", "adopted"),
        "0.9": (4, "release/v0.9.4", "adopted"),
        "1.0": (7, "v1.0.7", "adopted"),
        "1.1.0-rc": (1, "v1.1.0-rc1", "adopted"),
    }
    assert json.loads(adopter.run("--json").out)["version"] == "1.0.8"
    done = adopter.command("version", "explain", "1.0.3")
    assert "skipped" in done.out and "v1.0.0 to v1.0.7" in done.out
    assert "in use" in adopter.command("version", "explain", "1.0.8").out
    assert adopter.command("verify").code == 0
    # Again: nothing is recorded twice, and what is counted here is said to be.
    events = adopter.query("SELECT count(*) FROM event")
    again = table(adopter.command("import", "--tags", "*", "--json", "--offline"))
    assert {line: state for line, (_, _, state) in again.items()} == {
        "0.8": "known", "0.9": "known", "1.0": "counted", "1.1.0-rc": "known",
    }  # fmt: skip
    assert adopter.query("SELECT count(*) FROM event") == events
    # Candidates go on as well, each line by itself.
    adopter.write(CONFIG.replace('"1.0"', '"1.1.0-rc"'))
    assert json.loads(adopter.run("--json").out)["version"] == "1.1.0-rc.2"
    adopter.write(CONFIG.replace('"1.0"', '"1.1.0-beta"'))
    assert json.loads(adopter.run("--json").out)["version"] == "1.1.0-beta.1"


@pytest.mark.parametrize("how", ["run", "start", "next"])
def test_tags_count_that_only_the_remote_has(how: str, shop: Any) -> None:
    """As a CI server checks out: without tags."""
    shop.write(CONFIG)
    shop.git("tag", "v1.0.5")
    shop.git("push", "--quiet", "origin", "v1.0.5")
    shop.git("tag", "--delete", "v1.0.5")
    command = {"run": ("run",), "start": ("run", "start"), "next": ("version", "next")}[how]
    if how == "next":
        assert shop.command("run", "start", "--no-number").code == 0
    refused = shop.command(*command)
    assert refused.code == 3 and "from = 6" in refused.err, refused.err
    assert table(shop.command("import", "--tags", "*", "--json", "--offline")) == {}
    adopted = table(shop.command("import", "--tags", "*", "--json"))
    assert adopted == {"1.0": (5, "v1.0.5", "adopted")}
    done = shop.command(*command)
    assert done.code == 0 and "1.0.6" in done.out + done.err


@pytest.mark.parametrize("paths", [True, False], ids=["by-paths", "by-its-folder"])
def test_a_folder_beside_others_has_the_tags_of_its_name(paths: bool, shop: Any) -> None:
    shop.write("", {"libs/shop/README": "hello"})
    toml = 'cx = 1\n[deliverable]\nname = "shop"\n'
    where = shop.tree if paths else shop.tree / "libs" / "shop"
    listed = 'paths = ["libs/shop"]\n' if paths else ""
    (where / "cx.toml").write_text(f"{toml}{listed}{CONFIG}")
    shop.push("a folder")
    for tag in ("shop@1.0.3", "v1.0.9", "v1.1.4"):
        shop.git("tag", tag)
    refused = shop.cx("run", cwd=where, env=shop.environ)
    assert refused.code == 3 and "from = 4" in refused.err, refused.err
    found = table(shop.cx("import", "--tags", "*", "--json", cwd=where, env=shop.environ))
    assert found == {"1.0": (3, "shop@1.0.3", "adopted"), "1.1": (4, "v1.1.4", "adopted")}


def test_a_pattern_chooses_and_nothing_is_said_so(adopter: Any) -> None:
    found = table(adopter.command("import", "--tags", "v1.*", "--json"))
    assert set(found) == {"1.0", "1.1.0-rc"}
    done = adopter.command("import", "--tags", "nightly*")
    assert done.code == 0 and "None of the 1 tags" in done.err
    assert json.loads(adopter.command("import", "--tags", "x*", "--json").out) == []


def test_a_tag_above_what_is_counted_is_warned_of(adopter: Any) -> None:
    adopter.command("import", "--tags", "v1.0.*")
    assert adopter.run().code == 0
    adopter.git("tag", "v1.0.50")
    done = adopter.command("import", "--tags", "v1.0.*")
    assert done.code == 0 and "from = 51" in done.err


def test_other_machines_count_above_it_too(adopter: Any, tmp_path: Path) -> None:
    def at(home: str, *arguments: str) -> Any:
        env = {
            "CXLOCAL_HOME": str(tmp_path / home),
            "CXLOCAL_STORE": f"sqlite://{tmp_path}/shared/store.db",
        }
        return adopter.command(*arguments, env=env)

    at("one", "store", "create", f"sqlite://{tmp_path}/shared/store.db")
    assert table(at("one", "import", "--tags", "v*", "--json"))["1.0"][2] == "adopted"
    for tag in TAGS:
        adopter.git("tag", "-d", tag)  # the other one's clone has none
    assert json.loads(at("two", "run", "--json").out)["version"] == "1.0.8"
    assert at("two", "import", "--tags", "v*", "--json").json() == []
    assert json.loads(at("one", "run", "--json").out)["version"] == "1.0.9"


@pytest.mark.parametrize(
    ("version", "tags", "line", "up_to"),
    [
        ('scheme = "calver"\nline = "2026.11"', ["2026.11.4", "2026.10.9"], "2026.11", 4),
        ('scheme = "counter"', ["17", "v18"], "", 18),
        ('scheme = "pep440"\nline = "2.7"', ["v2.7.5", "2.7.6rc1"], "2.7", 5),
    ],
    ids=["calver", "counter", "pep440"],
)
def test_every_scheme(version: str, tags: list[str], line: str, up_to: int, shop: Any) -> None:
    shop.write(f'[version]\n{version}\n[stages]\nbuild = {{ command = "true" }}\n')
    for tag in tags:
        shop.git("tag", tag)
    found = table(shop.command("import", "--tags", "*", "--json"))
    assert found[line][:1] == (up_to,)
    assert json.loads(shop.run("--json").out)["number"] == up_to + 1


def test_what_makes_no_sense_is_refused(adopter: Any, tmp_path: Path) -> None:
    assert adopter.command("import").code == 2
    assert adopter.command("import", "a.bundle", "--tags", "*").code == 2
    assert adopter.cx("import", "--tags", "*", cwd=tmp_path, env=adopter.environ).code == 2
