"""What every tool should keep, as tests: ``ToolContract``.

A release trusts its tools with little: that options are checked, that a thing is announced before
it is made, that what was announced can be destroyed by its handle alone whatever happened in
between, that asking twice does no harm, and that no secret is said aloud.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG
from typing import Any, ClassVar

import pytest

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.domain import Outcome
from cxlocal.errors import ConfigError
from cxlocal.hooks.class_checks import check_tool
from cxlocal.hooks.context import Ran
from cxlocal.hooks.options import check_options
from cxlocal.hooks.tool import ArtifactRef, Done, Observed, Tool, verbs_of
from cxlocal.processes.identity import alive
from cxlocal.processes.mask import MARK
from cxlocal.processes.supervisor import GRACE_SECONDS
from cxlocal.testing.bench import Bench

LIFE = (
    "probe", "build", "test", "provision", "preview", "apply", "create", "rotate", "observe", "remove",
)  # fmt: skip
"""In this order the verbs of one life are tried, as far as the tool has them; then it ends."""
MAKERS = ("provision",)
"""Verbs that make something outside of the checkout: they owe an intent. For ``create`` the core has one,
and ``apply`` changes what there is."""
ENDERS = ("destroy", "remove")
SLACK_SECONDS = 5.0
"""Granted to a busy machine beyond the limit of a tool and its time for ending."""
SECRET = "CXLOCAL_CONTRACT_SECRET"
WATCH_SECONDS = 0.005
"""Between two looks at the arguments of what runs: shorter than most programs."""


class ToolContract:
    """Derive a test class from it. ``tool`` is needed; the rest as the tool needs it."""

    tool: ClassVar[type[Tool]]
    with_table: ClassVar[Mapping[str, Any]] = {}
    """The options, as a stage would give them."""
    life: ClassVar[tuple[str, ...]] = LIFE
    """Verbs that must succeed on a prepared bench, in order."""
    versions: ClassVar[tuple[str, str]] = ("1.0.0", "1.0.1")
    limit_seconds: ClassVar[float] = 30.0
    kill_after_seconds: ClassVar[tuple[float, ...]] = (0.0, 0.05, 0.3, 1.0)
    """Moments after the intent at which the worker is killed."""

    def prepare(self, bench: Bench) -> None:
        """Put into ``bench.checkout`` what the tool works on."""

    def options(self, bench: Bench) -> Mapping[str, Any]:
        """The options on this bench: ``with_table``, unless they have to name a place of it."""
        return self.with_table

    def artifacts(self, bench: Bench, version: str) -> Mapping[str, ArtifactRef]:
        """What an earlier stage of the release of ``version`` has made, beside what the tool's own
        ``build`` makes, which is handed on anyway."""
        return {}

    def remains(self, bench: Bench, handle: Any) -> list[str]:
        """What is left in the world of the thing a handle speaks of, in words.

        The environment's folder and processes started by ``ctx.daemon`` are looked after anyway.
        """
        return []

    def inspected(self, bench: Bench) -> str:
        """What is shown of the things that were made to whoever may look at them: by ``podman inspect``, in
        their logs, on a page of a balancer.

        The environment's folder and the checkout are looked into anyway.
        """
        return ""

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[Bench]:
        """A prepared bench; what was made on it is destroyed afterwards."""
        made = Bench(tmp_path / "bench")
        self.prepare(made)
        yield made
        if self._ender() and made.last_handle() is not None:
            self._run(made, self._ender())

    def test_it_is_a_tool(self) -> None:
        """Name, api, options and verbs are as the loader wants them."""
        assert check_tool(self.tool) == ""

    def test_options_are_checked(self) -> None:
        """The options of this class are taken, an unknown one is refused."""
        check_options(self.tool, self.with_table)
        with pytest.raises(ConfigError):
            check_options(self.tool, {**self.with_table, "no_such_option": "x"})

    def test_a_life_ends_well_and_no_secret_is_said(self, bench: Bench) -> None:
        """Every verb of ``life`` succeeds; a secret shows in no log, reason, result, handle or list of
        arguments, in nothing that others may look at, and in no artifact."""
        value = SystemIds().token()
        secrets = dict.fromkeys((SECRET, *self.tool.secrets), value)
        can = verbs_of(self.tool, self.with_table)
        for verb in [verb for verb in (*self.life, *ENDERS[:1]) if verb in can]:
            with arguments_with(value) as shown:
                ran = self._run(bench, verb, secrets=secrets, mask_log=False)
            assert ran.outcome.outcome is Outcome.SUCCESS, f"{verb}: {story(ran)}"
            assert not shown, f"{verb} gives a secret to a program as an argument: {shown}"
            assert value.encode() not in ran.log, f"{verb} writes a secret into the log"
            # What else it says is masked before anybody sees it; so the mark gives it away.
            said = f"{ran.outcome} {ran.progress}"
            assert MARK.decode() not in said, f"{verb} says a secret: {said}"
            assert value not in str(ran.intents), f"{verb} announces a secret: {ran.intents}"
            assert value not in self.inspected(bench), f"after {verb} whoever looks sees a secret"
            open_files = [str(path) for path in _open_files(bench) if _holds(path, value)]
            assert not open_files, f"{verb} writes a secret where others may read it: {open_files}"
            kept = [name for name, one in _made(ran).items() if _holds(one.path, value)]
            assert not kept, f"{verb} puts a secret into an artifact: {kept}"

    def test_it_observes_where_nothing_was_ever_made(self, bench: Bench) -> None:
        """Before the first deployment there is no handle, and nothing runs."""
        if "observe" in verbs_of(self.tool, self.with_table):
            ran = self._run(bench, "observe")
            assert ran.outcome.outcome is Outcome.SUCCESS, f"observe: {story(ran)}"
            assert isinstance(ran.outcome.result, Observed)
            assert not ran.outcome.result.version, "it sees a version where none was deployed"

    def test_nothing_is_made_before_it_was_announced(self, bench: Bench) -> None:
        """Where the intent cannot be recorded nothing is made, and destroying it does no harm."""
        for verb in self._makers():
            before = _files(bench)
            ran, announced = self._refused(bench, verb)
            assert announced, f"{verb} makes something and never calls ctx.intend: {story(ran)}"
            handle, seen = announced[-1]
            assert seen == before, "something was made before ctx.intend was called"
            assert ran.outcome.outcome is Outcome.ERROR, "it goes on although it may not"
            assert _files(bench) == before, "something was made although ctx.intend was refused"
            assert not ran.outcome.daemons and self.remains(bench, handle) == []
            self._destroy(bench, handle)

    def test_killed_at_any_moment_it_can_be_destroyed(self, bench: Bench) -> None:
        """After kill -9 the handle alone is enough to leave nothing behind."""
        for verb in self._makers():
            for seconds in self.kill_after_seconds:
                ran = self._run(bench, verb, kill_after_seconds=seconds)
                assert ran.intents, (
                    f"{verb} never came to its intent, so nothing was tried: {story(ran)}"
                )
                self._destroy(bench, ran.intents[-1])
                left = [daemon.pid for daemon in ran.outcome.daemons if alive(*daemon)]
                assert left == [], f"processes are left {seconds} s after the intent: {left}"

    def test_twice_is_as_good_as_once(self, bench: Bench) -> None:
        """provision, observe and destroy may be repeated: a run may be resumed anywhere."""
        can = verbs_of(self.tool, self.with_table)
        for verb in self._makers():
            for _ in range(2):
                ran = self._run(bench, verb)
                assert ran.outcome.outcome is Outcome.SUCCESS, f"{verb}: {story(ran)}"
        if "observe" in can:
            seen = [self._run(bench, "observe").outcome for _ in range(2)]
            assert seen[0].result == seen[1].result and seen[0].outcome is Outcome.SUCCESS
        if self._makers():
            handle = bench.last_handle()
            for _ in range(2):
                self._destroy(bench, handle)

    def test_a_time_limit_ends_it(self, bench: Bench) -> None:
        """A verb that is not done in time ends in time, and can be cleaned up after."""
        clock = SystemClock()
        can = verbs_of(self.tool, self.with_table)
        verb = next(verb for verb in (*MAKERS, *can) if verb in can)
        limit = 0.2
        # What a verb works on is made before the clock runs.
        self._given(bench, verb, self.versions[0])
        began = clock.monotonic()
        ran = self._run(bench, verb, limit_seconds=limit)
        took = clock.monotonic() - began
        assert took < limit + GRACE_SECONDS + SLACK_SECONDS, f"{verb} took {took:.1f} s"
        if ran.intents:
            self._destroy(bench, ran.intents[-1])

    def _refused(self, bench: Bench, verb: str) -> tuple[Ran, list[tuple[Any, list[Path]]]]:
        """Run a verb whose intents cannot be recorded; each with the files of that moment."""
        announced: list[tuple[Any, list[Path]]] = []

        def refuse(handle: Any) -> None:
            announced.append((handle, _files(bench)))
            raise OSError("the disk is full")

        return self._run(bench, verb, on_intend=refuse), announced

    def _makers(self) -> tuple[str, ...]:
        can = verbs_of(self.tool, self.with_table)
        return tuple(verb for verb in MAKERS if verb in can)

    def _ender(self) -> str:
        can = verbs_of(self.tool, self.with_table)
        return next((verb for verb in ENDERS if verb in can), "")

    def _run(self, bench: Bench, verb: str, *, version: str = "", **others: Any) -> Ran:
        version = version or self.versions[0]
        secrets = dict.fromkeys(self.tool.secrets, SystemIds().token())
        given = {"limit_seconds": self.limit_seconds, "secrets": secrets, **others}
        given.setdefault("artifacts", self._given(bench, verb, version))
        ran = bench.run(self.tool, verb, self.options(bench), version=version, **given)
        if verb == "build":
            bench.built[version] = _made(ran)
        return ran

    def _given(self, bench: Bench, verb: str, version: str) -> Mapping[str, ArtifactRef]:
        """The artifacts a verb finds: of the tool's own build, which is run for it, and of others."""
        later = verb not in ("probe", "build") and "build" in verbs_of(self.tool, self.with_table)
        if later and version not in bench.built:
            ran = self._run(bench, "build", version=version)
            assert ran.outcome.outcome is Outcome.SUCCESS, f"build: {story(ran)}"
        built = bench.built.get(version, {}) if later else {}
        return {**built, **self.artifacts(bench, version)}

    def _destroy(self, bench: Bench, handle: Any) -> None:
        """By the handle alone, twice; nothing is left."""
        ender = self._ender()
        assert ender, "a tool that makes something needs the verb destroy"
        for _ in range(2):
            ran = self._run(bench, ender, handle=handle)
            assert ran.outcome.outcome is Outcome.SUCCESS, f"{ender}: {story(ran)}"
            assert ran.intents == (), f"{ender} creates nothing, so it has nothing to intend"
        assert _files(bench) == [], "files are left in the environment's folder"
        assert self.remains(bench, handle) == []


@contextmanager
def arguments_with(secret: str) -> Iterator[set[str]]:
    """The programs that are started meanwhile with ``secret`` among their arguments, which every user of the
    machine can read. Looked for where the system lists them as files (Linux)."""
    found: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(WATCH_SECONDS):
            for place in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):  # it has ended
                    if secret.encode() in (words := place.read_bytes()):
                        found.add(words.partition(b"\0")[0].decode("utf-8", "replace"))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


def _made(ran: Ran) -> dict[str, ArtifactRef]:
    """What a build made, as the stages after it are given it."""
    found = {}
    made = ran.outcome.result
    for one in made.artifacts if isinstance(made, Done) else ():
        content = one.path.read_bytes()
        digest = sha256(content).hexdigest()
        found[one.name] = ArtifactRef(
            name=one.name, path=one.path, sha256=digest, size=len(content), purl=one.purl
        )
    return found


def _holds(path: Path, secret: str) -> bool:
    with suppress(OSError):  # a file of another user, or gone by now
        return secret.encode() in path.read_bytes()
    return False


def _open_files(bench: Bench) -> Iterator[Path]:
    """Files that a verb may have left, but those that are for their owner alone."""
    for folder in (bench.environment.folder, bench.checkout):
        for path in folder.rglob("*"):
            with suppress(OSError):
                mode = path.lstat().st_mode
                if S_ISREG(mode) and mode & 0o077:
                    yield path


def _files(bench: Bench) -> list[Path]:
    return sorted(bench.environment.folder.rglob("*"))


def story(ran: Ran) -> str:
    """How a verb ended, with its log: for messages."""
    log = ran.log.decode("utf-8", "replace")
    return f"{ran.outcome.outcome}: {ran.outcome.reason}\n{ran.outcome.trace}\n{log}"
