"""New containers in the place of old ones and a way back, beside a shell script that does the same by hand.

``python tests/bench/rotating.py [ROUNDS]`` with the Python that has cxlocal installed, as root, where podman, runc,
buildah and haproxy are. Two containers of two megabytes behind haproxy; nothing is under way, so a drain takes no
time. ``deploy`` is the whole command: what runs is observed, two are made, asked, turned in, recorded, and the
two old ones taken out and away. By hand nothing is recorded, nothing is looked at before, and nothing goes back.
"""

from __future__ import annotations

import itertools
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "tools")]
os.environ.setdefault("PYTEST_XDIST_WORKER", "gw77")  # a bridge and addresses of its own

from engine_kit import Engine, free_port, page_project, wait_for
from rounds import measure, report, rounds_wanted, summary

ROLLBACK_SECONDS = 1.0
"""What a way back within ``keep_old`` may take: the least by the clock, as others work on the machine, and in
processor time of all programs, of which there is one after the other."""
ALLOWED = 3.0
"""As a multiple of the script."""
BALANCER = """\
global
  stats socket {folder}/lb.sock level admin
  stats socket ipv4@127.0.0.1:{admin} level admin
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
frontend shop
  bind 127.0.0.1:{port}
  default_backend web
backend web
backend steady
backend hand
"""
CX = """\
cx = 1
[deliverable]
name = "shop"
[defaults]
pass_env = ["CONTAINERS_*", "BUILDAH_ISOLATION"]
[stages]
image = {{ tool = "oci", produces = ["image"] }}
live = {{ kind = "deploy", environment = "production", needs = ["image"] }}
kept = {{ kind = "deploy", environment = "steady", needs = ["live"] }}
[components.lb]
tool = "haproxy"
mutable = true
with = {{ config = "lb.cfg" }}
[components.web]
tool = "podman"
artifact = "image"
count = 2
behind = "lb"
with = {{ port = 8080 }}
health = "/"
[environments.production]
protected = false
components.lb = {{ with = {{ url = "{folder}/lb.sock", backend = "web" }} }}
[environments.steady]
protected = false
components.lb = {{ with = {{ url = "{folder}/lb.sock", backend = "steady" }} }}
components.web = {{ keep_old = "1h" }}
"""
SCRIPT = r"""
set -eu
ask() { exec 3<>"/dev/tcp/127.0.0.1/$ADMIN"; echo "$1" >&3; cat <&3; exec 3<&-; }
old=$(podman ps --filter label=hand --format '{{.Names}}')
for n in 1 2; do
  name=hand-$1-$n
  podman create --name "$name" --label hand --env PORT=8080 --publish 127.0.0.1::8080 "$IMAGE" > /dev/null
  podman start "$name" > /dev/null
  at=$(podman port "$name" 8080/tcp)
  until curl -fs -o /dev/null "http://$at/"; do sleep 0.02; done
  ask "experimental-mode on; add server hand/$name $at check" > /dev/null
  ask "enable health hand/$name; set weight hand/$name 100; enable server hand/$name" > /dev/null
done
for name in $old; do ask "set server hand/$name state drain" > /dev/null; done
for name in $old; do
  until ask "show servers conn hand" | grep "$name" | awk '{exit $7 != 0}'; do sleep 0.02; done
  ask "set server hand/$name state maint; experimental-mode on; del server hand/$name" > /dev/null
  podman rm --force --time 0 "$name" > /dev/null
done
"""


class Desk:
    """A project, an engine and a balancer."""

    def __init__(self, folder: Path) -> None:
        (folder / "engine").mkdir()
        self.engine = Engine(folder / "engine")
        self.folder, self.tree, self.admin = folder, folder / "work", free_port()
        self.environ = {
            **os.environ, **self.engine.env, "CXLOCAL_HOME": str(folder / "home"),
            "CXLOCAL_ACTOR": "bench", "ADMIN": str(self.admin),
            "GIT_AUTHOR_NAME": "Bench", "GIT_AUTHOR_EMAIL": "bench@example.org",
            "GIT_COMMITTER_NAME": "Bench", "GIT_COMMITTER_EMAIL": "bench@example.org",
        }  # fmt: skip
        # An installed program is not compiled anew at every start.
        self.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        told = {"folder": folder, "admin": self.admin, "port": free_port()}
        (folder / "lb.cfg").write_text(BALANCER.format(**told))
        self.balancer = subprocess.Popen(
            ["haproxy", "-db", "-f", str(folder / "lb.cfg")], stderr=subprocess.DEVNULL
        )
        wait_for((folder / "lb.sock").exists, "the balancer does not come up")
        page_project(self.tree)
        (self.tree / "cx.toml").write_text(CX.format(folder=folder))

    def release(self) -> None:
        """Two versions, each in both environments."""
        self._do("git", "init", "-q", "--bare", str(self.folder / "remote.git"))
        self._do("git", "init", "-q", ".")
        self._do("git", "remote", "add", "origin", str(self.folder / "remote.git"))
        for word in ("one", "two"):
            (self.tree / "www" / "index.html").write_text(word)
            self._do("git", "add", "-A")
            self._do("git", "commit", "-q", "-m", word)
            self._do("git", "push", "-q", "origin", "HEAD:main")
            self.cxlocal("run", "--no-input")
        self.environ["IMAGE"] = self.engine.podman("images", "--quiet").split()[0]

    def _do(self, *words: str) -> None:
        subprocess.run(
            words, cwd=self.tree, env=self.environ, check=True, stdout=subprocess.DEVNULL
        )

    def cxlocal(self, *words: str) -> None:
        """A command of the project. Raises SystemExit with what it said where it fails."""
        program = str(Path(sys.executable).with_name("cxlocal"))
        done = subprocess.run(
            [program, *words],
            cwd=self.tree,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{words}: {done.returncode}\n{done.stderr}")

    def by_hand(self, number: int) -> None:
        """The script."""
        self._do("bash", "-c", SCRIPT, "rotate", str(number))

    def close(self) -> None:
        """End what runs."""
        self.engine.close()
        self.balancer.kill()
        self.balancer.wait()


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(Path(folder))
        try:
            desk.release()
            spent: dict[str, list[float]] = {}
            cases = {name: _counted(name, case, spent) for name, case in _cases(desk).items()}
            seconds = measure(cases, rounds=rounds_wanted(), warm_up=2)
        finally:
            desk.close()
    back = "rollback within keep_old"
    used = {name: summary(found[2:]) for name, found in spent.items()}  # without the warm-up
    failed = report(
        "two containers behind haproxy",
        seconds,
        [("deploy", "by hand", ALLOWED)],
        rollback_allowed_seconds=ROLLBACK_SECONDS,
        processor_seconds=used,
    )
    slow = max(min(seconds[back]), used[back]["median"]) > ROLLBACK_SECONDS
    return failed or int(slow)


def _counted(
    name: str, case: Callable[[], None], spent: dict[str, list[float]]
) -> Callable[[], None]:
    """The case; what its processes spend of the processors, too: a busy machine changes that less."""

    def run() -> None:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        case()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        spent.setdefault(name, []).append(used)

    return run


def _cases(desk: Desk) -> dict[str, Callable[[], None]]:
    numbers = itertools.count(1)
    deployed = itertools.cycle(("0.1.0", "0.1.1"))
    back = itertools.cycle(("0.1.0", "0.1.1"))
    return {
        "deploy": lambda: desk.cxlocal(
            "deploy", next(deployed), "--env", "production", "--allow-older", "--offline"
        ),
        "by hand": lambda: desk.by_hand(next(numbers)),
        "rollback within keep_old": lambda: desk.cxlocal(
            "rollback", "steady", "--to", next(back), "--offline"
        ),
    }


if __name__ == "__main__":
    sys.exit(main())
