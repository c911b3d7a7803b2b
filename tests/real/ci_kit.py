"""Real CI servers, set up as docs/ci.md says: Buildbot masters with a worker each, and ``act``."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from cxlocal_sync.http.members import Members
from filelock import FileLock
from http_kit import ProcessServer, listen
from typed import FENCE

from cxlocal.exchange.rights import Rights

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "ci.md"
BLOCKS = {name: text for _, name, text in FENCE.findall(PAGE.read_text(encoding="utf-8")) if name}
"""What the page shows, by the word behind its language."""
PROGRAM = Path(sys.executable).with_name("cxlocal")
PATIENCE_SECONDS = 90.0
SUCCESS, EXCEPTION, RETRY, CANCELLED = 0, 4, 5, 6
"""Results of a build, as Buildbot counts them."""


def programs() -> Path:
    """Where Buildbot and act are: in an environment of their own, as they bring thirty packages. Made
    once, beside the programs of the tests."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = project["dependency-groups"]["ci-servers"]
    folder = Path(sys.prefix) / "ci-servers"
    stamp = folder / "stamp"
    with FileLock(f"{folder}.lock"):
        if not stamp.is_file() or stamp.read_text() != repr(wanted):
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            pip = [folder / "bin" / "python", "-m", "pip", "install", "-q"]
            subprocess.run([*pip, "--disable-pip-version-check", *wanted], check=True)
            stamp.write_text(repr(wanted))
    return folder / "bin"


def until(found: Callable[[], Any], what: str) -> Any:
    """What ``found`` answers as soon as that is something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (answer := found()):
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.05)
    return answer


def free_port() -> int:
    with listen("127.0.0.1", 0) as free:
        return int(free.getsockname()[1])


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    told = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in told for one in family(int(child)))]


class Farm:
    """A remote, a served store, and machines with a home each."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin = root, programs()
        self.remote, self.work = root / "shop.git", root / "laptop" / "shop"
        self.store = ProcessServer(root / "central")
        self.gate = root / "gate"
        self.servers: list[Buildbot] = []
        members = Members(self.store.members_path)
        code = members.invite("laptop", Rights(manage=True))
        members.close()
        self.at("laptop", "cxlocal", "store", "join", self.store.url, "--code", code)
        subprocess.run(["git", "init", "-q", "--bare", self.remote], check=True)
        self.git("clone", "-q", self.remote, self.work, at=self.root)
        self.push(BLOCKS["cx.toml"])

    def environ(self, machine: str, **more: str) -> dict[str, str]:
        """That of a user of a machine: its home, and where programs are."""
        home = self.root / machine
        home.mkdir(exist_ok=True)
        path = os.pathsep.join((str(PROGRAM.parent), str(self.bin), os.environ["PATH"]))
        told = {"HOME": str(home), "PATH": path, "CXLOCAL_STORE": self.store.url}
        return {**os.environ, **told, **more}

    def at(self, machine: str, *words: Any, code: int = 0, **more: str) -> str:
        """What a command said on a machine, in a clone of the project where it has one."""
        clone = self.root / machine / "shop"
        done = subprocess.run(
            [str(word) for word in words], env=self.environ(machine, **more), capture_output=True,
            cwd=clone if clone.is_dir() else self.root / machine, timeout=PATIENCE_SECONDS, check=False, text=True,
        )  # fmt: skip
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def rows(self, machine: str, query: str) -> list[dict[str, Any]]:
        """Rows of the history as a machine knows it, fetched before."""
        self.at(machine, "cxlocal", "sync")
        found = json.loads(self.at(machine, "cxlocal", "sql", "--json", query))
        assert isinstance(found, list)
        return found

    def git(self, *words: Any, at: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *map(str, words)],
            cwd=at or self.work,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def push(self, config: str) -> str:
        """A commit with this ``cx.toml``, and with the workflow of the page, pushed."""
        workflow = self.work / ".github" / "workflows" / "release.yml"
        workflow.parent.mkdir(parents=True, exist_ok=True)
        text = BLOCKS[".github/workflows/release.yml"]
        workflow.write_text(text.replace("https://store.example.org:8377", self.store.url))
        (self.work / "cx.toml").write_text(config)
        self.git("add", ".")
        self.git("commit", "-qm", "Describe the release", "--allow-empty")
        self.git("push", "-q", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")

    def token(self, member: str) -> str:
        """The token of a new member, as it goes into the secrets of a CI server."""
        join = ["cxlocal", "store", "join", self.store.url, "--code", self.invite(member)]
        return self.at("laptop", *join, "--print-token").split()[0]

    def invite(self, member: str) -> str:
        found = re.search(r"--code (\S+)", self.at("laptop", "cxlocal", "store", "invite", member))
        assert found is not None
        return found[1]

    def act(self, block: str, machine: str, *more: str, code: int = 0, **environ: str) -> str:
        """``act`` in a clone of the remote, as a line of the page calls it."""
        clone = self.root / machine / "shop"
        if not clone.is_dir():
            self.environ(machine)
            self.git("clone", "-q", self.remote, clone, at=self.root)
        self.git("pull", "-q", at=clone)
        line = BLOCKS[block].replace("https://git.example.org/shop.git", str(self.remote))
        return self.at(machine, *shlex.split(line), *more, code=code, **environ)

    def forget(self, machine: str) -> None:
        """A machine that goes away, with what cxlocal kept there."""
        shutil.rmtree(self.root / machine / ".local")

    def close(self) -> None:
        for server in self.servers:
            server.close()
        self.store.stop()


class Buildbot:
    """A master and its worker, in processes of their own."""

    def __init__(self, farm: Farm, letter: str, token: str = "") -> None:
        self.farm, self.name, self.machine = farm, f"buildbot-{letter}", f"worker-{letter}"
        self.folder = farm.root / f"master-{letter}"
        self.port, self.url = free_port(), ""
        self.url = f"http://127.0.0.1:{self.port}/"
        self.worker_port = free_port()
        self.master: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[bytes] | None = None
        farm.servers.append(self)
        self._set_up(token)
        self.start_master()
        self.start_worker()

    def _set_up(self, token: str) -> None:
        run, bin = self.farm.at, self.farm.bin
        run(self.name, bin / "buildbot", "create-master", "-q", self.folder)
        (self.folder / "master.cfg").write_text(self.config(token))
        secrets = self.folder / "secrets"
        secrets.mkdir(mode=0o700)
        for name, text in (("worker-password", "of-the-worker"), ("store-token", token)):
            (secrets / name).touch(0o600)
            (secrets / name).write_text(text)
        create = (
            bin / "buildbot-worker",
            "create-worker",
            "-q",
            self.farm.root / self.machine / "w",
        )
        address = f"127.0.0.1:{self.worker_port}"
        run(self.machine, *create, address, self.machine, "of-the-worker")
        if not token:
            code = self.farm.invite(self.name)
            line = BLOCKS["worker"].replace("https://store.example.org:8377", self.farm.store.url)
            run(self.machine, *shlex.split(line.replace("CODE", code)), "--name", self.name)

    def config(self, token: str) -> str:
        """``master.cfg`` as the page has it, with the names and ports of this place."""
        text = BLOCKS["master.cfg"]
        if token:
            # So that what has no store to ask is told of soon.
            more = BLOCKS["passing"] + '    "CXLOCAL_PATIENCE": "2s",\n'
            text, count = re.subn(r'    "CXLOCAL_NODE": .*\n', lambda _: more, text)
            assert count == 1
        for written, here in (
            ("https://ci-a.example.org/", self.url), ("buildbot-a", self.name),
            ("https://git.example.org/shop.git", str(self.farm.remote)),
            ("https://store.example.org:8377", self.farm.store.url),
            ("tcp:8010", f"tcp:{self.port}"), ("worker-a", self.machine),
            ("tcp:9989", f"tcp:{self.worker_port}:interface=127.0.0.1"),
            ("pollInterval=10", "pollInterval=1"),
        ):  # fmt: skip
            assert written in text
            text = text.replace(written, here)
        return text

    def _start(self, machine: str, folder: Path, program: str) -> subprocess.Popen[bytes]:
        with open(folder / "said", "ab") as said:
            return subprocess.Popen(
                [self.farm.bin / program, "start", "--nodaemon", folder], stdout=said, stderr=said,
                stdin=subprocess.DEVNULL, cwd=folder, env=self.farm.environ(machine),
            )  # fmt: skip

    def start_master(self) -> None:
        self.master = self._start(self.name, self.folder, "buildbot")
        # A push counts from the first look at the remote on.
        words = ("processing changes from", "BuildMaster is running")
        until(lambda: all(one in self.said_by_master() for one in words), " and ".join(words))

    def start_worker(self) -> None:
        self.worker = self._start(
            self.machine, self.farm.root / self.machine / "w", "buildbot-worker"
        )
        until(lambda: self.ask("workers")["workers"][0]["connected_to"], "the worker is there")

    def said_by_master(self) -> str:
        log = self.folder / "twistd.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def ask(self, path: str) -> dict[str, Any]:
        answer = requests.get(f"{self.url}api/v2/{path}", timeout=20)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def tell(self, path: str, method: str, **params: Any) -> None:
        """What the buttons of Buildbot's pages do."""
        words = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = requests.post(f"{self.url}api/v2/{path}", json=words, timeout=20).json()
        assert "error" not in answer, answer

    def force(self) -> None:
        """Press the button."""
        self.tell("forceschedulers/by-hand", "force")

    def builds(self) -> int:
        """How many there were."""
        return len(self.ask("builds")["builds"])

    def result(self, number: int) -> int:
        """How a build ended, once it has."""

        def ended() -> Any:
            found = [one for one in self.ask("builds")["builds"] if one["number"] == number]
            return found if found and found[0]["complete"] else None

        return int(until(ended, f"build {number} of {self.name} ends")[0]["results"])

    def said(self, number: int) -> str:
        """What cxlocal said in a build."""
        steps = self.ask(f"builders/1/builds/{number}/steps")["steps"]
        [step] = [one["stepid"] for one in steps if one["name"] == "release"]
        return requests.get(f"{self.url}api/v2/steps/{step}/logs/stdio/raw", timeout=20).text

    def release(self) -> str:
        """Press the button, and wait: what cxlocal said."""
        number = self.builds() + 1
        self.force()
        assert self.result(number) == SUCCESS, self.said(number)
        return self.said(number)

    def kill_worker(self, *, whole_machine: bool = False) -> None:
        """``kill -9`` of the worker; of everything that it started, too, as a power cut does."""
        assert self.worker is not None
        for pid in family(self.worker.pid) if whole_machine else [self.worker.pid]:
            os.kill(pid, signal.SIGKILL)
        self.worker.wait()

    def close(self) -> None:
        for process in (self.worker, self.master):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait(PATIENCE_SECONDS)


def planted(folder: Path, secret: str, but: tuple[str, ...] = ()) -> list[str]:
    """Files that hold a secret, but those that are there for it."""
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name not in but and secret.encode() in path.read_bytes()
    ]
