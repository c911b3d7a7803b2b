"""A served store and two enrolled machines on a network of namespaces, and what may be asked of
them from outside: by commands, by SQL, and by looking into the store's file."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import trustme
from network import CENTRE_NAME, Machine, Network

PROGRAM = str(Path(sys.executable).with_name("cxlocal"))
URL = f"https://{CENTRE_NAME}:8377"
LIMIT_SECONDS = 50.0
ROUNDS_MAX = 4
"""Two carry what is new; what follows from it, such as exchanged reserves, may take two more."""
MOVED = ("pushed", "pulled", "pending", "reserves", "reverified")

CONFIG = f"""\
cx = 1
[deliverable]
name = "shop"
[version]
line = "2.7"
[store]
url = "{URL}"
[defaults]
pass_env = ["DRILL"]

[stages]
build = {{ kind = "build", command = "sh build.sh", produces = {{ app = "app.txt" }} }}
unit = {{ kind = "test", command = "sh wait.sh", needs = ["build"] }}

[stages.live]
kind = "deploy"
command = "sh deploy.sh"
needs = ["unit"]
environment = "production"
requires = ["READY"]

[promotions]
READY = {{ after = ["unit"] }}
APPROVED = {{}}
[environments]
production = {{ lifetime = "lasting" }}
"""
FILES = {
    "cx.toml": CONFIG,
    ".gitignore": ".cx/\n",
    "build.sh": 'echo "$CXLOCAL_VERSION" > app.txt\n',
    # Where a test wants to do something in the middle of a run, it makes the folder DRILL.
    "wait.sh": '[ -d "$DRILL" ] || exit 0\ntouch "$DRILL/here"\n'
    'while [ ! -e "$DRILL/go" ]; do sleep 0.02; done\n',
    "deploy.sh": 'mkdir -p "$DRILL.live" && cp "$CXLOCAL_ARTIFACT_APP" "$DRILL.live/app.txt"\n',
}

# The same questions are asked on every machine; the answers must be equal. Nothing in them is about
# the machine that is asked.
BOARDS = {
    "board": "SELECT deliverable, environment, version, state, since, actor, promotions"
    " FROM release_board ORDER BY 1, 2, 3",
    "runs": "SELECT run, version, outcome, kind, number_state, online, queued_at FROM run_board"
    " ORDER BY run",
    "ledger": "SELECT line, lo, hi, state, why, version, run, how FROM number_ledger"
    " ORDER BY line, lo",
    "live": "SELECT deliverable, environment, version, deployment, disputed FROM deployments_now"
    " ORDER BY deployment",
    "promotions": "SELECT run, name, decision, turn, actor FROM promotion ORDER BY run, name, turn",
    "artifacts": "SELECT run, name, sha256 FROM artifact ORDER BY run, name",
    "events": "SELECT node, branch, sequence, type, hash FROM event_log ORDER BY 1, 2, 3",
}


class Said(NamedTuple):
    """What a command left behind, and how long it took."""

    code: int
    out: str
    err: str
    seconds: float

    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


class Seat:
    """Somebody at a machine: a home, a clone of the project, a cable to the centre."""

    def __init__(self, machine: Machine, remote: Path, released: list[Said]) -> None:
        self.machine = machine
        self.released = released
        self.name = machine.name
        self.tree = machine.folder / "shop"
        self.home = machine.folder / "home"
        self.drill = machine.folder / "drill"
        self.env = {
            "CXLOCAL_HOME": str(self.home),
            "CXLOCAL_ACTOR": f"{self.name} <{self.name}@example.org>",
            "DRILL": str(self.drill),
        }
        self.git("clone", "-q", str(remote), str(self.tree), cwd=machine.folder)

    def git(self, *words: str, cwd: Path | None = None) -> None:
        """Run git on this machine."""
        done = self._wait(
            self.machine.start("git", *words, env=self.env, cwd=cwd or self.tree), time.monotonic()
        )
        assert done.code == 0, done.err

    def start(self, *words: str) -> Callable[[], Said]:
        """Begin ``cxlocal`` with ``words``; what is returned waits for its end."""
        began = time.monotonic()
        process = self.machine.start(PROGRAM, *words, env=self.env, cwd=self.tree)
        return lambda: self._wait(process, began)

    def __call__(self, *words: str) -> Said:
        """Run ``cxlocal`` with ``words``."""
        return self.start(*words)()

    def ok(self, *words: str) -> Said:
        """Run; fail the test unless the exit code is 0."""
        done = self(*words)
        assert done.code == 0, f"{self.name}: {words}: {done.code}\n{done.err}\n{done.out}"
        return done

    @staticmethod
    def _wait(process: subprocess.Popen[str], began: float) -> Said:
        try:
            out, err = process.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return Said(process.returncode, out, err, time.monotonic() - began)

    def begin_release(self, *words: str) -> Callable[[], Said]:
        """Begin ``cxlocal run``; what is returned waits for its end, which must be a good one."""
        wait = self.start("run", "--json", *words)

        def end() -> Said:
            done = wait()
            assert done.code == 0, f"{self.name}: {done.code}\n{done.err}\n{done.out}"
            self.released.append(done)
            return done

        return end

    def release(self, *words: str) -> Said:
        """``cxlocal run``, from beginning to end."""
        return self.begin_release(*words)()

    def deployed(self) -> str:
        """What this machine's production runs."""
        return (self.machine.folder / "drill.live" / "app.txt").read_text().strip()

    @contextmanager
    def in_the_middle_of_a_release(self, *words: str) -> Iterator[list[Said]]:
        """Begin one and stand still in its unit tests; the list has its end afterwards."""
        self.drill.mkdir()
        wait = self.begin_release(*words)
        ended: list[Said] = []
        try:
            await_file(self.drill / "here")
            yield ended
        finally:
            (self.drill / "go").touch()
            ended.append(wait())
            for left in self.drill.iterdir():
                left.unlink()
            self.drill.rmdir()

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Rows of this machine's journal, by the command."""
        found: list[dict[str, Any]] = self.ok("sql", sql, "--json").json()
        return found

    def boards(self) -> dict[str, list[dict[str, Any]]]:
        """Everything that must be equal everywhere."""
        address = f"file:{self.home / 'journal.db'}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as journal:
            journal.row_factory = sqlite3.Row
            return {
                name: [dict(row) for row in journal.execute(sql)] for name, sql in BOARDS.items()
            }


def await_file(path: Path) -> None:
    """Wait until a file is there."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not come"
        time.sleep(0.01)


class Company:
    """The server and its machines."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network = network
        self.folder = folder
        self.store = folder / "srv" / "store.db"
        self.server: subprocess.Popen[str] | None = None
        etc = folder / "etc"
        etc.mkdir()
        authority = trustme.CA()
        leaf = authority.issue_cert(CENTRE_NAME)
        leaf.cert_chain_pems[0].write_to_path(etc / "cert.pem")
        leaf.private_key_pem.write_to_path(etc / "key.pem")
        authority.cert_pem.write_to_path(etc / "ca.pem")
        self.etc = etc
        code = self.serve()
        self.remote = self._remote()
        self.settled = False
        """Whether the last test left everything plugged in, level and checked."""
        self.explained: set[tuple[str, str | None]] = set()
        self.released: list[Said] = []
        self.seats = {
            name: Seat(each, self.remote, self.released) for name, each in network.machines.items()
        }
        first, *others = self.seats.values()
        self.enrol(first, code)
        for seat in others:
            self.enrol(seat, first.ok("store", "invite", seat.name).out.strip())
        # A machine holds a reserve once it has released something.
        self.release_at_once()

    def serve(self) -> str:
        """Start the server; the code it gave out if it did."""
        said = self.folder / "said"
        with open(said, "w") as errors:
            self.server = subprocess.Popen(
                self.network.centre.words(
                    PROGRAM, "serve", "--store", f"sqlite://{self.store}", "--host", "0.0.0.0",
                    "--cert", self.etc / "cert.pem", "--key", self.etc / "key.pem", "--address", URL,
                ),
                env={**os.environ, "CXLOCAL_HOME": str(self.folder / "srv" / "home")},
                stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
        assert self.server.stdout is not None
        assert self.server.stdout.readline(), said.read_text()
        found = re.search(r"--code (\S+)", said.read_text())
        return found[1] if found else ""

    def serve_git(self) -> subprocess.Popen[str]:
        """The remote, for all machines."""
        daemon = self.network.centre.start(
            "git", "daemon", "--verbose", f"--base-path={self.folder / 'git'}", "--export-all",
            env={},
        )  # fmt: skip
        assert daemon.stderr is not None
        assert "Ready" in daemon.stderr.readline()
        return daemon

    def stop(self) -> None:
        """End the server."""
        server, self.server = self.server, None
        if server is not None:
            server.terminate()
            server.communicate(timeout=20)

    def enrol(self, seat: Seat, code: str) -> None:
        """Let a machine in."""
        seat.ok("store", "join", URL, "--code", code, "--ca", str(self.etc / "ca.pem"))

    def _remote(self) -> Path:
        remote, work = self.folder / "git" / "shop.git", self.folder / "first"
        for words in (["init", "-q", "--bare", str(remote)], ["init", "-q", str(work)]):
            subprocess.run(["git", *words], check=True)
        for name, content in FILES.items():
            (work / name).write_text(content)
        for words in (
            ["add", "."], ["commit", "-qm", "first"], ["push", "-q", str(remote), "HEAD:main"],
        ):  # fmt: skip
            subprocess.run(["git", *words], check=True, cwd=work)
        return remote

    def in_store(self, sql: str) -> list[Any]:
        """Rows of the store's own file."""
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as store:
            return store.execute(sql).fetchall()

    def at_once(self, *words: str) -> list[Said]:
        """The same command on every machine, at the same time."""
        return [wait() for wait in [seat.start(*words) for seat in self.seats.values()]]

    def release_at_once(self, *words: str) -> list[Said]:
        """A release on every machine, at the same time."""
        return [wait() for wait in [seat.begin_release(*words) for seat in self.seats.values()]]

    def meet(self) -> None:
        """Plug everything in and sync until everybody has what everybody recorded."""
        seats = list(self.seats.values())
        for seat in seats:
            seat.machine.plug()
        for seat in (*seats, *seats[:-1]):
            seat.ok("sync", "--require-sync")

    def level(self) -> None:
        """Plug everything in and sync until everybody has everything and nothing moves."""
        for seat in self.seats.values():
            seat.machine.plug()
        for _ in range(ROUNDS_MAX):
            if not self._move():
                return
        raise AssertionError(f"after {ROUNDS_MAX} rounds something still moves: {self._move()}")

    def _move(self) -> list[dict[str, Any]]:
        """A sync on every machine, at the same time; what moved."""
        moved = []
        for done in self.at_once("sync", "--json", "--require-sync"):
            assert done.code == 0, done.err
            said = done.json()
            assert (said["reached"], said["stopped"]) == (True, "")
            moved.append({key: said[key] for key in MOVED if said[key]})
        return [each for each in moved if each]

    def check(self) -> None:
        """After ``level``: nothing lost, nothing doubled, everything explained, all boards equal."""
        self._idle()
        seats = list(self.seats.values())
        boards = [seat.boards() for seat in seats]
        for name, rows in boards[0].items():
            for seat, other in zip(seats[1:], boards[1:], strict=True):
                assert other[name] == rows, f"{name} differs on {seat.name}"
        self._nothing_lost(boards[0])
        self._every_number(seats, boards[0]["ledger"])
        for done in self.at_once("verify"):
            assert done.code == 0, done.out + done.err
        self.settled = True

    def _idle(self, times: int = 1) -> None:
        """Idle syncs move nothing; the last round of ``level`` was one too."""
        count = "SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM grant_entry)"
        before = self.in_store(count)
        for _ in range(times):
            moved = self._move()
            assert not moved, moved
        assert self.in_store(count) == before

    def _nothing_lost(self, board: dict[str, Any]) -> None:
        """Each release that was printed is on the board with its number; the store has each event
        of the machines once and without a gap."""
        printed = {said.json()["run"]: said.json()["version"] for said in self.released}
        assert len(set(printed.values())) == len(printed), "a number was printed twice"
        known = {row["run"]: row for row in board["runs"]}
        for run, version in printed.items():
            assert known[run]["version"] == version
            assert known[run]["number_state"] == "in use, confirmed"
        versions = [row["version"] for row in board["runs"] if row["version"]]
        assert len(set(versions)) == len(versions), "two runs have one number"
        chains = (
            "SELECT node, branch, count(*), min(sequence), max(sequence) FROM event GROUP BY 1, 2"
        )
        for node, branch, count, first, last in self.in_store(chains):
            assert (branch, first, last) == (0, 1, count), f"{node} was doubled or lost something"
        assert self.in_store("SELECT count(*) FROM event")[0][0] == len(board["events"])

    def _every_number(self, seats: Sequence[Seat], spans: Sequence[dict[str, Any]]) -> None:
        """Every number up to the highest handed out has one state, and each machine says which."""
        numbers = [number for span in spans for number in range(span["lo"], span["hi"] + 1)]
        assert len(set(numbers)) == len(numbers), "a number has two states"
        assert "conflicted" not in {span["state"] for span in spans}
        asked = {(span["state"], span["why"]): span["lo"] for span in spans}
        highest = self.in_store("SELECT max(hi) FROM grant_entry")[0][0]
        free = set(range(highest + 1)) - set(numbers)
        if free:
            asked["free", None] = max(free)
        for state, why in asked.keys() - self.explained:
            seat = seats[len(self.explained) % len(seats)]
            assert state in seat.ok("version", "explain", str(asked[state, why])).out
            self.explained.add((state, why))
        granted = self.in_store("SELECT lo, hi FROM grant_entry WHERE kind <> 'raise'")
        handed_out = [number for lo, hi in granted for number in range(lo, hi + 1)]
        assert len(set(handed_out)) == len(handed_out), "a number was granted twice"
        assert set(handed_out) <= set(numbers), "a number that was granted has no fate"
