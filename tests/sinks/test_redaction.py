"""``cxlocal journal redact``: a secret that got into a log is nowhere any more, and that it was stays known."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from receivers import free_port
from recorder import Recorder, target
from test_push import Scripted

from cxlocal.domain import Actor, path_part
from cxlocal.errors import CxError, Refused, UsageError
from cxlocal.events.document import Draft
from cxlocal.events.runs import RunRef, run_redacted
from cxlocal.exchange.blobs import carry, keep_bytes
from cxlocal.exchange.redaction import Dropped, drop_redacted, is_redacted
from cxlocal.exchange.state import StoreState, save_store_state
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.hooks.sink import Later
from cxlocal.journal.blobs import blob_path
from cxlocal.journal.rebuild import catch_up
from cxlocal.processes.locks import take
from cxlocal.runner.orphans import run_folder
from cxlocal.runner.redaction import of_digest, of_stage, redact
from cxlocal.sinks.cursor import delivered, keys_of_logs, replay

ANN = Actor("Ann <ann@example.org>", "git")
SECRET = b"hunter-two"
STAGES = """\
[stages]
build = { command = "echo built" }
leak = { needs = ["build"], command = "printf 'before\\\\nhunter-%s\\\\n' two; exit 3" }
"""


def holding(folder: Path, words: bytes) -> set[str]:
    """Files below a folder that hold these words."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and words in path.read_bytes()
    }


def test_a_secret_in_a_log_leaves_every_machine_and_the_store(shop: Any, tmp_path: Path) -> None:
    """Said on one machine, of a run of another, whose log no sink could take so far."""
    store = f"sqlite://{shop.root}/store.db"
    port, out = free_port(), tmp_path / "out.ndjson"
    shop.begin(f'logs = {{ to = "json+tcp://127.0.0.1:{port}" }}\n', stages=STAGES, trusted=False)
    job = {
        "CXLOCAL_NODE": "passing",
        "CXLOCAL_HOME": str(shop.root / "job"),
        "CXLOCAL_STORE": store,
    }
    here = {"CXLOCAL_STORE": store, "CXLOCAL_HOME": str(shop.root / "here")}
    shop.ok("store", "create", store, env=here)
    shop.ok("trust", "--yes", env=job)
    assert shop("run", "--no-input", env=job).code == 1
    machines = [shop.root / "job", shop.root / "here", shop.root / "store.db.blobs"]
    # The log and the last lines there; the log, handed on, at the store.
    assert [len(holding(one, SECRET)) for one in machines] == [2, 0, 1]
    shop.ok("sync", env=here)
    done = shop.ok("journal", "redact", "latest", "leak", "-m", "printed by mistake", env=here)
    assert "and what the store had" in done.err
    assert [len(holding(one, SECRET)) for one in machines] == [2, 0, 0]
    shop.ok("sync", env=job)
    assert [len(holding(one, SECRET)) for one in machines] == [0, 0, 0]
    # It is said who did so and why, nothing is wrong with the journal, and 'build' has its log.
    for environ in (job, here):
        shop.ok("verify", env=environ)
        asked = shop("show", "latest", "leak", "--log", env=environ)
        assert asked.code == 3  # trying again would not help
        assert "Ann <ann@example.org>" in asked.err and "printed by mistake" in asked.err
    assert "built" in shop.ok("show", "latest", "build", "--log", env=job).out
    story = shop.ok("show", "latest", env=here).out
    assert any("redaction" in line and "printed by mistake" in line for line in story.splitlines())
    # What no sink has yet, none gets: one line says how much was left out.
    shop.ok("sync", env={**job, "CXLOCAL_SINK_LOGS": f"file:{out}"})
    texts = [json.loads(line)["text"] for line in out.read_text().splitlines()]
    assert texts == ["built", "[cxlocal] 3 lines left out"]  # the third: how it ended


def test_what_sinks_have_is_named(shop: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"
    other = tmp_path / "other.ndjson"
    shop.begin(f'logs = {{ to = "file:{out}" }}\n', stages=STAGES)
    assert shop("run", "--no-input", env={"CXLOCAL_SINK_LOGS": f"file:{other}"}).code == 1
    shop.ok("sinks", "--now")
    assert SECRET in out.read_bytes() and SECRET in other.read_bytes()
    (log,) = [one for one in shop.ok("show", "--json").json()["logs"] if one["stage"] == "leak"]
    done = shop.ok("journal", "redact", log["log_sha256"], "-m", "a password")
    assert f"file:{out}: has it: remove run " in done.err
    assert f"file:{other} (named no more): has it: remove run " in done.err
    assert holding(shop.home / "logs", SECRET) == holding(shop.home / "blobs", SECRET) == set()
    for wrong in (
        ("latest", "leak", "-m", " "), ("latest", "nothing", "-m", "x"), ("latest", "-m", "x"),
        ("0" * 64, "-m", "x"), ("latest", "leak"),
    ):  # fmt: skip
        assert shop("journal", "redact", *wrong).code == 2


SAME = """\
[stages]
build = { command = "echo ok > app.txt; cat app.txt; echo mine", produces = { app = "app.txt" } }
conf = { needs = ["build"], command = "echo pw | tee c.txt", produces = { conf = "c.txt" } }
lint = { needs = ["build"], command = "echo same" }
unit = { needs = ["build"], command = "echo same; cp kept.xml junit.xml", reports = { junit = "junit.xml" } }
"""
KEPT = '<testsuite name="s" tests="1"><testcase classname="a" name="t"/></testsuite>'


def test_what_has_the_same_bytes_is_said(shop: Any, tmp_path: Path) -> None:
    """An artifact keeps them; logs of other stages and runs go with them, here and in the words for sinks;
    a raw report is found by the digest that ``show --json`` names, and events are said to stay."""
    out, events = tmp_path / "out.ndjson", tmp_path / "events.ndjson"
    shop.tree.mkdir()
    (shop.tree / "kept.xml").write_text(KEPT)
    sinks = f'logs = {{ to = "file:{out}" }}\nevents = {{ to = "file:{events}" }}\n'
    shop.begin(sinks, stages=SAME)
    shop.run()
    shop.run()
    runs = [one["run"] for one in shop.ok("log", "--json").json()]
    refused = shop("journal", "redact", runs[0], "conf", "-m", "x")
    assert refused.code == 3 and "is an artifact" in refused.err
    assert "another deliverable" not in refused.err and "cxlocal withdraw" in refused.err
    assert shop.ok("show", runs[0], "conf", "--log").out == "pw\n"
    done = shop.ok("journal", "redact", runs[0], "lint", "-m", "by mistake")
    places = [(runs[0], "lint"), (runs[0], "unit"), (runs[1], "lint"), (runs[1], "unit")]
    assert "3 other logs had the same bytes and went, too: run " in done.err
    for run, stage in places:
        assert done.err.count(f"run {run} stage {stage}") == (1 if (run, stage) == places[0] else 2)
        asked = shop("show", run, stage, "--log")
        assert asked.code == 3 and "was removed" in asked.err and "by mistake" in asked.err
    assert f"in the journal and at file:{events}" in done.err
    assert shop.ok("show", runs[0], "build", "--log").out == "ok\nmine\n"
    (report,) = shop.ok("show", runs[0], "--json").json()["reports"]
    assert report["sha256"] == sha256(KEPT.encode()).hexdigest()
    shop.ok("journal", "redact", report["sha256"], "-m", "x")
    assert not holding(shop.home / "blobs", KEPT.encode())


def test_where_all_of_it_stays_nothing_is_said_to_be_removed(shop: Any, recorder: Recorder) -> None:
    """Another deliverable printed the same; its word is missing."""
    theirs = recorder.run(b"same\n", deliverable="engine")
    own = recorder.run(b"same\n")
    shop.begin("", trusted=False)
    catch_up(recorder.journal)
    home = {"CXLOCAL_HOME": str(recorder.journal.home)}
    first = shop("journal", "redact", own, "s0", "-m", "x", env=home)
    assert first.code == 3 and "another deliverable has the same bytes" in first.err
    assert "removed here" not in first.err
    logs = [recorder.journal.home / f"logs/{one}/s0.log" for one in (own, theirs)]
    assert [one.exists() for one in logs] == [True, True]
    shop.ok("journal", "redact", theirs, "s0", "-m", "x", env=home)
    assert [one.exists() for one in logs] == [False, False]


def taking(what: str) -> Callable[[Sequence[Any]], int]:
    """How a sink answers that has got all of it, or some."""

    def answer(batch: Sequence[Any]) -> int:
        if what == "all":
            return len(batch)
        if what == "one line":
            return 1
        if what == "killed":
            raise KeyboardInterrupt  # at its limit; nothing is said
        raise {"503": Later("HTTP 503"), "reset": ConnectionResetError(104, "reset")}[what]

    return answer


@pytest.mark.parametrize("what", ["all", "one line", "503", "reset", "killed"])
@pytest.mark.parametrize("replayed", [False, True])
def test_only_what_was_never_sent_is_said_to_be_nowhere(
    recorder: Recorder, what: str, replayed: bool
) -> None:
    """Of a sink of its own, and of all deliverables; a run that came later was never sent."""
    run = recorder.run(b"one\ntwo\n")
    with suppress(KeyboardInterrupt):
        recorder.push(Scripted(taking(what)), "logs", deliverable="" if replayed else "shop")
    if replayed:
        replay(recorder.journal, target("logs", ""), run)
    later = recorder.run(b"three\n")
    key = target("logs").key
    has = [delivered(recorder.journal, key, "shop", one, "s0") for one in (run, later)]
    known = True if what in ("all", "one line") and not replayed else None
    assert has == [known, False]
    assert delivered(recorder.journal, "logs mine:never", "shop", run, "s0") is False
    assert keys_of_logs(recorder.journal) == [key]
    # Another one's deliverable by the same name of the sink is nobody's word for this one's.
    if not replayed:
        assert delivered(recorder.journal, key, "engine", run, "s0") is False


def said_by(recorder: Recorder, run: str, digest: str, deliverable: str) -> Draft:
    """A redaction as anybody may write it."""
    ref = RunRef(deliverable, run, deliverable, f"urn:uuid:{run}")
    return run_redacted(ref, stage="s0", sha256=[digest], actor=ANN._asdict(), reason="x")


class Store:
    """Notes what it is asked."""

    url = "mine:"

    def __init__(self) -> None:
        self.dropped: list[str] = []

    def drop_blob(self, digest: str, *, timeout: float) -> None:
        self.dropped.append(digest)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"it was asked for {name}")


def test_the_word_of_one_deliverable_removes_nothing_of_another(recorder: Recorder) -> None:
    """Nor does a path that an event names lead to a log of another, nor to any other file."""
    home, store = recorder.journal.home, Store()
    theirs = recorder.run(b"theirs\n", deliverable="engine")
    own = recorder.run(b"theirs\n", b"own\n")
    digest = sha256(b"theirs\n").hexdigest()
    recorder.journal.append(said_by(recorder, own, digest, "shop"))
    catch_up(recorder.journal)
    assert not is_redacted(recorder.journal, digest)
    assert drop_redacted(recorder.journal, store) == Dropped()
    assert (home / f"logs/{theirs}/s0.log").exists() and store.dropped == []
    # Both say so: now it goes, wherever it is, and what has other bytes stays.
    (home / f"logs/{own}/s0.log").write_bytes(b"other bytes\n")
    recorder.journal.append(said_by(recorder, theirs, digest, "engine"))
    catch_up(recorder.journal)
    assert drop_redacted(recorder.journal, store).files == 1
    assert not (home / f"logs/{theirs}/s0.log").exists()
    assert (home / f"logs/{own}/s0.log").exists()
    assert store.dropped == [digest]


def test_what_was_redacted_is_carried_nowhere(recorder: Recorder) -> None:
    run = recorder.run(b"secret\n")
    digest = keep_bytes(recorder.journal, b"secret\n", private=True)
    catch_up(recorder.journal)
    redact(recorder.journal, of_stage(recorder.journal, run, "s0"), ANN, "a password")
    assert drop_redacted(recorder.journal, None).files == 2
    again = keep_bytes(recorder.journal, b"secret\n", private=True)
    wanted = type("Bytes", (), {"sha256": again, "executable": False})()
    assert carry(recorder.journal, Store(), [wanted], 5.0).sent == 0
    assert drop_redacted(recorder.journal, None).files == 1
    assert not blob_path(recorder.journal.home, digest).exists()


def test_what_was_released_is_no_log(recorder: Recorder) -> None:
    run = recorder.run(b"app\n")
    catch_up(recorder.journal)
    digest = sha256(b"app\n").hexdigest()
    with recorder.journal.write() as transaction:
        transaction.connection.execute(
            "INSERT INTO artifact (run, sha256, name) VALUES (?, ?, 'app')", (run, digest)
        )
    with pytest.raises(Refused, match="released"):
        of_digest(recorder.journal, digest)
    recorder.journal.append(said_by(recorder, run, digest, "shop"))
    catch_up(recorder.journal)
    assert drop_redacted(recorder.journal, Store()) == Dropped()
    for what in ("0" * 64, "a" * 64):
        with pytest.raises(UsageError, match="no run told"):
            of_digest(recorder.journal, what)


@pytest.mark.parametrize(
    ("no", "asked"),
    [
        (Refused("no", why="", hint="", name="not-allowed"), 1),
        (Refused("no such thing", why="", hint="", name="not-found"), 2),
        (StoreUnreachable("away", why="", hint=""), 2),
    ],
)
def test_a_store_that_does_not_remove_them_is_asked_again_unless_it_may_not(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, no: CxError, asked: int
) -> None:
    run, store = recorder.run(b"secret\n"), Store()
    catch_up(recorder.journal)
    redact(recorder.journal, of_stage(recorder.journal, run, "s0"), ANN, "a password")
    with recorder.journal.write() as transaction:
        save_store_state(transaction.connection, StoreState("mine:", "aa" * 16))

    def refuse(digest: str, *, timeout: float) -> None:
        store.dropped.append(digest)
        raise no

    monkeypatch.setattr(store, "drop_blob", refuse)
    assert drop_redacted(recorder.journal, store).problems
    drop_redacted(recorder.journal, store)
    assert len(store.dropped) == asked


REPORT = """\
[stages.test]
kind = "test"
command = "sh write.sh; cp secret.xml copy.txt; exit 1"
reports = { junit = "secret.xml" }
"""
WRITE = """\
cat > secret.xml <<'END'
<testsuite tests="1" failures="1"><testcase name="a" classname="b"><failure>no</failure></testcase><system-out>hunter-two</system-out></testsuite>
END
"""


def test_a_kept_checkout_goes_with_the_report_of_its_run(shop: Any) -> None:
    """What of a failed run is redacted may stand in any file that the run left here."""
    shop.tree.mkdir()
    (shop.tree / "write.sh").write_text(WRITE)
    shop.begin("", stages=REPORT, trusted=False)
    assert shop("run", "--no-input").code == 1
    [kept] = (shop.home / "checkouts").iterdir()
    assert {"source/secret.xml", "source/copy.txt"} <= holding(kept, SECRET)
    digest = sha256((kept / "source" / "secret.xml").read_bytes()).hexdigest()
    done = shop.ok("journal", "redact", digest, "-m", "a password")
    assert str(kept) in done.err and "may stand in any file" in done.err
    assert not kept.exists()
    assert holding(shop.home, SECRET) == set()


def left_by(recorder: Recorder, run: str) -> tuple[Path, Path]:
    """A kept checkout and a log that no event names."""
    log = recorder.journal.home / "logs" / path_part(run) / "publish files.log"
    log.write_bytes(SECRET)
    return checkout_of(recorder, run), log


def checkout_of(recorder: Recorder, name: str) -> Path:
    """The folder of a run, or of a command for a run."""
    checkout = run_folder(recorder.journal.home, name)
    (checkout / "source").mkdir(parents=True)
    (checkout / "source" / "report.xml").write_bytes(SECRET)
    return checkout


def test_what_a_run_left_goes_when_it_has_ended_and_of_others_nothing(recorder: Recorder) -> None:
    runs = [
        recorder.run(b"secret\n", b"more\n"),
        recorder.run(b"secret\n"),
        recorder.run(b"other\n"),
    ]
    left = [left_by(recorder, run) for run in runs]
    catch_up(recorder.journal)
    assert drop_redacted(recorder.journal, None) == Dropped()
    redact(recorder.journal, of_stage(recorder.journal, runs[0], "s0"), ANN, "a password")
    going = "UPDATE run SET finished_at = NULL WHERE id = ?"
    with recorder.journal.write() as transaction:
        transaction.connection.execute(going, (runs[0],))
    first = drop_redacted(recorder.journal, None)
    assert first.stay == (f"{left[0][0]}: run {runs[0][:8]} is going on",)
    assert first.kept == (str(left[1][0]),), "it printed the same bytes"
    assert all(one.exists() for one in left[0]) and not any(one.exists() for one in left[1])
    with recorder.journal.write() as transaction:
        transaction.connection.execute("UPDATE run SET finished_at = 'x' WHERE id = ?", (runs[0],))
    assert drop_redacted(recorder.journal, None).kept == (str(left[0][0]),)
    assert not any(one.exists() for one in left[0])
    assert all(one.exists() for one in left[2])
    assert (recorder.journal.home / f"logs/{runs[0]}/s1.log").exists(), "of another stage"


def redacted(recorder: Recorder, run: str) -> None:
    """Somebody says that what the first stage of a run printed is to be nowhere."""
    catch_up(recorder.journal)
    redact(recorder.journal, of_stage(recorder.journal, run, "s0"), ANN, "a password")


@pytest.mark.parametrize("run", ["00000000-0000-4000-8000-00000000000a", "Build.7"])
@pytest.mark.parametrize(
    "more", ["", ".publish", ".deploy.production", ".deploy.Été 2", ".lent-abcdef12", ".preview"]
)
def test_what_any_command_left_of_a_run_goes_when_it_is_not_in_use(
    recorder: Recorder, run: str, more: str
) -> None:
    recorder.run(b"secret\n", run=run)
    recorder.run(b"other\n", run=run + "x")
    kept, log = left_by(recorder, run) if not more else (checkout_of(recorder, run + more), None)
    theirs = checkout_of(recorder, run + "x" + more)
    lock = take(kept / "in-use", "a command")
    redacted(recorder, run)
    assert lock is not None
    for _ in range(2):
        done = drop_redacted(recorder.journal, None)
        assert done.stay == (f"{kept}: it is in use",) and done.kept == ()
        assert kept.exists() and (log is None or log.exists())
    lock.release()
    assert drop_redacted(recorder.journal, None).kept == (str(kept),)
    assert not kept.exists() and (log is None or not log.exists()) and theirs.exists()


def test_what_comes_after_the_redaction_was_met_stays_until_it_is_said_again(
    recorder: Recorder,
) -> None:
    """A later deployment writes a log, a run that went on may fail again, and another prints the same."""
    run, store = recorder.run(b"secret\n"), Store()
    with recorder.journal.write() as transaction:
        save_store_state(transaction.connection, StoreState("mine:", "aa" * 16))
    redacted(recorder, run)
    assert drop_redacted(recorder.journal, store).files == 1
    later = recorder.run(b"secret\n")
    left = [*left_by(recorder, run), *left_by(recorder, later)]
    left.append(recorder.journal.home / "logs" / later / "s0.log")
    catch_up(recorder.journal)
    assert drop_redacted(recorder.journal, store) == Dropped()
    assert all(one.exists() for one in left)
    redacted(recorder, later)
    assert drop_redacted(recorder.journal, store).files == 3
    assert not any(one.exists() for one in left) and len(store.dropped) == 2


def test_links_lead_to_nothing_that_is_removed(recorder: Recorder, tmp_path: Path) -> None:
    home, mine = recorder.journal.home, tmp_path / "mine"
    mine.mkdir()
    (mine / "own.log").write_text("a person's")
    runs = [recorder.run(b"secret\n"), recorder.run(b"secret\n")]
    (home / "logs" / runs[0] / "s0.log").unlink()
    (home / "logs" / runs[0]).rmdir()
    (home / "logs" / runs[0]).symlink_to(mine)
    (home / "logs" / runs[1] / "linked.log").symlink_to(mine / "own.log")
    (home / "logs" / runs[1] / "folder.log").mkdir()
    (home / "checkouts").mkdir()
    (home / "checkouts" / runs[0]).symlink_to(mine)
    redacted(recorder, runs[1])
    assert drop_redacted(recorder.journal, None) == Dropped(files=1)
    assert (mine / "own.log").exists() and (home / "checkouts" / runs[0]).is_symlink()


@pytest.mark.parametrize("what", ["blob", "checkout", "folder of logs"])
def test_what_the_system_keeps_is_said_and_tried_again(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    run, store, home = recorder.run(b"secret\n"), Store(), recorder.journal.home
    path = left_by(recorder, run)[0]
    digest = sha256(b"secret\n").hexdigest()
    redacted(recorder, run)
    with recorder.journal.write() as transaction:
        save_store_state(transaction.connection, StoreState("mine:", "aa" * 16))
    with monkeypatch.context() as patch:
        if what == "blob":
            path = blob_path(home, digest)
            path.mkdir(parents=True)
        elif what == "checkout":

            def refuse(*_: object) -> None:
                raise OSError(1, "Operation not permitted")

            patch.setattr("cxlocal.revision.removal.shutil.rmtree", refuse)
        else:
            path = home / "checkouts"
            path.rename(home / "aside")
            path.write_text("no folder")
        for _ in range(2):
            (problem,) = drop_redacted(recorder.journal, store).stay
            assert problem.startswith(f"{path}: ")
    assert store.dropped
    if what == "folder of logs":
        path.unlink()
        (home / "aside").rename(path)
    elif what == "blob":
        path.rmdir()
    done = drop_redacted(recorder.journal, store)
    assert done.stay == () and bool(done.kept) == (what != "blob")
    assert holding(home / "checkouts", SECRET) == holding(home / "logs", SECRET) == set()


def test_a_word_about_a_run_of_another_removes_nothing_that_it_left(recorder: Recorder) -> None:
    """Nor does one about a digest that the run does not tell of."""
    run = recorder.run(b"fine\n")
    kept, log = left_by(recorder, run)
    for deliverable, digest in (
        ("engine", "ab" * 32), ("shop", "cd" * 32), ("engine", sha256(b"fine\n").hexdigest()),
    ):  # fmt: skip
        recorder.journal.append(said_by(recorder, run, digest, deliverable))
        catch_up(recorder.journal)
        assert drop_redacted(recorder.journal, None) == Dropped()
        assert kept.exists() and log.exists()


GOES_ON = """[environments]
prod = { protected = true }
[stages]
build = { kind = "build", command = "echo ok > app.txt", produces = { app = "app.txt" } }
leak = { needs = ["build"], command = "printf 'hunter-%s\\n' two; test -e FOLDER/ok" }
ship = { kind = "deploy", needs = ["leak"], environment = "prod", command = "echo deployed" }
"""


def test_a_redacted_run_goes_on_and_is_deployed(shop: Any, tmp_path: Path) -> None:
    """Also where the word of another machine comes in the middle of going on."""
    store = f"sqlite://{shop.root}/store.db"
    shop.begin("", stages=GOES_ON.replace("FOLDER", str(tmp_path)), trusted=False)
    here = {"CXLOCAL_STORE": store, "CXLOCAL_HOME": str(shop.root / "here")}
    other = {"CXLOCAL_STORE": store, "CXLOCAL_HOME": str(shop.root / "other")}
    shop.ok("store", "create", store, env=here)
    assert shop("run", "--no-input", env=here).code == 1
    shop.ok("sync", env=other)
    shop.ok("journal", "redact", "latest", "leak", "-m", "a password", env=other)
    (tmp_path / "ok").touch()
    shop.ok("run", "--resume", "latest", "--no-input", env=here)
    shop.ok("journal", "redact", "latest", "leak", "-m", "again", env=here)
    shop.ok("deploy", "0.1.0", "--to", "prod", env=here)
    assert shop.ok("show", "latest", "ship", "--log", env=here).out == "deployed\n"
    assert holding(shop.root / "here" / "logs", SECRET) == set()
