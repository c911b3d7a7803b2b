"""A page that says *404* and is not of the target: it holds nobody knows what, and nothing is absent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cxlocal_plugins.targets.forge import ForgeRelease
from cxlocal_plugins.targets.npm import Npm
from cxlocal_plugins.targets.object_store import ObjectStore
from cxlocal_plugins.targets.python_index import PythonIndex

from cxlocal.testing import Bench

NO_BUCKET = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchBucket</Code><Message>NoSuchKey is what it is not'
    "</Message><BucketName>NoSuchKey</BucketName></Error>"
)
PAGES = {
    "a page of a proxy": ("text/html", "<html><body><h1>404 Not Found</h1><hr>nginx</body></html>"),
    "nothing at all": ("", ""),
    "another server": ("text/plain", "404 page not found\n"),
    "an API at another prefix": ("application/json", "[]"),
    "a bucket that is not there": ("application/xml", NO_BUCKET),
    "a page that speaks of keys": ("text/html", "<html><Code>NoSuchKey</Code></html>"),
}


class Place(ThreadingHTTPServer):
    """Answers 404 to everything, with one page."""

    daemon_threads = True
    page = ("", "")
    there: str | None = None
    """The one path that is answered with 200."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Place

    def do_GET(self) -> None:
        kind, text = self.server.page
        self.send_response(200 if self.path == self.server.there else 404)
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    server = Place(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("there", "state"),
    [("/simple/", "absent"), ("/simple", "absent"), ("/", "not known"), (None, "not known")],
)
def test_an_index_is_one_where_its_root_answers(
    bench: Bench, made: Any, tmp_path: Path, place: Place, there: str | None, state: str
) -> None:
    place.page, place.there = PAGES["a page of a proxy"], there
    options = {"url": f"{place.url}/legacy/", "simple": f"{place.url}/simple"}
    ran = bench.run(PythonIndex, "ask", options, artifacts={"wheel": made.wheel(tmp_path)})
    place.there = None
    held = ran.outcome.result.files["wheel"]
    assert (held.state, "is simple right?" in held.why) == (state, state == "not known")


FORGE = {"project": "acme/shop"}
TARGETS: dict[str, tuple[Any, dict[str, Any]]] = {
    "npm": (Npm, {"registry": "@URL@/npm/"}),
    "python-index": (PythonIndex, {"url": "@URL@/legacy/", "simple": "@URL@/simple/"}),
    "object-store": (ObjectStore, {"bucket": "releases", "endpoint": "@URL@", "region": "x", "key": "K", "secret": "S"}),
    **{forge: (ForgeRelease, {**FORGE, "forge": forge, "url": "@URL@"}) for forge in ("github", "gitea", "gitlab")},
}  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_a_404_that_is_not_of_the_target_is_not_known(
    bench: Bench, made: Any, tmp_path: Path, place: Place, name: str
) -> None:
    kind, told = TARGETS[name]
    options = {key: value.replace("@URL@", place.url) for key, value in told.items()}
    (tmp_path / "app.bin").write_text("ours")
    file = {
        "npm": lambda: made.package(tmp_path),
        "python-index": lambda: made.wheel(tmp_path),
    }.get(name, lambda: made.reference("app", tmp_path / "app.bin"))()  # fmt: skip
    for what, page in PAGES.items():
        place.page = page
        ran = bench.run(
            kind, "ask", options, artifacts={"app": file}, secrets={"K": "key", "S": "secret"}
        ).outcome
        held = ran.result.files
        assert {one.state for one in held.values()} == {"not known"}, (what, held)
        assert held["app"].trouble == "unreached" and "404" in held["app"].why, (what, held)
