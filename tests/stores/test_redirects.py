"""Where an agreed address sends a client elsewhere: nothing of what it was trusted with goes along."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cxlocal_sync.http.client import HttpStore
from cxlocal_sync.keys.objects import ObjectSpace
from cxlocal_sync.keys.space import SpaceError

from cxlocal.exchange.store import StoreUnreachable

ASKED = b'{"protocol":1,"contact":{}}'
TOKEN, KEY = "the-members-token", "the-secret-key"
STATUSES = (301, 302, 303, 307, 308)


class Server:
    """Answers every request alike, and keeps what came."""

    def __init__(self, answer: Callable[[str], tuple[int, dict[str, str]]]) -> None:
        self.came: list[tuple[str, str, dict[str, str], bytes]] = []
        came = self.came

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                came.append((self.command, self.path, headers, body))
                status, more = answer(self.path)
                self.send_response(status)
                for name, value in {"content-length": "0", **more}.items():
                    self.send_header(name, value)
                self.end_headers()

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = any

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def redirecting(status: int, target: str) -> Iterator[tuple[Server, Server]]:
    """The agreed server and the stranger that it sends everybody to; ``target`` has {port} and {path}."""
    stranger = Server(lambda _: (200, {}))
    agreed = Server(
        lambda path: (status, {"location": target.format(port=stranger.port, path=path)})
    )
    try:
        yield agreed, stranger
    finally:
        agreed.close()
        stranger.close()


ELSEWHERE = {
    "another port": "http://127.0.0.1:{port}{path}",
    "another host": "http://localhost:{port}{path}",
    "another scheme": "https://127.0.0.1:{port}{path}",
    "without a scheme": "//127.0.0.1:{port}{path}",
    "with the token's place": "http://x:y@127.0.0.1:{port}{path}",
    "another path": "/elsewhere",
}


@pytest.mark.parametrize("place", ELSEWHERE)
@pytest.mark.parametrize("status", STATUSES)
def test_a_served_store_is_not_followed(status: int, place: str, tmp_path: Path) -> None:
    with redirecting(status, ELSEWHERE[place]) as (agreed, stranger):
        store = HttpStore(f"http://127.0.0.1:{agreed.port}", tmp_path)
        store.sign_in(lambda: TOKEN)
        asked: list[Callable[[], object]] = [
            lambda: store.exchange(ASKED, timeout=5),
            lambda: store.lend({}, timeout=5),
            lambda: store.missing_blobs(["0" * 64], timeout=5),
            lambda: store.put_blob(sha256(b"x").hexdigest(), b"x", timeout=5),
            lambda: store.get_blob("0" * 64, timeout=5),
        ]
        for ask in asked:
            with pytest.raises(StoreUnreachable) as caught:
                ask()
            assert "another address" in caught.value.why and TOKEN not in str(caught.value)
        store.close()
        assert stranger.came == []
        assert len(agreed.came) == len(asked), "no path of its own is tried either"
        assert any(TOKEN in came[2].get("authorization", "") for came in agreed.came)


@pytest.mark.parametrize("place", ["another port", "another host"])
@pytest.mark.parametrize("status", STATUSES)
def test_of_a_bucket_neither_key_nor_signature_go_along(
    status: int, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its library follows; docs/security.md says so, and what goes along: the session token."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": KEY, "AWS_SESSION_TOKEN": "session",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with redirecting(status, ELSEWHERE[place]) as (agreed, stranger):
        space = ObjectSpace(
            f"s3://bucket/p?endpoint=http://127.0.0.1:{agreed.port}&region=x", seconds=5
        )
        for ask in (lambda: space.get("a/b"), lambda: space.put_new("a/c", b"x")):
            try:
                ask()
            except SpaceError as problem:
                assert KEY not in str(problem)
        space.close()
        assert any("authorization" in came[2] for came in agreed.came)
        for _, path, headers, body in stranger.came:
            assert "authorization" not in headers
            said = path.encode() + repr(headers).encode() + body
            assert KEY.encode() not in said and b"Signature" not in said
