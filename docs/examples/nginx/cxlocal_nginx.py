"""A balancer for cxlocal: nginx, told its weights by its configuration.

All it knows stands in the first line of that file, so nothing is forgotten when nginx is restarted.
"""

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Applied, Context, Done, Observed, ObservedResource, Tool, ToolFailure

CONFIG = """\
# {state}
pid nginx.pid;
worker_processes 1;
events {{}}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  upstream behind {{ {servers} }}
  server {{ listen {listen}; location / {{ proxy_pass http://behind; }} }}
}}
"""


class Nginx(Tool):
    name = "nginx"
    api = 2
    title = "nginx as balancer, on this machine"
    executables = ("nginx",)
    here = True

    class Options(Tool.Options, frozen=True):
        listen: str

    def apply(self, ctx: Context) -> Applied:
        """Have it run, with the weights that it has."""
        place = _place(ctx, ctx.component)
        ctx.intend({"place": str(place)})
        with _locked(place):
            _write(ctx, place, _state(place))
        return Applied(outputs={"url": f"http://{ctx.options.listen}"})

    def rotate(self, ctx: Context) -> Done:
        """Set all weights; an older turn is refused."""
        place = _place(ctx, ctx.behind)
        with _locked(place):
            known = _state(place)["turn"]
            if ctx.turn < known:
                raise ToolFailure(f"turn {known} is written here, this is {ctx.turn}")
            servers = {one: [ctx.addresses[one], weight] for one, weight in ctx.wanted.items()}
            _write(ctx, place, {"turn": ctx.turn, "servers": servers})
        return Done()

    def drain(self, ctx: Context) -> Done:
        """A worker of the configuration before ends with its last connection."""
        over = time.monotonic() + ctx.timeout - 1
        while any(b"shutting down" in words for words in _ours(_place(ctx, ctx.behind)).values()):
            if time.monotonic() > over:
                raise ToolFailure("connections are still open")
            time.sleep(0.05)
        return Done()

    def observe(self, ctx: Context) -> Observed:
        place = _place(ctx, ctx.behind)
        state = _state(place)
        return Observed(
            turn=state["turn"],
            healthy=_master(place) != 0,
            resources=tuple(
                ObservedResource(id=one, address=address, weight=weight)
                for one, (address, weight) in state["servers"].items()
            ),
        )

    def destroy(self, ctx: Context) -> Done:
        place = _place(ctx, ctx.component)
        _end(place)
        if place.is_dir():
            ctx.exec(["rm", "-rf", str(place)])
        return Done()


def _place(ctx: Context, balancer: str) -> Path:
    assert ctx.environment is not None
    return ctx.environment.folder / balancer


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """One at a time: of two turns the lower must not be written last."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _state(place: Path) -> dict[str, Any]:
    with suppress(FileNotFoundError):
        first = (place / "nginx.conf").read_text().partition("\n")[0]
        return dict(json.loads(first.removeprefix("# ")))
    return {"turn": 0, "servers": {}}


def _write(ctx: Context, place: Path, state: dict[str, Any]) -> None:
    """The configuration, whole or not at all; then nginx is told, or started."""
    told = [f"server {at} weight={weight};" for at, weight in state["servers"].values() if weight]
    text = CONFIG.format(
        state=json.dumps(state),
        listen=ctx.options.listen,
        servers=" ".join(told) or "server 127.0.0.1:1 down;",
    )
    (place / "part").write_text(text)
    ctx.exec(_nginx(place, "part", "-t", "-q"))
    os.replace(place / "part", place / "nginx.conf")
    before = set(_ours(place))
    if master := _master(place):
        os.kill(master, signal.SIGHUP)
    else:
        _end(place)  # workers whose master was killed hold the port
        words = _nginx(place, "nginx.conf", "-g", "daemon off;")
        ctx.daemon(words, cwd=place, env=dict(os.environ), log=place / "nginx.log")
    over = time.monotonic() + 10
    while not _taken(place, before):
        if time.monotonic() > over:
            raise ToolFailure(f"nginx does not take it: {(place / 'error.log').read_text()[-300:]}")
        time.sleep(0.02)


def _taken(place: Path, before: set[int]) -> bool:
    """Whether a new worker is there, and those before it take no new requests."""
    workers = {pid: words for pid, words in _ours(place).items() if b"worker process" in words}
    old = [words for pid, words in workers.items() if pid in before]
    return len(workers) > len(old) and all(b"shutting down" in words for words in old)


def _nginx(place: Path, config: str, *words: str) -> list[str]:
    return ["nginx", "-p", f"{place}/", "-c", config, "-e", "error.log", *words]


def _ours(place: Path) -> dict[int, bytes]:
    """Processes of this nginx: they work in its folder. A number in a file may be anyone's by now."""
    found = {}
    for one in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (one / "cmdline").read_bytes()
            if words.startswith(b"nginx: ") and os.readlink(one / "cwd") == str(place.resolve()):
                found[int(one.name)] = words
    return found


def _master(place: Path) -> int:
    return next((pid for pid, words in _ours(place).items() if b"master" in words), 0)


def _end(place: Path) -> None:
    while ours := _ours(place):
        for pid in ours:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        time.sleep(0.05)


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    return [Nginx]
