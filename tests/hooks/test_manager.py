"""Plugins that are right, broken, hanging, nonsensical: loaded and called through real packages."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from plugin_site import HEAD, TOOL, Seen, install

from cxlocal.errors import ConfigError, Refused
from cxlocal.hooks import calls, manager, registered
from cxlocal.hooks.checks import RESULT_CHECKS
from cxlocal.hooks.found import SHIPPED, entry_points, installed
from cxlocal.hooks.implementations import check_hooks, hook_names
from cxlocal.hooks.load import imported
from cxlocal.hooks.plugin_row import LeftOut
from cxlocal.hooks.stage_view import GateAnswer, GateQuestion, StageResult, StageView

VIEW = StageView("shop", "1.0", "run", "unit", 1, "pytest", "test", "", "now", {})
QUESTION = GateQuestion("deploy", "shop", "1.0", "run", "production", "", None, {})


def test_a_plugin_brings_a_tool(site: Path) -> None:
    install(site, "good", TOOL.format(kind="Good", name="good-tool"))
    seen = Seen()
    assert seen.row("good").state == "loaded"
    tool = registered.find_tool(seen.manager, "good-tool")
    assert tool.name == "good-tool" and seen.warnings == []
    row = seen.row("good")
    assert (row.distribution, row.version, row.origin) == ("cxlocal-good", "1.2", "installed")
    assert row.hooks == ("cxlocal_register_tools",) and row.file.endswith("_good.py")


def test_nothing_is_imported_before_a_hook_is_called(site: Path) -> None:
    install(site, "lazy", "import sys\nsys.cxlocal_lazy = getattr(sys, 'cxlocal_lazy', 0) + 1\n")
    seen = Seen()
    assert not hasattr(sys, "cxlocal_lazy")
    seen.manager.each("cxlocal_register_tools")
    seen.manager.first("cxlocal_identify_ci", environ={})
    assert sys.cxlocal_lazy == 1  # type: ignore[attr-defined]
    del sys.cxlocal_lazy  # type: ignore[attr-defined]


MISTAKES = {
    "raises": ("raise RuntimeError('broken at import')", "RuntimeError: broken at import"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "syntax": ("def (:", "SyntaxError"),
    "missing": ("import no_such_module_anywhere", "ModuleNotFoundError"),
    "unknown": (HEAD + "@hookimpl\ndef cxlocal_register_tool(): pass", "did you mean cxlocal_reg"),
    "unmarked": (HEAD + "def cxlocal_gate(question): pass", "is not marked: write @hookimpl"),
    "coroutine": (HEAD + "@hookimpl\nasync def cxlocal_gate(question): pass", "is async"),
    "arguments": (HEAD + "@hookimpl\ndef cxlocal_gate(question, mood): pass", "takes mood"),
    "default": (HEAD + "@hookimpl\ndef cxlocal_gate(question=None): pass", "default value"),
    "unwrapped": (HEAD + "@hookimpl\ndef cxlocal_run_stage(stage): yield", "must be a wrapper"),
    "wrapping": (HEAD + "@hookimpl(wrapper=True)\ndef cxlocal_gate(question): yield", "cannot be"),
    "unyielding": (HEAD + "@hookimpl(wrapper=True)\ndef cxlocal_run_stage(stage): pass", "yield"),
    "no-function": (HEAD + "@hookimpl\nclass cxlocal_gate: pass", "not a function"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_warned_of_once_and_stops_nothing(site: Path, name: str) -> None:
    code, words = MISTAKES[name]
    install(site, name, code)
    install(site, "good", TOOL.format(kind="Good", name="good-tool"))
    seen = Seen()
    assert "good-tool" in registered.tools(seen.manager)
    registered.tools(seen.manager)
    row = seen.row(name)
    assert row.state == "broken" and words in row.error
    (warning,) = seen.warnings
    assert f"{name} (cxlocal-{name} 1.2)" in warning and f"-p no:{name}" in warning
    if "def cxlocal_" in code:
        assert "hook cxlocal_" in row.error and ".py" in row.error
    with pytest.raises(ConfigError, match="is broken"):
        registered.tools(Seen({"CXLOCAL_STRICT_PLUGINS": "1"}).manager)


def test_the_first_answer_wins_and_a_wrong_one_does_not_count(site: Path) -> None:
    hook = HEAD + "@hookimpl{}\ndef cxlocal_resolve_revision(name):\n    return {}\n"
    install(site, "one", hook.format("", "None"))
    install(site, "two", hook.format("(trylast=True)", "'from two: ' + name"))
    install(site, "three", hook.format("(tryfirst=True)", "42"))
    seen = Seen()
    found = seen.manager.first("cxlocal_resolve_revision", repository=Path(), name="T-1")
    assert found == "from two: T-1"
    assert "must return str or None, not 42" in seen.row("three").error


def test_leaving_plugins_out(site: Path) -> None:
    install(site, "good", TOOL.format(kind="Good", name="good-tool"))
    for seen in (
        Seen(no=["good"]),
        Seen(block=["cxlocal-good"]),
        Seen({"CXLOCAL_LOAD_PLUGINS": ""}),
        Seen({"CXLOCAL_LOAD_PLUGINS": "others, more"}),
    ):
        with pytest.raises(ConfigError) as caught:
            registered.find_tool(seen.manager, "good-tool")
        assert "good (blocked)" in caught.value.why
        assert seen.row("good").state == "blocked" and seen.warnings == []
    assert registered.find_tool(Seen({"CXLOCAL_LOAD_PLUGINS": "good"}).manager, "good-tool")


def test_recovery_commands_load_shipped_ones_only(site: Path) -> None:
    install(site, "wrecked", "raise RuntimeError")
    seen = Seen(shipped_only=True)
    registered.tools(seen.manager)
    assert seen.row("wrecked").state == "not loaded" and seen.warnings == []


def test_a_tool_nobody_has(site: Path) -> None:
    install(site, "good", TOOL.format(kind="Good", name="good-tool"))
    install(site, "wrecked", "raise RuntimeError")
    with pytest.raises(ConfigError) as caught:
        registered.find_tool(Seen().manager, "god-tool")
    assert "did you mean 'good-tool'?" in caught.value.hint
    assert "wrecked (broken)" in caught.value.why


def test_a_hanging_plugin_is_interrupted(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "LOAD_SECONDS", 0.3)
    monkeypatch.setattr(calls, "CALL_SECONDS", 0.3)
    install(site, "sleeper", "import time; time.sleep(60)")
    stubborn = (
        "    try:\n        time.sleep(60)\n    except BaseException:\n        time.sleep(60)\n"
    )
    install(
        site,
        "stubborn",
        HEAD + "import time\n@hookimpl\ndef cxlocal_register_tools():\n" + stubborn,
    )
    before = signal.getitimer(signal.ITIMER_REAL)[0]
    began = time.monotonic()
    seen = Seen()
    registered.tools(seen.manager)
    assert time.monotonic() - began < 5
    assert "no answer within" in seen.row("sleeper").error
    assert "no answer within" in seen.row("stubborn").error
    left = signal.getitimer(signal.ITIMER_REAL)[0]  # pytest's own alarm still rings
    assert (before == left == 0) or before - 10 < left <= before


def test_gates_that_fail_are_undecided(site: Path) -> None:
    gate = (
        HEAD
        + "from cxlocal.hooks.stage_view import GateAnswer\n@hookimpl\ndef cxlocal_gate(question):\n    {}\n"
    )
    install(site, "allows", gate.format("return GateAnswer('office hours', 'allow', 'it is ten')"))
    install(site, "silent", gate.format("return None"))
    install(site, "raises", gate.format("raise OSError('no route to host')"))
    install(site, "lies", gate.format("return True"))
    install(site, "odd", gate.format("return GateAnswer('odd', 'maybe', '')"))
    seen = Seen()
    for _ in range(2):
        answers = {answer.gate: answer for answer in seen.manager.gate(QUESTION)}
        assert answers["office hours"] == GateAnswer("office hours", "allow", "it is ten")
        assert {name: one.verdict for name, one in answers.items() if name != "office hours"} == {
            "raises": "undecided", "lies": "undecided", "odd": "undecided"
        }  # fmt: skip
        assert "no route to host" in answers["raises"].reason


GATE = (
    HEAD
    + "from cxlocal.hooks.stage_view import GateAnswer\n@hookimpl\ndef cxlocal_gate(question):\n"
    "    return GateAnswer('guard', 'allow', '')\n"
)


@pytest.mark.parametrize(
    ("code", "target"),
    [
        (GATE + "import holidays_that_are_gone\n", ""),
        (GATE + "def broken(:\n", ""),
        (GATE + "raise SystemExit(0)\n", ""),
        (GATE + "import os\nos.environ['NOBODY_SET_THIS']\n", ""),
        (GATE.replace("cxlocal_gate", "cxlocal_gates"), ""),
        (GATE.replace("def cx", "async def cx"), ""),
        (GATE.replace("(question)", "(question, more)"), ""),
        (GATE.replace("@hookimpl\n", ""), ""),
        (GATE, "no_such_module"),
        (GATE, "os:no_such_object"),
        # It was loaded, and left out afterwards for something else.
        (GATE + "@hookimpl\ndef cxlocal_register_sinks():\n    return 3\n", ""),
    ],
)
def test_what_may_be_a_gate_and_cannot_be_loaded_is_undecided(
    site: Path, code: str, target: str
) -> None:
    install(site, "guard", code, target=target)
    seen = Seen()
    seen.manager.each("cxlocal_register_sinks")
    for _ in range(2):
        [answer] = seen.manager.gate(QUESTION)
        assert (answer.gate, answer.verdict) == ("guard", "undecided")
        assert seen.row("guard").error in answer.reason and "-p no:guard" in answer.reason
    for without in (Seen(no=["guard"]), Seen(block=["cxlocal-guard"])):
        assert without.manager.gate(QUESTION) == []


def test_what_is_no_gate_may_break(site: Path) -> None:
    """Known once it was loaded; and shipped plugins are none."""
    install(site, "sink", HEAD + "@hookimpl\ndef cxlocal_register_sinks():\n    return 3\n")
    install(site, "right", GATE)
    seen = Seen()
    seen.manager.each("cxlocal_register_sinks")
    assert seen.row("sink").state == "broken"
    assert [answer.verdict for answer in seen.manager.gate(QUESTION)] == ["allow"]


@pytest.mark.parametrize("name", ["good", "junit"])
def test_a_plugin_hidden_by_another_may_be_a_gate(site: Path, name: str) -> None:
    install(site, "good", TOOL.format(kind="Good", name="good-tool"))
    twin = site / "zz_other-3.dist-info"
    twin.mkdir()
    (twin / "entry_points.txt").write_text(f"[cxlocal]\n{name} = whatever\n")
    [answer] = Seen().manager.gate(QUESTION)
    assert answer.verdict == "undecided" and f"{name} of zz-other" in answer.reason
    without = Seen(no=["zz-other"])
    assert without.manager.gate(QUESTION) == [] and without.warnings == []
    assert without.manager.left_out == [LeftOut(name, "zz-other", "3", "-p no:zz-other")]


def test_what_was_left_out_is_known_with_what_did_it(site: Path) -> None:
    install(site, "guard", GATE)
    install(site, "good", TOOL.format(kind="Good", name="good-tool"))
    for options, found in (
        ({}, []),
        ({"no": ["nobody"]}, []),
        ({"no": ["guard"]}, [("guard", "cxlocal-guard", "1.2", "-p no:guard")]),
        ({"no": ["cxlocal-guard"]}, [("guard", "cxlocal-guard", "1.2", "-p no:cxlocal-guard")]),
        ({"block": ["guard"]}, [("guard", "cxlocal-guard", "1.2", "[plugins] block")]),
        ({"environ": {"CXLOCAL_LOAD_PLUGINS": "good"}},
         [("guard", "cxlocal-guard", "1.2", "CXLOCAL_LOAD_PLUGINS")]),
        ({"block": ["junit"]}, [("junit", "cxlocal", "", "[plugins] block")]),
    ):  # fmt: skip
        assert Seen(**options).manager.left_out == found, options  # type: ignore[arg-type]


def test_required_plugins(site: Path) -> None:
    install(site, "guard", GATE)
    install(site, "wrecked", "raise RuntimeError('no calendar')")
    Seen().manager.require(["guard", "cxlocal-guard", "junit"])
    for name, options, words in (
        ("absent", {}, "plugin absent is not installed here"),
        ("wrecked", {}, "plugin wrecked is broken: RuntimeError: no calendar"),
        ("cxlocal-wrecked", {}, "plugin cxlocal-wrecked is broken"),
        ("guard", {"no": ["guard"]}, "plugin guard was left out by -p no:guard"),
        ("guard", {"block": ["cxlocal-guard"]}, "plugin guard was left out by [plugins] block"),
        ("cxlocal-guard", {"environ": {"CXLOCAL_LOAD_PLUGINS": ""}},
         "plugin cxlocal-guard was left out by CXLOCAL_LOAD_PLUGINS"),
        ("junit", {"no": ["junit"]}, "plugin junit was left out by -p no:junit"),
    ):  # fmt: skip
        with pytest.raises(Refused) as caught:
            Seen(**options).manager.require([name])  # type: ignore[arg-type]
        assert words in caught.value.what and caught.value.name == "plugin-required"


WRAPPER = (
    HEAD
    + """
import sys
@hookimpl(wrapper=True)
def cxlocal_run_stage(stage):
    stage.variables["TRACEPARENT"] = "00-1"
    sys.cxlocal_said.append("start " + stage.name)
    {before}
    result = yield
    sys.cxlocal_said.append("end " + stage.name + " " + result.outcome)
    {after}
"""
)


def test_stage_wrappers_run_at_the_same_time(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(sys, "cxlocal_said", said, raising=False)
    install(site, "tracing", WRAPPER.format(before="", after=""))
    seen = Seen()
    view = VIEW._replace(variables={})
    one = seen.manager.open_stage(view)
    two = seen.manager.open_stage(VIEW._replace(name="lint", variables={}))
    assert view.variables == {"TRACEPARENT": "00-1"}
    one.close(StageResult("success", "", 1.0))
    two.close(StageResult("failure", "", 1.0))
    two.close(StageResult("failure", "", 1.0))
    assert said == ["start unit", "start lint", "end unit success", "end lint failure"]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("1 / 0", "", "ZeroDivisionError"),
        ("", "raise OSError('pager')", "OSError: pager"),
        ("", "yield", "yields more than once"),
    ],
)
def test_a_failing_wrapper_changes_nothing(
    site: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str, words: str
) -> None:
    monkeypatch.setattr(sys, "cxlocal_said", [], raising=False)
    install(site, "tracing", WRAPPER.format(before=before, after=after))
    seen = Seen()
    for _ in range(2):
        seen.manager.open_stage(VIEW).close(StageResult("success", "", 1.0))
    (warning,) = seen.warnings
    assert words in warning and seen.row("tracing").state == "loaded"


def test_a_failing_observer_is_asked_once(site: Path) -> None:
    install(site, "watching", HEAD + "@hookimpl\ndef cxlocal_event_recorded(event): 1 / event\n")
    seen = Seen()
    seen.manager.event_recorded(1)
    seen.manager.event_recorded(0)
    seen.manager.event_recorded(0)
    assert len(seen.warnings) == 1 and "ZeroDivisionError" in seen.warnings[0]


def test_a_plugin_object_beside_others(site: Path) -> None:
    code = (
        HEAD
        + "class P:\n    @hookimpl\n    def cxlocal_resolve_revision(self, name): return name\nplugin = P()\n"
    )
    module = f"plugin_{site.parent.name}_object".replace("-", "_")
    install(site, "object", code, target=f"{module}:plugin [extra]")
    seen = Seen()
    assert seen.manager.first("cxlocal_resolve_revision", repository=Path(), name="x") == "x"
    assert seen.row("object").file.endswith("_object.py")


def test_one_name_in_two_distributions(site: Path) -> None:
    install(site, "good", TOOL.format(kind="Good", name="good-tool"))
    twin = site / "zz_other-3.dist-info"
    twin.mkdir()
    (twin / "entry_points.txt").write_text("[cxlocal]\ngood = whatever\n")
    seen = Seen()
    assert "zz-other" in seen.warnings[0] and "has a plugin of that name" in seen.warnings[0]
    assert registered.find_tool(seen.manager, "good-tool")


def test_reading_entry_points() -> None:
    text = "[a]\nx=y\n[cxlocal]\n# no\nfirst = pkg.mod:thing [extra]\n second=pkg \n\n[b]\nz = q\n"
    assert list(entry_points(text)) == [("first", "pkg.mod:thing"), ("second", "pkg")]
    assert installed(["/nowhere", __file__]) == []


def test_the_table_of_shipped_plugins_is_right() -> None:
    for shipped in SHIPPED:
        module = imported(shipped.module)
        assert set(check_hooks(module, shipped.module)) == set(shipped.hooks), shipped
        assert set(shipped.hooks) <= set(hook_names())
        tools = getattr(module, "cxlocal_register_tools", list)()
        assert shipped.tools == tuple(one.name for one in tools)


@pytest.mark.parametrize("name", ["podman", "docker", "haproxy", "folder"])
def test_who_wants_one_shipped_tool_loads_no_other(name: str) -> None:
    seen = Seen({"CXLOCAL_LOAD_PLUGINS": ""})
    found = registered.find_tool(seen.manager, name)
    states = {one.name: seen.manager.row(one.name).state for one in SHIPPED}
    assert [one for one, state in states.items() if state == "loaded"] == [
        one.name for one in SHIPPED if name in one.tools
    ]
    assert registered.tools(seen.manager)[name] is found


def test_who_has_plugins_of_others_is_told_of_a_shipped_name_that_is_taken(site: Path) -> None:
    install(site, "own", TOOL.format(kind="Own", name="haproxy"))
    seen = Seen()
    assert registered.find_tool(seen.manager, "haproxy").__module__ == "cxlocal_plugins.haproxy"
    assert "a tool haproxy is already there" in seen.warnings[0]


def test_a_shipped_tool_that_is_left_out_is_not_there(site: Path) -> None:
    seen = Seen({"CXLOCAL_LOAD_PLUGINS": ""}, no=["haproxy"])
    with pytest.raises(ConfigError):
        registered.find_tool(seen.manager, "haproxy")


def test_shipped_plugins_load_without_a_word() -> None:
    seen = Seen({"CXLOCAL_STRICT_PLUGINS": "1", "CXLOCAL_LOAD_PLUGINS": ""})
    for hook in registered.KINDS:
        for _, answer in seen.manager.each(hook):
            assert RESULT_CHECKS[hook](answer) == "", "what is shipped is not checked at work"
    assert {row.state for row in seen.manager.rows if row.origin == "shipped"} <= {"loaded"}
    assert seen.warnings == []


def test_the_command_survives_a_plugin_that_crashes_the_interpreter(
    site: Path, cx: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(site))
    install(site, "good", TOOL.format(kind="Good", name="good-tool"))
    install(site, "crash", "import os\nos.kill(os.getpid(), 11)\n")
    install(site, "chatty", "print('x' * 100000)\nimport os; os.write(1, b'{}\\n')\n")
    wrong = HEAD + "@hookimpl\ndef cxlocal_register_tools():\n    return [1]\n"
    install(site, "mistaken", wrong)
    install(site, "same", TOOL.format(kind="Same", name="good-tool"))
    result = cx("plugins", "--json")
    assert result.code == 1, "two of them are broken"
    rows = {row["name"]: row for row in json.loads(result.out)}
    assert rows["good"]["state"] == "loaded" and rows["good"]["hooks"] == ["register_tools"]
    assert rows["crash"]["state"] == "broken" and "SIGSEGV" in rows["crash"]["error"]
    assert rows["chatty"]["state"] == "loaded"
    assert rows["mistaken"]["state"] == "broken" and "derived from" in rows["mistaken"]["error"]
    assert rows["good"]["gives"] == ["tool good-tool"] and rows["junit"]["gives"]
    assert "a tool good-tool is already there, from" in rows["same"]["error"]
    assert rows["good"].keys() == {
        "name", "version", "origin", "state", "hooks", "distribution", "file", "error", "gives"
    }  # fmt: skip
    only = json.loads(cx("plugins", "--hook", "register_tools", "--json").out)
    assert "good" in {row["name"] for row in only} and "crash" not in {row["name"] for row in only}
    wrong = cx("plugins", "--hook", "register_tool")
    assert wrong.code == 2 and "cxlocal_register_tools" in wrong.err
    left = json.loads(cx("-p", "no:good", "plugins", "--json").out)
    assert {row["name"]: row["state"] for row in left}["good"] == "blocked"
    assert os.getpid()
