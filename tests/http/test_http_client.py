"""The client: every way in which a server is not there, said in words and within the time."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.client import BadStatusLine, RemoteDisconnected
from pathlib import Path
from typing import Any

import pytest
import trustme
from cxlocal_sync.http import line
from cxlocal_sync.http.client import HttpStore
from cxlocal_sync.http.credentials import (
    FILE_NAME,
    Credential,
    keep_credential,
    known_authority,
    read_credential,
)
from cxlocal_sync.http.line import explain
from cxlocal_sync.http.members import Members
from cxlocal_sync.http.serving import Tls
from http_kit import ThreadServer, answering
from numbers_kit import open_at, open_journal, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.errors import ConfigError, CxError, NotSignedIn, Trouble
from cxlocal.exchange.contact import bind_address
from cxlocal.exchange.messages import decode
from cxlocal.exchange.rights import Rights
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import synchronise

Machine = Callable[..., Any]


def _client(url: str, home: Path) -> HttpStore:
    """A client that believes to be enrolled."""
    store = HttpStore(url, home)
    keep_credential(home, store.url, Credential("tester", "secret-token"))
    return store


def _fails(port: int, home: Path, *, timeout: float = 2.0) -> StoreUnreachable:
    store = _client(f"http://127.0.0.1:{port}", home)
    started = time.monotonic()
    with pytest.raises(StoreUnreachable) as caught:
        store.exchange(b"{}", timeout=timeout)
    assert time.monotonic() - started < timeout + 0.5
    store.close()
    assert "secret-token" not in str(caught.value)
    assert caught.value.hint
    return caught.value


def _page(status: str, body: bytes, kind: str = "text/html", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "refused" in _fails(port, tmp_path).why


def test_a_name_nobody_knows(tmp_path: Path) -> None:
    store = _client("https://store.invalid", tmp_path)
    started = time.monotonic()
    with pytest.raises(StoreUnreachable):
        store.exchange(b"{}", timeout=1.0)
    assert time.monotonic() - started < 1.5


def test_a_black_hole(tmp_path: Path) -> None:
    """Connections are neither accepted nor refused: the queue of the listener is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        assert "in time" in _fails(listener.getsockname()[1], tmp_path, timeout=0.6).why
        for one in waiting:
            one.close()


def test_silence(tmp_path: Path) -> None:
    with answering(lambda connection: None) as port:
        assert "in time" in _fails(port, tmp_path, timeout=0.5).why


def test_an_answer_that_trickles_is_not_waited_for(tmp_path: Path) -> None:
    def trickle(connection: socket.socket) -> None:
        for letter in _page("200 OK", bytes(10_000)):
            connection.sendall(bytes([letter]))
            time.sleep(0.05)

    with answering(trickle) as port:
        assert "in time" in _fails(port, tmp_path, timeout=0.6).why


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "cut"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "cut"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", "cut"),
        (_page("502 Bad Gateway", b"<h1>sorry</h1>"), "502"),
        (_page("404 Not Found", b"<h1>nothing here</h1>"), "404"),
        (_page("500 Oops", b"[[[[", "application/json"), "500"),
        (_page("200 OK", b"x" * (9 << 20)), "more than"),
        (_page("302 Found", b"", more="location: http://127.0.0.1:1/\r\n"), "another address"),
    ],
)
def test_answers_that_are_none(answer: bytes, said: str, tmp_path: Path) -> None:
    def reply(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)

    with answering(reply) as port:
        assert said in _fails(port, tmp_path).why


def test_a_release_goes_on_from_the_reserve_within_the_delay(
    tmp_path: Path, server: ThreadServer, machine: Machine
) -> None:
    """P17 over HTTP: a server that hangs costs 3 s at most, then nothing for a minute."""
    store = server.enrol(tmp_path / "client")
    journal = machine()
    obtain_number(journal, store, request("r0"))
    for _ in range(2):
        synchronise(journal, store)
    store.close()
    with answering(lambda connection: None) as port:
        away = _client(f"http://127.0.0.1:{port}", tmp_path / "client")
        bind_address(journal, away.url)
        started = time.monotonic()
        assert obtain_number(journal, away, request("r1")).how == "reserve"
        assert not synchronise(journal, away).reached
        assert time.monotonic() - started < 3.0
        started = time.monotonic()
        assert obtain_number(journal, away, request("r2")).how == "reserve"
        assert time.monotonic() - started < 0.5
        away.close()


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        "http://store.example.org", "http://10.0.0.1:80", "https://", "https://user:pw@host",
        "https://host?x=1", "https://host#x", "https://host:99999999", "http://[::2]:1",
        "http://127.0.0.1.example.org",
    ],
)  # fmt: skip
def test_addresses_that_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        HttpStore(url, tmp_path)
    assert "pw" not in str(caught.value)
    assert caught.value.hint


def test_addresses_have_one_form(tmp_path: Path) -> None:
    for url, shown in {
        "https://Store.Example.org/": "https://store.example.org",
        "https://store.example.org:8377/cx/": "https://store.example.org:8377/cx",
        "http://localhost:1": "http://localhost:1",
        "http://[::1]:1/": "http://[::1]:1",
    }.items():
        store = open_at(url, tmp_path)
        assert store.url == shown
        store.close()
    assert not list(tmp_path.iterdir()), "nothing is made before the first contact"


# Tokens


def test_a_machine_that_is_not_enrolled_is_told_how(tmp_path: Path) -> None:
    store = HttpStore("https://store.example.org", tmp_path)
    with pytest.raises(NotSignedIn, match="store join") as caught:
        store.exchange(b"{}", timeout=1)
    assert caught.value.exit_code == 4


def test_the_token_lies_in_a_file_of_mode_0600_and_nowhere_else(
    tmp_path: Path, server: ThreadServer
) -> None:
    home = tmp_path / "laptop"
    store = server.enrol(home)
    journal = open_journal(home)
    obtain_number(journal, store, request("r0"))
    synchronise(journal, store)
    journal.close()
    found = read_credential(home, store.url)
    assert found is not None
    token = found.token
    assert len(token) == 64
    assert (home / FILE_NAME).stat().st_mode & 0o777 == 0o600
    with_token = [path for path in tmp_path.rglob("*") if path.is_file() and _holds(path, token)]
    assert with_token == [home / FILE_NAME]
    store.close()


def _holds(path: Path, text: str) -> bool:
    return text.encode() in path.read_bytes()


def test_a_file_of_tokens_that_others_may_read_is_refused(tmp_path: Path) -> None:
    store = _client("https://store.example.org", tmp_path)
    (tmp_path / FILE_NAME).chmod(0o640)
    with pytest.raises(NotSignedIn, match="chmod 600"):
        store.exchange(b"{}", timeout=1)
    (tmp_path / FILE_NAME).chmod(0o600)
    (tmp_path / FILE_NAME).write_text("{")
    with pytest.raises(Trouble):
        store.exchange(b"{}", timeout=1)


def test_two_stores_have_two_tokens(tmp_path: Path) -> None:
    _client("https://one.example.org", tmp_path)
    keep_credential(tmp_path, "https://two.example.org", Credential("m", "other"))
    one, two = (read_credential(tmp_path, f"https://{name}.example.org") for name in ("one", "two"))
    assert (one and one.token, two and two.token) == ("secret-token", "other")


def test_the_token_may_come_from_a_source(tmp_path: Path, server: ThreadServer) -> None:
    """``CXLOCAL_STORE_TOKEN`` beside ``CXLOCAL_STORE``: how a CI job gets it."""
    enrolled = server.enrol(tmp_path / "laptop")
    assert enrolled._credential is not None
    environ = {"CXLOCAL_STORE_TOKEN": enrolled._credential.token}
    enrolled.close()
    store = open_at(server.url, tmp_path / "job", environ)
    assert decode(store.exchange(b"{}", timeout=5))["refusal"]["name"] == "unknown-protocol"
    assert not (tmp_path / "job").exists()
    store.close()


def test_a_wrong_token_is_not_signed_in(tmp_path: Path, server: ThreadServer) -> None:
    store = _client(server.url, tmp_path)
    with pytest.raises(NotSignedIn, match="store join"):
        store.exchange(bytes(1_000_000), timeout=5)
    store.close()


# TLS


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def _tls_server(tmp_path: Path, leaf: trustme.LeafCert) -> ThreadServer:
    tmp_path.mkdir(exist_ok=True)
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    leaf.cert_chain_pems[0].write_to_path(certificate)
    leaf.private_key_pem.write_to_path(key)
    return ThreadServer(tmp_path / "central", tls=Tls(certificate, key))


def _code(server: ThreadServer) -> str:
    members = Members(server.members_path)
    code = members.invite("tester", Rights())
    members.close()
    return code


def test_tls_with_an_authority_of_ones_own(tmp_path: Path, authority: trustme.CA) -> None:
    server = _tls_server(tmp_path, authority.issue_cert("localhost"))
    store = HttpStore(server.url, tmp_path / "laptop")
    with pytest.raises(StoreUnreachable, match="not trusted") as caught:
        store.join(_code(server))
    assert f"cxlocal store join {server.url} --code CODE --ca FILE" in caught.value.hint
    store.close()
    store = HttpStore(server.url, tmp_path / "laptop")
    store.join(_code(server), authority.cert_pem.bytes().decode())
    store.close()
    again = HttpStore(server.url, tmp_path / "laptop")
    assert decode(again.exchange(b"{}", timeout=5))["refusal"]
    again.close()
    server.close()


def test_tls_with_an_authority_of_the_system(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    server = _tls_server(tmp_path, authority.issue_cert("localhost"))
    store = HttpStore(server.url, tmp_path / "laptop")
    store.join(_code(server))
    store.close()
    server.close()


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("known_by_hash", [True, False])
def test_authorities_of_the_system_are_read_one_at_a_time(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, known_by_hash: bool
) -> None:
    """From the folder that names them by their hash; what somebody added to the bundle alone counts too."""
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "hashed").mkdir()
    for name, one in (("ours", authority), ("other", trustme.CA())):
        file = tmp_path / f"{name}.pem"
        one.cert_pem.write_to_path(file)
        if name == "other" or known_by_hash:
            asked = ["openssl", "x509", "-hash", "-noout", "-in", str(file)]
            hashed = subprocess.run(
                asked, capture_output=True, text=True, check=True
            ).stdout.strip()
            (tmp_path / "hashed" / f"{hashed}.0").symlink_to(file)
    paths = ssl.get_default_verify_paths()._replace(openssl_capath=str(tmp_path / "hashed"))
    make, made = ssl.create_default_context, []

    def make_context(**what: Any) -> ssl.SSLContext:
        made.append("folder" if what.get("capath") else "bundle")
        return make(**what) if what.get("capath") else make(cafile=str(tmp_path / "ours.pem"))

    monkeypatch.setattr(line.ssl, "get_default_verify_paths", lambda: paths)
    monkeypatch.setattr(line.ssl, "create_default_context", make_context)
    server = _tls_server(tmp_path, authority.issue_cert("localhost"))
    store = HttpStore(server.url, tmp_path / "laptop")
    store.join(_code(server))
    store.close()
    assert made == (["folder"] if known_by_hash else ["folder", "bundle"])
    wrong = _tls_server(tmp_path / "wrong", trustme.CA().issue_cert("localhost"))
    away = HttpStore(wrong.url, tmp_path / "laptop")
    with pytest.raises(StoreUnreachable, match="not trusted"):
        away.join(_code(wrong))
    away.close()
    wrong.close()
    server.close()


def test_who_refuses_a_long_body_before_it_was_sent_is_heard(tmp_path: Path) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(_page("413 Too Large", b"<h1>no</h1>"))
        connection.close()  # what comes is not read

    with answering(refuse) as port:
        store = _client(f"http://127.0.0.1:{port}", tmp_path)
        with pytest.raises(StoreUnreachable, match="413"):
            store.exchange(bytes(7 << 20), timeout=5)
        store.close()


def test_a_password_of_a_proxy_is_told_to_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    def refuse(connection: socket.socket) -> None:
        asked.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    with answering(refuse) as port:
        for name in ("NO_PROXY", "no_proxy", "https_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", f"http://ann:s%20ecret@127.0.0.1:{port}")
        store = _client("https://store.example.org:8377", tmp_path)
        with pytest.raises(StoreUnreachable, match="says no.*407") as caught:
            store.exchange(b"{}", timeout=2)
    assert asked[0].startswith(b"CONNECT store.example.org:8377 ")
    assert base64.b64encode(b"ann:s ecret") in asked[0]
    assert "ecret" not in str(caught.value.why) + caught.value.hint


def test_certificates_that_are_wrong_are_named(tmp_path: Path, authority: trustme.CA) -> None:
    now = datetime.now(UTC)
    trusted = authority.cert_pem.bytes().decode()
    wrong = {
        "expired": authority.issue_cert(
            "localhost", not_before=now - timedelta(days=9), not_after=now - timedelta(days=2)
        ),
        "not valid yet": authority.issue_cert(
            "localhost", not_before=now + timedelta(days=2), not_after=now + timedelta(days=9)
        ),
        "not for localhost": authority.issue_cert("other.example.org"),
    }
    for said, leaf in wrong.items():
        server = _tls_server(tmp_path, leaf)
        store = HttpStore(server.url, tmp_path / "laptop")
        with pytest.raises(StoreUnreachable) as caught:
            store.join(_code(server), trusted)
        assert said in caught.value.why
        assert caught.value.hint
        store.close()
        server.close()


def test_tls_on_one_side_only(tmp_path: Path, server: ThreadServer, authority: trustme.CA) -> None:
    store = _client(f"https://127.0.0.1:{server.port}", tmp_path)
    with pytest.raises(StoreUnreachable, match="no TLS"):
        store.exchange(b"{}", timeout=5)
    store.close()
    secure = _tls_server(tmp_path / "tls", authority.issue_cert("localhost"))
    assert "https://" in _fails(secure.port, tmp_path).hint
    secure.close()


@pytest.mark.parametrize(
    "error", [RemoteDisconnected("gone"), BadStatusLine("x"), ConnectionResetError(104, "reset")]
)
def test_what_ends_a_request_without_tls_may_want_it(error: Exception) -> None:
    assert "https://" in explain(error, "store", plain=True)[1]
    assert explain(error, "store")[1] == ""
    assert explain(ConnectionRefusedError(111, "refused"), "store", plain=True)[1] == ""


def test_a_file_that_is_no_authority(tmp_path: Path, server: ThreadServer) -> None:
    store = HttpStore("https://localhost:1", tmp_path)
    with pytest.raises(ConfigError, match="PEM"):
        store.join("CODE", "nonsense")


def test_half_open_handshakes_are_cut_off(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asyncio import constants

    from cxlocal_sync.http import serving

    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(constants, "SSL_HANDSHAKE_TIMEOUT", 60.0)
    server = _tls_server(tmp_path, authority.issue_cert("localhost"))
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as silent:
        started = time.monotonic()
        assert silent.recv(1) == b""
        assert time.monotonic() - started < 3
    server.close()


# Proxies


def test_a_proxy_is_used_for_https_and_never_for_this_machine_in_the_clear(
    tmp_path: Path, server: ThreadServer, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    secure = _tls_server(tmp_path, authority.issue_cert("localhost"))
    asked: list[bytes] = []

    def pass_on(connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        asked.append(head)
        with socket.create_connection(("127.0.0.1", secure.port)) as upstream:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_copy, args=(upstream, connection), daemon=True)
            back.start()
            _copy(connection, upstream)

    with answering(pass_on) as port:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        store = HttpStore(secure.url, tmp_path / "laptop")
        store.join(_code(secure), authority.cert_pem.bytes().decode())
        store.close()
        assert asked[0].startswith(f"CONNECT localhost:{secure.port}".encode())
        count = len(asked)
        plain = server.enrol(tmp_path / "laptop")
        plain.close()
        assert len(asked) == count
    secure.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        return  # one side has gone


def test_a_lost_answer_to_join_costs_nothing(
    tmp_path: Path, server: ThreadServer, proxy: Any
) -> None:
    code = _code(server)
    store = HttpStore(proxy.url, tmp_path / "laptop")
    proxy.reply_limit = 0
    with pytest.raises(StoreUnreachable):
        store.join(code)
    assert store.join(code)["member"] == "tester"
    assert list(store.members()["members"])
    other = HttpStore(proxy.url, tmp_path / "other")
    with pytest.raises(NotSignedIn, match="used already"):
        other.join(code)
    store.close()
    other.close()


def test_a_bare_error_has_the_shape_of_the_command_line(
    tmp_path: Path, server: ThreadServer
) -> None:
    import json
    import urllib.error
    import urllib.request

    wrong = urllib.request.Request(f"{server.url}/v1/exchange", data=b"{}", method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(wrong)
    with caught.value as answer:
        shape = json.loads(answer.read())
    assert set(shape) == set(CxError("x").as_json())
    assert shape["exit_code"] == 4
    assert os.fspath(tmp_path) not in json.dumps(shape)


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("https://a.example.org:8377", "PEM a"), ("https://a.example.org:8378", "PEM a"),
        ("https://b.example.org", ""), ("https://example.org", ""), ("https://c.example.org", ""),
    ],
)  # fmt: skip
def test_an_authority_is_known_for_the_host_it_was_named_for(
    url: str, known: str, tmp_path: Path
) -> None:
    kept = Credential("m", "t", "PEM a", "/etc/cx/ca.pem")
    keep_credential(tmp_path, "https://a.example.org:8377", kept)
    keep_credential(tmp_path, "https://b.example.org", Credential("m", "t"))
    assert known_authority(tmp_path, url) == (known, "/etc/cx/ca.pem" if known else "")
