"""The key of ``browse``: pages of one person's journal on a port that every user of the machine reaches."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cxlocal.commands.doors import Sealed, WithKey


class Counted:
    """Ids that a test can name."""

    def __init__(self) -> None:
        self.count = 0

    def token(self) -> str:
        self.count += 1
        return f"token{self.count}"

    def uuid(self) -> str:
        raise AssertionError("not asked for")


class Asked:
    """A door with pages behind it, asked without a server."""

    def __init__(self, path: str = "/") -> None:
        self.seen: list[str] = []
        self.told: list[str] = []
        self.door = WithKey(self.pages, "cxlocal-1", path, Counted(), self.told.append)

    async def pages(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    def get(self, path: str, query: str = "", cookie: str = "") -> tuple[int, dict[str, str]]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"cookie", cookie.encode())] if cookie else []
        scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(),
                 "query_string": query.encode(), "headers": headers}  # fmt: skip
        asyncio.run(self.door(scope, None, send))
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], found


@pytest.mark.parametrize(
    ("query", "cookie"),
    [
        ("", ""), ("key=", ""), ("key=token2", ""), ("key=TOKEN1", ""), ("Key=token1", ""),
        ("", "cxlocal-1="), ("", "cxlocal-1=token1"), ("", "cxlocal-2=token2"),
        ("", "x=cxlocal-1=token2"), ("key=%ff", "\xe4=1"),
    ],
)  # fmt: skip
def test_without_key_or_cookie_nothing_is_read(query: str, cookie: str) -> None:
    asked = Asked()
    for path in ("/", "/journal.json", "/-/static/app.css", "/journal/-/diary.ics"):
        assert asked.get(path, query, cookie)[0] == 403
    assert asked.seen == [] and asked.told == []


def test_a_key_opens_once_and_leaves_a_cookie() -> None:
    asked = Asked("/history/")
    status, headers = asked.get("/history/journal", "a=1&key=token1&b=%26")
    assert (status, headers["location"]) == (303, "/history/journal?a=1&b=%26")
    assert headers["set-cookie"] == "cxlocal-1=token2; Path=/history/; HttpOnly; SameSite=Strict"
    assert asked.told == ["token3"], "the next address"
    assert asked.get("/", "key=token1")[0] == 403, "it was seen by others meanwhile"
    assert asked.get("/journal", "", "other=1; cxlocal-1=token2")[0] == 200
    assert asked.get("/", "key=token3")[0] == 303
    assert asked.seen == ["/journal"]


@pytest.mark.parametrize("path", ["//evil.example/", "///evil.example", "/\\evil.example", "/a//b"])
def test_a_key_leads_to_no_other_host(path: str) -> None:
    place = Asked().get(path, "key=token1")[1]["location"]
    assert place.startswith("/") and not place.startswith(("//", "/\\"))


@pytest.mark.parametrize("own", [{}, {b"Content-Security-Policy": b"mine"}])
@pytest.mark.parametrize("status", [200, 302, 403, 500])
def test_no_other_site_shows_the_pages_inside_of_itself(
    own: dict[bytes, bytes], status: int
) -> None:
    async def pages(scope: Any, receive: Any, send: Any) -> None:
        start = {"type": "http.response.start", "status": status, "headers": list(own.items())}
        await send(start)

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Sealed(pages)({"type": "http"}, None, send))
    found = {name.lower(): value for name, value in sent[0]["headers"]}
    assert len(found) == len(sent[0]["headers"]) and found[b"x-frame-options"] == b"DENY"
    policy = found[b"content-security-policy"]
    assert policy == b"mine" if own else b"frame-ancestors 'none'" in policy


@pytest.fixture
def opened(cx: Any, full_copy: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [cx.program, "browse", "--no-open"],
        env={**os.environ, "CXLOCAL_HOME": str(full_copy.parent)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    yield process, process.stdout.readline().strip()
    process.send_signal(signal.SIGINT)
    process.wait(timeout=15)
    process.stdout.close()
    process.stderr.close()


def test_the_printed_address_opens_the_pages_and_no_other_does(
    opened: tuple[subprocess.Popen[str], str],
) -> None:
    process, address = opened
    found = re.fullmatch(r"http://(127\.0\.0\.1):(\d+)(/\?key=[0-9a-f]{32})", address)
    assert found is not None

    def get(path: str, cookie: str = "") -> tuple[int, str, Any]:
        connection = http.client.HTTPConnection(found[1], int(found[2]), timeout=20)
        connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
        got = connection.getresponse()
        text = got.read().decode()
        connection.close()
        return got.status, text, got.headers

    assert get("/")[0] == 403 and "1.0.101" not in get("/journal/live-now.json")[1]
    status, _, headers = get(found[3])
    cookie = headers["Set-Cookie"].partition(";")[0]
    assert status == 303 and headers["Location"] == "/"
    assert get(found[3])[0] == 403
    assert "1.0.101" in get("/journal/live-now.json", cookie)[1]
    assert get("/", cookie)[2]["Location"] == "/journal/-/board"
    for path in ("/journal/run", "/journal/-/board", "/", "/nowhere"):
        for allowed in ("", cookie):
            answered = get(path, allowed)[2]
            assert answered["X-Frame-Options"] == "DENY"
            assert "frame-ancestors 'none'" in answered["Content-Security-Policy"]
    assert process.stderr is not None
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert re.search(r"For another browser: http://127\.0\.0\.1:\d+/\?key=[0-9a-f]{32}", said)
    assert found[3].partition("=")[2] not in said
