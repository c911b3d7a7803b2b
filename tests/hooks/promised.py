"""What plugins are promised, read from the classes themselves (``--write`` adds what is new to promised.json).

Nothing that stands there is renamed, removed or changed (docs/developing.md); a number of an interface that
rises is the one reason to take something out by hand.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import types_page

from cxlocal.hooks import specs, tool

KEPT = Path(__file__).with_name("promised.json")
MADE = {
    "Report", "Case", "GateAnswer", "Place", "Done", "Produced", "ReportFile", "Created", "Applied", "Previewed",
    "Observed", "ObservedResource", "Published", "Held", "Holdings", "Withdrawn",
}  # fmt: skip
"""What plugins make: a further field has a default."""


def surface() -> dict[str, Any]:
    """Hooks with arguments and answer, classes with fields and methods, verbs."""
    classes: dict[str, Any] = {}
    for module, names in types_page.CLASSES:
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.ClassDef) and node.name in names:
                classes[node.name] = {"module": module.__name__, **_members(node)}
    hooks = {
        node.name: {
            "arguments": {one.arg: ast.unparse(one.annotation or node) for one in node.args.args},
            "answer": ast.unparse(node.returns or node),
        }
        for node in ast.parse(inspect.getsource(specs)).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("cxlocal_")
    }
    return {"hooks": hooks, "classes": classes, "verbs": list(tool.ASKED)}


def _members(node: ast.ClassDef) -> dict[str, Any]:
    fields = {name: [kind, default] for name, kind, default, _ in types_page.fields(node)}
    methods = {
        each.name: ast.unparse(each.args)
        for each in node.body
        if isinstance(each, ast.FunctionDef) and (each.name == "__init__" or each.name[0] != "_")
    }
    return {"fields": fields, "methods": methods}


def broken(kept: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What of the promise does not hold any more, in words. Pure."""
    found = [f"verb {one}" for one in kept["verbs"] if one not in now["verbs"]]
    for name, hook in kept["hooks"].items():
        present = now["hooks"].get(name, {"arguments": {}, "answer": None})
        lost = hook["arguments"].items() - present["arguments"].items()
        found += [f"argument {one} of {name}" for one, _ in lost]
        found += [f"answer of {name}"] * (hook["answer"] != present["answer"])
    for name, kind in kept["classes"].items():
        present = now["classes"].get(name, {"module": None, "fields": {}, "methods": {}})
        found += [f"module of {name}"] * (kind["module"] != present["module"])
        for part in ("fields", "methods"):
            found += [
                f"{one} of {name}"
                for one in kind[part]
                if kind[part][one] != present[part].get(one)
            ]
        new = present["fields"].keys() - kind["fields"].keys() if name in MADE else set()
        found += [f"{one} of {name} has no default" for one in new if not present["fields"][one][1]]
    return found


def _together(kept: Any, now: Any) -> Any:
    """What is kept, and what is new beside it."""
    if isinstance(now, dict):
        return {**kept, **{key: _together(kept.get(key, now[key]), now[key]) for key in now}}
    return now


if __name__ == "__main__":
    found = surface()
    if KEPT.exists():
        before = json.loads(KEPT.read_text())
        if problems := broken(before, found):
            sys.exit(f"this does not hold any more: {', '.join(problems)}")
        found = _together(before, found)
    KEPT.write_text(json.dumps(found, indent=1) + "\n")
