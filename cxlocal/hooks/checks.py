"""What hooks may answer: each check says in words what is wrong. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cxlocal.domain import Verdict
from cxlocal.hooks.implementations import shown
from cxlocal.hooks.place import Place
from cxlocal.hooks.stage_view import GateAnswer


def _listing(value: object, what: str, check: Callable[[Any], str]) -> str:
    if value is None:
        return f"it must return a list of {what}, and returns nothing: write return [...]"
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return f"it must return a list of {what}, not {shown(value)}"
    for one in value:
        if problem := check(one):
            return problem
    return ""


def check_gate_answer(value: object) -> str:
    """What is wrong with the answer of a gate; empty when nothing is."""
    if value is None:
        return ""
    if not isinstance(value, GateAnswer):
        return f"a gate must answer with GateAnswer or None, not {shown(value)}"
    if value.verdict not in list(Verdict):
        return f"a verdict is allow, deny or undecided, not {shown(value.verdict)}"
    if not isinstance(value.gate, str) or not isinstance(value.reason, str):
        return "gate and reason of a GateAnswer must be texts"
    return ""


def _nothing(value: object) -> str:
    return "" if value is None else f"it must return nothing, not {shown(value)}"


def _either(value: object, kind: type) -> str:
    if value is None or isinstance(value, kind):
        return ""
    return f"it must return {kind.__name__} or None, not {shown(value)}"


def _place(value: object) -> str:
    if isinstance(value, Place):
        for field, said in value._asdict().items():
            if not isinstance(said, str):
                return f"{field} of a Place must be a text, not {shown(said)}"
    return _either(value, Place)


def _by(name: str) -> Callable[[Any], str]:
    """A check of what is registered: with it comes all that plugins may be, which few commands ask for."""
    from cxlocal.hooks import class_checks

    found: Callable[[Any], str] = getattr(class_checks, name)
    return found


RESULT_CHECKS: Mapping[str, Callable[[Any], str]] = {
    "cxlocal_register_commands": _nothing,
    "cxlocal_register_tools": lambda value: _listing(value, "tool classes", _by("check_tool")),
    "cxlocal_register_version_schemes": lambda value: _listing(
        value, "schemes", _by("check_scheme")
    ),
    "cxlocal_register_report_readers": lambda value: _listing(
        value, "readers", _by("check_reader")
    ),
    "cxlocal_register_stores": lambda value: _by("check_stores")(value),
    "cxlocal_register_sinks": lambda value: _listing(value, "sink classes", _by("check_sink")),
    "cxlocal_identify_ci": _place,
    "cxlocal_resolve_revision": lambda value: _either(value, str),
    "cxlocal_gate": check_gate_answer,
    "cxlocal_event_recorded": _nothing,
}
"""For each hook with a result: what is wrong with it. ``cxlocal_run_stage`` is checked as it runs."""
