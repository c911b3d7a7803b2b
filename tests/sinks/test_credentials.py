"""A receiver that repeats the credential it was given: it is shown nowhere, and nowhere kept."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from receivers import Http
from recorder import Recorder
from test_push import Scripted, raising

from cxlocal.hooks.sink import Later, NotTaken
from cxlocal.sinks.words import WORDS_CHARACTERS, words_without

TOKEN = "se/kret-sink+token=55"
FORMS = {
    "plain": TOKEN,
    "header": f"denied Bearer {TOKEN}",
    "percent": quote(TOKEN, safe=""),
    "base64": b64encode(TOKEN.encode()).decode(),
    "basic": "Basic " + b64encode(f"ann:{TOKEN}".encode()).decode(),
    "json": json.dumps({"authorization": TOKEN}).replace("/", "\\/"),
    "hex": TOKEN.encode().hex(),
    "python": repr(TOKEN.encode()),
    "where it is cut": "x" * (WORDS_CHARACTERS - len(TOKEN) // 2) + TOKEN,
}


def traces() -> list[str]:
    """Parts that would give it, or half of it, away."""
    encoded = (b64encode(TOKEN.encode()), b64encode(b"ann:" + TOKEN.encode())[8:])
    return ["kret", "sink+", TOKEN[6:].encode().hex()[:12], *(one[:10].decode() for one in encoded)]


@pytest.mark.parametrize("form", FORMS)
def test_what_is_said_never_holds_the_credential(form: str) -> None:
    said = words_without(TOKEN)(FORMS[form])
    assert not [one for one in traces() if one in said]
    assert len(said) <= WORDS_CHARACTERS
    assert words_without("")("it is full") == "it is full"


@pytest.mark.parametrize(
    "problem",
    [Later, NotTaken, ValueError, lambda words: OSError(5, words)],
    ids=["later", "not-taken", "value", "system"],
)
def test_whatever_a_sink_raises_is_kept_without_it(recorder: Recorder, problem: Any) -> None:
    recorder.run(b"one\n")
    told = recorder.push(Scripted(raising(problem(FORMS["header"]))), "logs", token=TOKEN)
    assert "kret" not in told.why
    assert "kret" not in "".join(recorder.journal.connection.iterdump())
    assert told.refused == (problem is NotTaken)


def test_an_answer_that_is_the_credential_is_none(recorder: Recorder) -> None:
    recorder.run(b"one\n")
    told = recorder.push(Scripted(lambda batch: TOKEN), "logs", token=TOKEN)
    assert told.why.startswith("it said that it took '***'")


@pytest.mark.parametrize("status", [403, 400, 503])
def test_receivers_that_repeat_it_are_quoted_without(shop: Any, http: Http, status: int) -> None:
    """By every shipped sink that speaks HTTP, in what commands print and in every file of the home."""
    http.judge = lambda body: status
    http.body = lambda: " ".join(FORMS[one] for one in ("percent", "basic", "header")).encode()
    named = {
        "events": ("cloudevents+http",), "logs": ("journald+http", "otlp+http"),
        "metrics": ("pushgateway+http", "otlp+http"),
    }  # fmt: skip
    lines = "".join(
        f"{kind} = ["
        + ", ".join(
            f'{{ to = "{scheme}://127.0.0.1:{http.port}", token = {{ env = "TOK" }} }}'
            for scheme in schemes
        )
        + "]\n"
        for kind, schemes in named.items()
    )
    shop.environ["TOK"] = TOKEN
    shop.begin(lines, lines=2)
    said = [shop("run", "--no-input"), shop("sinks", "--now"), shop("sinks", "--json")]
    printed = "".join(one.out + one.err for one in said)
    assert f"HTTP {status}" in printed and "***" in printed
    assert not [one for one in traces() if one in printed]
    assert not _holding(shop.home)


def _holding(home: Path) -> list[str]:
    found = [one for one in home.rglob("*") if one.is_file()]
    return [
        one.name for one in found if any(part.encode() in one.read_bytes() for part in traces())
    ]
