"""The tool ``haproxy``: weights of instances behind a balancer, by its runtime interface.

Either the balancer is there (``url``), on this machine or on the component's host, or the tool runs one here
with a ``config`` of the checkout, into which it writes the servers, so that a restart forgets nothing.
"""

from __future__ import annotations

import contextlib
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
from cxlocal_plugins.haproxy_agent import MOST, PREFIX, place, read, scaled

CLOCK = SystemClock()
AGENT = Path(haproxy_agent.__file__)
START_SECONDS, END_SECONDS, LOOK_SECONDS = 10.0, 5.0, 0.05
SPARE_SECONDS = 2.0
"""Of the time for draining, left for saying that it was not enough."""
SOCKET, CONFIG, STATE, PORT = "admin.sock", "haproxy.cfg", "wanted.json", "port"
HEAD = f"global\n  stats socket unix@{SOCKET} level admin mode 600 expose-fd listeners\n"


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
        if ctx.options.socket or not _differs(ctx, _rendered(ctx)):
            return Previewed()
        return Previewed(changes=(f"haproxy gets the configuration {ctx.options.config}",))

    def apply(self, ctx: Context) -> Applied:
        """Run haproxy with the configuration; nobody is cut off by a new one. Raises ToolFailure."""
        if ctx.options.socket:
            return Applied(changed=False)
        root = _root(ctx)
        root.mkdir(parents=True, exist_ok=True)
        outputs = {"address": f"127.0.0.1:{_port(ctx)}", "url": f"http://127.0.0.1:{_port(ctx)}"}
        content = _rendered(ctx)
        if not _differs(ctx, content):
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
        """Who gets what, as the balancer says."""
        if not ctx.options.socket and not _processes(ctx, _root(ctx)):
            return Observed(turn=read(str(_root(ctx) / STATE))["turn"])
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
        """Start haproxy; one that runs hands its listeners over and ends when its requests have."""
        if shutil.which("haproxy") is None:
            raise Trouble("there is no haproxy on PATH", why="config runs one", hint="install it")
        checked = ctx.exec(["haproxy", "-c", "-f", CONFIG], cwd=root, check=False)
        if checked.code:
            raise ToolFailure(f"haproxy refuses {ctx.options.config}: {checked.output[-800:]}")
        old = _processes(ctx, root)
        over = ["-x", SOCKET, "-sf", *map(str, old)] if old else []
        command = ["haproxy", "-db", "-f", str(root / CONFIG), *over]
        process = ctx.daemon(command, cwd=root, env=dict(os.environ), log=root / "log")
        deadline = CLOCK.monotonic() + START_SECONDS
        while self._process(ctx) != process:
            if identity(process) is None or CLOCK.monotonic() >= deadline:
                words = (root / "log").read_text("utf-8", "replace")[-500:]
                raise ToolFailure(f"haproxy does not come up: {words}")
            time.sleep(LOOK_SECONDS)

    def _process(self, ctx: Context) -> int:
        """Who answers at the socket; 0 for nobody."""
        try:
            # While one process takes over from another, the other may leave a question unanswered.
            return int(self._ask(ctx, verb="observe", patience=LOOK_SECONDS * 4)["pid"])
        except Trouble:
            return 0


def render(config: str, backend: str, port: int, wanted: dict[str, list[Any]], server: str) -> str:
    """A configuration with our socket, the port, and the wanted servers at the end of the backend. Pure but
    for looking up the addresses. Raises ToolFailure without the backend."""
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
    return HEAD + text[: found.end()].rstrip("\n") + "\n" + lines + text[found.end() :]


def _rendered(ctx: Context) -> str:
    file = ctx.checkout / ctx.options.config
    if not file.is_file():
        raise ToolFailure(f"there is no configuration {ctx.options.config}")
    wanted = read(str(_root(ctx) / STATE))["wanted"]
    options = ctx.options
    return render(file.read_text("utf-8"), options.backend, _port(ctx), wanted, options.server)


def _write_down(ctx: Context) -> None:
    """So that a balancer of ours that is started again has its servers."""
    if not ctx.options.socket:
        write_whole(_root(ctx) / CONFIG, _rendered(ctx))


def _differs(ctx: Context, content: str) -> bool:
    """Whether haproxy does not run here, or with another configuration."""
    try:
        same = (_root(ctx) / CONFIG).read_text("utf-8") == content
    except OSError:
        same = False
    return not same or not _processes(ctx, _root(ctx))


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
    """Those that run with the configuration in ``root``: its path is in their arguments."""
    pattern = rf"haproxy .*-f {re.escape(str(root / CONFIG))}( |$)"
    return [int(line) for line in ctx.exec(["pgrep", "-f", pattern], check=False).output.split()]


def _end(ctx: Context, root: Path) -> None:
    """End what runs there. Raises ToolFailure when it does not end."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = CLOCK.monotonic() + END_SECONDS
        for process in _processes(ctx, root):
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
