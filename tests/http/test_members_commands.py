"""``cxlocal store members, grant, invite, join`` and ``status``, as typed at a served store."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from http_kit import ProcessServer

from cxlocal.commands.members import is_last_manager, roll, unknown_names


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ProcessServer]:
    made = ProcessServer(tmp_path / "central")
    yield made
    made.stop()


@pytest.fixture
def at(cx: Any, tmp_path: Path, served: ProcessServer) -> Any:
    """Runs a command on the machine ``name``."""

    def run(name: str, *arguments: str, code: int = 0) -> Any:
        env = {"CXLOCAL_HOME": str(tmp_path / name), "CXLOCAL_STORE": served.url}
        done = cx(*arguments, env=env, cwd=tmp_path)
        assert done.code == code, done.err
        return done

    return run


def first_code(served: ProcessServer) -> str:
    found = re.search(r"--code (\S+)", served.said())
    assert found is not None
    return found[1]


def test_members_are_listed_and_their_rights_changed(served: ProcessServer, at: Any) -> None:
    code = first_code(served)
    said = at("laptop", "store", "join", served.url, "--code", code, "--name", "ada").err
    assert "as 'ada'" in said
    code = at("laptop", "store", "invite", "ci", "--deliverable", "shop").out.strip()
    at("ci", "store", "join", served.url, "--code", code)
    at("laptop", "store", "invite", "later", "--read", "*")
    for name in ("laptop", "ci"):
        at(name, "sync")
    rows = {
        row["name"]: row for row in at("laptop", "store", "members", "--json").json()["members"]
    }
    assert set(rows) == {"ada", "ci", "later"}
    assert rows["ci"]["rights"]["take"] == ["shop"] and rows["ada"]["rights"]["manage"] is True
    assert rows["ci"]["last_contact"] and len(rows["ci"]["machines"]) == 1
    assert rows["later"]["open_code_until"] and rows["later"]["rights"] is None
    # Both machines of this test are called by one host.
    called = {each["machine"] for name in ("ada", "ci") for each in rows[name]["machines"]}
    assert len(called) == 2
    shown = at("laptop", "store", "members").out
    assert "shop: take push read" in shown and "later" in shown
    # Without a new token, and what is not spoken of stays.
    told = at("laptop", "store", "grant", "ci", "--deliverable", "*").err
    assert "everything: take push read" in told and "It was: shop" in told
    told = at("laptop", "store", "grant", "ci", "--deliverable", "shopp").err
    assert "no deliverable 'shopp' is known" not in told, "of nobody's names it can be told"
    told = at("laptop", "store", "invite", "late", "--read", "shop").err
    assert "no deliverable 'shop' is known" in told and "did you mean 'shopp'?" in told
    at("laptop", "store", "grant", "ci", "--deliverable", "*")
    at("laptop", "store", "grant", "ci", "--manage")
    at("ci", "sync")
    (own,) = (
        row
        for row in at("ci", "store", "members", "--json").json()["members"]
        if row["name"] == "ci"
    )
    assert own["rights"] == {"take": ["*"], "push": ["*"], "read": ["*"], "manage": True}
    at("ci", "store", "grant", "ci", "--no-manage")
    for words, why in (
        (("grant", "ci", "--manage"), "may not invite"),
        (("invite", "x"), "may not invite"),
    ):
        assert why in at("ci", "store", *words, code=3).err
    assert "store members" in at("laptop", "store", "grant", "nobody", "--manage", code=3).err
    # Rights of somebody whose invitation waits, or who was revoked, are given by an invitation.
    told = at("laptop", "store", "grant", "later", "--manage", code=3).err
    assert "did not join yet" in told and "cxlocal store invite later" in told
    at("laptop", "store", "revoke", "ci")
    told = at("laptop", "store", "grant", "ci", "--manage", code=3).err
    assert "it was revoked" in told and "cxlocal store invite ci" in told
    assert "no right is named" in at("laptop", "store", "grant", "ci", code=2).err
    # Nobody could invite any more: only on somebody's word.
    for words in (("revoke", "ada"), ("grant", "ada", "--no-manage")):
        assert "--yes" in at("laptop", "store", *words, code=2).err
    at("laptop", "store", "revoke", "ada", "--yes")


@pytest.mark.parametrize(
    ("asked", "recorded", "held", "wanted"),
    [
        (["shopp"], {"shop"}, [], {"shopp": "shop"}), (["shopp"], set(), ["shop"], {"shopp": "shop"}),
        (["shop"], {"shop"}, [], {}), (["shop"], set(), ["shop", "*"], {}), (["*"], {"shop"}, [], {}),
        (["zebra", "shop"], {"shop"}, [], {"zebra": ""}), (["shopp"], set(), ["*"], {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["take", "push", "read"])
def test_names_that_nobody_knows(
    kind: str, asked: list[str], recorded: set[str], held: list[str], wanted: dict[str, str]
) -> None:
    listing = {"members": [{"name": "ada", "rights": {"read": held, "take": []}}]}
    assert unknown_names({kind: asked}, listing, recorded) == wanted


@pytest.mark.parametrize(
    ("managers", "gone", "last"),
    [
        ({"ada"}, set(), True), ({"ada", "ben"}, {"ben"}, True), ({"ada", "ben"}, set(), False),
        ({"ben"}, set(), False), (set(), set(), False),
    ],
)  # fmt: skip
def test_the_last_that_may_invite(managers: set[str], gone: set[str], last: bool) -> None:
    rows = [
        {"name": name, "rights": {"manage": name in managers}, "revoked_at": "now" if name in gone else None}
        for name in ("ada", "ben", "carol")
    ]  # fmt: skip
    assert is_last_manager({"members": rows}, "ada") is last


def test_status_ends_with_1_while_numbers_are_stopped(served: ProcessServer, at: Any) -> None:
    at("laptop", "store", "join", served.url, "--code", first_code(served))
    generation = at("laptop", "store", "status", "--json").json()["generation"]
    assert "Nothing is stopped" in at("laptop", "store", "recover", "--yes").err
    with sqlite3.connect(served.home / "store.db") as file:
        rows = [("", "went-back"), ("", "changed"), ("shop", "went-back")]  # for one reason
        file.executemany("INSERT INTO stop VALUES (?, ?, 'put back', '', -1)", rows)
    file.close()
    assert "store recover" in at("laptop", "store", "status", code=1).out
    assert at("laptop", "store", "status", "--json", code=1).json()["stopped"] == "put back"
    at("laptop", "store", "recover", "--yes")
    after = at("laptop", "store", "status", "--json").json()
    assert (after["generation"], after["stopped"]) == (generation + 1, "")
    at("laptop", "store", "recover", "--yes", "--margin", "1000")  # said on purpose
    assert at("laptop", "store", "status", "--json").json()["generation"] == generation + 2
    served.stop()
    assert "cannot be reached" in at("laptop", "store", "status", code=5).out
    assert re.search(r"stopped cause=went-back.*\n(.*\n)*.*recovered by=admin", served.said())


@pytest.mark.needs("script")
def test_the_first_member_is_asked_for_its_name(
    served: ProcessServer, at: Any, cx: Any, tmp_path: Path
) -> None:
    words = f"{cx.program} store join {served.url} --code {first_code(served)}"
    done = subprocess.run(
        ["script", "-qec", words, os.devnull], input="ada\n", text=True, capture_output=True,
        cwd=tmp_path, env={**os.environ, "CXLOCAL_HOME": str(tmp_path / "laptop")}, check=False,
    )  # fmt: skip
    assert "as 'ada'" in done.stdout, done.stdout + done.stderr
    # It names nobody who is here already, and an ordinary code names its member.
    with sqlite3.connect(served.members_path) as file:
        assert file.execute("SELECT name FROM code").fetchall() == [("ada",)]
    file.close()


@pytest.fixture
def own_authority(tmp_path: Path) -> Iterator[ProcessServer]:
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = (f"--{name}={tmp_path / name}.pem" for name in ("cert", "key", "ca"))
    made = ProcessServer(tmp_path / "central", *files)
    yield made
    made.stop()


def test_an_invitation_is_the_whole_command(
    own_authority: ProcessServer, cx: Any, tmp_path: Path
) -> None:
    """With the authority that the next machine has to name, which is named once on each."""
    url = f"https://localhost:{own_authority.port}"
    authority = str(tmp_path / "ca.pem")
    assert f" --ca {authority}" in own_authority.said()
    # It was started at an address that its certificate is not for.
    assert "will refuse this server's certificate: it is not for 127.0.0.1" in own_authority.said()

    def at(name: str, *words: str) -> Any:
        env = {"CXLOCAL_HOME": str(tmp_path / name), "CXLOCAL_STORE": url}
        return cx(*words, env=env, cwd=tmp_path)

    code = first_code(own_authority)
    joined = at("laptop", "store", "join", url, "--code", code, "--ca", authority)
    assert joined.code == 0, joined.err
    invited = at("laptop", "store", "invite", "build").err
    assert invited.strip().endswith(f"--ca {authority}")
    # Outside of a project nothing says which store is meant: the one that is known here.
    lost = cx("store", "invite", "x", cwd=tmp_path, env={"CXLOCAL_HOME": str(tmp_path / "laptop")})
    assert lost.code == 2 and f"or with --store {url}" in lost.err
    # A second code at the same host, also for a token that is printed: nothing to be named again.
    codes = [at("laptop", "store", "invite", name).out.strip() for name in ("one", "two")]
    for code, options in zip(codes, ((), ("--print-token",)), strict=True):
        done = at("laptop", "store", "join", url, "--code", code, *options)
        assert done.code == 0, done.err


def test_a_store_with_a_new_address_keeps_its_members(
    served: ProcessServer, cx: Any, tmp_path: Path
) -> None:
    """The machine says so once; its token goes along, and to no other store."""

    def at(name: str, url: str, *words: str) -> Any:
        env = {"CXLOCAL_HOME": str(tmp_path / name), "CXLOCAL_STORE": url}
        return cx(*words, env=env, cwd=tmp_path)

    old = served.url
    code = first_code(served)
    assert at("laptop", old, "store", "join", old, "--code", code).code == 0
    assert at("laptop", old, "sync").code == 0
    served.stop()
    served.port = 0
    served.start()
    new = served.url
    other = ProcessServer(tmp_path / "stranger")
    assert at("laptop", old, "store", "moved", other.url).code != 0
    other.stop()
    done = at("laptop", old, "store", "moved", new)
    assert done.code == 0, done.err
    for words in (("sync",), ("store", "invite", "another")):
        assert at("laptop", new, *words).code == 0


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read"), ("nothing", "holds no certificate"), ("", "holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds no certificate"),
    ],
)  # fmt: skip
def test_a_wrong_file_of_an_authority_is_named(
    content: str | None, why: str, cx: Any, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    done = cx("store", "join", "https://localhost:1", "--code", "X", "--ca", "ca.pem", cwd=tmp_path)
    assert done.code == 2
    assert "ca.pem is no file of an authority" in done.err and why in done.err


def test_a_code_of_a_member_stands_beside_it() -> None:
    found = {
        "members": [{"name": "ada", "rights": {}, "joined_at": "x", "revoked_at": None}],
        "machines": [{"node": "n1", "member": "ada", "first_at": "1", "last_at": "2"},
                     {"node": "n2", "member": "ada", "first_at": "1", "last_at": "3"},
                     {"node": "n3", "member": None, "first_at": "1", "last_at": "4"}],
        "codes": [{"name": "ada", "until": "u"}, {"name": None, "until": "v"}],
    }  # fmt: skip
    ada, first = roll(found, {"n1": "web"})
    assert (ada["open_code_until"], ada["last_contact"]) == ("u", "3")
    assert [each["machine"] for each in ada["machines"]] == ["web", "(n2)"]
    assert (first["name"], first["open_code_until"]) == (None, "v")
