"""Every kind of flag says what settles it, in the tool and in docs/running.md, and nothing else can."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from cxlocal.projection.flags import SETTLED_BY, UNKNOWN, settled_by
from cxlocal.projection.truth import UNTRUE
from cxlocal.projection.views import VIEWS

ROOT = Path(__file__).parents[2]
RAISED_BY = {"flag_draft": 0, "_flag_fact": 1, "_flag": 0}
"""Functions that raise a flag, and which of their arguments is its kind."""


def raised() -> Iterator[str]:
    for path in sorted((ROOT / "cxlocal").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else name
            if name == "run_flagged":
                kinds = [one.value for one in node.keywords if one.arg == "kind"]
                yield from (one.value for one in kinds if isinstance(one, ast.Constant))
            if name in RAISED_BY:
                kind = node.args[RAISED_BY[name]]
                if isinstance(kind, ast.Constant):
                    yield kind.value


def test_every_kind_that_is_raised_says_what_settles_it() -> None:
    derived = {
        "clock-ahead", "contradicted", "deployment-failed", "half-published", "other-commit",
        "two-histories",
    }  # fmt: skip
    assert {*raised(), *derived, UNTRUE} == set(SETTLED_BY)
    assert settled_by("raised-by-a-newer-cxlocal") == UNKNOWN


def test_the_view_settles_what_is_said_to_be_settled_by_something_that_happens() -> None:
    body = VIEWS["open_flags"][1]
    assert {kind for kind in SETTLED_BY if f"'{kind}'" not in body} == {"unreadable-event", UNTRUE}


def test_the_page_says_the_same() -> None:
    page = (ROOT / "docs" / "running.md").read_text("utf-8")
    table = page[page.index("| flag | settled by |") :].partition("\n\n")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", table, re.MULTILINE)
    assert {kind: words.replace("`", "'") for kind, words in rows} == SETTLED_BY
