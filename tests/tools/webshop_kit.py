"""docs/examples/webshop at a place where it is carried out: its servers, the project, and the machines that release it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import base_image
from engine_kit import Engine, Registry, free_port, wait_for, worker
from load_kit import Load
from postgresql_kit import Cluster

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "webshop"
ADDRESS = f"198.51.100.{100 + worker()}"
"""An address of this machine that containers reach, too; of each worker of the test run its own."""
NEEDS = ("podman", "runc", "buildah", "skopeo", "docker-registry", "haproxy", "redis-server",
         "pg_ctlcluster", "ip", "/usr/bin/python3")  # fmt: skip
LIVE = "SELECT version FROM deployments_now WHERE environment = 'production'"


class Place:
    """What stands before the first release: an engine, a registry, a database server, a balancer."""

    def __init__(self, folder: Path, engine: Engine, registry: Registry) -> None:
        self.folder, self.engine, self.registry = folder, engine, registry
        subprocess.run(["ip", "address", "replace", f"{ADDRESS}/32", "dev", "lo"], check=True)
        (folder / "base").mkdir()
        base_image.make(engine, folder / "base")
        self.cluster = Cluster()
        self.database = self.cluster.primary("-c", "fsync=off", "-c", "listen_addresses=*")
        with (self.database.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samehost trust\nhost all all 10.0.0.0/8 trust\n")
        self.database.sql("SELECT pg_reload_conf()")
        self.port, self.socket = free_port(), folder / "lb.sock"
        text = (EXAMPLE / "lb" / "haproxy.cfg").read_text().replace("CXLOCAL_PORT", str(self.port))
        # Nobody but the rotation is to hide a failure.
        text = f"global\n  stats socket {self.socket} level admin\n{text}  retries 0\nbackend qa\n"
        (folder / "lb.cfg").write_text(text)
        self.balancer: subprocess.Popen[bytes] | None = None
        self.start_balancer()

    def start_balancer(self) -> None:
        self.balancer = subprocess.Popen(
            ["haproxy", "-db", "-f", str(self.folder / "lb.cfg")], stderr=subprocess.DEVNULL
        )
        wait_for(self.socket.exists, "the balancer does not come up")

    def forget(self) -> None:
        """A balancer that nobody has turned yet: the next story has another record of who did."""
        assert self.balancer is not None
        self.balancer.kill()
        self.balancer.wait()
        for file in self.folder.glob(f"{self.socket.name}*"):
            file.unlink()
        self.start_balancer()

    def restart_balancer(self) -> None:
        """Killed and started again: it has forgotten its servers."""
        assert self.balancer is not None
        self.balancer.kill()
        self.balancer.wait()
        self.socket.unlink()
        self.start_balancer()

    def environ(self) -> dict[str, str]:
        """What tells a machine where things are."""
        return {
            **self.engine.env,
            "DATABASES": f"postgresql://postgres@{ADDRESS}:{self.database.port}/postgres",
            "CACHES": str(self.folder / "caches"), "CACHE_HOST": ADDRESS,
        }  # fmt: skip

    def databases(self) -> list[str]:
        """Those that somebody made."""
        asked = "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"
        return [row[0] for row in self.database.sql(asked)]

    def caches(self) -> list[str]:
        """Folders of redis."""
        return [one.name for one in (self.folder / "caches").glob("*")]

    def clear(self) -> None:
        """The next story begins with nothing."""
        self.engine.podman("rm", "--all", "--force", "--time", "0")
        for one in self.databases():
            self.database.sql(f'DROP DATABASE "{one}" WITH (FORCE)')
        for pid in (self.folder / "caches").glob("*/pid"):
            signal_all([int(pid.read_text())], signal.SIGKILL)
        shutil.rmtree(self.folder / "caches", ignore_errors=True)

    def close(self) -> None:
        """End all of it."""
        assert self.balancer is not None
        self.balancer.kill()
        self.balancer.wait()
        self.cluster.close()
        subprocess.run(["ip", "address", "del", f"{ADDRESS}/32", "dev", "lo"], check=True)


class Story:
    """The example as a project of this place."""

    def __init__(self, project: Any, place: Place) -> None:
        self.project, self.place = project, place
        shutil.copytree(EXAMPLE, project.tree, dirs_exist_ok=True)
        registry = f'{place.registry.host}/{project.root.name.lower()}", tls = false'
        self.write(
            ('registry.example.com/webshop"', registry),
            ("/run/haproxy/admin.sock", str(place.socket)),
            ('hold = "2m"', 'hold = "1s"'),
        )
        project.environ |= place.environ()

    def write(self, *changes: tuple[str, str]) -> None:
        """Change cx.toml: each of these words, which it must have, for others."""
        file = self.project.tree / "cx.toml"
        text = file.read_text()
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        file.write_text(text)
        self.project.push("cx.toml")

    def begin_store(self) -> None:
        """A store, which every machine of this place uses from now on."""
        self.project.environ["CXLOCAL_STORE"] = f"sqlite://{self.project.root}/store.db"
        done = self.project.command("store", "create", self.project.environ["CXLOCAL_STORE"])
        assert done.code == 0, done.err

    def lose_store(self) -> None:
        """Nobody answers there any more."""
        (self.project.root / "store.db").rename(self.project.root / "gone.db")

    def change(self, file: str = "README", text: str = "another one\n") -> None:
        path = self.project.tree / file
        path.write_text((path.read_text() if path.exists() else "") + text)
        self.project.push("a change")

    def break_in_production(self) -> None:
        """A version that says another one there, so that its check fails."""
        path = self.project.tree / "shop" / "server.py"
        told = 'os.environ["CXLOCAL_VERSION"]'
        wrong = f'{told} + "?" * (os.environ["CXLOCAL_ENVIRONMENT"] == "production")'
        path.write_text(path.read_text().replace(told, wrong))
        self.project.push("a change that fails in production")

    def release(self, **more: Any) -> Any:
        """All the way to production."""
        return self.project.run("--to", "production", timeout=120, **more)

    def weights(self) -> dict[str, int]:
        """What the balancer gives to whom, of those that get anything."""
        asked = "show stat web 4 -1"
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(self.place.socket))
            link.sendall(f"{asked}\n".encode())
            lines = b"".join(iter(lambda: link.recv(65536), b"")).decode().strip().splitlines()
        names = lines[0][2:].split(",")
        rows = [dict(zip(names, line.split(","), strict=False)) for line in lines[1:]]
        return {row["svname"]: int(row["uweight"]) for row in rows if int(row["uweight"] or 0)}

    def live(self, machine: Any = None) -> str:
        """The version in production, as the record says."""
        if machine is not None:
            return str(machine.command("sql", "--json", LIVE).json()[0]["version"])
        return str(self.project.query(LIVE)[0])

    def serving(self, used: Load) -> set[str]:
        """The versions that answer now."""
        return {name.rpartition(" ")[2] for name in used.wait_for(60)}

    def containers(self) -> list[str]:
        """Those of production."""
        ours = "--filter=label=cxlocal.environment=production"
        listed = self.place.engine.podman("ps", "--all", "--format", "{{.Names}}", ours)
        return sorted(listed.split())


class Machine:
    """Another machine: a clone and a home of its own."""

    def __init__(self, story: Story, name: str, **environ: str) -> None:
        self.project, self.name, self.root = story.project, name, story.project.root / name
        self.home, self.tree = self.root / "home", self.root / "work"
        self.root.mkdir()
        subprocess.run(
            ["git", "clone", "-q", str(story.project.remote), str(self.tree)], check=True
        )
        self.environ = {**story.project.environ, "CXLOCAL_HOME": str(self.home), **environ}

    def command(self, *words: str | Path) -> Any:
        return self.project.cx(*words, cwd=self.tree, env=self.environ, timeout=240)

    def ok(self, *words: str | Path) -> Any:
        """The same; it must end with 0."""
        done = self.command(*words)
        assert done.code == 0, (self.name, words, done.code, done.err)
        return done

    def pull(self) -> None:
        subprocess.run(["git", "pull", "-q"], cwd=self.tree, check=True)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """A run, not waited for."""
        with (self.root / "said").open("wb") as said:
            return subprocess.Popen(
                [self.project.cx.program, "run", *words], cwd=self.tree,
                env={**os.environ, **self.environ}, stdout=said, stderr=said,
                start_new_session=True,
            )  # fmt: skip

    def said(self) -> str:
        """What the run that was started last said."""
        return (self.root / "said").read_text(errors="replace")

    def log(self, stage: str = "live") -> str:
        """What that stage of the newest run said so far; empty before it began."""
        found = sorted(self.home.glob(f"logs/*/{stage}*.log"), key=lambda one: one.stat().st_mtime)
        return found[-1].read_text(errors="replace") if found else ""

    def cutovers(self) -> int:
        """How many deployments into production are recorded."""
        asked = "SELECT count(*) FROM deployment WHERE environment = 'production'"
        with sqlite3.connect(f"file:{self.home}/journal.db?mode=ro", uri=True) as journal:
            return int(journal.execute(asked).fetchone()[0])


def processes_of(run: int, *, workers: bool) -> list[int]:
    """A run and what divides its workers; with these, too. What a worker does at the engine or at the balancer
    is done there: where a machine stands still it comes to its end, and nobody hears of it."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"hooks/worker.py" in (folder / "cmdline").read_bytes():
                stat = (folder / "stat").read_text()
                parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [run, *(pid for pid, parent in parents.items() if parent == run)]
    if workers:
        found += [pid for pid, parent in parents.items() if parent in found[1:]]
    return found


def signal_all(pids: list[int], number: int) -> None:
    """Send it to those that are still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
