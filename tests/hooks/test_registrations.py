"""What plugins register wrongly: each is named when it is looked at, in one line, with what to do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from plugin_site import HEAD, TOOL, Seen, install

from cxlocal.doctor.check import readiness
from cxlocal.doctor.machine import check_plugins
from cxlocal.errors import ConfigError
from cxlocal.hooks import class_checks, registered
from cxlocal.hooks.found import SHIPPED, Shipped
from cxlocal.hooks.options import options_of
from cxlocal.hooks.registered import KINDS
from cxlocal.hooks.tool import API, Tool
from cxlocal.hooks.trust import project_digest

HEADS = {
    "tools": "class T(Tool):\n    name = 't'\n    def build(self, ctx): return Done()\n",
    "sinks": (
        "from cxlocal.hooks.sink import Sink\n"
        "class S(Sink):\n    name = 's'\n    schemes = ('mem',)\n    takes = frozenset({'logs'})\n"
        "    def deliver(self, batch): return len(batch)\n"
    ),
    "report_readers": "class R:\n    format = 'tap'\n    def read(self, path, *, suite): pass\n",
    "version_schemes": (
        "class V:\n    name = 'roman'\n    def check_line(self, line): pass\n"
        "    def render(self, line, number): return line\n    def sort_key(self, text): return text\n"
    ),
    "stores": "class B:\n    def __init__(self, url, home): pass\n",
}  # fmt: skip
RIGHT = {
    "tools": "[T]", "sinks": "[S]", "report_readers": "[R()]", "version_schemes": "[V()]",
    "stores": "{'mem': B}",
}  # fmt: skip

WRONG = [
    # the answer as a whole
    *[(kind, "42", "it must return a ") for kind in RIGHT],
    *[(kind, "None", "and returns nothing") for kind in RIGHT],
    *[(kind, "[][1]", "IndexError: list index out of range (") for kind in RIGHT],
    *[(kind, "int('a\\nb')", "ValueError: invalid literal") for kind in RIGHT],
    *[(kind, "(1 // 0 for _ in 'x')", "ZeroDivisionError") for kind in RIGHT if kind != "stores"],
    # an object for a class, a class for an object
    ("tools", "[T()]", "not an object of it: write T without ()"),
    ("tools", "T", "must return a list of tool classes"),
    ("tools", "'tool'", "must return a list of tool classes"),
    ("tools", "[1]", "a tool is a class derived from cxlocal.hooks.tool.Tool, not 1"),
    ("sinks", "[S('mem://x', None)]", "not an object of it: write S without ()"),
    ("sinks", "[T]", "a class derived from cxlocal.hooks.sink.Sink, not"),
    ("report_readers", "[R]", "is an object, not a class: write R() for R"),
    ("version_schemes", "[V]", "is an object, not a class: write V() for V"),
    ("stores", "{'mem': 'B'}", "a store is a class, or a function, of (url, home), not 'B'"),
    # names
    ("tools", "[type('T', (Tool,), {'build': T.build})]", ".name must be a word"),
    ("tools", "[but(T, name='A B')]", "not 'A B'"),
    ("sinks", "[but(S, name=None)]", "S.name must be a word like 'syslog', not None"),
    ("report_readers", "[1]", "needs a 'format', 1 has none"),
    ("report_readers", "[but(R, format='')()]", "needs a 'format'"),
    ("version_schemes", "[but(V, name=3)()]", "needs a 'name'"),
    ("stores", "{'My Store': B}", "a word like 'mem', not 'My Store'"),
    # the interface
    ("tools", "[but(T, api=99)]", "interface 99, and 2 is served here: upgrade cxlocal, or install an"),
    ("tools", "[but(T, api=0)]", "which is not served any more: take"),
    ("tools", "[but(T, api=1)]", "interface 1, which is not served any more: take"),
    ("tools", "[but(T, api=1, deploy=T.build)]", "deploy became 'create' and 'remove', or 'apply'"),
    ("tools", "[but(T, undo=T.build)]", "undo became nothing: going back deploys the older version"),
    ("tools", "[but(T, health=T.build)]", "health became nothing: the core asks instances"),
    ("tools", "[but(T, api='2')]", "tool t: api is the number 2, not '2'"),
    ("sinks", "[but(S, api=7)]", "interface 7, and 1 is served here: upgrade cxlocal"),
    # types of fields
    ("tools", "[but(T, title=3)]", "T.title must be a text, not 3"),
    ("tools", "[but(T, here='yes')]", "T.here must be True or False, not 'yes'"),
    ("tools", "[but(T, by_options=1)]", "T.by_options must be True or False, not 1"),
    ("tools", "[but(T, shell=None)]", "T.shell must be True or False, not None"),
    ("tools", "[but(T, place='last')]", "T.place must be a whole number, not 'last'"),
    ("tools", "[but(T, secrets='TOKEN')]", "T.secrets must be a tuple of names, not 'TOKEN'"),
    ("tools", "[but(T, executables=['tar'])]", "T.executables must be a tuple of names"),
    ("sinks", "[but(S, schemes='mem')]", "S.schemes must be a tuple such as"),
    ("sinks", "[but(S, schemes=())]", "S.schemes must be a tuple such as"),
    ("sinks", "[but(S, takes={'logs'})]", "S.takes must be a frozenset of"),
    ("sinks", "[but(S, takes=frozenset({'log'}))]", "not frozenset({'log'})"),
    # options
    ("tools", "[but(T, Options=dict)]", "must be a msgspec.Struct: write class Options(Tool.Options)"),
    ("tools", "[but(T, Options=options('a: int = \"b\"'))]", "T.Options.a: its default 'b' is no int"),
    ("tools", "[but(T, Options=options('a: list[int] = [\"b\"]'))]", "its default ['b'] is no"),
    ("tools", "[but(T, Options=options('a: Nowhere'))]", "T.Options: name 'Nowhere' is not defined"),
    ("tools", "[but(T, Options=options('a: complex | int'))]", "T.Options.a: no option has the type"),
    *[
        ("tools", f"[but(T, Options=options('a: {kind}'))]", f"T.Options.a: no option has the type {kind}")
        for kind in ("complex", "object", "list[complex]", "set[bytearray | complex]", "dict[str, object]")
    ],
    ("tools", "[but(T, Options=options('a: complex'))]", "(str, Path, int, float, bool, Literal, list,"),
    *[
        ("tools", f"[but(T, Options=loose({value}))]", f"T.Options.wait has no type: write wait: {kind} = ")
        for value, kind in (("5.0", "float"), ("5", "int"), ("'a'", "str"), ("True", "bool"), ("('a',)", "tuple"))
    ],
    ("sinks", "[but(S, Options=loose(5.0))]", "S.Options.wait has no type: write wait: float = 5.0"),
    ("sinks", "[but(S, Options=options('a: bool = 1'))]", "S.Options.a: its default 1 is no bool"),
    # methods
    ("tools", "[type('T', (Tool,), {'name': 't'})]", "tool t has no verb"),
    ("tools", "[but(T, obserfe=lambda self, ctx: 1)]", "T.obserfe is no verb: did you mean 'observe'?"),
    ("tools", "[but(T, build='make')]", "T.build is a verb, so it is a method, not 'make'"),
    ("tools", "[but(T, build=later)]", "T.build is async: a verb is a plain method"),
    ("tools", "[but(T, build=lambda self: 1)]", "T.build takes (self), and is called with (self, ctx)"),
    ("tools", "[but(T, build=lambda self, ctx, more: 1)]", "missing a required argument: 'more'"),
    ("tools", "[but(T, __init__=lambda self, where: None)]", "a tool is made anew for each verb"),
    ("sinks", "[type('S', (Sink,), {**vars(S), 'deliver': Sink.deliver})]", "needs a plain method"),
    ("sinks", "[but(S, deliver=later)]", "S needs a plain method 'deliver'"),
    ("sinks", "[but(S, deliver=lambda self: 1)]", "is called with (self, batch)"),
    ("sinks", "[but(S, close=lambda self, how: 1)]", "S.close takes (self, how)"),
    ("sinks", "[but(S, __init__=lambda self, to: None)]", "is called with (to, options, token="),
    ("report_readers", "[but(R, read=None)()]", "the reader of tap has no method 'read'"),
    ("report_readers", "[but(R, read=later)()]", "read is async: write a plain method"),
    ("report_readers", "[but(R, read=lambda self, path: 1)()]", "is called with (path, suite=…)"),
    ("version_schemes", "[but(V, sort_key=None)()]", "version scheme roman has no method 'sort_key'"),
    ("version_schemes", "[but(V, render=lambda self, line: '')()]", "is called with (line, number)"),
    ("stores", "{'mem': lambda url: None}", "the store for mem: takes (url), and is called with (url"),
    # names that somebody has
    ("tools", "[but(T, name='wheel')]", "a tool wheel is already there, from"),
    ("tools", "[T, T]", "a tool t is already there, from"),
    ("sinks", "[but(S, schemes=('syslog+tcp',))]", "a sink for syslog+tcp is already there, from"),
    ("report_readers", "[but(R, format='junit')()]", "a report format junit is already there"),
    ("version_schemes", "[but(V, name='semver')()]", "semver is already there, from cxlocal itself"),
    ("stores", "{'https': B}", "a store for https is already there, from"),
    # where a worker cannot find it
    ("tools", "[hidden(T)]", "must stand at the top of module"),
    ("sinks", "[hidden(S)]", "must stand at the top of module"),
]  # fmt: skip

MAKE = """
import sys

async def later(self, *told): pass

def hidden(kind):
    return type("Inner", (kind,), {"__module__": __name__})

def options(text, base=Tool.Options):
    body = {"__annotations__": {}, "__module__": __name__}
    name, _, kind = text.partition(": ")
    kind, _, default = kind.partition(" = ")
    body["__annotations__"][name] = kind
    if default:
        body[name] = eval(default)
    return type(base)("Options", (base,), body)

def loose(value, base=Tool.Options):
    return type(base)("Options", (base,), {"__module__": __name__, "wait": value})

def but(kind, **others):
    # As if the class had been written so.
    made = type(kind)(kind.__name__, kind.__bases__, {**vars(kind), **others})
    globals()[kind.__name__] = made
    return made
"""


def plugin(kind: str, answer: str) -> str:
    """A plugin whose register function gives ``answer``."""
    classes = HEADS["tools"] * (kind == "sinks") + HEADS[kind]
    register = f"@hookimpl\ndef cxlocal_register_{kind}():\n    return {answer}\n"
    return HEAD + classes + MAKE + register


@pytest.mark.parametrize("kind", RIGHT)
def test_what_is_right_is_taken(site: Path, kind: str) -> None:
    install(site, "mine", plugin(kind, RIGHT[kind]))
    seen = Seen({"CXLOCAL_STRICT_PLUGINS": "1"})
    given = registered.gives(seen.manager)
    assert len(given["mine"]) == 1 and seen.row("mine").state == "loaded"


@pytest.mark.parametrize(("kind", "answer", "words"), WRONG)
def test_a_wrong_registration_is_named_in_one_line(
    site: Path, kind: str, answer: str, words: str
) -> None:
    install(site, "mine", plugin(kind, answer))
    seen, usual = Seen(), Seen({"CXLOCAL_LOAD_PLUGINS": ""})
    hook = f"cxlocal_register_{kind}"
    found = registered.registered(seen.manager, hook)
    assert found.keys() == registered.registered(usual.manager, hook).keys()
    row = seen.row("mine")
    assert row.state == "broken" and words in row.error, row.error
    assert f"hook {hook} in {row.file}: " in row.error
    [warning] = seen.warnings
    assert warning.endswith("(for good: -p no:mine)") and "\n" not in warning, (
        "one line, what to do"
    )


def test_every_kind_has_its_variants() -> None:
    assert {f"cxlocal_register_{kind}" for kind in RIGHT} == set(KINDS)
    assert {kind for kind, _, _ in WRONG} == set(RIGHT)


@pytest.mark.parametrize("kind", RIGHT)
def test_of_two_with_one_name_the_first_is_taken(site: Path, kind: str) -> None:
    install(site, "aaa", plugin(kind, RIGHT[kind]))
    install(site, "bbb", plugin(kind, RIGHT[kind]))
    seen = Seen()
    [held] = [
        held
        for held in registered.registered(seen.manager, f"cxlocal_register_{kind}").values()
        if held.plugin in ("aaa", "bbb")
    ]
    assert held.plugin == "aaa"
    assert seen.row("bbb").state == "broken" and seen.row("aaa").file in seen.row("bbb").error
    assert registered.gives(Seen(no=["aaa"]).manager)["bbb"], "left out, it gives way"


def test_one_of_several_names_that_is_taken_takes_the_others_along(site: Path) -> None:
    install(site, "aaa", TOOL.format(kind="One", name="same"))
    both = TOOL.format(kind="Two", name="other").replace("[Two]", "[Two, Three]")
    three = "class Three(Tool):\n    name = 'same'\n    def build(self, ctx): return Done()\n"
    install(site, "bbb", both.replace("@hookimpl", three + "@hookimpl"))
    known = registered.tools(Seen().manager)
    assert known["same"].__name__ == "One" and "other" not in known


def test_options_may_stand_in_any_order(site: Path) -> None:
    """One that must be given behind one with a default; a list as default is a new one each time."""
    code = TOOL.format(kind="Mine", name="mine").replace(
        "    def build",
        "    class Options(Tool.Options):\n        tags: list[str] = ['a']\n        where: str\n    def build",
    )
    install(site, "mine", code)
    options = registered.find_tool(Seen().manager, "mine").Options
    one, other = options(where="x"), options(where="y")
    one.tags.append("b")  # type: ignore[attr-defined]
    assert other.tags == ["a"]  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        one.where = "z"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (":Plugin", "the entry point names the class Plugin, not an object of it"),
        (":nothing", "has no attribute 'nothing'"),
        (".nowhere", "ModuleNotFoundError"),
    ],
)
def test_a_wrong_entry_point(site: Path, target: str, words: str) -> None:
    code = HEAD + "class Plugin:\n    @hookimpl\n    def cxlocal_gate(self, question): pass\n"
    name = f"plugin_{site.parent.name}_mine"
    install(site, "mine", code, target=name + target)
    seen = Seen()
    assert words in {row.name: row for row in seen.manager.rows}["mine"].error
    assert len(seen.warnings) == 1


def test_commands_name_it_before_anything_needs_it(site: Path, cx: Any, tmp_path: Path) -> None:
    """``plugins`` ends with 1, ``doctor`` says without which a release goes on; the project's own is in
    the way of one."""
    install(site, "mine", plugin("report_readers", "[R]"))
    shop = tmp_path / "shop"
    own = shop / ".cx" / "plugins" / "own.py"
    own.parent.mkdir(parents=True)
    own.write_text(plugin("tools", "[T]"))
    (shop / "cx.toml").write_text(
        'cx = 1\n[deliverable]\nname = "shop"\n[stages]\nunit = { command = "true" }\n'
    )
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "remote.git")], check=True)
    for words in (
        "init -q .", f"remote add origin {tmp_path / 'remote.git'}", "add -A", "commit -qm x",
        "push -q origin HEAD:main",
    ):  # fmt: skip
        subprocess.run(["git", *words.split()], cwd=shop, check=True, capture_output=True)
    where = {"cwd": shop, "env": {"CXLOCAL_HOME": str(tmp_path / "home"), "PYTHONPATH": str(site)}}
    cx.ok("trust", "--yes", **where)
    cx.ok("prepare", **where)
    listed = cx("plugins", "--json", **where)
    rows = {row["name"]: row for row in listed.json()}
    assert (listed.code, rows["mine"]["state"], rows["own"]["gives"]) == (1, "broken", ["tool t"])
    looked = cx("doctor", **where)
    assert looked.code == 1 and "plugin mine" in looked.out
    assert "Ready for an offline release: yes, without mine" in looked.err + looked.out
    own.write_text(plugin("tools", "[T()]"))
    cx.ok("trust", "--yes", **where)
    looked = cx("doctor", **where)
    said = looked.err + looked.out
    assert re.search("Ready for an offline release: no, because plugin own: .* without", said), said


def test_a_registration_of_the_project_itself_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / ".cx" / "plugins"
    folder.mkdir(parents=True)
    (folder / "own.py").write_text(plugin("tools", "[T()]"))
    seen = Seen({"CXLOCAL_LOAD_PLUGINS": "", "CXLOCAL_TRUST": project_digest(folder)})
    seen.manager.add_project(tmp_path, tmp_path / "home")
    with pytest.raises(ConfigError, match="of this project is broken"):
        registered.tools(seen.manager)


def test_what_is_made_for_an_older_interface_is_noted(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as it is served; the newest is not."""
    monkeypatch.setattr(class_checks, "SERVED", (1, API))
    former, newest = (
        TOOL.format(kind=kind, name=kind.lower()).replace("    name", f"    api = {api}\n    name")
        for kind, api in (("Old", 1), ("New", API))
    )
    install(site, "old", former)
    install(site, "new", newest)
    manager = Seen().manager
    given = registered.gives(manager)
    assert given["new"] == ("tool new",)
    assert given["old"] == ("tool old, for interface 1",)
    [note] = [one for one in check_plugins(manager) if one.state == "note"]
    assert note.name == "plugin old" and "tool old, for interface 1" in note.found


@pytest.mark.parametrize("shipped", [one for one in SHIPPED if one.extra], ids=lambda one: one.name)
def test_a_shipped_plugin_without_its_libraries_is_not_broken(
    shipped: Shipped, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops nothing but what uses it, and there the command that brings them is named."""
    monkeypatch.setitem(sys.modules, shipped.module, None)
    seen = Seen()
    checks = check_plugins(seen.manager)
    [row] = [one for one in checks if one.name == f"plugin {shipped.name}"]
    assert (
        row.state == "note"
        and f"cxlocal[{shipped.extra}]" in row.to_do
        and "not installed" in row.found
    )
    assert readiness(checks) == (True, (), ()) and not seen.warnings
    for tool in shipped.tools:
        with pytest.raises(ConfigError) as raised:
            registered.find_tool(seen.manager, tool)
        assert (
            "pip install" in raised.value.hint and f"cxlocal[{shipped.extra}]" in raised.value.hint
        )


class Many(Tool.Options):
    """One option of each kind."""

    where: str
    size: int = 3
    share: float = 0.5
    quiet: bool = True
    names: tuple[str, ...] = ("a", "b")
    tables: dict[str, int] = {"x": 1}  # noqa: RUF012  (each gets its own)
    mode: Literal["fast", "safe"] = "fast"
    note: str | None = None
    folder: Path = Path("src")
    nested: list[list[str]] = []  # noqa: RUF012  (each gets its own)


def test_options_are_shown_in_words_of_the_file() -> None:
    """No word of a library or of Python; a default can be copied."""
    shown = {
        row["option"]: (row["type"], row["default"])
        for row in options_of(type("T", (Tool,), {"Options": Many}))
    }
    assert shown == {
        "where": ("text", "must be given"), "size": ("whole number", "3"), "share": ("number", "0.5"),
        "quiet": ("true or false", "true"), "names": ("list of text", '["a", "b"]'),
        "tables": ("table of whole number", "{ x = 1 }"), "mode": ('"fast" or "safe"', '"fast"'),
        "note": ("text", "nothing"), "folder": ("text", '"src"'), "nested": ("list of list of text", "[]"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", [Path, set[Path], list[Path], dict[str, Path], Path | None])
def test_paths_may_be_options(kind: Any) -> None:
    body = {"__annotations__": {"a": kind}, "__module__": __name__}
    assert (
        list(class_checks._wrong_options(type(Tool.Options)("Options", (Tool.Options,), body), "T"))
        == []
    )
