"""Containers and registries for tests: engines with a storage of their own, on loopback."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

START_SECONDS = 20.0
BUSYBOX = "/bin/busybox"
DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
COPY www /www
ENV PORT=8080
CMD ["/bin/busybox", "sh", "-c", "exec /bin/busybox httpd -f -p $PORT -h /www"]
"""
"""Two megabytes that answer HTTP."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def worker() -> int:
    """The number of this worker of the test run."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "").strip("gw") or 0) % 100


def wait_for(true: Callable[[], object], what: str, seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def answers(url: str, *, user: str = "", password: str = "") -> int:
    """The status of a GET; 0 where nobody answers."""
    request = urllib.request.Request(url)
    if user:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {pair}")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def page_project(folder: Path, text: str = "hello") -> None:
    """An image that serves one page."""
    (folder / "www").mkdir(parents=True, exist_ok=True)
    (folder / "www" / "index.html").write_text(text)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    # Beside the sources, as an image from nothing has no shell.
    shutil.copy(shutil.which("busybox") or BUSYBOX, folder / "busybox")


class Engine:
    """podman and buildah with a storage of their own. ``env`` is what their programs need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        storage, settings = folder / "storage.conf", folder / "containers.conf"
        storage.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/run"\n'
        )
        settings.write_text(
            # A small machine may neither raise limits nor have systemd, and crun wants one kind of cgroups.
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
            f'[engine]\ncgroup_manager = "cgroupfs"\nruntime = "runc"\ntmp_dir = "{folder}/tmp"\n'
            f'[network]\nnetwork_config_dir = "{folder}/networks"\ndefault_network = "tests"\n'
        )
        self.env = {
            "CONTAINERS_CONF": str(settings),
            "CONTAINERS_STORAGE_CONF": str(storage),
            "BUILDAH_ISOLATION": "chroot",
        }
        # Engines of other workers have a bridge and addresses of their own.
        number = worker()
        network = {
            "name": "tests", "id": f"{number:064x}", "driver": "bridge", "dns_enabled": False,
            "network_interface": f"cxtest{number}", "ipv6_enabled": False, "internal": False,
            "subnets": [{"subnet": f"10.{100 + number}.0.0/24", "gateway": f"10.{100 + number}.0.1"}],
            "ipam_options": {"driver": "host-local"},
        }  # fmt: skip
        (folder / "networks").mkdir()
        (folder / "networks" / "tests.json").write_text(json.dumps(network))

    def podman(self, *arguments: str) -> str:
        done = subprocess.run(
            ["podman", *arguments], env={**os.environ, **self.env}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def close(self) -> None:
        self.podman("rm", "--all", "--force", "--time", "0")
        # Mounts of the storage would keep the folder. What ends with the last container may still write there.
        for last in (False, True):
            try:
                self.podman("system", "reset", "--force")
            except AssertionError:
                if last:
                    raise
            else:
                return


class Registry:
    """A registry on loopback; with ``password`` for the user ``shop`` alone."""

    def __init__(self, folder: Path, *, htpasswd: str = "") -> None:
        self.port = free_port()
        settings = {
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
            "http": {"addr": f"127.0.0.1:{self.port}"},
            "log": {"level": "error"},
        }
        if htpasswd:
            (folder / "htpasswd").write_text(htpasswd)
            settings["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
        file = folder / "registry.json"
        file.write_text(json.dumps(settings))  # YAML is a superset
        with open(folder / "registry.log", "ab") as log:
            self.process = subprocess.Popen(
                ["docker-registry", "serve", str(file)], stdout=log, stderr=log
            )
        wait_for(lambda: answers(f"http://{self.host}/v2/"), "the registry does not answer")

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(START_SECONDS)
