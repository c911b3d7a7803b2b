"""Object storage for the tests: real servers on this machine, one that honours conditions
(SeaweedFS) and one that ignores them (rclone)."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cxlocal_sync.keys.open import object_store
from cxlocal_sync.keys.store import KeyStore

KEY, SECRET = "cxkey", "cxsecret"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
BUCKET = "builds"


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Server:
    """A server of object storage in a process of its own."""

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.command, self.port, self.log = command, port, log
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as handle:
            self.process = subprocess.Popen(
                self.command, stdout=handle, stderr=subprocess.STDOUT, cwd=self.log.parent
            )
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=1).close()
            except urllib.error.HTTPError as error:
                error.close()
                return
            except OSError:
                time.sleep(0.1)
            else:
                return
        self.stop()
        raise AssertionError(self.log.read_text()[-2000:])

    def stop(self) -> None:
        self.process.kill()  # it does not always end when it is asked to
        self.process.wait()

    def url(self, prefix: str, bucket: str = BUCKET) -> str:
        return f"s3://{bucket}/{prefix}?endpoint=http://127.0.0.1:{self.port}&region=us-east-1"


def start_seaweedfs(folder: Path) -> Server:
    """SeaweedFS with one bucket."""
    folder.mkdir()
    config = folder / "s3.json"
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config.write_text(json.dumps({"identities": [identity]}))
    s3, filer, *others = free_ports(8)
    names = ("master.port", "volume.port", "s3.port.grpc", "filer.port.grpc", "master.port.grpc",
             "volume.port.grpc")  # fmt: skip
    program = str(Path(sys.executable).with_name("weed"))
    server = Server(
        [program, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-s3",
         f"-s3.port={s3}", f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
         "-volume.max=5", "-master.volumeSizeLimitMB=64", f"-filer.port={filer}",
         *(f"-{name}={port}" for name, port in zip(names, others, strict=True))],
        s3, folder / "log",
    )  # fmt: skip
    _make_bucket(server)
    return server


def _make_bucket(server: Server) -> None:
    """By the filer's own form: obstore makes no buckets, and nothing else is needed of a client."""
    import obstore
    from obstore.store import S3Store

    # A folder of the filer below /buckets is a bucket.
    filer = next(part for part in server.command if part.startswith("-filer.port="))
    address = f"http://127.0.0.1:{filer.partition('=')[2]}/buckets/{BUCKET}/"
    for _ in range(100):
        try:
            made = urllib.request.Request(address, method="POST")
            urllib.request.urlopen(made, timeout=2).close()
            store = S3Store(
                BUCKET, endpoint=f"http://127.0.0.1:{server.port}", region="us-east-1",
                access_key_id=KEY, secret_access_key=SECRET,
                client_options={"allow_http": True},
            )  # fmt: skip
            obstore.put(store, "ready", b"the first bytes need a volume")
            return
        except (OSError, obstore.exceptions.BaseError):
            time.sleep(0.1)
    raise AssertionError(server.log.read_text()[-2000:])


def start_rclone(folder: Path) -> Server:
    """rclone, which serves a folder as buckets and ignores conditions."""
    (folder / BUCKET).mkdir(parents=True)
    (port,) = free_ports(1)
    program = str(Path(sys.executable).with_name("rclone"))
    command = [
        program,
        "serve",
        "s3",
        "--addr",
        f"127.0.0.1:{port}",
        "--auth-key",
        f"{KEY},{SECRET}",
    ]
    config = folder.parent / "rclone.conf"
    config.write_text("")
    return Server([*command, "--config", str(config), str(folder)], port, folder.parent / "log")


def make_bucket_store(server: Server, prefix: str, home: Path) -> KeyStore:
    """A new store under ``prefix``, as the machine at ``home`` sees it."""
    made = object_store(server.url(prefix), home)
    made.create()
    return made


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server of object storage."""
    server = start_seaweedfs(tmp_path_factory.mktemp("objects") / "seaweedfs")
    yield server
    server.stop()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the servers of object storage want to see."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
