"""Publishing a version: in a run, outside of one, again, from a half."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cxlocal.errors import Refused
from cxlocal.runner import publishing, standing


def rows(done: Any) -> dict[str, dict[str, Any]]:
    """What ``publish --json`` said, by target."""
    return {one["target"]: one for one in json.loads(done.out)["targets"]}


FILES = '[targets.files]\ntool = "folder"\nwith = { folder = "@SHARE@" }\n'
TAG = '[targets.tag]\ntool = "git-tag"\n'


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """A folder that people fetch from."""
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


def test_a_version_goes_to_its_targets_and_again_changes_nothing(
    shop: Any, publish: Any, share: Path
) -> None:
    done = publish((FILES + TAG).replace("@SHARE@", str(share)))
    assert done.code == 0, done.err
    first = shop.command("publish", "0.1.0")
    assert first.code == 0, first.err + first.out
    assert "0.1.0 is at 2 of 2 targets" in first.err
    assert (share / "0.1.0" / "app.txt").read_text() == "one 0.1.0"
    assert _tag(shop, "v0.1.0") == shop.git("rev-parse", "HEAD")
    count = shop.query("SELECT count(*) FROM event")
    again = shop.command("publish", "0.1.0", "--json")
    assert again.code == 0, again.err
    assert {one["state"] for one in rows(again).values()} == {"there"}
    assert shop.query("SELECT count(*) FROM event") == count
    assert shop.query("SELECT count(*) FROM artifact_location") == [2]
    shown = shop.command("show", "0.1.0").out
    assert "Publications" in shown and "2 of 2" in shown, shown


def _tag(shop: Any, name: str) -> str:
    return str(shop.git("ls-remote", "origin", f"refs/tags/{name}^{{}}").partition("\t")[0])


STAGES = """
files = { target = "files", needs = ["build"] }
tag = { target = "tag", needs = ["files"] }
"""


def test_a_run_stops_before_a_protected_target_and_goes_on_when_told(
    shop: Any, publish: Any, share: Path
) -> None:
    targets = FILES.replace("@SHARE@", str(share)) + "protected = false\n" + TAG
    done = publish(targets, stages=STAGES)
    assert done.code == 0, done.err
    assert "stopped before tag; go on with:" in shop.command("show").out
    assert "tag is protected. To go on:" in done.err and "--to tag" in done.err, done.err
    assert (share / "0.1.0" / "doc.txt").read_text() == "two"
    assert _tag(shop, "v0.1.0") == ""
    on = shop.run("--resume", shop.last(), "--to", "tag")
    assert on.code == 0, on.err
    assert _tag(shop, "v0.1.0") == shop.git("rev-parse", "HEAD")
    assert shop.outcomes() == {"build": "success", "files": "success", "tag": "success"}


def test_a_run_that_publish_finished_is_not_said_to_have_stopped(
    shop: Any, publish: Any, share: Path
) -> None:
    publish(FILES.replace("@SHARE@", str(share)) + TAG, stages=STAGES)
    assert "stopped before files; go on with:" in shop.command("show").out
    assert shop.command("publish", "0.1.0").code == 0
    for name in ("show", "status"):
        assert "go on with" not in shop.command(name).out, name


def test_single_commands_publish_by_publish_alone(shop: Any, publish: Any, share: Path) -> None:
    """A stage that says it published, and did not, would be green with nothing there."""
    publish(FILES.replace("@SHARE@", str(share)), stages=STAGES.split("tag =")[0])
    told = {"CXLOCAL_RUN": shop.command("run", "start", "--new", "--json").json()["run"]}
    assert (
        shop.command(
            "stage", "build", "--", "sh", "-c", "echo one > app.txt; echo two > doc.txt", env=told
        ).code
        == 0
    )
    refused = shop.command("stage", "files", "--", "true", env=told)
    assert refused.code == 3 and "cxlocal publish 0.1.1 --to files" in refused.err, refused.err
    done = shop.command("publish", "--to", "files", env=told)
    assert done.code == 0, done.err
    assert (share / "0.1.1" / "app.txt").exists()


def test_what_would_be_published_is_listed_before(shop: Any, publish: Any, share: Path) -> None:
    targets = FILES.replace("@SHARE@", str(share)) + 'artifacts = ["app"]\n' + TAG
    assert publish(targets, stages=STAGES).code == 0
    dry = shop.run("--dry-run")
    assert "app would go to files (folder): nothing was published there yet" in dry.err, dry.err
    assert dry.err.count("(by the record; last asked never)") == 2, dry.err
    assert "The version would go to tag (git-tag): nothing was" in dry.err, dry.err
    on = shop.run("--to", "files")
    assert on.code == 0 and "tag is protected. To go on:" in on.err, on.err
    listed, tag = shop.run("--dry-run", "--json").json()["targets"]
    assert tag["artifacts"] == []
    assert listed["artifacts"] == ["app"] and "it got 0.1.1 last" in listed["holds"]
    tried = shop.command("rehearse")
    assert "publishes app to files: it got 0.1.1 last" in tried.err, tried.err
    assert "(by the record; last asked 20" in tried.err, tried.err
    assert "publishes the version to tag: nothing was published there" in tried.err, tried.err
    assert sorted(one.name for one in share.iterdir()) == ["0.1.1"]


def test_a_dry_run_asks_nobody_and_says_when_somebody_was(
    shop: Any, publish: Any, share: Path
) -> None:
    """What is wrong at the target since then it does not see; ``--check`` does."""

    def said() -> tuple[str, str]:
        """What is held, and when it was last asked."""
        (one,) = shop.run("--dry-run", "--json").json()["targets"]
        words, mark, asked = one["holds"].rpartition(" (by the record; last asked ")
        assert mark and f"by the record; last asked {asked}" in shop.run("--dry-run").err
        return words, asked.rstrip(")")

    alone = STAGES.partition("tag = ")[0]
    assert publish(FILES.replace("@SHARE@", str(share)), stages=alone).code == 0
    assert shop.run("--resume", shop.last(), "--to", "files").code == 0
    words, asked = said()
    [found] = shop.query("SELECT found_at FROM publication")
    assert asked >= found and "it got 0.1.0 last" in words
    # Asked again it holds the same: nothing is recorded, and it was asked all the same.
    count = shop.query("SELECT count(*) FROM event")
    assert shop.command("publish", "0.1.0", "--check").code == 0
    assert shop.query("SELECT count(*) FROM event") == count
    later = said()
    assert later[0] == words and later[1] > asked
    shutil.rmtree(share / "0.1.0")
    assert said() == later, "nobody looked"
    assert shop.command("publish", "0.1.0", "--check").code != 0
    assert said()[0] != words and said()[1] > later[1]
    share.rename(share.with_name("away"))
    now = said()[1]
    assert shop.command("publish", "0.1.0", "--check").code == 9
    assert said()[1] >= now, "it did not answer"


def test_a_half_published_run_is_no_success_and_is_finished_by_publish(
    shop: Any, publish: Any, share: Path
) -> None:
    """The share is away: what comes after it waits, and the version is named until all is there."""
    targets = (FILES + TAG).replace("@SHARE@", str(share)) + "[keep]\nartifacts = 0\n"
    targets += '[bump]\nchangelog = "CHANGELOG.md"\n'
    stages = STAGES.replace('needs = ["files"]', 'needs = ["build"]')
    assert publish(targets, stages=stages).code == 0
    share.rename(share.with_name("away"))
    assert shop.run("--resume", shop.last(), "--to", "tag").code == 0
    failed = shop.run("--resume", shop.last(), "--to", "files")
    assert failed.code == 9, failed.err
    assert "is not there" in failed.err, failed.err
    half = shop.command("publish", "0.1.0", "--json")
    assert half.code == 9, "run it again, whatever waits for it"
    tag = rows(half)["tag"]
    assert (tag["state"], tag["files_there"], tag["why"]) == ("there", 1, ""), tag
    would = {
        one["target"]: one["holds"] for one in shop.run("--dry-run", "--json").json()["targets"]
    }
    assert (
        "; 0.1.0 is not known there (" in would["files"] and "it got 0.1.0 last" in would["tag"]
    ), would
    asked = shop.command("publish", "0.1.0", "--check")
    assert asked.code == 9 and "cxlocal publish 0.1.0 puts what is missing" in asked.err, asked.err
    status = shop.command("status").out
    assert "Partly published: 0.1.0 is at 1 of 2: files not known" in status, status
    [flag] = shop.query("SELECT text FROM open_flags WHERE kind = 'half-published'")
    assert flag.startswith("0.1.0 is published at 1 of 2: files not known"), flag
    assert "cxlocal publish 0.1.0" in status
    share.with_name("away").rename(share)
    assert shop.command("prune").code == 0  # What is not published yet is not cleared away.
    done = shop.command("publish", "0.1.0")
    assert done.code == 0, done.err
    assert "has the version in CHANGELOG.md: on main of origin" in done.err, done.err
    status = shop.command("status").out
    assert "Partly" not in status and "it is at 2 of 2 targets\n" in status, status
    assert "try that commit again" not in status and "go on with" not in status, status
    assert shop.outcomes()["files"] == "success"
    assert "has the version" not in shop.command("publish", "0.1.0").err, "made once"


ASKED_FIRST = """
[targets.index]
tool = "commands"
artifacts = ["app"]
[targets.index.with]
ask = 'cd "@SHARE@" && touch sum && cat sum'
publish = 'sha256sum < "$CXLOCAL_ARTIFACT_APP" | cut -c1-64 > "@SHARE@/sum"'
"""


def test_what_could_not_be_begun_anywhere_is_named_by_status(
    shop: Any, publish: Any, share: Path
) -> None:
    """The first target is not reached, and nothing was put: the version is finished by publish all the same."""
    targets = (ASKED_FIRST + TAG).replace("@SHARE@", str(share))
    share.rename(share.with_name("away"))
    stages = STAGES.replace("files", "index")
    assert publish(targets, "--to", "tag", stages=stages).code == 9
    status = shop.command("status").out
    assert "it is at 0 of 2 targets: index not known (" in status, status
    assert "), tag not begun\n  to finish it: cxlocal publish 0.1.0\n" in status, status
    share.with_name("away").rename(share)
    (share / "sum").write_text(f"{'0' * 64}\n")
    done = shop.command("publish", "0.1.0")
    assert done.code == 10, done.err
    status = shop.command("status").out
    assert (
        "index holds something else by that name, which is never replaced: release another"
        in status
    ), status
    assert "to finish it" not in status, status
    (share / "sum").unlink()
    done = shop.command("publish", "0.1.0")
    assert done.code == 0, done.err
    assert "it is at 2 of 2 targets\n" in shop.command("status").out
    empty = shop.command("publish", "")
    assert empty.code == 2 and "VERSION|RUN is empty" in empty.err, empty.err
    assert shop.command("withdraw", "0.1.0", "--from", "tag", "-m", "too early").code == 0
    status = shop.command("status").out
    assert "it is at 1 of 2 targets: tag withdrawn (too early)" in status, status
    assert "to finish it" not in status, status


def test_a_secret_that_is_not_given_is_a_credential_that_is_missing(
    shop: Any, publish: Any, share: Path
) -> None:
    shop.environ["TOKEN"] = ""
    targets = FILES + 'secrets = ["token"]\n' + TAG + '[secrets]\ntoken = { env = "TOKEN" }\n'
    done = publish(targets.replace("@SHARE@", str(share)))
    assert done.code == 0 and "cxlocal publish 0.1.0  brings it to its targets" in done.err, (
        done.err
    )
    lacking = shop.command("publish", "0.1.0")
    assert lacking.code == 4 and "secret token cannot be had" in lacking.err, lacking.err
    assert list(share.iterdir()) == []


def test_other_bytes_are_named_and_left_alone(shop: Any, publish: Any, share: Path) -> None:
    assert publish((FILES + TAG).replace("@SHARE@", str(share))).code == 0
    (share / "0.1.0").mkdir()
    (share / "0.1.0" / "app.txt").write_text("somebody else's")
    said = shop.command("publish", "0.1.0")
    assert said.code == 10 and said.err.count("sha256:") == 2, said.err
    done = shop.command("publish", "0.1.0", "--json")
    assert done.code == 10, done.err
    stands = rows(done)
    assert stands["files"]["state"] == "other"
    assert stands["tag"]["state"] == "absent", "what announces a version comes last"
    assert (share / "0.1.0" / "app.txt").read_text() == "somebody else's"
    assert _tag(shop, "v0.1.0") == ""


def test_a_tag_that_exists_elsewhere_is_a_conflict(shop: Any, publish: Any) -> None:
    assert publish(TAG).code == 0
    shop.git("push", "-q", "origin", "HEAD~0:refs/heads/other")
    shop.push("a later commit")
    shop.git("push", "-q", "origin", "HEAD:refs/tags/v0.1.0")
    done = shop.command("publish", "0.1.0")
    assert done.code == 10, done.err
    later = shop.git("rev-parse", "HEAD")
    assert later in done.err and shop.git("rev-parse", "HEAD~1") in done.err, done.err


def test_what_is_gone_is_seen_by_check_and_not_put_back_by_itself(
    shop: Any, publish: Any, share: Path
) -> None:
    publish(FILES.replace("@SHARE@", str(share)))
    assert shop.command("publish", "0.1.0").code == 0
    (share / "0.1.0" / "app.txt").unlink()
    seen = shop.command("publish", "0.1.0", "--check")
    assert seen.code == 3, seen.err
    assert "app was published and is absent" in seen.err, seen.err
    assert "Partly published: 0.1.0" in shop.command("status").out
    left = shop.command("publish", "0.1.0")
    assert left.code == 3 and "--again" in left.err, left.err
    assert not (share / "0.1.0" / "app.txt").exists()
    back = shop.command("publish", "0.1.0", "--again", "files", "-m", "deleted by mistake")
    assert back.code == 0, back.err
    assert (share / "0.1.0" / "app.txt").exists()


def test_bytes_that_are_here_no_more_come_from_a_target_that_has_them(
    shop: Any, publish: Any, share: Path
) -> None:
    publish((FILES + TAG + SECOND).replace("@SHARE@", str(share)))
    assert shop.command("publish", "0.1.0", "--to", "files").code == 0
    shutil.rmtree(shop.home / "blobs")
    shutil.rmtree(shop.home / "artifacts")
    (share / "0.1.0" / "doc.txt").write_text("not what was published")
    refused = shop.command("publish", "0.1.0", "--to", "second")
    assert refused.code == 9 and "not on this machine" in refused.err, refused.err
    (share / "0.1.0" / "doc.txt").write_text("two")
    done = shop.command("publish", "0.1.0", "--to", "second")
    assert done.code == 0, done.err
    assert (share / "second" / "doc.txt").read_text() == "two"


SECOND = '[targets.second]\ntool = "folder"\nwith = { folder = "@SHARE@", below = "second" }\n'


def test_withdrawn_is_said_everywhere(shop: Any, publish: Any, share: Path) -> None:
    live = 'live = { kind = "deploy", command = "true", needs = ["build"], environment = "production" }\n'
    places = "[environments]\nproduction = {}\n"
    assert publish(FILES.replace("@SHARE@", str(share)) + places, stages=live).code == 0
    assert shop.command("publish", "0.1.0").code == 0
    gone = shop.command("withdraw", "0.1.0", "-m", "loses data")
    assert gone.code == 0, gone.err
    assert "withdrawn" in gone.out and "loses data" in gone.out
    assert f"files: a person has to: {share}/0.1.0" in gone.err, gone.err
    assert shop.query("SELECT withdrawn_how FROM publication")[0].startswith("a person has to: /")
    again = shop.command("publish", "0.1.0")
    assert again.code == 3 and "withdrawn" in again.err, again.err
    # What is there all the same is counted, until a person has removed it.
    for left in (2, 0):
        asked = shop.command("publish", "0.1.0", "--check", "--json")
        assert (asked.code, rows(asked)["files"]["files_there"]) == (3, left), asked.out
        shutil.rmtree(share / "0.1.0", ignore_errors=True)
    refused = shop.command("deploy", "0.1.0", "--env", "production")
    assert refused.code == 3 and "taken back from files" in refused.err, refused.err
    assert "loses data" in refused.err and "--anyway" in refused.err
    done = shop.command("deploy", "0.1.0", "--env", "production", "--anyway")
    assert done.code == 0, done.err
    back = shop.command("publish", "0.1.0", "--again", "files", "-m", "it does not")
    assert back.code == 0, back.err
    assert shop.query("SELECT state, withdrawn_at FROM publication") == [("there", None)]


def test_an_older_version_does_not_follow_a_newer_one_by_itself(
    shop: Any, publish: Any, share: Path
) -> None:
    assert publish(FILES.replace("@SHARE@", str(share))).code == 0
    shop.push("more")
    assert shop.run().code == 0
    assert shop.command("publish", "0.1.1").code == 0
    refused = shop.command("publish", "0.1.0")
    assert refused.code == 3 and "older than 0.1.1" in refused.err, refused.err
    assert not (share / "0.1.0").exists()
    done = shop.command("publish", "0.1.0", "--allow-older")
    assert done.code == 0, done.err
    assert shop.command("withdraw", "0.1.0", "-m", "by mistake").code == 0
    refused = shop.command("publish", "0.1.0", "--again", "files", "-m", "it's right")
    assert refused.code == 3 and "older than 0.1.1" in refused.err, refused.err
    named = refused.err.partition("if that is right: cxlocal ")[2].splitlines()[0]
    done = shop.command(*shlex.split(named))
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "cxlocal publish 1.0.0"),
        ({"targets": ("pypi", "tag")}, "cxlocal publish 1.0.0 --to pypi --to tag"),
        ({"act": "check", "targets": ("tag",)}, "cxlocal publish 1.0.0 --to tag --check"),
        ({"targets": ("pypi",), "again": True, "reason": "it's right", "allow_older": True},
         "cxlocal publish 1.0.0 --again pypi --allow-older -m 'it'\"'\"'s right'"),
        ({"act": "withdraw", "targets": ("pypi",), "reason": "why"}, "cxlocal withdraw 1.0.0 --from pypi -m why"),
    ],
)  # fmt: skip
def test_the_command_that_is_named_is_the_whole_one(asked: Any, words: str) -> None:
    order = publishing.Order("", **asked)
    assert publishing.again("1.0.0", order) == words
    for_all = publishing.again("1.0.0", order, named=False)
    assert ("--to" in for_all or "--from" in for_all) is False
    assert ("--again pypi" in for_all) is order.again


def test_what_is_refused_and_there_is_an_error_all_the_same() -> None:
    held = standing.Stand("tag", "there", "", "", 1, 1, "", "gate")
    no = Refused("no", why="it says so", hint="ask", name="gate")
    done = standing.Published("run", "shop", "1.0.0", (held, held), (no, no))
    assert standing.as_error(done) is no
    assert standing.as_error(done._replace(problems=())) is None


def test_targets_of_a_repository_are_proposals(shop: Any, publish: Any, share: Path) -> None:
    """Whoever can push to it chooses where a token goes; a person agrees to exactly that."""
    assert publish(FILES.replace("@SHARE@", str(share)), stages=STAGES.split("tag =")[0]).code == 0
    changed = (shop.tree / "cx.toml").read_text().replace(str(share), f"{share}/../elsewhere")
    (shop.tree / "cx.toml").write_text(changed)
    shop.push("another place")
    refused = shop.run("--to", "files")
    assert refused.code == 3 and "nobody agreed here to publish to files" in refused.err
    digest = shop.command("trust", "--digest").out.strip()
    assert digest in refused.err
    allowed = shop.run("--to", "files", env={"CXLOCAL_TRUST": digest})
    assert allowed.code == 9, "agreed to; and the place is not there"


def test_where_a_secret_comes_from_is_agreed_to_so_it_has_to_be_said(shop: Any) -> None:
    shop.write('[stages]\nbuild = { command = "true" }\n' + TAG + 'secrets = ["NPM_TOKEN"]\n')
    for words in (["--yes"], ["--digest"]):
        refused = shop.command("trust", *words)
        assert refused.code == 2 and 'NPM_TOKEN = { env = "NPM_TOKEN" }' in refused.err, refused.err


def test_a_promotion_is_required_and_a_gate_is_asked(
    shop: Any, publish: Any, share: Path, tools: Any
) -> None:
    tools(GATE)
    targets = FILES.replace("@SHARE@", str(share)) + 'requires = "APPROVED"\n'
    assert publish(targets + "[promotions]\nAPPROVED = {}\n").code == 0
    refused = shop.command("publish", "0.1.0")
    assert refused.code == 3 and "APPROVED was not given" in refused.err, refused.err
    assert shop.command("promote", "0.1.0", "APPROVED").code == 0
    gate = shop.command("publish", "0.1.0", "-m", "not on Fridays")
    assert gate.code == 3 and "files: not on Fridays" in gate.err, gate.err
    assert shop.command("publish", "0.1.0").code == 0


GATE = """
from cxlocal.hooks.stage_view import GateAnswer
from cxlocal.hooks.specs import hookimpl


@hookimpl
def cxlocal_gate(question):
    if question.kind == "publish" and question.reason:
        return GateAnswer("calendar", "deny", f"{question.target}: {question.reason}")
    return None
"""


def test_the_journal_before_targets_is_read_as_before(shop: Any, publish: Any) -> None:
    """A plan without targets has the digest it had: nothing of them is written into it."""
    publish("")
    with sqlite3.connect(shop.home / "journal.db") as journal:
        [(plan,)] = journal.execute("SELECT plan FROM plan").fetchall()
    assert "target" not in plan
