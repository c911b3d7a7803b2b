"""The tool ``ssh`` with real servers: each sees a /srv of its own."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cxlocal_plugins.ssh import Ssh
from engine_kit import free_port, wait_for
from page import options

from cxlocal.errors import ConfigError
from cxlocal.hooks.context import Ran
from cxlocal.hooks.options import check_options
from cxlocal.hooks.tool import Applied, ArtifactRef, Observed
from cxlocal.testing import Bench, ComponentContract
from cxlocal.testing.contract import story

pytestmark = pytest.mark.needs("sshd", "ssh", "rsync", "unshare")
SETTINGS = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/key
AuthorizedKeysFile {folder}/key.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
KexAlgorithms curve25519-sha256
"""
CLIENT = """\
Host {name}
  HostName 127.0.0.1
  Port {port}
  IdentityFile {folder}/key
  StrictHostKeyChecking accept-new
  UserKnownHostsFile {folder}/known
"""


class Hosts:
    """Servers by name, each in a namespace of mounts with an empty /srv."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.settings = folder, folder / "config"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        self.settings.touch()

    def start(self, name: str) -> None:
        port = free_port()
        own = self.folder / f"{name}.conf"
        own.write_text(SETTINGS.format(port=port, folder=self.folder))
        with self.settings.open("a") as settings:
            settings.write(CLIENT.format(name=name, port=port, folder=self.folder))
        with open(self.folder / "log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c",
                 'mount -t tmpfs tmpfs /srv && exec "$1" -D -e -f "$2"', "sh", "/usr/sbin/sshd", str(own)],
                stdout=log, stderr=log,
            )  # fmt: skip
        wait_for(lambda: self.run(name, "true").returncode == 0, "the host does not answer")

    def run(self, name: str, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ssh", "-F", str(self.settings), name, command],
            capture_output=True,
            text=True,
            check=False,
        )

    def say(self, name: str, command: str) -> str:
        done = self.run(name, command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def close(self) -> None:
        for process in self.processes.values():
            process.terminate()
            process.wait()


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Those of the page."""
    made = Hosts(tmp_path_factory.mktemp("hosts"))
    for name in options("ssh")["hosts"]:
        made.start(name)
    yield made
    made.close()


def tarball(folder: Path, text: str) -> ArtifactRef:
    """A site of one page."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    path = folder / f"site-{digest}.tar.gz"
    if not path.exists():
        with tarfile.open(path, "w:gz") as archive:
            entry = tarfile.TarInfo("index.html")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    content = path.read_bytes()
    return ArtifactRef(
        name="tarball", path=path, sha256=hashlib.sha256(content).hexdigest(), size=len(content)
    )


class TestSsh(ComponentContract):
    tool = Ssh
    kill_after_seconds: ClassVar[tuple[float, ...]] = (0.0, 0.1)

    @pytest.fixture(autouse=True)
    def _hosts(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.with_table = {**options("ssh"), "ssh": ["-F", str(hosts.settings)]}  # type: ignore[misc]

    def artifacts(self, bench: Bench, version: str) -> Mapping[str, ArtifactRef]:
        return {"tarball": tarball(bench.folder, f"this is {version}")}

    def remains(self, bench: Bench, handle: Any) -> list[str]:
        return [
            each
            for name in self.with_table["hosts"]
            for each in self.hosts.say(name, "ls -A /srv").split()
        ]

    def inspected(self, bench: Bench) -> str:
        """What other users of the hosts may read of it."""
        command = "find /srv -type f -perm /077 -exec cat {} +"
        return "".join(self.hosts.say(name, command) for name in self.with_table["hosts"])

    def applied(self, bench: Bench, **more: Any) -> Applied:
        ran = self._run(bench, "apply", **more)
        assert isinstance(ran.outcome.result, Applied), story(ran)
        return ran.outcome.result

    def pages(self) -> list[str]:
        return [
            self.hosts.say(name, "cat /srv/webshop/current/index.html")
            for name in self.with_table["hosts"]
        ]

    def test_it_switches_and_goes_back_without_bringing_anything(self, bench: Bench) -> None:
        for version in ("1.0.0", "1.0.1"):
            assert self.applied(bench, version=version).changed
        assert self.pages() == ["this is 1.0.1"] * 2
        seen = self._run(bench, "observe").outcome.result
        assert isinstance(seen, Observed) and seen.version == "1.0.1"
        # A release that is there is not brought again: what was changed in it stays.
        self.hosts.say("app-1", "echo touched > /srv/webshop/releases/1.0.0-*/index.html")
        self.applied(bench, version="1.0.0", back=True)
        assert self.pages() == ["touched", "this is 1.0.0"]

    def test_only_so_many_releases_stay(self, bench: Bench) -> None:
        self.with_table |= {"keep": 1, "hosts": ["app-2"]}  # type: ignore[misc,operator]
        for number in range(2):
            self.applied(bench, version=f"1.0.{number}")
        listed = self.hosts.say("app-2", "ls /srv/webshop/releases").split()
        assert [one.partition("-")[0] for one in listed] == ["1.0.1"]

    def test_where_one_host_does_not_come_up_all_go_back(self, bench: Bench) -> None:
        self.applied(bench, version="1.0.0")
        self.with_table["after"] = "test ! -e /srv/refuses || test $CXLOCAL_VERSION = 1.0.0"  # type: ignore[index]
        self.hosts.say("app-2", "touch /srv/refuses")
        try:
            ran = self._run(bench, "apply", version="1.0.1")
            assert ran.outcome.outcome == "failure", story(ran)
            assert "app-2: " in ran.outcome.reason and "all are as before" in ran.outcome.reason
            assert self.pages() == ["this is 1.0.0"] * 2
        finally:
            self.hosts.say("app-2", "rm /srv/refuses")

    def test_an_older_turn_and_somebody_else_are_refused(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        self.applied(bench, version="1.0.0", turn=7)
        ran = self._run(bench, "apply", version="1.0.1", turn=6)
        assert ran.outcome.outcome == "failure" and "turn 7 was here" in ran.outcome.reason
        other = Bench(tmp_path / "other", deliverable="billing")
        ran = self._run(other, "apply", version="1.0.1", turn=8)
        assert "is not ours: webshop in production" in ran.outcome.reason
        ran = self._run(other, "destroy")
        assert ran.outcome.outcome == "failure" and self.pages() == ["this is 1.0.0"] * 2

    def test_a_host_that_is_away_stops_it_before_anything_is_switched(self, bench: Bench) -> None:
        self.applied(bench, version="1.0.0")
        self.with_table["hosts"] = ["app-1", "app-9"]  # type: ignore[index]
        ran = self._run(bench, "apply", version="1.0.1")
        assert ran.outcome.outcome == "error" and "app-9 cannot be reached" in ran.outcome.reason
        self.with_table["hosts"] = ["app-1", "app-2"]  # type: ignore[index]
        assert self.pages() == ["this is 1.0.0"] * 2

    def test_bytes_that_changed_on_the_way_are_refused(self, bench: Bench) -> None:
        wrong = {
            "tarball": ArtifactRef(**{**_fields(tarball(bench.folder, "x")), "sha256": "0" * 64})
        }
        ran: Ran = bench.run(
            Ssh, "apply", self.with_table, artifacts=wrong, component="web", turn=1
        )
        assert ran.outcome.outcome == "failure" and "has other bytes here" in ran.outcome.reason


def _fields(made: ArtifactRef) -> dict[str, Any]:
    return {name: getattr(made, name) for name in made.__struct_fields__}


@pytest.mark.parametrize(
    "wrong",
    [{"root": "/"}, {"root": "/srv"}, {"root": "srv/shop"}, {"root": "/srv/../etc"}, {"hosts": []},
     {"hosts": ["-oProxyCommand=x"]}, {"keep": 0}, {"root": "/srv/a b"}],
    ids=str,
)  # fmt: skip
def test_what_is_no_folder_or_host_is_refused(wrong: dict[str, Any]) -> None:
    good = {"hosts": ["app"], "root": "/srv/shop", "artifact": "site"}
    check_options(Ssh, good)
    with pytest.raises(ConfigError):
        check_options(Ssh, {**good, **wrong})
