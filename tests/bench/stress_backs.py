"""The stores of ``reserve_stress.py``: each kind for real, reached by many homes, and its faults.

A fault is either passing (the next answer or request is cut by a proxy) or an outage, which lasts
until ``mend``: the folder or file is elsewhere, the server killed -9.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stores"))

from bucket_kit import CREDENTIALS, make_bucket_store, start_seaweedfs
from cxlocal_sync.stores.sqlite import SqliteStore
from http_kit import CuttingProxy, ProcessServer, enrol
from keys_kit import make_folder_store
from numbers_kit import open_at
from postgresql_kit import Cluster

from cxlocal.exchange.store import Store

REPLY_BYTES = (0, 20, 200, 2000)


def opened(url: str, home: Path) -> Store:
    """The store at ``url`` as the machine at ``home`` sees it."""
    return open_at(url, home)


class Back:
    """A store and its faults. ``down`` while there is an outage."""

    url: str
    down = False

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.root, self.chance = root, chance
        self.found: dict[str, int] = {"outages": 0, "cuts": 0}

    def admit(self, home: Path) -> None:
        """Let a machine in, where the store asks for that."""

    def trouble(self) -> None:
        self.found["outages"] += 1
        self.down = True
        self.leave()

    def mend(self) -> None:
        self.come_back()
        self.down = False

    def leave(self) -> None:
        raise AssertionError("each kind has its own way to go")

    def come_back(self) -> None:
        raise AssertionError("each kind has its own way back")

    def close(self) -> None:
        """End the servers."""


class Moving(Back):
    """A file or folder that is moved elsewhere."""

    file: Path

    def trouble(self) -> None:
        if self.file.exists():
            super().trouble()

    def leave(self) -> None:
        self.file.rename(self.file.with_name("away"))

    def come_back(self) -> None:
        self.file.with_name("away").rename(self.file)


class Embedded(Moving):
    def __init__(self, root: Path, chance: random.Random) -> None:
        super().__init__(root, chance)
        (root / "central").mkdir()
        self.file = root / "central" / "store.db"
        self.url = f"sqlite://{self.file}"
        with contextlib.closing(SqliteStore(self.url, root)) as made:
            made.create()


class Folder(Moving):
    def __init__(self, root: Path, chance: random.Random) -> None:
        super().__init__(root, chance)
        self.file = root / "share"
        self.url = f"folder://{self.file}"
        make_folder_store(self.file, root / "founder").close()


class Served(Back):
    """Behind a proxy that cuts requests and answers."""

    proxy: CuttingProxy
    kills = 0.25
    """Share of the faults that are kills; the others are cuts, which take no time."""

    def trouble(self) -> None:
        if self.chance.random() < self.kills:
            super().trouble()
            return
        self.found["cuts"] += 1
        if self.chance.random() < 0.7:
            self.proxy.reply_limit = self.chance.choice(REPLY_BYTES)
        else:
            self.proxy.request_limit = self.chance.choice(REPLY_BYTES)

    def calm(self) -> None:
        """No fault is left waiting for somebody to meet it."""
        self.proxy.reply_limit = self.proxy.request_limit = None


class Postgresql(Served):
    def __init__(self, root: Path, chance: random.Random) -> None:
        super().__init__(root, chance)
        self.cluster = Cluster()
        # A killed process does not take what it gave to the system with it.
        self.server = self.cluster.primary("-c", "fsync=off", "-c", "autovacuum=on")
        self.proxy = CuttingProxy(self.server.port)
        self.url = f"postgresql://postgres@127.0.0.1:{self.proxy.port}/postgres"

    def leave(self) -> None:
        self.server.kill()

    def come_back(self) -> None:
        self.server.start()

    def close(self) -> None:
        self.proxy.close()
        self.cluster.close()


class Http(Served):
    store = ""

    def __init__(self, root: Path, chance: random.Random) -> None:
        super().__init__(root, chance)
        self.server = ProcessServer(root / "central", store=self.store)
        self.proxy = CuttingProxy(self.server.port)
        self.url = self.proxy.url

    def admit(self, home: Path) -> None:
        enrol(self.url, self.server.members_path, home, home.name).close()

    def leave(self) -> None:
        self.server.kill()

    def come_back(self) -> None:
        self.server.start()

    def close(self) -> None:
        self.proxy.close()
        self.server.stop()


class HttpPostgresql(Http):
    """Either of the two servers goes."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.cluster = Cluster()
        self.database = self.cluster.primary("-c", "fsync=off", "-c", "autovacuum=on")
        self.store = self.database.url()
        super().__init__(root, chance)

    def leave(self) -> None:
        if self.chance.random() < 0.5:
            self.database.kill()
        else:
            super().leave()

    def come_back(self) -> None:
        if self.database.process is None:
            self.database.start()
        else:
            super().come_back()

    def close(self) -> None:
        super().close()
        self.cluster.close()


class Bucket(Served):
    kills = 0.1  # it takes seconds to start again

    def __init__(self, root: Path, chance: random.Random) -> None:
        super().__init__(root, chance)
        self.server = start_seaweedfs(root / "seaweedfs")
        make_bucket_store(self.server, "stress", root / "founder").close()
        self.proxy = CuttingProxy(self.server.port)
        direct = self.server.url("stress")
        self.url = direct.replace(f":{self.server.port}", f":{self.proxy.port}")

    def leave(self) -> None:
        self.server.stop()

    def come_back(self) -> None:
        self.server.start()

    def close(self) -> None:
        self.proxy.close()
        self.server.stop()


BACKS: Mapping[str, type[Back]] = {
    "sqlite": Embedded,
    "http": Http,
    "http-postgresql": HttpPostgresql,
    "postgresql": Postgresql,
    "folder": Folder,
    "s3": Bucket,
}


def ready_for_buckets() -> None:
    """What the processes to come must find in their environment."""
    os.environ.update(CREDENTIALS)
