"""cxlocal inside cxlocal: the same machine, and no run within its own run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxlocal.address import handed_address, passwords
from cxlocal.commands.root import cli
from cxlocal.commands.table import OUTWARD
from cxlocal.errors import Refused
from cxlocal.processes.environment import WITHIN, stage_environment
from cxlocal.processes.identity import own_identity
from cxlocal.runner.nesting import disown, refuse_outward
from cxlocal.runner.orphans import here

STAGE = "[stages]\na = {{ command = '''{command}''' }}\n"


@pytest.fixture
def inner(shop: Any) -> Any:
    """A shop whose stages find the command."""
    shop.environ["PATH"] = f"{Path(shop.cx.program).parent}{os.pathsep}{os.environ['PATH']}"
    return shop


def test_a_stage_is_this_machine(inner: Any, home: Path) -> None:
    """The same number, the same journal, and a store that only this machine's settings name."""
    store = f"sqlite://{inner.root}/stores/shared.db"
    assert (
        inner.command("store", "create", store, env={"CXLOCAL_HOME": f"{inner.root}/local"}).code
        == 0
    )
    (inner.tree / ".gitignore").write_text("cx.local.toml\n")
    (inner.tree / "cx.local.toml").write_text(
        f'home = "{inner.root}/local"\n[store]\nurl = "{store}"\n'
    )
    del inner.environ["CXLOCAL_HOME"]
    inner.home = inner.root / "local"
    inner.write(
        STAGE.format(
            command="echo $CXLOCAL_HOME $CXLOCAL_STORE $CXLOCAL_NODE; cxlocal journal path;"
            " cxlocal version next --plain; cxlocal stage inner -- true;"
            " cxlocal config show --json | tr -d '[:space:]'"
        )
    )
    assert inner.command("trust", "--yes").code == 0
    done = inner.run()
    assert done.code == 0, done.err
    told, journal, number, settings = inner.log("a").splitlines()[:4]
    assert told == f"{inner.home} {store} kept"
    assert (journal, number) == (f"{inner.home}/journal.db", "0.1.0")
    assert store in settings
    assert inner.outcomes() == {"a": "success", "inner": "success"}
    assert [str(one) for one in inner.root.rglob("journal.db")] == [f"{inner.home}/journal.db"]
    assert not list(home.rglob("journal.db"))


@pytest.mark.parametrize(
    ("outer", "command"),
    [
        ("run", "cxlocal run"),
        ("run", "unset CXLOCAL_RUN; cxlocal run --to a"),
        ("run", "cxlocal rehearse"),
        ("run", 'eval "$(cxlocal run start)"'),
        ("run", "CXLOCAL_HOME=$PWD/home cxlocal run"),
        ("rehearse", "cxlocal rehearse"),
    ],
)
def test_a_run_within_its_own_run_is_refused(inner: Any, outer: str, command: str) -> None:
    inner.write(STAGE.format(command=command))
    done = inner.command(outer)
    assert done.code == 1
    log = inner.log("a")
    assert f"this is a stage of run {inner.last()[:8]} of 'shop'" in log
    assert "exit code 3" in log
    assert inner.query("SELECT count(*) FROM run") == [1]


def test_nor_by_way_of_another_project(inner: Any, tmp_path: Path) -> None:
    """shop releases gear, and gear would release shop."""
    gear = tmp_path / "gear"
    gear.mkdir()
    made = type(inner)(gear, inner.cx)
    made.environ = inner.environ
    inner.write(STAGE.format(command=f"cd {made.tree}; cxlocal run"))
    made.write(STAGE.format(command=f"cd {inner.tree}; cxlocal run"))
    (made.tree / "cx.toml").write_text((made.tree / "cx.toml").read_text().replace("shop", "gear"))
    made.push("its name")
    assert inner.run().code == 1
    assert inner.query("SELECT deliverable, outcome FROM run ORDER BY queued_at") == [
        ("shop", "failure"),
        ("gear", "failure"),
    ]
    folder = next((inner.home / "logs").glob(f"{inner.last()}*"))
    assert "this is a stage of run" in (folder / "a.log").read_text()


SUITE = """\
export CXLOCAL_HOME=$PWD/own GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org
export GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@example.org
git init -q --bare t.git; git init -q t; cd t; git remote add origin ../t.git
cp ../inner.toml cx.toml; git add cx.toml; git commit -qm it; git push -q origin HEAD:main
cxlocal -q run; eval "$(cxlocal -q run start)"; cxlocal stage y -- true; cxlocal -q run finish
cxlocal log --csv; cxlocal config show --json
"""


def test_a_test_suite_with_a_home_of_its_own_is_another_machine(inner: Any) -> None:
    """It may play with a project of our name, and no number of it comes from our store."""
    inner.environ["CXLOCAL_STORE"] = f"sqlite://{inner.root}/stores/real.db"
    assert inner.command("store", "create", inner.environ["CXLOCAL_STORE"]).code == 0
    toml = 'cx = 1\n[deliverable]\nname = "shop"\n[stages]\nx = { command = "true" }\n'
    inner.write(STAGE.format(command=SUITE), {"inner.toml": toml})
    done = inner.run()
    log = inner.log("a")
    assert done.code == 0, log
    assert "real.db" not in log
    assert re.findall(r"^0\.1\.\d,success", log, re.MULTILINE) == ["0.1.1,success", "0.1.0,success"]
    assert inner.query("SELECT version FROM run") == ["0.1.0"]
    assert inner.outcomes() == {"a": "success"}


def test_what_a_run_has_left_behind_may_run_it_later(inner: Any, tmp_path: Path) -> None:
    """A service that a stage has started outlives the run, and is no part of it any more."""
    inner.write(STAGE.format(command=f"echo $CXLOCAL_WITHIN > {tmp_path}/within"))
    assert inner.run().code == 0
    within = (tmp_path / "within").read_text().strip()
    assert json.loads(within)["runs"][0]["deliverable"] == "shop"
    again = inner.run(env={"CXLOCAL_WITHIN": within})
    assert again.code == 0, again.err


def _within(kind: str, **changed: str) -> str:
    own = own_identity()
    run = {
        "run": "outer", "kind": kind, "deliverable": "shop", "root": "", "commit": "",
        "home": "/outer", "pid": str(own.pid), "start": own.start, "here": here(), **changed,
    }  # fmt: skip
    return json.dumps({"told": {}, "runs": [run]})


@pytest.mark.parametrize(
    ("environ", "refused"),
    [
        ({WITHIN: _within("rehearsal"), "CXLOCAL_HOME": "/outer"}, True),
        ({WITHIN: _within("rehearsal")}, True),
        ({WITHIN: _within("drill"), "CXLOCAL_HOME": "/outer"}, True),
        ({WITHIN: _within("rehearsal"), "CXLOCAL_HOME": "/own"}, False),
        ({WITHIN: _within("rehearsal", pid="1", start="never")}, False),
        ({WITHIN: _within("release"), "CXLOCAL_HOME": "/outer"}, False),
        ({}, False),
    ],
)
def test_what_reaches_beyond_a_rehearsal_is_refused_while_it_goes_on(
    environ: dict[str, str], refused: bool
) -> None:
    if not refused:
        return refuse_outward(environ)
    with pytest.raises(Refused, match="stage of rehearsal outer"):
        refuse_outward(environ)


INWARD = {
    "run", "run start", "run finish", "rehearse", "drill", "demo", "stage", "promote", "deploy", "rollback",
    "publish", "withdraw", "incident", "incident list", "notes",
    "status", "log", "show", "artifact", "artifact list", "artifact get", "browse", "sql", "version",
    "version list", "version explain", "version next", "store", "store status", "store members", "serve",
    "export", "verify", "journal", "journal path", "journal rebuild", "journal recover", "doctor", "init",
    "env", "env list", "env show", "env observe", "prune", "mirror", "mirror list", "config", "config show",
    "config schema", "config path", "plugins", "trust", "completion",
}  # fmt: skip
"""What a stage of a rehearsal may call, or what has a rule of its own."""


def _commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        yield f"{before}{name}", found
        if isinstance(found, click.Group):
            yield from _commands(found, f"{before}{name} ")


def test_each_command_is_one_or_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """And those that reach beyond it are refused, whatever they are told."""
    found = dict(_commands(cli))
    assert found.keys() - INWARD == OUTWARD
    monkeypatch.setenv(WITHIN, _within("rehearsal"))
    monkeypatch.delenv("CXLOCAL_HOME", raising=False)
    for path in OUTWARD:
        context = click.Context(found[path], info_name=f"cxlocal {path}")
        with pytest.raises(Refused, match="stage of rehearsal outer"):
            found[path].invoke(context)


WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
JSON = st.recursive(
    st.none() | st.integers() | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["told", "runs", "run", "pid"]) | WORDS, inner, max_size=3
        )
    ),
)


@given(JSON.map(json.dumps) | WORDS)
def test_a_variable_that_says_something_else_says_nothing(text: str) -> None:
    environ = {WITHIN: text, "CXLOCAL_STORE": "s", "CXLOCAL_HOME": "/h", "CXLOCAL_RUN": "r"}
    before = dict(environ)
    disown(environ)
    assert environ == before


TOLD = {"CXLOCAL_HOME": "/outer", "CXLOCAL_STORE": "sqlite:///s.db", "CXLOCAL_NODE": "kept"}


@pytest.mark.parametrize(
    ("changed", "gone"),
    [
        ({}, set()),
        ({"CXLOCAL_HOME": "/own"}, {"CXLOCAL_STORE", "CXLOCAL_NODE", "CXLOCAL_RUN", "CXLOCAL_STAGE"}),
        ({"CXLOCAL_HOME": ""}, {"CXLOCAL_STORE", "CXLOCAL_NODE", "CXLOCAL_RUN", "CXLOCAL_STAGE"}),
        (
            {"CXLOCAL_HOME": "/own", "CXLOCAL_STORE": "sqlite:///own.db", "CXLOCAL_RUN": "own"},
            {"CXLOCAL_NODE"},
        ),
        ({"CXLOCAL_STORE": "sqlite:///own.db"}, set()),
    ],
)  # fmt: skip
def test_who_has_another_home_was_told_nothing(changed: dict[str, str], gone: set[str]) -> None:
    run = dict.fromkeys(("deliverable", "root", "commit", "home", "start", "here"), "")
    told = json.dumps({"told": TOLD, "runs": [{**run, "run": "outer", "pid": str(os.getpid())}]})
    environ = {**TOLD, WITHIN: told, "CXLOCAL_RUN": "outer", "CXLOCAL_STAGE": "a", **changed}
    before = dict(environ)
    disown(environ)
    assert before.keys() - environ.keys() == gone
    assert environ.items() <= before.items()


CUT = {
    "postgresql://cx:db%20word@127.0.0.1:9/cx": "postgresql://cx@127.0.0.1:9/cx",
    "https://cx:db%20word@127.0.0.1:9/": "https://127.0.0.1:9/",
    "https://db%20word@127.0.0.1:9/": "https://127.0.0.1:9/",
    "postgresql://127.0.0.1:9/cx?user=cx&password=db%20word": "postgresql://127.0.0.1:9/cx?user=cx",
}


@pytest.mark.parametrize(("whole", "cut"), CUT.items())
@pytest.mark.parametrize("pass_env", [(), ("CXLOCAL_*",), ("CXLOCAL_STORE",), ("CXLOCAL_STORE_X",)])
def test_a_stage_gets_no_password_of_the_store_that_it_did_not_ask_for(
    whole: str, cut: str, pass_env: tuple[str, ...]
) -> None:
    told = stage_environment({"CXLOCAL_STORE": whole}, pass_env=pass_env)
    given = "CXLOCAL_*" in pass_env or "CXLOCAL_STORE" in pass_env
    assert told["CXLOCAL_STORE"] == (whole if given else cut)
    assert told.get("CXLOCAL_STORE_CUT") == (None if given else cut)
    assert {"db%20word", "db word"} <= set(passwords(whole)) and not passwords(cut)
    within = stage_environment(told, pass_env=pass_env)
    assert within == told, "also where it is handed on from within"


@pytest.mark.parametrize("store", [
    "sqlite:///srv/cx.db", "postgresql://cx@/cx?host=/run/postgresql", "https://store.example.org:8377",
    "folder:///srv/a@b", "s3://bucket/x?endpoint=https://s3.example.org",
])  # fmt: skip
def test_an_address_without_a_password_is_handed_on_as_it_is(store: str) -> None:
    told = stage_environment({"CXLOCAL_STORE": store, "CXLOCAL_HOME": "/h"})
    assert (
        told["CXLOCAL_STORE"] == store and "CXLOCAL_STORE_CUT" not in told and not passwords(store)
    )


@pytest.mark.parametrize("store", [*CUT, *CUT.values()])
def test_another_machine_within_is_told_nothing_of_the_store_whole_or_cut(store: str) -> None:
    told = {"told": {"CXLOCAL_HOME": "/h", "CXLOCAL_STORE": handed_address(store)}, "runs": []}
    environ = {WITHIN: json.dumps(told), "CXLOCAL_HOME": "/own", "CXLOCAL_STORE": store}
    disown(environ)
    assert "CXLOCAL_STORE" not in environ
    same = {WITHIN: json.dumps(told), "CXLOCAL_HOME": "/h", "CXLOCAL_STORE": store}
    disown(same)
    assert same["CXLOCAL_STORE"] == store


@pytest.mark.parametrize("pass_env", ["", 'pass_env = ["CXLOCAL_STORE"], '])
def test_the_password_of_the_store_is_in_no_log_and_what_needs_it_says_so(
    inner: Any, pass_env: str
) -> None:
    command = (
        "env; case $CXLOCAL_STORE in *db_sekret*) echo all of it;; esac;"
        " case $CXLOCAL_WITHIN in *db_sekret*) echo known within;; esac;"
        " cxlocal store status || echo ended with $?"
    )
    inner.write(f"[stages]\na = {{ {pass_env}command = '''{command}''' }}\n")
    store = {"CXLOCAL_STORE": "postgresql://cx:db_sekret@127.0.0.1:9/cx"}
    done = inner.command("rehearse", env=store)
    log = inner.log("a")
    assert "db_sekret" not in log + done.out + done.err
    assert ("all of it" in log) is bool(pass_env) and "known within" not in log
    assert ("without its password" in log and "ended with 4" in log) is not bool(pass_env), log
    assert ("pass_env = ['CXLOCAL_STORE']" in log) is not bool(pass_env)


OURS = {
    "CXLOCAL_STORE": "http://127.0.0.1:9",
    "CXLOCAL_STORE_TOKEN": "t0ken-of-the-store",
    "CXLOCAL_LENDER": "http://lends:len_sekret@127.0.0.1:9",
    "CXLOCAL_LENDER_TOKEN": "t0ken-of-the-lender",
}


@pytest.mark.parametrize("single", [False, True])
def test_what_variables_give_us_is_in_no_log_even_where_a_command_has_it(
    inner: Any, single: bool
) -> None:
    names = ", ".join(f'"{name}"' for name in OURS)
    shown = "env | sed -n 's/^CXLOCAL_[A-Z_]*=//p'"
    inner.write(f'''[stages]\nx = {{ pass_env = [{names}], command = """{shown}""" }}\n''')
    if single:
        assert inner.command("run", "start", "--no-number", "--offline", env=OURS).code == 0
        done = inner.command("stage", "x", "--strict", "--", "sh", "-c", shown, env=OURS)
    else:
        done = inner.command("rehearse", env=OURS)
    assert done.code == 0, done.err
    log = inner.log("x")
    for word in ("t0ken-of-the-store", "len_sekret", "t0ken-of-the-lender"):
        assert word not in log + done.out + done.err
    assert log.count("***") >= 3, log


def test_single_commands_mask_it_too(inner: Any) -> None:
    store = {"CXLOCAL_STORE": "postgresql://cx:db_sekret@127.0.0.1:9/cx"}
    inner.write(STAGE.format(command="true"))
    assert inner.command("run", "start", "--no-number", "--offline", env=store).code == 0
    assert inner.command("stage", "x", "--strict", "--", "env", env=store).code == 0
    assert "CXLOCAL_STORE=postgresql://cx:***@" in inner.log("x")
