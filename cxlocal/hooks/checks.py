"""What a plugin may register and answer: each check says in words what is wrong. Pure."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any

from msgspec import Struct

from cxlocal.domain import SINK_KINDS, Verdict
from cxlocal.hooks.place import Place
from cxlocal.hooks.sink import API as SINK_API
from cxlocal.hooks.sink import Sink
from cxlocal.hooks.stage_view import GateAnswer
from cxlocal.hooks.tool import API, SERVED, VERBS, Tool, verbs_of
from cxlocal.patterns import compile_late

_NAME = compile_late(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_COROUTINE = 0x80 | 0x100 | 0x200
"""``co_flags`` of coroutines, iterable coroutines and asynchronous generators (``inspect``)."""


def is_async(function: object) -> bool:
    """Whether calling it gives something that must be awaited: nobody would."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return code is not None and bool(code.co_flags & _COROUTINE)


def shown(value: object) -> str:
    """A value in a message: its type, and what it is when that is short."""
    text = repr(value)
    return text if len(text) <= 60 else type(value).__name__


def _listing(value: object, what: str, check: Callable[[Any], str]) -> str:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return f"it must return a list of {what}, not {shown(value)}"
    for one in value:
        if problem := check(one):
            return problem
    return ""


def is_tool_name(name: object) -> bool:
    """Whether a tool can be called so."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def check_tool(tool: object) -> str:
    """What is wrong with a tool class; empty when nothing is."""
    if not isinstance(tool, type) or not issubclass(tool, Tool):
        return f"a tool is a class derived from cxlocal.hooks.tool.Tool, not {shown(tool)}"
    name = getattr(tool, "name", None)
    if not is_tool_name(name):
        return f"{tool.__qualname__}.name must be a word like 'local-service', not {shown(name)}"
    if tool.api not in SERVED:
        return (
            f"tool {name} is made for interface {shown(tool.api)}, this cxlocal has {API}:"
            " install the release of the plugin that fits"
        )
    if not isinstance(tool.Options, type) or not issubclass(tool.Options, Struct):
        return f"{tool.__qualname__}.Options must be a msgspec.Struct"
    for listed in ("secrets", "executables"):
        value = getattr(tool, listed)
        if not isinstance(value, tuple) or not all(isinstance(one, str) for one in value):
            return f"{tool.__qualname__}.{listed} must be a tuple of names, not {shown(value)}"
    for attribute, value in _own(tool):
        if isinstance(value, FunctionType) and attribute not in VERBS:
            import difflib  # only where something is wrong

            near = difflib.get_close_matches(attribute, VERBS, n=1, cutoff=0.75)
            if near and not attribute.startswith("_"):
                return f"{tool.__qualname__}.{attribute} is no verb: did you mean {near[0]!r}?"
        if attribute in VERBS and is_async(value):
            return f"{tool.__qualname__}.{attribute} is async: a verb is a plain method"
    if not verbs_of(tool):
        return f"tool {name} has no verb ({', '.join(VERBS)})"
    return _unreachable(tool)


def _own(tool: type) -> Iterable[tuple[str, object]]:
    for kind in tool.__mro__[:-2]:
        yield from vars(kind).items()


def _unreachable(tool: type) -> str:
    """A worker imports the class by name: one made inside a function cannot be found."""
    found: object = sys.modules.get(tool.__module__)
    for part in tool.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not tool:
        return f"{tool.__qualname__} must stand at the top of module {tool.__module__}"
    return ""


_SCHEME = compile_late(r"[a-z][a-z0-9+.-]*")


def check_sink(sink: object) -> str:
    """What is wrong with a sink class; empty when nothing is."""
    if not isinstance(sink, type) or not issubclass(sink, Sink):
        return f"a sink is a class derived from cxlocal.hooks.sink.Sink, not {shown(sink)}"
    name = getattr(sink, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"{sink.__qualname__}.name must be a word like 'syslog', not {shown(name)}"
    if sink.api != SINK_API:
        return f"sink {name} is made for interface {shown(sink.api)}; it has to be {SINK_API}"
    schemes = getattr(sink, "schemes", None)
    if not isinstance(schemes, tuple) or not schemes or not all(map(_is_scheme, schemes)):
        return f"{sink.__qualname__}.schemes must be a tuple such as ('syslog+tcp',), not {shown(schemes)}"
    takes = getattr(sink, "takes", None)
    if not isinstance(takes, frozenset) or not takes or takes - set(SINK_KINDS):
        return f"{sink.__qualname__}.takes must be a frozenset of {', '.join(SINK_KINDS)}"
    if not isinstance(sink.Options, type) or not issubclass(sink.Options, Struct):
        return f"{sink.__qualname__}.Options must be a msgspec.Struct"
    if sink.deliver is Sink.deliver or is_async(sink.deliver):
        return f"{sink.__qualname__} needs a plain method 'deliver'"
    return _unreachable(sink)


def _is_scheme(value: object) -> bool:
    return isinstance(value, str) and _SCHEME.fullmatch(value) is not None


def check_gate_answer(value: object) -> str:
    """What is wrong with the answer of a gate."""
    if not isinstance(value, GateAnswer):
        return f"a gate must answer with GateAnswer or None, not {shown(value)}"
    if value.verdict not in list(Verdict):
        return f"a verdict is allow, deny or undecided, not {shown(value.verdict)}"
    if not isinstance(value.gate, str) or not isinstance(value.reason, str):
        return "gate and reason of a GateAnswer must be texts"
    return ""


def _reader(value: object) -> str:
    if not isinstance(getattr(value, "format", None), str):
        return f"a report reader needs a 'format', {shown(value)} has none"
    return "" if callable(getattr(value, "read", None)) else f"{shown(value)} has no method 'read'"


def _scheme(value: object) -> str:
    named = isinstance(getattr(value, "name", None), str)
    return "" if named else f"a version scheme needs a 'name', {shown(value)} has none"


def _stores(value: object) -> str:
    if not isinstance(value, Mapping):
        return f"it must return a mapping of URL scheme to store class, not {shown(value)}"
    for scheme, store in value.items():
        if not isinstance(scheme, str) or not callable(store):
            return f"a store is a class under the scheme of its URLs, not {shown(store)}"
    return ""


def _nothing(value: object) -> str:
    return "" if value is None else f"it must return nothing, not {shown(value)}"


def _instance(kind: type) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value is None or isinstance(value, kind):
            return ""
        return f"it must return {kind.__name__} or None, not {shown(value)}"

    return check


RESULT_CHECKS: Mapping[str, Callable[[Any], str]] = {
    "cxlocal_register_commands": _nothing,
    "cxlocal_register_tools": lambda value: _listing(value, "tool classes", check_tool),
    "cxlocal_register_version_schemes": lambda value: _listing(value, "schemes", _scheme),
    "cxlocal_register_report_readers": lambda value: _listing(value, "readers", _reader),
    "cxlocal_register_stores": _stores,
    "cxlocal_register_sinks": lambda value: _listing(value, "sink classes", check_sink),
    "cxlocal_identify_ci": _instance(Place),
    "cxlocal_resolve_revision": _instance(str),
    "cxlocal_gate": lambda value: "" if value is None else check_gate_answer(value),
    "cxlocal_event_recorded": _nothing,
}
"""For each hook with a result: what is wrong with it. ``cxlocal_run_stage`` is checked as it runs."""
