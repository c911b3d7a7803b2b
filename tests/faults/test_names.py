"""Names of deliverables with every awkward character that is allowed, through whole commands; and
the refusals of those that are not."""

from __future__ import annotations

import html
import json
import tomllib
import unicodedata
from typing import Any

import pytest
from datasette.utils import tilde_encode

NAMES = (
    # everything on the keyboard that files, shells, SQL, URLs or HTML could stumble over
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ a",
    "<script>alert(1)</script>'); DROP TABLE run;--",
    "../../etc/passwd",
    "--help",
    "NUL %2F%00 ~2E Name",
    # another case of the same letters, and a name that is written in two ways
    "nul %2f%00 ~2e name",
    "e\u0301 名前 \U0001f680\U0001f469\u200d\U0001f4bb \u05d0",
    "長" * 200,
)
# Format characters are allowed in cx.toml; what `init` proposes can be read by a person.
INVISIBLE = "a\u202eb\u200bc"
STAGES = '[stages]\nbuild = { command = "true" }\n'


def describe(shop: Any, name: str) -> None:
    """A ``cx.toml`` that gives the deliverable this name."""
    # What JSON escapes TOML escapes in the same way, other characters stand as they are.
    text = json.dumps(name, ensure_ascii=False)
    config = f"cx = 1\n[deliverable]\nname = {text}\n{STAGES}"
    (shop.tree / "cx.toml").write_text(config, encoding="utf-8")


def commit(shop: Any, name: str) -> None:
    describe(shop, name)
    shop.push("a name")


def test_names_of_every_kind_through_whole_commands(shop: Any) -> None:
    ids = [unicodedata.normalize("NFC", name) for name in (*NAMES, INVISIBLE)]
    for name, written in zip((*NAMES, INVISIBLE), ids, strict=True):
        commit(shop, name)
        result = shop.run()
        assert result.code == 0, f"{name!r}: {result.err}"
        assert shop.query("SELECT deliverable FROM run WHERE id = ?", shop.last()) == [written]
    assert sorted(shop.query("SELECT id FROM deliverable")) == sorted(ids)
    assert set(shop.query("SELECT number FROM version")) == {0}, "each counts for itself"
    # The working tree is that of the last one; each of the others is in the log.
    told = json.loads(shop.command("log", "--all", "--json").out)
    assert {row["deliverable"] for row in told} == set(ids)
    table = shop.command("log", "--all")
    assert table.code == 0 and "\u202e" not in table.out
    for form in ("cdevents", "cloudevents", "journal"):
        exported = shop.command("export", "--format", form)
        assert exported.code == 0 and "\u202e" not in exported.out
        read = [json.loads(line) for line in exported.out.splitlines()]
        assert "\u202e" in json.dumps(read, ensure_ascii=False)
    assert shop.command("status").code == 0
    assert shop.command("verify").code == 0
    for name in (NAMES[1], NAMES[-1]):
        describe(shop, name)
        status = json.loads(shop.command("status", "--json").out)
        assert name in json.dumps(status, ensure_ascii=False)


def test_names_of_every_kind_in_the_pages(shop: Any) -> None:
    for name in NAMES[:2]:
        commit(shop, name)
        assert shop.run().code == 0
    for page in ("/journal/deliverable", f"/journal/deliverable/{tilde_encode(NAMES[0])}"):
        shown = shop.command("browse", "--get", page)
        assert shown.code == 0, f"{page}: {shown.err}"
        assert "<script>alert(1)" not in shown.out
        assert NAMES[0] in html.unescape(shown.out), page


@pytest.mark.parametrize("name", [NAMES[0], "--help", INVISIBLE, "a\nb\x1b[31m", "長" * 300])
def test_init_writes_a_name_that_run_accepts(shop: Any, name: str) -> None:
    (shop.tree / "package.json").write_text(json.dumps({"name": name, "version": "0.1.0"}))
    shop.push("a package")
    assert shop.command("init").code == 0
    proposed = tomllib.loads((shop.tree / "cx.toml").read_text("utf-8"))["deliverable"]["name"]
    assert proposed.isprintable() and proposed
    if name in NAMES and "/" not in name:  # what stands before it is an owner to npm
        assert proposed == name
    shop.push("its release")
    planned = shop.command("run", "--dry-run", "--json")
    assert planned.code == 0, planned.err


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("   ", "empty"), ("a\u3000", "white space"), ("a\x00b", "control character"),
        ("\x1b]0;x\x07a", "control character"), ("a\u2028b", "control character"),
        ("x" * 201, "201 characters"),
    ],
)  # fmt: skip
def test_names_that_are_refused(shop: Any, name: str, why: str) -> None:
    commit(shop, name)
    result = shop.run()
    assert result.code == 2, result.err
    assert why in result.err and "To do: " in result.err
    assert not any(char in result.err for char in "\x00\x07\x1b\u2028")
    assert not (shop.home / "journal.db").exists() or shop.query("SELECT count(*) FROM run") == [0]
