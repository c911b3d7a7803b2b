"""What the answers of targets over HTTP are taken for: nothing is absent because it was not said, or not whole."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cxlocal_plugins import commands
from cxlocal_plugins.commands import Commands
from cxlocal_plugins.targets import folder, forge_api, npm, python_index
from cxlocal_plugins.targets.web import Answer, Unreached, send

from cxlocal.hooks.tool import Completed, Held, ToolFailure
from cxlocal.plan import publication as rule
from cxlocal.runner.publication import Seen, _lost
from cxlocal.testing import Bench

ASKED = "https://index.example/simple/web-shop/"
FILE = "web_shop-1.0.0-py3-none-any.whl"
LINK = f'<a href="/f/{FILE}#sha256={"a" * 64}">{FILE}</a>'
OLDER = '<a href="/f/web-shop-0.9.0.tar.gz">web-shop-0.9.0.tar.gz</a>'
MARK = '<meta name="pypi:repository-version" content="1.1">'
PAGE = "<!DOCTYPE html><html><head>{}</head><body>{}</body></html>"


def answer(body: Any, kind: str = "text/html", **rest: Any) -> Answer:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    told = {"status": 200, "headers": {"content-type": kind}, "body": raw, "address": ASKED, **rest}
    return Answer(**told)


def files(*names: str, **rest: Any) -> dict[str, Any]:
    listed = [
        {"filename": name, "url": f"/f/{name}", "hashes": {"sha256": "a" * 64}} for name in names
    ]
    return {"name": "Web.Shop", "files": listed, **rest}


JSON = python_index.JSON


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (answer(PAGE.format("", LINK)), "there"),
        (answer(LINK), "there"),
        (answer(files(FILE), JSON), "there"),
        (answer(files(FILE), "application/json; charset=utf-8"), "there"),
        (answer(PAGE.format("", OLDER)), "absent"),
        (answer(PAGE.format(MARK, "")), "absent"),
        (answer(PAGE.format("<title>Links for web-shop</title>", "")), "absent"),
        (answer(PAGE.format("", "<h1>Links for Web_Shop</h1>")), "absent"),
        (answer(PAGE.format("<title>acme/main: links for web-shop</title>", "")), "absent"),
        (answer(PAGE.format("<title>Index of /simple/web-shop/</title>", "")), "absent"),
        (answer(PAGE.format(MARK, ""), sized=False), "absent"),
        (answer(files(), JSON), "absent"),
        (answer("", status=404), "absent"),
        (answer("gone", "text/plain", status=410), "absent"),
        (answer("", status=404, address="https://fallback.example/simple/web-shop"), "absent"),
        # of which nobody can say anything
        (answer("<html><form action=/login>Please sign in</form></html>"), "not known"),
        (answer(PAGE.format("<title>Sign in to web-shop</title>", '<a href="/help/">help</a>')), "not known"),
        (answer(PAGE.format("<title>Links for other</title>", "")), "not known"),
        (answer(PAGE.format("", '<a href="/f/other-1.0.0.tar.gz">other</a>')), "not known"),
        (answer(PAGE.format("", "<p>Links for web-shop</p>")), "not known"),
        (answer(PAGE.format(MARK, ""), address="https://index.example/login"), "not known"),
        (answer("", status=404, address="https://index.example/login"), "not known"),
        (answer(PAGE.format(MARK, "")[:-9], sized=False), "not known"),
        (answer(""), "not known"),
        (answer("", status=204), "not known"),
        (answer(LINK, "text/plain"), "not known"),
        (answer(LINK, ""), "not known"),
        (answer({"files": []}, JSON), "not known"),
        (answer(files(name="other"), JSON), "not known"),
        (answer({"name": "web-shop", "files": "x"}, JSON), "not known"),
        (answer({"name": "web-shop", "files": [{"url": "x"}]}, JSON), "not known"),
        (answer({"name": "web-shop", "files": [{"filename": "x", "hashes": "x"}]}, JSON), "not known"),
        (answer('{"name": "web-shop", "fil', JSON), "not known"),
        (answer("", status=302), "not known"),
        (answer("", status=401), "not known"),
        (answer("", status=502), "not known"),
    ],
)  # fmt: skip
def test_a_list_of_this_very_project_alone_says_that_a_file_is_absent(
    said: Answer, wanted: str
) -> None:
    found = python_index.read_list(said, "web-shop")
    if isinstance(found, Held):
        assert (found.state, wanted) == ("not known", "not known") and found.why
    else:
        assert wanted == ("there" if FILE in found else "absent")


VERSION = {"dist": {"integrity": "sha512-us", "tarball": "https://r.example/x.tgz"}}


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (answer({"name": "@a/shop", "versions": {"1.0.0": VERSION}}), "same"),
        (answer({"name": "@a/shop", "versions": {"1.0.0": {"dist": {"integrity": "sha512-x"}}}}), "other"),
        (answer({"name": "@a/shop", "versions": {"0.9.0": VERSION}}), "absent"),
        (answer({"name": "@a/shop", "time": {"unpublished": {"time": "x"}}}), "absent"),
        (answer({"error": "not found"}, status=404), "absent"),
        (answer({"errors": [{"status": 404}]}, status=404), "absent"),
        (answer({}, status=404), "not known"),
        (answer("not found", status=404), "not known"),
        (answer("<html>not found</html>", status=404), "not known"),
        (answer({"please": "sign in"}), "not known"),
        (answer({"name": "@a/shop"}), "not known"),
        (answer({"name": "@a/shop", "versions": []}), "not known"),
        (answer({"name": "@a/other", "versions": {}}), "not known"),
        (answer({"name": "@a/shop", "versions": {"1.0.0": "x"}}), "not known"),
        (answer({"name": "@a/shop", "versions": {"1.0.0": {"dist": "x"}}}), "not known"),
        (answer([]), "not known"),
        (answer("<html>Please sign in</html>"), "not known"),
        (answer("", status=503), "not known"),
    ],
)  # fmt: skip
def test_a_registry_that_speaks_of_this_package_alone_says_that_a_version_is_absent(
    said: Answer, state: str
) -> None:
    assert npm.read_package(said, "@a/shop", "1.0.0", "sha512-us").state == state


@pytest.mark.parametrize(
    "said", ["<html>Please sign in</html>", {}, [1], [{"no": "id"}], [{"id": "x"}], None]
)
def test_what_a_forge_says_is_a_list_of_its_things_or_not_known(
    said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forge_api, "send", lambda *_, **__: answer(said))
    api = forge_api.Api("https://forge.example", {})
    with pytest.raises(ToolFailure):
        api.rows("/releases")
    with pytest.raises(ToolFailure):
        api.named("/tags/v1", "commit", "id")


def test_a_forge_has_a_thing_lacks_it_or_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    api = forge_api.Api("https://forge.example", {})
    there = answer({"commit": {"id": "abc"}})
    monkeypatch.setattr(forge_api, "send", lambda *_, **__: there)
    assert api.named("/tags/v1", "commit", "id")["commit"]["id"] == "abc"
    for said in ("", {"message": "404 Tag Not Found"}, {"error": "404 Not Found"}):
        lacking = answer(said, status=404)
        monkeypatch.setattr(forge_api, "send", lambda *_, _said=lacking, **__: _said)
        assert api.named("/tags/v1", "commit", "id") is None
    for said in ("<html>nginx</html>", [], {"please": "sign in"}):
        strange = answer(said, status=404)
        monkeypatch.setattr(forge_api, "send", lambda *_, _said=strange, **__: _said)
        with pytest.raises(ToolFailure):
            api.named("/tags/v1", "commit", "id")


@contextmanager
def server(*parts: bytes, drips: bytes = b"") -> Iterator[str]:
    """A server that says this much on one connection, and then ends it, or drips until nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            link, _ = door.accept()
            with link:
                link.recv(65536)
                try:
                    for part in parts:
                        link.sendall(part)
                    while drips and not done.wait(0.02):
                        link.sendall(drips)
                except OSError:
                    pass

        done = threading.Event()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}/"
        finally:
            done.set()
            thread.join()


OK = b"HTTP/1.1 200 OK\r\n"
ENDLESS = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "drips", "why"),
    [
        ((OK, b"Content-Length: 5000\r\n\r\n<html>"), b"", "6 of 5000"),
        ((b"HTTP/1.1 404 Not Found\r\n", b"Content-Length: 50\r\n\r\nno"), b"", "2 of 50"),
        ((OK, ENDLESS, b"6\r\n<html>\r\n"), b"", "IncompleteRead"),
        ((OK, b"Content-Length: 200\r\n\r\n", b"x" * 200), b"", "more than 100 bytes"),
        ((OK, b"\r\n", b"x" * 200), b"x", "more than 100 bytes"),
        ((OK, b"Content-Length: 90\r\n\r\n"), b" ", "takes too long"),
        ((OK, b"\r\n"), b" ", "takes too long"),
        ((OK, ENDLESS), b"1\r\n \r\n", "takes too long"),
        ((OK,), b"X: y\r\n", "takes too long"),
        ((OK, b"X: "), b"y", "takes too long"),
        ((b"HTTP/1.1 404 Not Found\r\n", b"\r\n"), b" ", "takes too long"),
    ],
)  # fmt: skip
def test_an_answer_is_whole_or_none(said: tuple[bytes, ...], drips: bytes, why: str) -> None:
    with server(*said, drips=drips) as url, pytest.raises(Unreached) as found:
        send("GET", url, limit=100, seconds=0.4, whole=0.4)
    assert why in str(found.value)


def test_what_is_whole_is_read() -> None:
    for told, sized in ((b"Content-Length: 2\r\n", True), (ENDLESS, True), (b"", False)):
        body = b"2\r\nhi\r\n0\r\n\r\n" if told == ENDLESS else b"\r\nhi"
        with server(OK, told, body) as url:
            found = send("GET", url, limit=2)
        assert (found.body, found.sized) == (b"hi", sized)


@pytest.mark.parametrize(
    ("ask", "state", "why"),
    [
        ('echo "curl: (22) 404" >&2; false || test $? = 1', "absent", ""),
        ('echo "would be:" >&2; echo "$CXLOCAL_SHA256" >&2', "absent", ""),
        (["sh", "-c", "echo $CXLOCAL_SHA256 >&2"], "absent", ""),
        ('echo "$CXLOCAL_SHA256  $CXLOCAL_FILE"; echo "all went well" >&2', "same", ""),
        (["sh", "-c", "echo sha256:$CXLOCAL_SHA256"], "same", ""),
        ("printf %064d 7", "other", ""),
        ("echo not here", "not known", "ask printed no digest: not here"),
        ('echo "$CXLOCAL_SHA256"; echo "no route" >&2; exit 7', "not known", "exit code 7: no route"),
        ("echo half; exit 7", "not known", "exit code 7: half"),
        ("exit 7", "not known", "ask ended with exit code 7"),
    ],
)  # fmt: skip
def test_a_command_answers_on_its_standard_output_alone(
    bench: Bench, made: Any, tmp_path: Path, ask: Any, state: str, why: str
) -> None:
    (tmp_path / "app.txt").write_text("ours")
    file = made.reference("app", tmp_path / "app.txt")
    options = {"ask": ask, "publish": "true"}
    ran = bench.run(Commands, "ask", options, artifacts={"app": file})
    held = ran.outcome.result.files["app"]
    assert held.state == state and held.why.endswith(why), held
    if ">&2" in str(ask):
        assert ran.log.strip(), "what it says beside its answer is in the log"


def test_an_answer_without_end_is_no_answer(made: Any, tmp_path: Path) -> None:
    (tmp_path / "app.txt").write_text("ours")
    file = made.reference("app", tmp_path / "app.txt")
    said = tmp_path / "said"
    said.write_text(f"{file.sha256}\n" * (commands.ANSWER_BYTES // 65 + 2))
    assert commands.read_digest(said, Completed(code=0, output=""), file).state == "not known"


def test_a_link_that_leads_nowhere_is_no_empty_place(made: Any, tmp_path: Path) -> None:
    (tmp_path / "app.txt").write_text("ours")
    file = made.reference("app", tmp_path / "app.txt")
    place = tmp_path / "share.txt"
    assert folder._held(place, file, tmp_path).state == "absent"
    place.symlink_to(tmp_path / "nowhere")
    assert folder._held(place, file, tmp_path).state == "other"


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ({"app": "same", "doc": "same"}, ""),
        ({"app": "not known", "doc": "other"}, ""),
        ({"app": "absent", "doc": "same"}, "app was put, and is not there afterwards (it has 2)"),
        ({"app": "absent", "doc": "absent", "more": "absent"},
         "app, doc were put, and are not there afterwards (it has 2)"),
    ],
)  # fmt: skip
def test_what_was_put_and_is_not_there_is_said(states: dict[str, Any], words: str) -> None:
    files = {name: Held(state=state, why="it has 2") for name, state in states.items()}
    seen = Seen(files, {}, rule.Terms(), rule.ABSENT, "success")  # type: ignore[arg-type]
    assert _lost(seen, ("app", "doc")) == words
