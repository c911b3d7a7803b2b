"""Verbs in real worker processes: what they are given, what they may return, how they go wrong."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cxlocal.clock import SystemClock
from cxlocal.domain import Outcome
from cxlocal.errors import Refused
from cxlocal.hooks.context import Ran, run_tool_here
from cxlocal.hooks.messages import Fields, result_problem
from cxlocal.hooks.tool import (
    ArtifactRef,
    Context,
    Created,
    Done,
    EnvironmentRef,
    Observed,
    Produced,
    ReportFile,
    Tool,
    ToolFailure,
)
from cxlocal.hooks.tool_worker import ToolRequest, ToolWorker, secret_variables, worker_for
from cxlocal.processes.identity import alive, identity
from cxlocal.processes.supervisor import Supervisor


class Example(Tool):
    """A tool that does what its options say."""

    name = "example"

    class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
        """Which way to behave."""

        way: str = ""
        text: str = ""
        place: Path = Path()

    def build(self, ctx: Context) -> Any:
        return getattr(self, f"way_{ctx.options.way}")(ctx)

    def create(self, ctx: Context) -> Created:
        ctx.intend({"slot": "green"})
        print("after the intent")
        return Created(address="127.0.0.1:1", details={"slot": "green"})

    def observe(self, ctx: Context) -> Observed:
        return Observed(version=ctx.version, healthy=True, details={"handle": ctx.handle})

    def remove(self, ctx: Context) -> int:
        return 1

    def publish(self, ctx: Context) -> Observed:
        return Observed()

    def way_produce(self, ctx: Context) -> Done:
        (ctx.checkout / "dist").mkdir()
        (ctx.checkout / "dist" / "a.whl").write_bytes(b"bytes")
        (ctx.scratch / "junit.xml").write_bytes(b"<testsuite/>")
        return Done(
            artifacts=(Produced(name="wheel", path=Path("dist/a.whl"), version=ctx.version),),
            reports=(ReportFile(path=ctx.scratch / "junit.xml"),),
            details={"python": sys.version_info[0]},
            tool_version="1.2",
        )

    def way_tell(self, ctx: Context) -> Done:
        return Done(
            details={
                "version": ctx.version,
                "run": ctx.run,
                "revision": ctx.revision,
                "stage": ctx.stage,
                "deliverable": ctx.deliverable,
                "place": str(ctx.options.place),
                "environment": ctx.environment.handles if ctx.environment else None,
                "artifact": str(ctx.artifacts["wheel"].path),
                "timeout": 0 < ctx.timeout <= 30,
                "cwd": os.getcwd(),
                "shadowed": "evil" in sys.modules,
            }
        )

    def way_origin(self, ctx: Context) -> Done:
        return Done(details={"pid": os.getppid(), "token": len(ctx.secrets["TOKEN"])})

    def way_nothing(self, ctx: Context) -> None:
        ctx.progress(ctx.options.text or "nothing to do")

    def way_fail(self, ctx: Context) -> None:
        raise ToolFailure("3 tests failed")

    def way_raise(self, ctx: Context) -> None:
        raise KeyError(ctx.options.text)

    def way_return(self, ctx: Context) -> int:
        return 42

    def way_unsendable(self, ctx: Context) -> Done:
        return Done(details={"socket": object()})

    def way_not_a_number(self, ctx: Context) -> Done:
        return Done(details={"nan": float("nan")})

    def way_huge(self, ctx: Context) -> Done:
        return Done(details={"text": "x" * 5_000_000})

    def way_exit(self, ctx: Context) -> None:
        sys.exit("leaving")

    def way_die(self, ctx: Context) -> None:
        print("last words", flush=True)
        os._exit(3)

    def way_crash(self, ctx: Context) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def way_hang(self, ctx: Context) -> None:
        try:
            time.sleep(100)
        finally:
            print("tidied up", flush=True)

    def way_stubborn(self, ctx: Context) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("ready", flush=True)
        while True:
            time.sleep(1)

    def way_print_garbage(self, ctx: Context) -> None:
        os.write(1, b'{"result": {}}\n\x00\xff' + b"x" * 100_000)

    def way_thread(self, ctx: Context) -> None:
        threading.Thread(target=time.sleep, args=(100,)).start()

    def way_close_everything(self, ctx: Context) -> None:
        os.close(1)
        os.close(2)

    def way_lie_missing(self, ctx: Context) -> Done:
        return Done(artifacts=(Produced(name="wheel", path=Path("dist/none.whl")),))

    def way_lie_outside(self, ctx: Context) -> Done:
        return Done(artifacts=(Produced(name="wheel", path=Path("/etc/passwd")),))

    def way_lie_link(self, ctx: Context) -> Done:
        (ctx.checkout / "link").symlink_to("/etc/passwd")
        return Done(artifacts=(Produced(name="wheel", path=Path("link")),))

    def way_lie_twice(self, ctx: Context) -> Done:
        (ctx.checkout / "one").touch()
        same = Produced(name="one", path=Path("one"))
        return Done(artifacts=(same, same))

    def way_speak_nonsense(self, ctx: Any) -> None:
        os.write(ctx._link._up, b"[1, 2]\n")

    def way_speak_for_ever(self, ctx: Any) -> None:
        while True:
            os.write(ctx._link._up, b"x" * 65536)

    def way_exec(self, ctx: Context) -> Done:
        token = ctx.secrets["TOKEN"]
        done = ctx.exec(
            ["sh", "-c", "echo out; echo $T >&2; exit 4"], env={"T": token}, check=False
        )
        return Done(details={"code": done.code, "output": done.output})

    def way_exec_check(self, ctx: Context) -> None:
        ctx.exec(["sh", "-c", "echo oh no; exit 4"])

    def way_exec_slow(self, ctx: Context) -> None:
        ctx.exec(["sleep", "100"], timeout=0.3)

    def way_exec_leftover(self, ctx: Context) -> Done:
        done = ctx.exec(["sh", "-c", "echo said; sleep 20 & :"])
        return Done(details={"output": done.output})

    def way_exec_chatter(self, ctx: Context) -> Done:
        ctx.exec(["sh", "-c", "setsid yes & sleep 0.2"])
        return Done()

    def way_exec_missing(self, ctx: Context) -> None:
        ctx.exec(["no-such-tool-anywhere"])

    def way_exec_hang(self, ctx: Context) -> None:
        ctx.exec(["sh", "-c", "sleep 100 & echo $!; wait"])

    def way_exec_hidden(self, ctx: Context) -> None:
        hidden = "timeout 100 sh -c 'echo $$; exec sleep 100' & "
        ctx.exec(["sh", "-c", hidden + "trap : TERM; wait"], timeout=1.0)

    def way_exec_gigabytes(self, ctx: Context) -> Done:
        done = ctx.exec(["sh", "-c", "yes | head -c 60000000; echo end"])
        return Done(details={"kept": len(done.output), "end": done.output.endswith("end\n")})

    def way_print_secret(self, ctx: Context) -> None:
        token = ctx.secrets["TOKEN"]
        ctx.progress(f"using {token}")
        for char in f"<{token}>":
            os.write(1, char.encode())
        raise RuntimeError(f"refused {token}")

    def way_secret_details(self, ctx: Context) -> Done:
        return Done(details={"token": ctx.secrets["TOKEN"], "in env": "TOKEN" in os.environ})

    def way_say_ours(self, ctx: Context) -> Done:
        ours = os.environ["CXLOCAL_STORE_TOKEN"]
        ctx.progress(f"asking with {ours}")
        return Done(details={"token": ours})

    def way_intend_ours(self, ctx: Context) -> None:
        ctx.intend({"token": os.environ["CXLOCAL_STORE_TOKEN"]})

    def way_intend_secret(self, ctx: Context) -> None:
        ctx.intend({"password": ctx.secrets["TOKEN"]})

    def way_intend_and_hide(self, ctx: Context) -> None:
        try:
            ctx.intend({"n": 1})
        except Exception as error:  # noqa: BLE001  (what a careless tool does)
            print("hidden", error)

    def way_intend_huge(self, ctx: Context) -> None:
        ctx.intend("x" * 100_000)

    def way_daemon(self, ctx: Context) -> Done:
        pid = ctx.daemon(
            ["sh", "-c", "echo serving; exec sleep 60"],
            cwd=ctx.scratch,
            env={"PATH": os.environ["PATH"]},
            log=ctx.scratch / "service" / "log",
        )
        return Done(details={"pid": pid})


class NotAWorker(Tool):
    """Cannot be made without arguments."""

    name = "needy"

    def __init__(self, something: int) -> None:
        self.something = something

    def build(self, ctx: Context) -> None:
        return None


@pytest.fixture
def fields(tmp_path: Path) -> Fields:
    """A checkout that tries to put its own modules in the place of real ones."""
    (tmp_path / "checkout").mkdir()
    (tmp_path / "scratch").mkdir()
    for name in ("json", "msgspec", "cxlocal", "traceback"):
        (tmp_path / "checkout" / f"{name}.py").write_text("import sys; sys.modules['evil'] = sys")
    return Fields(
        checkout=tmp_path / "checkout",
        scratch=tmp_path / "scratch",
        version="2.7.1",
        run="run-1",
        revision="abc",
        stage="unit",
        deliverable="webshop",
        environment=EnvironmentRef(
            name="production",
            instance="production",
            lifetime="lasting",
            folder=tmp_path,
            handles={"example": [{"slot": "blue"}]},
        ),
        artifacts={
            "wheel": ArtifactRef(name="wheel", path=Path("/w/\udcff.whl"), sha256="0", size=1)
        },
        handle={"slot": "blue"},
    )


def run(fields: Fields, way: str, *, verb: str = "build", **rest: Any) -> Ran:
    """Let the example tool behave in one way."""
    table = {"way": way, **rest.pop("table", {})}
    return run_tool_here(
        Example, verb, fields, with_table=table, secrets={"TOKEN": "s3cret-value"}, **rest
    )


def test_what_a_verb_is_given_and_gives(fields: Fields) -> None:
    ran = run(fields, "tell", table={"place": "/some/where"})
    assert ran.outcome.outcome is Outcome.SUCCESS, ran
    assert isinstance(ran.outcome.result, Done)
    assert ran.outcome.result.details == {
        "version": "2.7.1",
        "run": "run-1",
        "revision": "abc",
        "stage": "unit",
        "deliverable": "webshop",
        "place": "/some/where",
        "environment": {"example": [{"slot": "blue"}]},
        "artifact": "/w/\udcff.whl",
        "timeout": True,
        "cwd": str(fields.checkout),
        "shadowed": False,
    }


def test_artifacts_and_reports_are_located(fields: Fields) -> None:
    result = run(fields, "produce").outcome.result
    assert isinstance(result, Done)
    assert result.artifacts[0].path == (fields.checkout / "dist" / "a.whl").resolve()
    assert result.reports[0].path == (fields.scratch / "junit.xml").resolve()
    assert result.tool_version == "1.2"


def test_nothing_counts_as_done(fields: Fields) -> None:
    ran = run(fields, "nothing")
    assert ran.outcome.result == Done() and ran.progress == ("nothing to do",)


def test_create_and_observe(fields: Fields) -> None:
    ran = run(fields, "", verb="create")
    assert ran.outcome.outcome is Outcome.SUCCESS
    assert ran.intents == ran.outcome.handles == ({"slot": "green"},)
    assert ran.log == b"after the intent\n"
    assert isinstance(ran.outcome.result, Created)
    assert ran.outcome.result.address == "127.0.0.1:1"
    seen = run(fields, "", verb="observe").outcome.result
    assert isinstance(seen, Observed) and seen.details == {"handle": {"slot": "blue"}}


@pytest.mark.parametrize(
    ("way", "outcome", "reason"),
    [
        ("fail", Outcome.FAILURE, "3 tests failed"),
        ("raise", Outcome.ERROR, "tool example, build: KeyError: ''"),
        ("return", Outcome.ERROR, "tool example, build: build must return Done, not int"),
        ("unsendable", Outcome.ERROR, "not JSON: object"),
        ("not_a_number", Outcome.ERROR, "not JSON: "),
        ("huge", Outcome.ERROR, "bytes"),
        ("exit", Outcome.ERROR, "it called sys.exit('leaving')"),
        ("die", Outcome.ERROR, "ended without a result: exit code 3"),
        ("crash", Outcome.ERROR, "ended without a result: ended by SIGSEGV"),
        ("lie_missing", Outcome.ERROR, "it says it made dist/none.whl, and there is no such file"),
        ("lie_outside", Outcome.ERROR, "/etc/passwd lies outside of the checkout"),
        ("lie_link", Outcome.ERROR, "link lies outside of the checkout"),
        ("lie_twice", Outcome.ERROR, "names two artifacts alike"),
        ("speak_nonsense", Outcome.ERROR, "it sent something that is no message"),
        ("speak_for_ever", Outcome.ERROR, "it sent a message of more than"),
        ("exec_check", Outcome.FAILURE, "sh -c echo oh no; exit 4 ended with exit code 4"),
        ("exec_slow", Outcome.ERROR, "TimeoutError: sleep 100 did not end within 0.3 s"),
        ("exec_missing", Outcome.ERROR, "there is no such program on PATH"),
        ("intend_huge", Outcome.ERROR, "too large"),
    ],
)
def test_ways_to_go_wrong(fields: Fields, way: str, outcome: Outcome, reason: str) -> None:
    ran = run(fields, way)
    assert ran.outcome.outcome is outcome
    assert reason in ran.outcome.reason
    # A failure has a result, for what it leaves behind; these leave nothing.
    assert ran.outcome.result == (Done() if outcome is Outcome.FAILURE else None)


def test_a_raising_tool_shows_where(fields: Fields) -> None:
    assert "way_raise" in run(fields, "raise").outcome.trace


@pytest.mark.parametrize("verb", ["remove", "publish"])
def test_wrong_kind_of_result(fields: Fields, verb: str) -> None:
    ran = run(fields, "", verb=verb)
    assert ran.outcome.outcome is Outcome.ERROR and f"{verb} must return" in ran.outcome.reason


@pytest.mark.parametrize(
    ("verb", "result", "words"),
    [
        ("create", None, "create must return Created, not nothing"),
        ("create", Done(), "create must return Created, not Done"),
        ("create", "127.0.0.1:1", "create must return Created, not str"),
        ("apply", Done(), "apply must return Applied, not Done"),
        ("preview", None, "preview must return Previewed, not nothing"),
        ("ask", Done(), "ask must return Holdings, not Done"),
        ("withdraw", None, "withdraw must return Withdrawn, not nothing"),
        ("observe", Done(), "observe must return Observed, not Done"),
        ("remove", Observed(), "remove must return Done, not Observed"),
        *[
            ("create", Created(address=wrong), f"the address {wrong!r}, which is neither host:port")
            for wrong in ("46663", ":46663", "host", "host:", "host:0", "host:x", "host:70000", "http://",
                          "http://:80/", "http:///path", "host:1/path", "a b:1", "[::1", "host:80\n")
        ],
        *[
            ("create", Created(address=right), "")
            for right in ("", "host:1", "127.0.0.1:46663", "[::1]:80", "http://host", "https://host:8443/a/")
        ],
        ("publish", Done(), ""), ("publish", None, ""), ("remove", None, ""),
    ],
)  # fmt: skip
def test_what_is_taken_as_a_result(verb: str, result: object, words: str) -> None:
    problem = result_problem(verb, result)
    assert words in problem and bool(problem) == bool(words)


@pytest.mark.parametrize("way", ["hang", "exec_hang"])
def test_a_hanging_tool_is_ended_with_all_it_started(fields: Fields, way: str) -> None:
    ran = run(fields, way, timeout_seconds=1.0)
    assert ran.outcome.outcome is Outcome.ERROR
    assert ran.outcome.reason == "tool example, build: time limit of 1.0 s reached"
    if way == "hang":
        assert b"tidied up" in ran.log
    else:
        assert identity(int(ran.log)) is None


def test_what_exceeds_its_own_limit_is_ended_with_all_it_started(fields: Fields) -> None:
    ran = run(fields, "exec_hidden")
    assert "did not end within 1.0 s" in ran.outcome.reason
    assert identity(int(ran.log)) is None


def test_a_tool_that_ignores_sigterm(fields: Fields) -> None:
    class Noticed:
        begun = False

        def write(self, chunk: bytes) -> None:
            self.begun = True

    worker = ToolWorker(
        ToolRequest(Example, "build", {"way": "stubborn"}, fields, {}), on_intend=print
    )
    said = Noticed()
    with Supervisor(SystemClock()) as supervisor:
        env = {"PATH": os.environ["PATH"]}
        child = worker.start(supervisor, env=env, sink=said, timeout_seconds=50)
        while not said.begun:
            assert supervisor.wait(0.05) == []
        supervisor.stop(child, "its time is up", grace_seconds=0.3)
        (end,) = supervisor.wait(10)
    assert end.signal == signal.SIGKILL and worker.outcome(end).outcome is Outcome.CANCEL


def test_cancelling_is_neither_failure_nor_error(fields: Fields) -> None:
    class Nowhere:
        def write(self, chunk: bytes) -> None:
            pass

    worker = ToolWorker(ToolRequest(Example, "build", {"way": "hang"}, fields, {}), on_intend=print)
    with Supervisor(SystemClock()) as supervisor:
        child = worker.start(supervisor, env={"PATH": "/bin"}, sink=Nowhere(), timeout_seconds=20)
        assert supervisor.wait(0.3) == []
        supervisor.stop(child, "SIGINT")
        (end,) = supervisor.wait(10)
    outcome = worker.outcome(end)
    assert (outcome.outcome, outcome.reason) == (Outcome.CANCEL, "cancelled: SIGINT")


def test_garbage_on_standard_output_is_only_log(fields: Fields) -> None:
    ran = run(fields, "print_garbage")
    assert ran.outcome.outcome is Outcome.SUCCESS
    assert ran.log == b'{"result": {}}\n\x00\xff' + b"x" * 100_000


@pytest.mark.parametrize("way", ["thread", "close_everything"])
def test_leftovers_in_the_interpreter_do_not_hold_up(fields: Fields, way: str) -> None:
    assert run(fields, way).outcome.outcome is Outcome.SUCCESS


def test_exec_masks_and_tells(fields: Fields) -> None:
    ran = run(fields, "exec")
    assert isinstance(ran.outcome.result, Done)
    assert ran.outcome.result.details == {"code": 4, "output": "out\n***\n"}
    assert ran.log == b"out\n***\n"


def test_exec_keeps_the_end_of_long_output(fields: Fields) -> None:
    ran = run(fields, "exec_gigabytes")
    assert isinstance(ran.outcome.result, Done)
    assert ran.outcome.result.details == {"kept": 65536, "end": True}
    assert len(ran.log) == 60_000_004


def test_exec_does_not_wait_for_what_was_left_behind(fields: Fields) -> None:
    began = time.monotonic()
    ran = run(fields, "exec_leftover")
    assert isinstance(ran.outcome.result, Done)
    assert ran.outcome.result.details == {"output": "said\n"}
    assert time.monotonic() - began < 10
    assert run(fields, "exec_chatter").outcome.outcome is Outcome.SUCCESS
    assert time.monotonic() - began < 20


def test_variables_that_hold_a_secret_are_named() -> None:
    """A secret in the middle of an address, too; an empty one stands in none."""
    told = {
        "URL": "postgresql://shop:pw-4711@db",
        "GREETING": "hello",
        "KEY": "s3cret",
        "EMPTY": "",
    }
    assert secret_variables(told, ["pw-4711", "s3cret", ""]) == ("URL", "KEY")


def in_memory(pid: int, text: bytes) -> int:
    """How often it stands in what a process can write to."""
    found = 0
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        place, rights = line.split()[:2]
        if "rw" in rights:
            first, last = (int(one, 16) for one in place.split("-"))
            with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
                memory.seek(first)
                found += memory.read(last - first).count(text)
    return found


def test_no_verb_finds_a_secret_of_another(fields: Fields) -> None:
    """What all of them come of never had it, and so none of them."""

    class Nowhere:
        def write(self, chunk: bytes) -> None:
            pass

    told = {"TOKEN": "the-secret-of-another", "CXLOCAL_STORE_TOKEN": "t0ken-of-the-store"}
    worker = ToolWorker(
        ToolRequest(Example, "build", {"way": "origin"}, fields, told), on_intend=print
    )
    env = {"PATH": os.environ["PATH"], "CXLOCAL_STORE_TOKEN": told["CXLOCAL_STORE_TOKEN"]}
    with Supervisor(SystemClock()) as supervisor:
        worker.start(supervisor, env=env, sink=Nowhere(), timeout_seconds=20)
        (end,) = supervisor.wait(20)
        result = worker.outcome(end).result
        assert isinstance(result, Done) and result.details["token"] == len(told["TOKEN"])
        origin = result.details["pid"]
        assert in_memory(origin, b"cxlocal.hooks.messages"), "it can be looked into"
        assert [in_memory(origin, one.encode()) for one in told.values()] == [0, 0]


def test_code_of_others_is_loaded_by_workers_alone() -> None:
    """Where the name of a module is that of a shipped one, or begins like it."""

    def modules_for(module: str) -> tuple[str, ...]:
        return worker_for(type("Other", (Example,), {"__module__": module})).modules

    for ours in ("cxlocal_plugins.haproxy", "cxlocal_plugins.local_service.tool", "cxlocal.runner"):
        assert modules_for(ours) == (ours,)
    for other in ("test_worker", "cxlocal_plugins.haproxy_of_others", "cxlocal_plugins.mine",
                  "cxlocal_other", "cxlocal_tool", "__main__"):  # fmt: skip
        assert modules_for(other) == ()


def test_secrets_appear_nowhere(fields: Fields) -> None:
    ran = run(fields, "print_secret")
    everything = repr(ran)
    assert "s3cret-value" not in everything
    assert ran.progress == ("using ***",) and ran.log.startswith(b"<***>")
    assert ran.outcome.reason.endswith("refused ***")
    details = run(fields, "secret_details").outcome.result
    assert isinstance(details, Done)
    assert details.details == {"token": "***", "in env": False}


def test_what_the_environment_gives_it_of_ours_appears_nowhere(fields: Fields) -> None:
    ours = {"CXLOCAL_STORE_TOKEN": "t0ken-of-the-store"}
    ran = run(fields, "say_ours", env=ours)
    assert isinstance(ran.outcome.result, Done)
    assert ran.outcome.result.details == {"token": "***"} and ran.progress == ("asking with ***",)
    kept = run(fields, "intend_ours", env=ours)
    assert kept.intents == () and "holds a secret" in kept.outcome.reason


def test_a_handle_with_a_secret_is_refused(fields: Fields) -> None:
    ran = run(fields, "intend_secret")
    assert ran.outcome.outcome is Outcome.ERROR and "holds a secret" in ran.outcome.reason
    assert ran.intents == ()


@pytest.mark.parametrize("trouble", [Refused("disk full"), OSError("disk full")])
def test_an_intent_that_cannot_be_recorded_ends_in_error(
    fields: Fields, trouble: Exception
) -> None:
    def refuse(handle: Any) -> None:
        raise trouble

    ran = run(fields, "", verb="create", on_intend=refuse)
    assert ran.outcome.outcome is Outcome.ERROR and "disk full" in ran.outcome.reason
    assert b"after the intent" not in ran.log
    hidden = run(fields, "intend_and_hide", on_intend=refuse)
    assert hidden.outcome.outcome is Outcome.ERROR and "disk full" in hidden.outcome.reason


def test_the_intent_is_durable_before_the_tool_goes_on(fields: Fields) -> None:
    seen: list[float] = []

    def slowly(handle: Any) -> None:
        time.sleep(0.3)
        seen.append(time.monotonic())

    ran = run(fields, "", verb="create", on_intend=slowly)
    assert ran.outcome.outcome is Outcome.SUCCESS and len(seen) == 1


def test_a_service_outlives_the_task(fields: Fields) -> None:
    ran = run(fields, "daemon")
    (daemon,) = ran.outcome.daemons
    assert isinstance(ran.outcome.result, Done)
    assert ran.outcome.result.details == {"pid": daemon.pid}
    assert alive(*daemon) and os.getpgid(daemon.pid) == daemon.pid
    until = time.monotonic() + 5
    while not (fields.scratch / "service" / "log").stat().st_size and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(daemon.pid, signal.SIGKILL)
    assert (fields.scratch / "service" / "log").read_bytes() == b"serving\n"
    assert (fields.scratch / "service" / "log").stat().st_mode & 0o077 == 0
    until = time.monotonic() + 5
    while alive(*daemon) and time.monotonic() < until:
        time.sleep(0.02)
    assert not alive(*daemon)


def test_a_tool_that_cannot_be_made(fields: Fields) -> None:
    ran = run_tool_here(NotAWorker, "build", fields)
    assert ran.outcome.outcome is Outcome.ERROR and "something" in ran.outcome.reason


def test_the_worker_imports_little() -> None:
    """A worker must start fast: what it imports before a tool's own modules."""
    import subprocess

    heavy = {"pluggy", "click", "asyncio", "sqlite3", "importlib.metadata", "urllib.request",
             "logging", "tempfile", "shutil", "sqlite_utils", "datasette"}  # fmt: skip
    code = (
        "import sys; import cxlocal.hooks.context, cxlocal.hooks.load, cxlocal.hooks.specs;"
        f"print(sorted({sorted(heavy)!r} & sys.modules.keys()))"
    ).replace(f"{sorted(heavy)!r} &", f"set({sorted(heavy)!r}) &")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_several_workers_beside_plain_commands(fields: Fields) -> None:
    class Nowhere:
        def write(self, chunk: bytes) -> None:
            pass

    workers = {
        way: ToolWorker(ToolRequest(Example, "build", {"way": way}, fields, {}), on_intend=print)
        for way in ("nothing", "fail", "return")
    }
    with Supervisor(SystemClock()) as supervisor:
        env = {"PATH": os.environ["PATH"]}
        for way, worker in workers.items():
            worker.start(supervisor, env=env, sink=Nowhere(), timeout_seconds=20, tag=way)
        supervisor.start(
            ["true"], cwd="/", env=env, sink=Nowhere(), timeout_seconds=20, tag="plain"
        )
        ends = []
        while supervisor.children:
            ends += supervisor.wait(20)
    outcomes = {e.child.tag: workers[str(e.child.tag)].outcome(e).outcome for e in ends
                if e.child.tag != "plain"}  # fmt: skip
    assert outcomes == {
        "nothing": Outcome.SUCCESS,
        "fail": Outcome.FAILURE,
        "return": Outcome.ERROR,
    }
