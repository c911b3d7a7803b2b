"""What is done at a balancer, by one program where it runs: ``python3 haproxy_agent.py REQUEST``.

It needs nothing but Python, so that it can be sent to another host as it stands. The request and its answer
are JSON; the answer is one line that begins with ``cxlocal:``. Beside the balancer's socket a file holds what
is wanted and the turn that wanted it: written before anything is turned, and read by whoever comes next, also
after a restart of the balancer, which forgets its servers.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

PREFIX = "cxlocal-"
"""Of the names of our servers; the id of the instance follows. Others are not ours."""
MOST = 256
"""The largest weight of a server."""
ANSWER_SECONDS = 5.0
LOOK_SECONDS = 0.1
DELETE_SECONDS = 1.0
"""How long a server that nobody uses may hold connections that stand idle."""


class Balancer:
    """One backend of a running haproxy, by its runtime interface."""

    def __init__(self, path: str, backend: str, patience: float = ANSWER_SECONDS) -> None:
        self.path = path
        self.backend = backend
        self.patience = patience

    def ask(self, command: str) -> str:
        """The answer to a command. Raises OSError when nobody answers."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(self.patience)
            link.connect(self.path)
            link.sendall(f"experimental-mode on; {command}\n".encode())
            link.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: link.recv(65536), b""))
        return answer.decode("utf-8", "replace").strip()

    def do(self, command: str, *, said: str = "") -> None:
        """A command that answers nothing, or ``said``. Raises ValueError for another answer."""
        answer = self.ask(command)
        if answer and not (said and said in answer):
            raise ValueError(f"{command}: {answer}")

    def process(self) -> int:
        """The process that answers. Raises OSError, StopIteration."""
        lines = self.ask("show info").splitlines()
        return int(next(one for one in lines if one.startswith("Pid: ")).removeprefix("Pid: "))

    def servers(self) -> dict[str, dict[str, str]]:
        """The servers by name, with the columns of ``show stat``. Raises ValueError without the backend."""
        lines = self.ask(f"show stat {self.backend} 4 -1").splitlines()
        if not lines or not lines[0].startswith("# pxname"):
            raise ValueError(lines[0] if lines else "it says nothing of its servers")
        names = lines[0][2:].split(",")
        rows = [dict(zip(names, line.split(","), strict=False)) for line in lines[1:]]
        return {row["svname"]: row for row in rows}

    def set_weights(self, wanted: dict[str, list[Any]], options: str) -> None:
        """Make the weights those of ``wanted``: first what gets more, so that there always is somebody."""
        seen = self.servers()
        most = max([weight for weight, _ in wanted.values()] + [MOST])
        weights = {name: 0 for name in seen if name.startswith(PREFIX)}
        for resource, (weight, address) in wanted.items():
            name = PREFIX + resource
            weights[name] = scaled(weight, most)
            if name not in seen:
                self.do(
                    f"add server {self.backend}/{name} {place(address)} {options}",
                    said="registered",
                )
            elif not seen[name]["status"].startswith("MAINT"):
                continue
            # Health first: a server that comes out of maintenance counts at once.
            self.do(f"set server {self.backend}/{name} weight 0")
            if "check" in options.split():
                self.do(f"enable health {self.backend}/{name}")
            self.do(f"set server {self.backend}/{name} state ready")
        before = {name: int(row["uweight"] or 0) for name, row in seen.items()}
        for name in sorted(weights, key=lambda name: before.get(name, 0) - weights[name]):
            self.do(f"set server {self.backend}/{name} weight {weights[name]}")
        for name, row in seen.items():
            # Got nothing before and gets nothing now: whoever wants it again adds it again.
            if name.startswith(PREFIX) and not weights[name] and not before[name] and not busy(row):
                self.do(f"set server {self.backend}/{name} state maint")
                self.ask(f"del server {self.backend}/{name}")

    def drain(self, name: str, seconds: float) -> bool:
        """Wait until a server has no request left, and take it away; whether that came about in time."""
        deadline = time.monotonic() + seconds
        row = self.servers().get(name)
        if row is None:
            return True
        self.do(f"set server {self.backend}/{name} weight 0")
        while busy(row):
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_SECONDS)
            row = self.servers().get(name, {"scur": "0", "qcur": "0"})
        self.do(f"set server {self.backend}/{name} state maint")
        deadline = time.monotonic() + DELETE_SECONDS
        while "deleted" not in self.ask(f"del server {self.backend}/{name}"):
            if time.monotonic() >= deadline:
                break  # idle connections hold it; in maintenance it does no harm
            time.sleep(LOOK_SECONDS)
        return True


def busy(row: dict[str, str]) -> bool:
    """Whether a server has a request. Pure."""
    return bool(int(row["scur"]) or int(row["qcur"]))


def scaled(weight: int, most: int) -> int:
    """A weight where the largest of all is ``most``: who gets anything gets a little. Pure."""
    return max(1, weight * MOST // most) if weight else 0


def place(address: str) -> str:
    """``host:port`` as a number: the runtime interface looks up no names. Raises OSError, ValueError."""
    host, _, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0][4]
    return f"{found[0]!s}:{found[1]!s}"


@contextlib.contextmanager
def kept(path: str) -> Iterator[dict[str, Any]]:
    """What is written down beside the socket; whoever changes it is alone."""
    with open(f"{path}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield read(path)


def read(path: str) -> dict[str, Any]:
    """What is written down; no turn and nothing wanted where nothing is. Raises ValueError."""
    try:
        with open(path, encoding="utf-8") as file:
            state = json.load(file)
    except FileNotFoundError:
        return {"turn": 0, "wanted": {}}
    return {"turn": int(state["turn"]), "wanted": dict(state["wanted"])}


def write(path: str, state: dict[str, Any]) -> None:
    """Replace it whole, on disk before this returns."""
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)


def carry_out(request: dict[str, Any]) -> dict[str, Any]:
    """Rotate, drain, observe, or say who answers. Raises OSError, ValueError."""
    patience = request.get("patience", ANSWER_SECONDS)
    balancer, path = Balancer(request["socket"], request["backend"], patience), request["state"]
    if request["verb"] == "who":
        return {"pid": balancer.process()}
    if request["verb"] == "observe":
        return observed(balancer, read(path))
    with kept(path) as state:
        if state["turn"] > request["turn"]:
            return {"refused": f"turn {state['turn']} was here, this is turn {request['turn']}"}
        if request["verb"] == "rotate":
            write(path, {"turn": request["turn"], "wanted": request["wanted"]})
            balancer.set_weights(request["wanted"], request["options"])
            return observed(balancer, read(path))
        state["wanted"].pop(request["resource"], None)
        write(path, {**state, "turn": request["turn"]})
    return {"drained": balancer.drain(PREFIX + request["resource"], request["seconds"])}


def observed(balancer: Balancer, state: dict[str, Any]) -> dict[str, Any]:
    """What the balancer does, beside what is written down."""
    rows = balancer.servers()
    ours = {
        name.removeprefix(PREFIX): {
            "weight": 0 if row["status"].startswith("MAINT") else int(row["uweight"]),
            "healthy": row["status"].startswith(("UP", "no check")) or row["status"] == "DRAIN",
            "address": row["addr"],
        }
        for name, row in rows.items()
        if name.startswith(PREFIX)
    }
    forgotten = [one for one, (weight, _) in state["wanted"].items() if weight and one not in ours]
    others = sorted(name for name in rows if not name.startswith(PREFIX))
    return {"servers": ours, "turn": state["turn"], "forgotten": forgotten, "others": others}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request, in the folder of the balancer's socket; what it did, or ``trouble``."""
    # A path of a socket may have some hundred characters at most; a name in its folder is short.
    try:
        os.chdir(os.path.dirname(request["socket"]) or ".")
        return carry_out({**request, "socket": os.path.basename(request["socket"])})
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        return {"trouble": f"{type(error).__name__}: {error}"}


def main(text: str) -> int:
    """Carry out one request and say how it went; the exit code."""
    print("cxlocal:" + json.dumps(answer(json.loads(text))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
