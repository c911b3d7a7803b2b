"""A log repository that is asked: what it answers is put together, or it is said why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from receivers import answering, free_port

from cxlocal.clock import SystemClock
from cxlocal.config.settings import settings
from cxlocal.hooks.manager import Manager
from cxlocal.sinks import asking
from cxlocal.sinks.asking import Found, ask_for, in_order
from cxlocal.sinks.delivery import Around

RUN = "00000000-0000-4000-8000-000000000001"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"


def entry(place: str, text: object, attempt: str = "unit/1") -> bytes:
    return json.dumps({"CX_ID": f"{RUN}/{attempt}/{place}", "MESSAGE": text}).encode() + b"\n"


def ask(tmp_path: Path, *addresses: str, token: str = "") -> Found:
    """As ``show --log`` does, with these in a person's own settings."""
    each = ", ".join(
        f'{{ to = "file:/nowhere{n}", ask = "{one}"{token} }}' for n, one in enumerate(addresses)
    )
    local = tmp_path / "cx.local.toml"
    local.write_text(f"[sinks]\nlogs = [{each}]\n")
    environ = {"LOGS_TOKEN": "very-secret"}
    chosen = settings(None, local=str(local), environ={"XDG_CONFIG_HOME": str(tmp_path)})
    manager = Manager(environ, left_out={}, shipped_only=True, warn=print)
    around = Around(chosen, None, manager, tmp_path, environ, tmp_path)
    return ask_for(around, SystemClock(), RUN, "unit", f"{RUN}/unit/1")


def test_lines_are_put_together_whatever_order_they_come_in(tmp_path: Path) -> None:
    told = [
        entry("2", "two"), entry("1", [104, 105, 255]), entry("2", "two again"), entry("4.2", "b"),
        entry("4.1", "a"), entry("9", "other", "unit/2"), entry("x", "no line"), b"[]\n", b"{}\n",
    ]  # fmt: skip
    with answering(OK + b"".join(told)) as (port, asked):
        found = ask(tmp_path, f"journald+http://127.0.0.1:{port}/logs")
    assert found.lines == ("hi\\xff", "two", "ab")
    assert (found.missing, found.problems) == (1, ())
    assert asked[0].startswith(f"GET /logs/entries?CX_RUN={RUN}&CX_STAGE=unit HTTP".encode())


def test_a_file_is_asked_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "all.ndjson"
    path.write_text(
        "".join(
            json.dumps({"kind": kind, "cx_id": f"{RUN}/unit/1/{n}", "text": f"line {n}"}) + "\n"
            for kind, n in (("line", 1), ("span", 3), ("line", 2))
        )
        + '{"kind": "line", "cx_'
    )
    assert ask(tmp_path, f"file:{path}").lines == ("line 1", "line 2")


HOSTILE = {
    "a page": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>no</html>\n", "Expecting value"),
    "no HTTP": (b"220 smtp ready\r\n", "220 smtp"),
    "nothing": (b"", ""),
    "elsewhere": (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/b\r\n\r\n", "HTTP 302"),
    "who are you": (b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\n\r\n", "HTTP 401"),
    "a number": (OK + b'{"CX_ID": 7, "MESSAGE": [1000]}\n', "bytes must be"),
    "deep": (OK + b"[" * 100_000 + b"\n", ""),
    "a long line": (OK + b'"' + b"x" * 2_000_000, "a line of its answer does not end"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_answer_that_is_none_is_said_and_the_next_one_asked(tmp_path: Path, kind: str) -> None:
    content, said = HOSTILE[kind]
    with answering(content) as (bad, asked), answering(OK + entry("1", "one")) as (good, _):
        found = ask(
            tmp_path, f"journald+http://127.0.0.1:{bad}", f"journald+http://127.0.0.1:{free_port()}",
            "mine:x", f"journald+http://127.0.0.1:{good}",
        )  # fmt: skip
        assert len(asked) == 1  # nobody follows where it leads
    assert found.lines == ("one",)
    assert said in found.problems[0] and found.problems[0].startswith("journald+http:")
    assert "refused" in found.problems[1] and "nobody can ask there" in found.problems[2]


@pytest.mark.parametrize(
    "content",
    [entry("1", "x" * 1000), entry("1", "x", "unit/2"), b"{}\n", b"[]\n", b'{"CX_ID": 1}\n'],
)
def test_an_answer_without_end_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(asking, "ASK_SECONDS", 0.3)
    with answering(OK + content, endless=True) as (port, _):
        found = ask(tmp_path, f"journald+http://127.0.0.1:{port}")
    assert "does not end" in found.problems[0]


def test_too_much_is_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "CHARACTERS_MAX", 10_000)
    with answering(OK + b"".join(entry(str(n), "x" * 100) for n in range(200))) as (port, _):
        assert "does not end" in ask(tmp_path, f"journald+http://127.0.0.1:{port}").problems[0]


def test_a_token_goes_to_its_own_address_alone(tmp_path: Path) -> None:
    answer = OK + entry("1", "one")
    with answering(answer) as (port, asked):
        ask(tmp_path, f"journald+http://127.0.0.1:{port}", token=', token = { env = "LOGS_TOKEN" }')
        own = ', ask_token = { env = "LOGS_TOKEN" }'
        ask(tmp_path, f"journald+http://127.0.0.1:{port}", token=own)
    assert [b"very-secret" in one for one in asked] == [False, True]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 403 No\r\nConnection: close\r\n\r\nnot with Bearer very-secret",
        b"Bearer very-secret is no HTTP\r\n",
        OK + entry("1", "you said very-secret"),
    ],
)
def test_a_token_that_is_repeated_is_not_shown(tmp_path: Path, answer: bytes) -> None:
    own = ', ask_token = { env = "LOGS_TOKEN" }'
    with answering(answer) as (port, _):
        found = ask(tmp_path, f"journald+http://127.0.0.1:{port}", token=own)
    said = " ".join((*found.lines, *found.problems))
    assert "***" in said and "very-secret" not in said


def test_no_lines_are_no_log() -> None:
    assert in_order({}) == ([], 0)
    assert in_order({"left-out": "[cxlocal] 3 lines left out"}) == (
        ["[cxlocal] 3 lines left out"],
        0,
    )
    assert in_order({"3": "c", "1": "a", "left-out": "end"}) == (["a", "c", "end"], 1)
