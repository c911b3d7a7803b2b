"""What an operator watches: health, metrics, and the log of a server."""

from __future__ import annotations

import json
import logging
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cxlocal_sync.http.certificate import end_of, why_refused
from cxlocal_sync.http.diary import REFUSALS_BURST, Diary
from cxlocal_sync.http.health import DAY_MS, Contacts, Disk, Health, Look
from cxlocal_sync.http.management import BACKUP
from cxlocal_sync.http.members import Members
from cxlocal_sync.http.metrics import Metrics
from cxlocal_sync.http.serving import Tls
from http_kit import ThreadServer
from numbers_kit import request
from prometheus_client.parser import text_string_to_metric_families

from cxlocal.allocation.allocator import obtain_number
from cxlocal.clock import SystemClock
from cxlocal.errors import CxError
from cxlocal.exchange.rights import Rights, words_of
from cxlocal.exchange.sync import recover_store, synchronise
from cxlocal.text import utc_text

Machine = Callable[..., Any]
NOW = SystemClock().now_ms()


def get(server: ThreadServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(server.url + path, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def fresh(server: ThreadServer, monkeypatch: pytest.MonkeyPatch) -> ThreadServer:
    """A server that looks anew at every question."""
    monkeypatch.setattr("cxlocal_sync.http.service.HEALTH_SECONDS", 0.0)
    return server


def metrics(text: str) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.labels
    }


def stop_numbers(server: ThreadServer, deliverable: str, cause: str) -> None:
    """As the store itself does where it finds a reason to."""
    import sqlite3

    with sqlite3.connect(server.home / "store.db") as file:
        file.execute(
            "INSERT INTO stop VALUES (?, ?, 'secret reason', '', -1)", (deliverable, cause)
        )
    file.close()


@pytest.mark.parametrize(
    ("stops", "status", "words", "gauges"),
    [
        ([], 200, "handed out", (0, 0)),
        ([("", "went-back")], 409, "stopped", (1, 0)),
        ([("shop", "in-use")], 409, "stopped for 1 deliverables", (0, 1)),
        ([("shop", "in-use"), ("engine", "went-back")], 409, "stopped for 2 deliverables", (0, 2)),
        # One that was taken over by another store is not to be mended.
        ([("shop", "left")], 200, "handed out", (0, 0)),
        ([("", "left")], 409, "stopped", (1, 0)),
    ],
)
def test_health_says_that_numbers_are_stopped(
    stops: list[tuple[str, str]], status: int, words: str, gauges: tuple[int, int],
    fresh: ThreadServer,
) -> None:  # fmt: skip
    assert get(fresh, "/v1/health")[0] == 200  # the first look makes the store
    for deliverable, cause in stops:
        stop_numbers(fresh, deliverable, cause)
    code, text = get(fresh, "/v1/health")
    assert (code, json.loads(text)["numbers"]) == (status, words)
    assert "shop" not in text and "secret" not in text
    found = metrics(get(fresh, "/metrics")[1])
    told = (
        found["cxlocal_numbers_stopped"],
        found["cxlocal_numbers_stopped_deliverables"],
    )
    assert told == gauges


def test_health_says_what_an_operator_asks(
    fresh: ThreadServer, machine: Machine, tmp_path: Path
) -> None:
    laptop = machine("laptop")
    store = fresh.enrol(tmp_path / "laptop", "laptop")
    obtain_number(laptop, store, request("r0"))
    before = json.loads(get(fresh, "/v1/health")[1])
    assert before["unsynced"] == 1  # granted, and its run has not come yet
    synchronise(laptop, store, use_breaker=False)
    fresh.service.members.set_value(BACKUP, utc_text(NOW - DAY_MS))
    found = json.loads(get(fresh, "/v1/health")[1])
    assert (found["store"], found["numbers"]) == ("answers", "handed out")
    assert found["contacts"]["machines"] == found["contacts"]["within_a_day"] == 1
    assert found["contacts"]["last_at"] >= utc_text(NOW)[:10]
    assert 0 < found["disk"]["free_bytes"] <= found["disk"]["size_bytes"]
    assert 24.0 <= found["backup"]["age_hours"] < 24.5
    assert found["certificate_days"] is None
    told = metrics(get(fresh, "/metrics")[1])
    assert told["cxlocal_last_backup_timestamp_seconds"] == (NOW - DAY_MS) / 1000
    assert told["cxlocal_members"] == 1
    assert "cxlocal_certificate_end_timestamp_seconds" not in told
    store.close()


def test_a_silent_store_is_503_and_metrics_go_on(fresh: ThreadServer) -> None:
    assert get(fresh, "/v1/health")[0] == 200
    (fresh.home / "store.db").unlink()
    fresh.service.members.set_value("lineage", "another")
    code, text = get(fresh, "/v1/health")
    assert (code, json.loads(text)["store"]) == (503, "does not answer")
    assert metrics(get(fresh, "/metrics")[1])["cxlocal_store_answers"] == 0


def test_a_folder_that_is_gone_is_503_as_well(fresh: ThreadServer) -> None:
    fresh.home.rename(fresh.home.with_name("away"))
    status, told = get(fresh, "/v1/health")
    assert (status, json.loads(told)["store"]) == (503, "does not answer")
    assert metrics(get(fresh, "/metrics")[1])["cxlocal_store_answers"] == 0
    fresh.home.with_name("away").rename(fresh.home)
    assert get(fresh, "/v1/health")[0] == 200


def test_metrics_count_requests_by_route(fresh: ThreadServer) -> None:
    for path in ("/v1/health", "/v1/members", "/v1/blobs/" + "0" * 64, "/nothing/here"):
        get(fresh, path)
    text = get(fresh, "/metrics")[1]
    counted = {
        (sample.labels["path"], sample.labels["status"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "cxlocal_requests_total"
    }
    assert counted["/v1/health", "200"] == 1
    assert counted["/v1/members", "401"] == counted["/v1/blobs/{digest}", "401"] == 1
    assert not any("nothing" in path for path, _ in counted)


@pytest.mark.parametrize("days", [90, 1, -3])
def test_the_days_of_a_certificate_are_known(days: int, tmp_path: Path) -> None:
    """Also of one that has ended, and of one that comes with its chain."""
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", not_before=end - timedelta(days=100), not_after=end)
    for pem in (*leaf.cert_chain_pems, authority.cert_pem):
        pem.write_to_path(tmp_path / "cert.pem", append=True)
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    found = end_of(tmp_path / "cert.pem", tmp_path / "key.pem")
    assert found == round(end.timestamp() * 1000)
    health = Health(NOW, Look(), certificate_ms=found)
    assert health.certificate_days == pytest.approx(days, abs=0.1)


@pytest.mark.parametrize("days", [9, -9])
@pytest.mark.parametrize(
    ("host", "signed", "said"),
    [
        ("store.example.org", True, ""), ("a.b.example.net", None, ""), ("10.0.0.7", True, ""),
        ("localhost", True, "not for localhost"), ("other.example.org", None, "not for other"),
        ("example.net", True, "not for example.net"), ("10.0.0.8", None, "not for 10.0.0.8"),
        ("", True, "no name"), ("store.example.org", False, "did not sign it"),
    ],
)  # fmt: skip
def test_a_certificate_that_nobody_would_take_is_told(
    host: str, signed: bool | None, said: str, days: int, tmp_path: Path
) -> None:
    end = datetime.now(UTC) + timedelta(days=days)
    authority, other = trustme.CA(), trustme.CA()
    leaf = authority.issue_cert(
        "store.example.org", "*.b.example.net", "10.0.0.7",
        not_before=end - timedelta(days=90), not_after=end,
    )  # fmt: skip
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    (authority if signed else other).cert_pem.write_to_path(tmp_path / "ca.pem")
    trusted = None if signed is None else tmp_path / "ca.pem"
    found = why_refused(tmp_path / "cert.pem", tmp_path / "key.pem", host, trusted)
    assert said in found and bool(found) is bool(said)


def test_a_served_certificate_is_watched(tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    tls = Tls(tmp_path / "cert.pem", tmp_path / "key.pem")
    made = ThreadServer(tmp_path / "central", tls=tls)
    assert made.service.certificate_ms and made.service.certificate_ms > NOW
    made.close()


def test_every_part_of_health_is_a_metric() -> None:
    full = Health(
        NOW, Look(True, 2, 3, 4), Contacts(1, 2, 1, NOW, 5, 6), Disk(1, 2), NOW, NOW
    )  # fmt: skip
    told = metrics(Metrics().text(full).decode())
    assert told["cxlocal_wrong_codes_total"] == 5
    assert told["cxlocal_feed_position"] == 4
    lender = metrics(Metrics().text(Health(NOW, None, unsent=7)).decode())
    assert lender["cxlocal_unsent_events"] == 7
    assert "cxlocal_store_answers" not in lender
    assert Health(NOW, None, unsent=7).status == 200


# The log


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == "cxlocal.server"]


def test_each_thing_that_happens_is_one_line_without_a_secret(
    fresh: ThreadServer, machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cxlocal.server")
    boss = fresh.enrol(tmp_path / "boss", "boss")
    code = boss.invite("two words", Rights(frozenset({"shop"}), frozenset(), None).as_json())[
        "code"
    ]
    other = type(boss)(fresh.url, tmp_path / "two")
    other.join(code)
    boss.grant("two words", Rights().as_json())
    laptop = machine("laptop")
    synchronise(laptop, boss, use_breaker=False)
    stop_numbers(fresh, "", "went-back")
    synchronise(laptop, boss, use_breaker=False)
    recover_store(laptop, boss)
    boss.revoke("two words")
    with pytest.raises(CxError):
        other.members()
    stranger = type(boss)(fresh.url, tmp_path / "three")
    with pytest.raises(CxError):
        stranger.join("WRONG-CODE")
    said = lines(caplog)
    expected = [
        r'\S+Z invited member="two words" by=boss more="everything: read; shop: take"',
        r'\S+Z joined member="two words" by=127.0.0.1',
        r'\S+Z granted member="two words" by=boss more="everything: take push read"',
        r'\S+Z stopped cause=went-back why="secret reason"',
        r"\S+Z recovered by=boss generation=2",
        r"\S+Z goes-on cause=went-back",
        r'\S+Z revoked member="two words" by=boss more="0 machines"',
        r'\S+Z refused name=not-signed-in by=127.0.0.1 why="the store does not know .*" path=/v1/members',
        r'\S+Z refused name=wrong-code by=127.0.0.1 why="the code is not accepted" path=/v1/join',
    ]
    for pattern in expected:
        assert [line for line in said if re.fullmatch(pattern, line)], (pattern, said)
    told = "\n".join(said)
    for secret in (boss.token, code, "WRONG-CODE"):
        assert secret not in told
    for store in (boss, other, stranger):
        store.close()


def test_what_a_command_beside_the_server_does_is_logged(
    fresh: ThreadServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cxlocal.server")
    beside = Members(fresh.members_path)
    beside.invite("laptop", Rights())
    beside.close()
    fresh.service._tell_happened()
    fresh.service._tell_happened()
    (line,) = lines(caplog)
    assert 'invited member=laptop by="the server"' in line


def test_who_is_refused_without_end_does_not_fill_the_log() -> None:
    class Still(SystemClock):
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    written: list[str] = []
    clock = Still()
    diary = Diary(clock, written.append)
    for _ in range(REFUSALS_BURST + 30):
        diary.refused("10.0.0.7", "wrong-code", "the code is not accepted")
    diary.refused("10.0.0.8", "wrong-code", "the code is not accepted")
    assert len(written) == REFUSALS_BURST + 1
    clock.now = 10.0
    diary.refused("10.0.0.7", "wrong-code", "the code is not accepted")
    assert written[-1].endswith("unlogged_before=30")


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", 'say "x"', "\u202e", "", "a=b c", "\x9b2J"])
def test_a_line_stays_a_line(text: str) -> None:
    written: list[str] = []
    Diary(SystemClock(), written.append).say("joined", member=text, by="x")
    (line,) = written
    assert line.isprintable() and line.isascii()
    assert re.search(r" by=x$", line)


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        (Rights(), "everything: take push read"),
        (Rights(manage=True), "everything: take push read; manage"),
        (Rights(frozenset(), frozenset(), frozenset()), "nothing"),
        (Rights(frozenset({"b", "a"}), frozenset({"a"}), None), "everything: read; a: take push; b: take"),
    ],
)  # fmt: skip
def test_rights_are_said_in_words(rights: Rights, words: str) -> None:
    assert words_of(rights) == words
