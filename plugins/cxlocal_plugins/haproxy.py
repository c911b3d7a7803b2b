"""The tool ``haproxy``: weights of instances behind a balancer, by its runtime interface.

Either the balancer is there (``url``), on this machine or on the component's host, or the tool runs one here
with a ``config`` of the checkout, into which it writes the servers, so that a restart forgets nothing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shlex
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import Any, ClassVar

from cxlocal.domain import path_part
from cxlocal.errors import Trouble
from cxlocal.files import write_whole
from cxlocal.hooks.running import SystemClock, identity
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import (
    Applied,
    Context,
    Done,
    Observed,
    ObservedResource,
    Previewed,
    Tool,
    ToolFailure,
)
from cxlocal_plugins import haproxy_agent
from cxlocal_plugins.haproxy_agent import ANSWER_SECONDS, MOST, PREFIX, place, read, scaled

CLOCK = SystemClock()
AGENT = Path(haproxy_agent.__file__)
START_SECONDS, END_SECONDS, LOOK_SECONDS = 10.0, 5.0, 0.05
SPARE_SECONDS = 2.0
"""Of the time for draining, left for saying that it was not enough."""
SOCKET, CONFIG, STATE, PORT = "admin.sock", "haproxy.cfg", "wanted.json", "port"
SOCKET_BYTES = 97
"""Of the longest path that haproxy listens at: it adds some while it starts."""
OURS = re.compile(
    r"\Aglobal\n  stats socket unix@.+ level admin mode 600 expose-fd listeners\n"
    rf"|^  server {PREFIX}.*\n",
    re.MULTILINE,
)
"""What we add to a configuration."""
ANY = ("", "*", "0.0.0.0", "::")
PROCESSES = Path("/proc")
BIND = re.compile(r"^\s+bind\s+(\S+)", re.MULTILINE)
PLACE = re.compile(r"(?:ipv[46]@)?(\*|[\d.]*|\[?[\da-fA-F:]*\]?):(\d+)")
"""What ``bind`` names, where that is an address and one port."""


class Haproxy(Tool):
    """haproxy, 2.6 or later."""

    name = "haproxy"
    api = 2
    title = "Balancer (haproxy)"
    outputs: ClassVar[tuple[str, ...]] = ("address", "url")

    class Options(Tool.Options, frozen=True):
        """``url``: the stats socket (level admin) of a balancer that is given. ``config``: a file of the
        checkout; without ``url`` the tool runs haproxy here with it, at ``port`` (0: a free one that stays),
        for which it has the word CXLOCAL_PORT. ``backend``: where the instances go. ``server``: what each of
        them is given. ``state``: the file for turn and weights, by default beside the socket."""

        url: str = ""
        config: str = ""
        port: int = 0
        backend: str = "web"
        server: str = "check"
        state: str = ""

        def __post_init__(self) -> None:
            """Raises ValueError unless it says which balancer is meant."""
            if not self.url and not self.config:
                raise ValueError("give url or config")
            if not re.fullmatch(r"[\w.:-]+", self.backend):
                raise ValueError(f"{self.backend!r} is no name of a backend")

        @property
        def socket(self) -> str:
            """The socket of a balancer that is given; empty for one that the tool runs."""
            return self.url.removeprefix("unix://")

    def provision(self, ctx: Context) -> Done:
        """Announce the balancer that ``apply`` runs here."""
        if not ctx.options.socket:
            ctx.intend({"root": str(_root(ctx))})
            _root(ctx).mkdir(parents=True, exist_ok=True)
        return Done()

    def preview(self, ctx: Context) -> Previewed:
        """Whether the configuration is another one. Raises ToolFailure for one that haproxy refuses."""
        if ctx.options.socket:
            return Previewed()
        differs = _differs(ctx, _rendered(ctx))
        if not self._process(ctx):
            return Previewed(changes=(f"haproxy is started with {ctx.options.config}",))
        changes = (f"haproxy gets the configuration {ctx.options.config}",)
        return Previewed(changes=changes if differs else ())

    def apply(self, ctx: Context) -> Applied:
        """Run haproxy with the configuration; nobody is cut off by a new one. Raises ToolFailure."""
        if ctx.options.socket:
            return Applied(changed=False)
        root = _root(ctx)
        root.mkdir(parents=True, exist_ok=True)
        outputs = {"address": f"127.0.0.1:{_port(ctx)}", "url": f"http://127.0.0.1:{_port(ctx)}"}
        content = _rendered(ctx)
        if not _differs(ctx, content) and self._process(ctx):
            return Applied(changed=False, outputs=outputs)
        write_whole(root / CONFIG, content)
        self._start(ctx, root)
        return Applied(reversible=True, outputs=outputs)

    def rotate(self, ctx: Context) -> Done:
        """Make the weights the wanted ones. Raises ToolFailure when a later turn was there, or where an instance is
        not known."""
        if lost := sorted(set(ctx.wanted) - set(ctx.addresses)):
            raise ToolFailure(
                f"no address is known of {', '.join(lost)}: 'create' or 'observe' says it"
            )
        wanted = {one: [weight, ctx.addresses[one]] for one, weight in ctx.wanted.items()}
        answer = self._ask(ctx, verb="rotate", wanted=wanted, options=ctx.options.server)
        _write_down(ctx)
        return Done(details={"turn": answer["turn"]})

    def drain(self, ctx: Context) -> Done:
        """Wait until nobody uses an instance, and take it out. Raises ToolFailure when that takes too long."""
        seconds = min(max(0.0, ctx.timeout - SPARE_SECONDS), 86400.0)
        answer = self._ask(ctx, verb="drain", resource=ctx.resource, seconds=seconds)
        _write_down(ctx)
        if not answer["drained"]:
            raise ToolFailure(f"somebody still uses {ctx.resource} after {seconds:.0f} s")
        return Done()

    def observe(self, ctx: Context) -> Observed:
        """Who gets what, as the balancer says; one of ours that does not run is not well."""
        if not ctx.options.socket and not self._process(ctx):
            return Observed(healthy=False, turn=read(str(_root(ctx) / STATE))["turn"])
        answer = self._ask(ctx, verb="observe")
        resources = tuple(
            ObservedResource(id=one, **server) for one, server in sorted(answer["servers"].items())
        )
        details = {key: answer[key] for key in ("forgotten", "others") if answer[key]}
        return Observed(resources=resources, turn=answer["turn"], details=details)

    def destroy(self, ctx: Context) -> Done:
        """End the balancer that runs here; one that was there before is left alone."""
        root = _owed_root(ctx)
        if root is not None:
            _end(ctx, root)
            if root.is_dir():
                for name in (SOCKET, CONFIG, STATE, f"{STATE}.lock", PORT, "log"):
                    (root / name).unlink(missing_ok=True)
                for part in (*root.glob(f"{SOCKET}.*"), *root.glob(".*.part"), *root.glob("*.new")):
                    part.unlink(missing_ok=True)
                root.rmdir()
        return Done()

    def _ask(self, ctx: Context, **request: Any) -> dict[str, Any]:
        """Carry out a request where the balancer is. Raises ToolFailure, Trouble."""
        answer: dict[str, Any]
        options = ctx.options
        path = options.socket or str(_root(ctx) / SOCKET)
        state = options.state or (
            f"{path}.{options.backend}.cxlocal" if options.socket else str(_root(ctx) / STATE)
        )
        told = {
            "socket": path, "state": state, "backend": options.backend, "turn": ctx.turn, **request,
        }  # fmt: skip
        said = ""
        if ctx.host and options.socket:
            there = ["python3", "-c", AGENT.read_text("utf-8"), json.dumps(told)]
            command = ["ssh", "-o", "BatchMode=yes", ctx.host, shlex.join(there)]
            said = ctx.exec(command, check=False).output
            line = next((one for one in said.splitlines() if one.startswith("cxlocal:")), "")
            answer = json.loads(line.removeprefix("cxlocal:") or '{"trouble": ""}')
        else:
            # This process is there for this verb alone.
            with contextlib.chdir("."):
                answer = haproxy_agent.answer(told)
        if "refused" in answer:
            raise ToolFailure(f"the balancer refuses an older turn: {answer['refused']}")
        if "trouble" in answer:
            raise Trouble(
                f"the balancer cannot be asked at {path}",
                why=answer["trouble"] or said.strip()[-500:] or "it says nothing",
                hint="see whether it runs, with a stats socket of level admin, and has the backend",
            )
        return answer

    def _start(self, ctx: Context, root: Path) -> None:
        """Start haproxy; what runs with this configuration, whoever started it, hands its listeners over and ends when
        its requests have. Raises ToolFailure, also where another process has a port of it."""
        if shutil.which("haproxy") is None:
            raise Trouble("there is no haproxy on PATH", why="config runs one", hint="install it")
        checked = ctx.exec(["haproxy", "-c", "-f", CONFIG], cwd=root, check=False)
        if checked.code:
            raise ToolFailure(f"haproxy refuses {ctx.options.config}: {checked.output[-800:]}")
        answers = self._process(ctx)
        old = sorted({*_processes(ctx, root), *([answers] if answers else [])})
        _refuse_taken(ctx, (root / CONFIG).read_text("utf-8"), old)
        over = ["-x", SOCKET] if answers else []
        over += ["-sf", *map(str, old)] if old else []
        command = ["haproxy", "-db", "-f", str(root / CONFIG), *over]
        process = ctx.daemon(command, cwd=root, env=dict(os.environ), log=root / "log")
        deadline = CLOCK.monotonic() + START_SECONDS
        # While one process takes over from another, the other may leave a question unanswered.
        while self._process(ctx, patience=LOOK_SECONDS * 4) != process:
            if identity(process) is None or CLOCK.monotonic() >= deadline:
                words = (root / "log").read_text("utf-8", "replace")[-500:]
                raise ToolFailure(f"haproxy does not come up: {words}")
            time.sleep(LOOK_SECONDS)

    def _process(self, ctx: Context, patience: float = ANSWER_SECONDS) -> int:
        """Who answers at the socket; 0 for nobody."""
        try:
            return int(self._ask(ctx, verb="who", patience=patience)["pid"])
        except Trouble:
            return 0


def render(
    config: str,
    backend: str,
    port: int,
    wanted: dict[str, list[Any]],
    server: str,
    at: str = SOCKET,
) -> str:
    """A configuration with our socket (``at``), the port, and the wanted servers at the end of the backend; what we
    added before is replaced. Pure but for looking up the addresses. Raises ToolFailure without the backend."""
    config = OURS.sub("", config)
    section = re.compile(rf"^backend\s+{re.escape(backend)}\b.*\n(?:[ \t#].*\n|\n)*", re.MULTILINE)
    text = config.replace("CXLOCAL_PORT", str(port)).rstrip("\n") + "\n"
    found = section.search(text)
    if found is None:
        raise ToolFailure(f"the configuration has no backend {backend!r}")
    most = max([weight for weight, _ in wanted.values()] + [MOST])
    lines = "".join(
        f"  server {PREFIX}{one} {place(address)} {server} weight {scaled(weight, most)}\n"
        for one, (weight, address) in sorted(wanted.items())
    )
    head = f"global\n  stats socket unix@{at} level admin mode 600 expose-fd listeners\n"
    return head + text[: found.end()].rstrip("\n") + "\n" + lines + text[found.end() :]


def _rendered(ctx: Context) -> str:
    file = ctx.checkout / ctx.options.config
    if not file.is_file():
        raise ToolFailure(f"there is no configuration {ctx.options.config}")
    return _with_servers(ctx, file.read_text("utf-8"))


def _with_servers(ctx: Context, config: str) -> str:
    root, options = _root(ctx), ctx.options
    wanted, path = read(str(root / STATE))["wanted"], str(root / SOCKET)
    # So that whoever starts it by hand may do that in any folder.
    plain = len(os.fsencode(path)) <= SOCKET_BYTES and not set(path) & set(" \t\"'\\#$")
    at = path if plain else SOCKET
    return render(config, options.backend, _port(ctx), wanted, options.server, at)


def _write_down(ctx: Context) -> None:
    """So that a balancer of ours that is started again has its servers. The configuration is the one that it has:
    whoever comes on another day has no checkout."""
    file = _root(ctx) / CONFIG
    if not ctx.options.socket and file.is_file():
        write_whole(file, _with_servers(ctx, file.read_text("utf-8")))


def _differs(ctx: Context, content: str) -> bool:
    """Whether the configuration here is another one."""
    try:
        return (_root(ctx) / CONFIG).read_text("utf-8") != content
    except OSError:
        return True


def _port(ctx: Context) -> int:
    """The port that is said, else the one it has, else a free one."""
    if ctx.options.port:
        return int(ctx.options.port)
    file = _root(ctx) / PORT
    if file.is_file():
        return int(file.read_text())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    if _root(ctx).is_dir():
        write_whole(file, str(port))
    return port


def _processes(ctx: Context, root: Path) -> list[int]:
    """Those that run with the configuration in ``root``."""
    if PROCESSES.is_dir():
        return started_with(root)
    # macOS does not say in which folder: its whole path is in their arguments.
    pattern = rf"haproxy .*-f {re.escape(str(root / CONFIG))}( |$)"
    return [int(line) for line in ctx.exec(["pgrep", "-f", pattern], check=False).output.split()]


def started_with(root: Path) -> list[int]:
    """Those that run with the configuration in ``root``, in whatever words and folder they were started."""
    wanted = {os.path.realpath(root / CONFIG), os.path.realpath(root)}
    found = []
    for folder in PROCESSES.glob("[0-9]*"):
        try:
            words = [os.fsdecode(one) for one in (folder / "cmdline").read_bytes().split(b"\0")]
            if os.path.basename(words[0]) != "haproxy":
                continue
            there = os.readlink(folder / "cwd").removesuffix(" (deleted)")
        except OSError:
            continue  # it has ended, or is another user's
        if wanted & {os.path.realpath(os.path.join(there, one)) for one in words[1:] if one}:
            found.append(int(folder.name))
    return found


def _refuse_taken(ctx: Context, config: str, ours: list[int]) -> None:
    """Raise ToolFailure where a process that is not of ``ours`` listens at a port of ``config``: two of haproxy can,
    and each gets a part of the requests."""
    for bound in (one for said in BIND.findall(config) for one in said.split(",")):
        found = PLACE.fullmatch(bound)
        if found is None or not ours and not _listens(found[1], int(found[2])):
            continue
        pids = sorted(_listeners(ctx, found[1].strip("[]"), found[2]) - set(ours))
        if pids or not ours:
            who = f"process {', '.join(map(str, pids))}" if pids else "a process of somebody else"
            raise ToolFailure(
                f"{who} listens at {bound}, and was not started with this configuration: end it, or"
                " give haproxy another port"
            )


def _listeners(ctx: Context, host: str, port: str) -> set[int]:
    """The processes that listen where ``bind`` would, as far as the system says."""
    if shutil.which("ss") is None:
        return set()
    lines = ctx.exec(["ss", "-Hltnp", f"sport = :{port}"], check=False).output.splitlines()
    rows = [words for line in lines if len(words := line.split()) > 3]
    places = [(row[3].rpartition(":")[0].strip("[]"), row[-1]) for row in rows]
    met = [said for at, said in places if host in ANY or at in (*ANY, host)]
    return {int(one) for said in met for one in re.findall(r"pid=(\d+)", said)}


def _listens(host: str, port: int) -> bool:
    """Whether anybody does where ``bind`` would."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]").replace("*", ""), port))
        except OSError as problem:
            return problem.errno == errno.EADDRINUSE
    return False


def _end(ctx: Context, root: Path) -> None:
    """End what runs there. Raises ToolFailure when it does not end."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = CLOCK.monotonic() + END_SECONDS
        for process in _processes(ctx, root):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
        while _processes(ctx, root):
            if CLOCK.monotonic() >= deadline:
                break
            time.sleep(LOOK_SECONDS)
    if left := _processes(ctx, root):
        raise ToolFailure(f"haproxy does not end: {left}")


def _root(ctx: Context) -> Path:
    """The balancer's own folder in the environment's."""
    found = _owed_root(ctx)
    if found is not None:
        return found
    if ctx.environment is None:
        raise ToolFailure("haproxy works in an environment")
    return Path(ctx.environment.folder) / path_part(ctx.behind or ctx.component or "haproxy")


def _owed_root(ctx: Context) -> Path | None:
    """Where the balancer with this handle runs; None without one."""
    handle = ctx.handle
    if isinstance(handle, dict) and isinstance(handle.get("root"), str):
        return Path(handle["root"])
    return None


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool."""
    return [Haproxy]
