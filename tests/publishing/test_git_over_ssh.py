"""A tag pushed over ssh, with the key that an agent holds: good days and bad ones."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from weather import free_port, wait_for

pytestmark = pytest.mark.needs("sshd", "ssh")
SETTINGS = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/{host_key}
AuthorizedKeysFile {folder}/person.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
"""


class GitHost:
    """sshd for one person, and the agent with that person's key."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None
        for name in ("person", "host", "another"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True)
        Path("/run/sshd").mkdir(exist_ok=True)
        said = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True)
        self.agent = dict(re.findall(r"(SSH_\w+)=([^;]+);", said.stdout))
        add = ["ssh-add", "-q", str(folder / "person")]
        subprocess.run(add, env=self.agent | {"PATH": "/usr/bin:/bin"}, check=True)

    def start(self, host_key: str = "host") -> None:
        """Serve; waits until it answers."""
        settings = self.folder / "sshd.conf"
        text = SETTINGS.format(port=self.port, folder=self.folder, host_key=host_key)
        settings.write_text(text)
        with open(self.folder / "log", "ab") as log:
            command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(settings)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(self.greets)

    def greets(self) -> bool:
        """Whether it speaks."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as link:
                return link.recv(7) == b"SSH-2.0"
        except OSError:
            return False

    def stop(self) -> None:
        """Serve no longer."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHost]:
    found = GitHost(tmp_path_factory.mktemp("ssh"))
    yield found
    found.stop()
    subprocess.run(["kill", found.agent["SSH_AGENT_PID"]], check=True)


TARGET = '[targets.tag]\ntool = "git-tag"\npass_env = ["SSH_AUTH_SOCK"]\n'


def test_a_tag_over_ssh_on_good_and_on_bad_days(shop: Any, publish: Any, host: GitHost) -> None:
    """Without a key, at a host that is another one or away, nothing is pushed and the reason is said."""
    host.start()
    known = host.folder / "known"
    ssh = f"ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={known}"
    shop.git("config", "--global", "core.sshCommand", ssh)
    shop.git("remote", "set-url", "origin", f"ssh://root@127.0.0.1:{host.port}{shop.remote}")
    agent = {"SSH_AUTH_SOCK": host.agent["SSH_AUTH_SOCK"]}
    shop.environ |= agent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSH_AUTH_SOCK", agent["SSH_AUTH_SOCK"])
        assert publish(TARGET).code == 0
        bad_days: list[tuple[str, int, str]] = [
            ("no key", 4, "Permission denied"), ("away", 9, "Connection refused"),
            ("another host", 4, "Host key verification failed"),
        ]  # fmt: skip
        for day, code, words in bad_days:
            if day == "away":
                host.stop()
            elif day == "another host":
                host.start("another")
            told = {"SSH_AUTH_SOCK": "" if day == "no key" else agent["SSH_AUTH_SOCK"]}
            done = shop.command("publish", "0.1.0", env=told)
            assert done.code == code and words in done.err, (day, done.code, done.err)
            assert "tag not known" in done.err, done.err
        host.stop()
        host.start()
        done = shop.command("publish", "0.1.0")
        assert done.code == 0, done.err
        assert "refs/tags/v0.1.0" in shop.git("ls-remote", "origin")
