"""The tool ``commands``: the example of its page, and answers that are none."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tools.md").read_text(encoding="utf-8")
SECTION = PAGE.split("\n## commands\n")[1].split("\n## ")[0]
[EXAMPLE] = re.findall(r"```toml\n(.*?)```", SECTION, re.DOTALL)
SCRIPTS = dict(re.findall(r"`(tools/\w+\.sh)`:\n\n```sh\n(.*?)```", SECTION, re.DOTALL))


def test_the_example_deploys_is_asked_and_is_taken_away(shop: Any, tmp_path: Path) -> None:
    sites = tmp_path / "sites"
    sites.mkdir()
    env = {"SITES": str(sites)}
    config = EXAMPLE + "[environments]\nproduction = {}\n"
    assert set(SCRIPTS) == {"tools/build.sh", "tools/apply.sh"}
    shop.write(config, {**SCRIPTS, "public/index.html": "one"})
    done = shop.run("--to", "production", env=env)
    assert done.code == 0, done.err
    shop.write(config, {"public/index.html": "two"})
    assert shop.run("--to", "production", env=env).code == 0
    assert (sites / "current" / "index.html").read_text() == "two"
    assert len(shop.query("SELECT resource FROM resources_now")) == 1
    assert [path.name for path in (sites / "production").iterdir()] == ["0.1.1"]
    assert sorted(path.name for path in sites.iterdir()) == ["current", "production"]
    seen = shop.command("env", "observe", "production", "--json", env=env).json()
    assert (seen["observed"], seen["agrees"]) == ("0.1.1", True)
    assert shop.query("SELECT uri FROM deployments_now") == [f"file://{sites}/current"]
    (sites / "current" / "version").write_text("9.9.9\n")
    assert "was changed outside" in shop.command("env", "observe", "production", env=env).err
    back = shop.command("rollback", "production", "-m", "two was wrong", env=env)
    assert back.code == 0, back.err
    assert (sites / "current" / "index.html").read_text() == "one"
    gone = shop.command("env", "destroy", "production", "--yes", env=env)
    assert gone.code == 0, gone.err
    assert [path.name for path in sites.iterdir()] == ["current"], "the link leads nowhere now"
    assert shop.query("SELECT deleted_how FROM environment") == ["destroyed"]


PER_RUN = """
[stages]
smoke = { command = "ls @DESK@ | grep -q test-", environment = "test" }
[environments.test]
lifetime = "per-run"
tool = "commands"
secrets = ["KEY"]
[environments.test.with]
provision = 'touch "@DESK@/$CXLOCAL_INSTANCE.$CXLOCAL_RESOURCE.$KEY"'
destroy = 'rm "@DESK@/$CXLOCAL_INSTANCE.$CXLOCAL_RESOURCE.$KEY"'
[secrets]
KEY = { env = "KEY" }
"""


def test_an_environment_is_made_and_taken_away_by_commands(shop: Any, tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    desk.mkdir()
    shop.write(PER_RUN.replace("@DESK@", str(desk)))
    done = shop.run(env={"KEY": "abcdefghijkl"})
    assert done.code == 0, done.err
    assert list(desk.iterdir()) == []
    assert shop.query("SELECT gone_how FROM resource") == ["removed"]


def test_what_has_no_destroy_cannot_be_an_environment(shop: Any) -> None:
    text = PER_RUN.replace("@DESK@", "/tmp")
    shop.write("\n".join(line for line in text.splitlines() if not line.startswith("destroy")))
    done = shop.run(env={"KEY": "abcdefghijkl"})
    assert done.code == 2 and "cannot destroy" in done.err, done.err


PUBLISHED = """
[stages]
build = { kind = "build", command = "echo made > app.txt", produces = { app = "app.txt" } }
push = { kind = "publish", tool = "commands", needs = ["build"], with = { publish = "cp answer.json $CXLOCAL_RESULT" } }
"""


def test_where_something_was_published_is_known(shop: Any) -> None:
    answer = (
        '{"locations": {"app": "https://registry.example/app@1"}, "details": {"already": false}}'
    )
    shop.write(PUBLISHED, {"answer.json": answer, ".gitignore": "app.txt\n"})
    done = shop.run()
    assert done.code == 0, done.err
    assert shop.query("SELECT location FROM artifact_location") == [
        "https://registry.example/app@1"
    ]
    assert "artifact.published" in shop.command("export").out


def test_what_lies_at_a_recorded_location_need_not_be_at_the_store(
    shop: Any, tmp_path: Path
) -> None:
    """A file that no store takes, made by a machine that goes away."""
    live = 'live = { kind = "deploy", command = "true", needs = ["push"], environment = "production" }\n'
    config = (
        PUBLISHED.replace("echo made >", "truncate -s 65M")
        + live
        + "[environments]\nproduction = {}\n"
    )
    shop.write(
        config,
        {"answer.json": '{"locations": {"app": "https://x.example/a"}}', ".gitignore": "app.txt\n"},
    )
    url = f"sqlite://{tmp_path}/shared/store.db"
    job = {"CI": "true", "GITHUB_ACTIONS": "true", "CXLOCAL_PATIENCE": "2s", "CXLOCAL_STORE": url,
           "CXLOCAL_HOME": str(tmp_path / "ci")}  # fmt: skip
    assert shop.command("store", "create", url).code == 0
    done = shop.run("--no-input", env=job)
    assert done.code == 0, done.err
    shutil.rmtree(tmp_path / "ci")


NO_ANSWERS = {
    "no JSON": ("{", "answer of the command"),
    "a list": ("[]", "answer of the command"),
    "an unknown field": ('{"artefacts": []}', "no such field: artefacts"),
    "the wrong kind": ('{"locations": {"app": 7}}', "answer of the command"),
    "an artifact nobody knows": (
        '{"locations": {"other": "https://x.example"}}',
        "other can be had",
    ),
    "two lines": ('{"locations": {"app": "a\\nb"}}', "can be had"),
    "nowhere": ('{"locations": {"app": ""}}', "can be had"),
    "too much": ('{"details": {"text": "' + "x" * 300_000 + '"}}', "more than 262144 bytes"),
}


@pytest.mark.parametrize("what", NO_ANSWERS)
def test_an_answer_that_is_none_is_an_error(shop: Any, what: str) -> None:
    answer, words = NO_ANSWERS[what]
    shop.write(PUBLISHED, {"answer.json": answer, ".gitignore": "app.txt\n"})
    done = shop.run()
    assert done.code == 9, done.err
    assert words in done.err + shop.log("push"), done.err
    assert shop.query("SELECT count(*) FROM artifact_location") == [0]
