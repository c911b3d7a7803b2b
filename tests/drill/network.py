"""A company on one machine: network namespaces joined by cables that can be pulled.

Each namespace belongs to a process that waits for the end of its input, so nothing stays behind
when the tests end, however they end. In each, the names of the network stand in an ``/etc/hosts``
and an ``/etc/resolv.conf`` of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

CENTRE = "10.77.0.1"
CENTRE_NAME = "store.example.org"
HOLD = 'ip link set lo up && mount --make-rprivate / && mount --bind "$0" /etc/hosts && '
HOLD += 'mount --bind "$1" /etc/resolv.conf && echo ready && exec cat'


class NoNamespaces(Exception):
    """This machine or this user may not make network namespaces; the text says what was tried."""


class Place:
    """One namespace: what runs there, what it is called, where its files are."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        folder.mkdir(parents=True)
        self.hosts = folder / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        self.resolver = folder / "resolv.conf"
        self.resolver.write_text(f"nameserver {CENTRE}\n")
        if os.geteuid() != 0:
            raise NoNamespaces("network namespaces with cables between them need root")
        self.holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", HOLD, self.hosts, self.resolver],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.holder.stdout is not None
        if self.holder.stdout.readline() != b"ready\n":
            raise NoNamespaces(f"unshare --net --mount: {self.close()}")

    def words(self, *argv: str | Path, cwd: Path | None = None) -> list[str]:
        """A command line that runs ``argv`` here. Entering a namespace loses the folder."""
        enter = ["nsenter", "-t", str(self.holder.pid), "--net", "--mount"]
        return [*enter, "env", "-C", str(cwd or self.folder), *map(str, argv)]

    def root(self, *argv: str) -> str:
        """Run a command of the system here."""
        done = subprocess.run(self.words(*argv), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NoNamespaces(f"{' '.join(argv)}: {done.stderr.strip()}")
        return done.stdout

    def start(
        self, *argv: str | Path, env: Mapping[str, str], cwd: Path | None = None
    ) -> subprocess.Popen[str]:
        """Start a command here; its words go to files of pipes."""
        return subprocess.Popen(
            self.words(*argv, cwd=cwd), env={**os.environ, **env}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def close(self) -> str:
        """Let go of the namespace; what its holder complained of."""
        return self.holder.communicate(timeout=10)[1].decode().strip()


class Cut(NamedTuple):
    """How a cable is cut."""

    way: str
    """``refused``: whoever sends is told at once. ``silent``: what is sent is swallowed."""
    side: str = "both"
    """``both``, ``requests`` (from the machine) or ``replies`` (to it)."""
    after: int = 0
    """So many bytes of that side still get through: the cut comes in the middle of something."""

    def __str__(self) -> str:
        return f"{self.way}-{self.side}-{self.after}" if self.after else f"{self.way}-{self.side}"


class Machine(Place):
    """A machine with a cable to the centre."""

    def __init__(self, name: str, folder: Path, centre: Place, index: int) -> None:
        super().__init__(name, folder)
        self.centre = centre
        self.far, self.own, self.socket = f"10.77.{index}.1", f"10.77.{index}.2", f"to{index}"
        self.know_names()
        self.root(
            "ip", "link", "add", "eth0", "type", "veth",
            "peer", "name", self.socket, "netns", str(centre.holder.pid),
        )  # fmt: skip
        self.root("ip", "address", "add", f"{self.own}/24", "dev", "eth0")
        centre.root("ip", "address", "add", f"{self.far}/24", "dev", self.socket)
        self.plug()

    def know_names(self) -> None:
        """Look names up in a file."""
        self.hosts.write_text(f"127.0.0.1 localhost\n{CENTRE} {CENTRE_NAME}\n")

    def forget_names(self) -> None:
        """Look names up at a name server at the centre."""
        self.hosts.write_text("127.0.0.1 localhost\n")

    def plug(self) -> None:
        """Put the cable in again."""
        for place in (self, self.centre):
            place.root("nft", f"add table inet {self.socket}; delete table inet {self.socket}")
        self.centre.root("ip", "link", "set", self.socket, "up")
        self.root("ip", "link", "set", "eth0", "up")
        self.root("ip", "route", "replace", "default", "via", self.far)
        # What was learned of silence is forgotten, as with a cable that is really put in.
        self.root("ip", "neighbour", "flush", "dev", "eth0")
        self.centre.root("ip", "neighbour", "flush", "dev", self.socket)

    def pull(self, cut: Cut) -> None:
        """Cut the cable."""
        if cut.side == "both" and not cut.after:
            if cut.way == "refused":
                self.root("ip", "link", "set", "eth0", "down")
            else:
                self.centre.root("ip", "link", "set", self.socket, "down")
            return
        limit = f"quota over {cut.after} bytes" if cut.after else ""
        for side in ("requests", "replies") if cut.side == "both" else (cut.side,):
            self._rule(cut.way, side, limit)

    def _rule(self, way: str, side: str, limit: str) -> None:
        if way == "silent":
            place, hook, link = self, "output" if side == "requests" else "input", "eth0"
            verdict = f"{limit} drop"
        else:
            # A reset goes to whoever sent; so replies are refused where they begin. The server's
            # own resets pass: they are how the machine learns of it.
            place, hook = (self, "output") if side == "requests" else (self.centre, "output")
            link = "eth0" if side == "requests" else self.socket
            verdict = f"tcp flags & rst == 0 {limit} reject with tcp reset"
        where = "iifname" if hook == "input" else "oifname"
        place.root("nft", _table(self.socket, f"{hook}_{side}", hook, f"{where} {link} {verdict}"))

    def counted(self) -> dict[str, int]:
        """Bytes of both sides since the last ``count``."""
        said = self.root("nft", "list", "table", "inet", "count")
        found = re.findall(r"chain (\w+) .*?bytes (\d+)", said, re.DOTALL)
        return {side: int(number) for side, number in found}

    def count(self) -> None:
        """Begin to count bytes."""
        self.root("nft", "add table inet count; delete table inet count")
        self.root("nft", _table("count", "requests", "output", "oifname eth0 counter"))
        self.root("nft", _table("count", "replies", "input", "iifname eth0 counter"))


def _table(table: str, chain: str, hook: str, rule: str) -> str:
    return (
        f"add table inet {table}; "
        f"add chain inet {table} {chain} {{ type filter hook {hook} priority 0; }}; "
        f"add rule inet {table} {chain} {rule}"
    )


class Network:
    """The centre, and machines around it."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.places: list[Place] = []
        try:
            self.centre = Place("centre", folder / "centre")
            self.places.append(self.centre)
            self.centre.root("ip", "address", "add", f"{CENTRE}/32", "dev", "lo")
            self.machines: dict[str, Machine] = {}
            for index, name in enumerate(names, 1):
                self.machines[name] = Machine(name, folder / name, self.centre, index)
                self.places.append(self.machines[name])
        except FileNotFoundError as error:
            self.close()
            raise NoNamespaces(f"a program is missing: {error.filename}") from error
        except NoNamespaces:
            self.close()
            raise

    def close(self) -> None:
        for place in reversed(self.places):
            place.close()
