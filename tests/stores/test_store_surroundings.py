"""Odd variables, certificates and proxies: nothing is reached, by name, and the release goes on."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from cxlocal_sync.http.client import HttpStore
from cxlocal_sync.keys.open import object_store
from cxlocal_sync.postgresql.store import PostgresqlStore
from cxlocal_sync.surroundings import Proxy, blamed, proxy_for
from numbers_kit import request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.exchange.contact import bind_address
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import synchronise

ASKED = b'{"protocol":1,"contact":{}}'
HOST = "store.example.invalid"
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hidden-key"}

OVER_HTTP: list[tuple[dict[str, str], str]] = [
    ({"ALL_PROXY": "socks5://127.0.0.1:9"}, "ALL_PROXY"),
    ({"all_proxy": "socks4://h"}, "all_proxy"),
    ({"HTTPS_PROXY": "socks5h://x"}, "HTTPS_PROXY"),
    ({"HTTPS_PROXY": "https://x"}, "HTTPS_PROXY"),
    ({"HTTP_PROXY": "socks5h://x"}, HOST),
    ({"HTTPS_PROXY": "ftp://x"}, "HTTPS_PROXY"),
    ({"HTTPS_PROXY": "http://[::1"}, "HTTPS_PROXY"),
    ({"HTTPS_PROXY": "http://user:hidden-key@h:port"}, "HTTPS_PROXY"),
    ({"HTTPS_PROXY": "http://xn--\u00e9"}, "HTTPS_PROXY"),
    ({"HTTPS_PROXY": "ftp://x", "ALL_PROXY": "http://good:1"}, "HTTPS_PROXY"),
    ({"SSL_CERT_FILE": "/nowhere/ca.pem"}, "SSL_CERT_FILE"),
    ({"SSL_CERT_FILE": "/"}, "SSL_CERT_FILE"),
    ({"SSL_CERT_FILE": __file__}, "SSL_CERT_FILE"),
    ({"SSLKEYLOGFILE": "/nowhere/keys"}, "SSLKEYLOGFILE"),
    ({"NO_PROXY": "[::1,*.,[", "HTTPS_PROXY": "http://127.0.0.1:9"}, "HTTPS_PROXY"),
]  # fmt: skip

IN_A_BUCKET: list[tuple[dict[str, str], str]] = [
    ({"AWS_SKIP_SIGNATURE": "perhaps"}, "AWS_SKIP_SIGNATURE"),
    ({"AWS_CONDITIONAL_PUT": "junk"}, "AWS_CONDITIONAL_PUT"),
    ({"AWS_S3_EXPRESS": "q"}, "AWS_S3_EXPRESS"),
    ({"AWS_CHECKSUM_ALGORITHM": "md9"}, "AWS_CHECKSUM_ALGORITHM"),
    ({"AWS_ACCESS_KEY_ID": "two\nlines"}, "AWS_ACCESS_KEY_ID"),
    ({"AWS_SESSION_TOKEN": "ends\r\n"}, "AWS_SESSION_TOKEN"),
    ({"ALL_PROXY": "socks5://127.0.0.1:9"}, "ALL_PROXY"),
    ({"HTTP_PROXY": "http://127.0.0.1:9"}, "HTTP_PROXY"),
]  # fmt: skip

IN_A_DATABASE: list[tuple[dict[str, str], str]] = [
    ({"PGSERVICE": "x"}, "PGSERVICE"),
    ({"PGSERVICE": "x", "PGSERVICEFILE": "/nowhere"}, "PGSERVICEFILE"),
    ({"PGSERVICE": "x", "PGSERVICEFILE": __file__}, "PGSERVICE"),
    ({"PGSSLMODE": "perhaps"}, "PGSSLMODE"),
    ({"PGHOSTADDR": "zz"}, "PGHOSTADDR"),
    ({"PGCHANNELBINDING": "q"}, "PGCHANNELBINDING"),
    ({"PGSSLMINPROTOCOLVERSION": "TLSv9"}, "PGSSLMINPROTOCOLVERSION"),
]  # fmt: skip


def _refused(store: Any, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> str:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreUnreachable) as caught:
        store.exchange(ASKED, timeout=5)
    store.close()
    assert "hidden-key" not in str(caught.value)
    return caught.value.why


def _http(home: Path) -> HttpStore:
    store = HttpStore(f"https://{HOST}", home)
    store.sign_in(lambda: "token")
    return store


@pytest.mark.parametrize(("variables", "named"), OVER_HTTP)
def test_a_served_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    assert named in _refused(_http(tmp_path), monkeypatch, variables)


@pytest.mark.parametrize(("variables", "named"), OVER_HTTP)
def test_a_lender(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    store = _http(tmp_path)
    with pytest.raises(StoreUnreachable, match="lender") as caught:
        store.lend({}, timeout=5)
    assert named in caught.value.why
    store.close()


@pytest.mark.parametrize(("variables", "named"), IN_A_BUCKET)
def test_a_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    store = object_store("s3://bucket/p?endpoint=http://127.0.0.1:9&region=x", tmp_path)
    assert named in _refused(store, monkeypatch, {**KEYS, **variables})


@pytest.mark.parametrize(("variables", "named"), IN_A_DATABASE)
def test_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    store = PostgresqlStore("postgresql://cx@127.0.0.1:9/cx", tmp_path)
    assert named in _refused(store, monkeypatch, {"PGPASSWORD": "hidden-key", **variables})


def test_a_dead_proxy_is_not_called_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for address in (f"http://u:hidden-key@127.0.0.1:{port}", f"127.0.0.1:{port}"):
        why = _refused(_http(tmp_path), monkeypatch, {"HTTPS_PROXY": address})
        assert f"127.0.0.1:{port} (HTTPS_PROXY) refused the connection" in why
        assert HOST not in why
    why = _refused(_http(tmp_path), monkeypatch, {"HTTPS_PROXY": "http://proxy.invalid:3128"})
    assert "proxy.invalid:3128 (HTTPS_PROXY)" in why
    # What is excepted from it is the store again.
    why = _refused(_http(tmp_path), monkeypatch, {"NO_PROXY": f"other, .{HOST.partition('.')[2]}"})
    assert HOST in why and "proxy" not in why


def test_the_release_goes_on(
    store: Any, machine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    journal = machine()
    obtain_number(journal, store, request("first"))
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    away = _http(tmp_path)
    bind_address(journal, away.url)  # the same store, where it is known by that address
    report = synchronise(journal, away, use_breaker=False)
    assert not report.reached and "ALL_PROXY" in report.why
    assert obtain_number(journal, away, request("second")).how == "reserve"
    away.close()


@pytest.mark.parametrize(
    ("url", "environ", "found"),
    [
        ("https://a.example", {}, None),
        ("https://a.example", {"HTTPS_PROXY": "http://p:1"}, Proxy("HTTPS_PROXY", "p:1")),
        ("https://a.example", {"HTTP_PROXY": "http://p:1"}, None),
        ("https://a.example", {"ALL_PROXY": "p:1"}, Proxy("ALL_PROXY", "p:1")),
        ("https://a.example", {"HTTPS_PROXY": "http://u:pw@p:1"}, Proxy("HTTPS_PROXY", "u@p:1")),
        ("https://a.example", {"HTTPS_PROXY": "http://p", "NO_PROXY": "a.example"}, None),
        ("https://a.example", {"HTTPS_PROXY": "http://p", "no_proxy": ".example"}, None),
        ("https://a.example", {"HTTPS_PROXY": "http://p", "NO_PROXY": "*"}, None),
        ("https://a.example", {"HTTPS_PROXY": "p", "NO_PROXY": "xa.example"}, Proxy("HTTPS_PROXY", "p")),
        ("https://a.example", {"HTTPS_PROXY": " "}, None),
    ],
)  # fmt: skip
def test_which_proxy_is_used(url: str, environ: dict[str, str], found: Proxy | None) -> None:
    assert proxy_for(url, environ) == found


def test_who_is_blamed() -> None:
    environ = {"PGPORT": "abc", "PGUSER": "cx", "PGBAD": "a\nb", "OTHER": "abc"}
    assert blamed('invalid value "abc"', environ, ("PG*",)) == "see the variable PGPORT"
    assert blamed("abcd", environ, ("PG*",)) == "see the variable PGBAD"
    assert blamed("x", {"PGUSER": "cx", "PGPORT": "1"}, ("PG*",)) == "see PGPORT, PGUSER"
    assert blamed("x", {"OTHER": "x"}, ("PG*",)) == ""
    assert os.environ.get("PGPORT") is None
