"""A server behind nginx as it comes: what it refuses is not the store's word, and hinders nothing else."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cxlocal_sync.http.client import HttpStore
from http_kit import ThreadServer
from numbers_kit import open_journal
from postgresql_kit import free_port

from cxlocal.errors import Refused
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import synchronise

pytestmark = pytest.mark.needs("nginx")
START_SECONDS = 20.0


@pytest.fixture
def before(tmp_path: Path) -> Iterator[HttpStore]:
    """A member whose way to the store leads through nginx with its default limits."""
    server = ThreadServer(tmp_path / "central", proxy="127.0.0.1")
    port, folder = free_port(), tmp_path / "nginx"
    folder.mkdir()
    paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in (
        "client_body", "proxy", "fastcgi", "uwsgi", "scgi"))  # fmt: skip
    (folder / "conf").write_text(
        f"{'' if os.getuid() else 'user root; '}daemon off; pid {folder}/pid; error_log {folder}/log; worker_processes 1;\n"
        f"events {{}}\nhttp {{ access_log off; {paths}\n"
        f"server {{ listen 127.0.0.1:{port};\n"
        f"location / {{ proxy_pass http://127.0.0.1:{server.port};"
        " proxy_set_header X-Forwarded-For $remote_addr; } } }\n"
    )
    process = subprocess.Popen(
        ["nginx", "-c", str(folder / "conf"), "-e", str(folder / "log")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    direct = server.enrol(tmp_path / "home")
    with open_journal(tmp_path / "home") as journal:
        assert synchronise(journal, direct).reached
    direct.close()
    store = HttpStore(f"http://127.0.0.1:{port}", tmp_path / "through")
    store.sign_in(lambda: direct.token)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            store.members()
            break
        except StoreUnreachable:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
    yield store
    store.close()
    process.terminate()
    process.wait(START_SECONDS)
    server.close()


def _put(store: Any, size: int) -> str:
    content = bytes(size)
    digest = sha256(content).hexdigest()
    store.put_blob(digest, content, timeout=20)
    return digest


def test_a_body_that_nginx_refuses_is_named_with_what_to_set(before: HttpStore) -> None:
    with pytest.raises(Refused) as caught:
        _put(before, 5 << 20)
    assert caught.value.name == "too-long-on-the-way"
    assert "before the store" in caught.value.why
    assert "client_max_body_size 64m" in caught.value.hint
    # What is smaller gets through, before and after it.
    assert before.missing_blobs([_put(before, 100_000)], timeout=20) == []
    with pytest.raises(StoreUnreachable, match="cannot be reached") as unreached:
        before.exchange(bytes(2 << 20), timeout=20)
    assert "413" in unreached.value.why and "client_max_body_size" in unreached.value.hint
