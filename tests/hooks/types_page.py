"""Writes docs/types.md from the classes that plugins are given and give back (``--write``)."""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from types import ModuleType

from cxlocal.domain import Outcome, Verdict
from cxlocal.events import document
from cxlocal.exchange import store
from cxlocal.hooks import place, report, sink, specs, stage_view, tool
from cxlocal.numbers import schemes

PAGE = Path(__file__).resolve().parents[2] / "docs" / "types.md"
CLASSES: tuple[tuple[ModuleType, tuple[str, ...]], ...] = (
    (tool, (
        "Tool", "Context", "EnvironmentRef", "ArtifactRef", "Completed", "Done", "Produced", "ReportFile",
        "Created", "Applied", "Previewed", "Observed", "ObservedResource", "Published", "Held", "Holdings",
        "Withdrawn", "ToolFailure",
    )),
    (report, ("Report", "Case", "ReportReader")),
    (stage_view, ("GateQuestion", "GateAnswer", "Replaced", "StageView", "StageResult")),
    (place, ("Place",)),
    (document, ("Event",)),
    (sink, (
        "Sink", "Record", "EventRecord", "LineRecord", "MetricRecord", "SpanRecord", "Later", "NotTaken",
    )),
    (schemes, ("Scheme",)),
    (store, ("Store",)),
)  # fmt: skip
HEAD = f"""\
# What plugins are given, and give back

This page is made from the classes themselves (`tests/hooks/types_page.py`); a test compares them. Which hook
takes or gives what: [hooks.md](hooks.md). Which verb of a tool is given and gives what, and when:
[life.md](life.md). Pages that build a plugin: [a tool](own-tool.md), [one that deploys](own-deploy.md), [a report format](own-reader.md),
[a gate](own-gate.md); how to work on one: [developing.md](developing.md).

Times are texts in UTC (`2026-11-30T08:00:00.000Z`), durations are seconds. Outcomes of cases:
{", ".join(f"`{each}`" for each in report.OUTCOMES)}; of stages and runs:
{", ".join(f"`{each}`" for each in Outcome)}; verdicts of gates: {", ".join(f"`{each}`" for each in Verdict)}.
"""


def render() -> str:
    """The page."""
    parts = [HEAD]
    for module, names in CLASSES:
        nodes = {
            node.name: node
            for node in ast.parse(inspect.getsource(module)).body
            if isinstance(node, ast.ClassDef)
        }
        parts += [_class(module.__name__, nodes[name]) for name in names]
    return "\n".join(parts)


def _class(module: str, node: ast.ClassDef) -> str:
    lines = [f"## {node.name}\n", f"```python\nfrom {module} import {node.name}\n```\n"]
    lines.append(_text(ast.get_docstring(node)) + "\n")
    rows = list(fields(node))
    if rows:
        lines += ["| field | type | left out | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{name}` | `{kind}` | {default} | {meaning} |"
            for name, kind, default, meaning in rows
        ]
        lines.append("")
    methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
    shown = [_method(each) for each in methods if each.name == "__init__" or each.name[0] != "_"]
    lines += [*shown, ""] if shown else []
    return "\n".join(lines)


def fields(node: ast.ClassDef) -> list[tuple[str, str, str, str]]:
    """Name, type, default and meaning of each field: the text under it."""
    found = []
    for field, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            meaning = str(after.value.value) if said else ""
            default = "" if field.value is None else f"`{ast.unparse(field.value)}`"
            kind = ast.unparse(field.annotation).replace("|", "\\|")
            found.append((field.target.id, kind, default, _text(meaning)))
    return found


def _method(node: ast.FunctionDef) -> str:
    is_property = any(ast.unparse(each) == "property" for each in node.decorator_list)
    taken = "" if is_property else f"({ast.unparse(node.args).removeprefix('self').lstrip(', ')})"
    returns = ast.unparse(node.returns) if node.returns else "None"
    return f"- `{node.name}{taken} -> {returns}`: {_text(ast.get_docstring(node))}"


def _text(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").replace("``", "`").split())


def of_hooks() -> set[str]:
    """The classes of ours that signatures of hooks name."""
    names = {
        node.id
        for node in ast.walk(ast.parse(inspect.getsource(specs)))
        if isinstance(node, ast.Name)
    }
    imported = {
        alias.name
        for node in ast.walk(ast.parse(inspect.getsource(specs)))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("cxlocal.")
        for alias in node.names
    }
    return (names & imported) - {"Protocol"}


def missing() -> list[str]:
    """Fields that nothing says the meaning of."""
    page = render()
    return [line for line in page.splitlines() if line.startswith("| `") and line.endswith("|  |")]


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(render(), encoding="utf-8")
    else:
        sys.stdout.write(render())
