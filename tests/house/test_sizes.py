"""Sizes to aim at, signatures and docstrings."""

from __future__ import annotations

import ast
import statistics
from typing import Any

MODULE_LINES = 500
FUNCTION_LINES = 70
FUNCTION_MEDIAN = 10


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_modules_stay_small(sources: list[Any]) -> None:
    lines = {source.name: source.text.count("\n") for source in sources}
    assert {name: count for name, count in lines.items() if count > MODULE_LINES} == {}


def test_functions_stay_small(sources: list[Any]) -> None:
    lines = [
        (f"{source.path}:{function.lineno} {function.name}", _lines(function))
        for source in sources
        for function in source.functions()
    ]
    assert [entry for entry in lines if entry[1] > FUNCTION_LINES] == []
    assert statistics.median(count for _, count in lines) <= FUNCTION_MEDIAN


def _untyped(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    rest = [argument for argument in (given.vararg, given.kwarg) if argument is not None]
    bare = [a.arg for a in (*named, *rest) if a.annotation is None and a.arg not in ("self", "cls")]
    return bool(bare) or function.returns is None


def test_every_signature_is_typed(sources: list[Any]) -> None:
    wrong = [
        f"{source.path}:{function.lineno} {function.name}"
        for source in sources
        for function in source.functions()
        if _untyped(function)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_module_with_code_explains_itself(sources: list[Any]) -> None:
    wrong = [
        str(source.path) for source in sources if source.text and not ast.get_docstring(source.tree)
    ]
    assert not wrong, "\n".join(wrong)


def _documented_methods(sources: list[Any]) -> set[str]:
    """Names of methods and hooks that some class or spec explains: implementations need not."""
    return {
        function.name
        for source in sources
        for function in source.functions()
        if ast.get_docstring(function)
    }


def _speaks_for_itself(method: Any) -> bool:
    """A property of one statement: its name, and the docstring of its class, say it."""
    decorators = [ast.unparse(decorator) for decorator in method.decorator_list]
    return "property" in decorators and len(method.body) == 1


def _public(body: list[ast.stmt]) -> list[Any]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node for node in body if isinstance(node, kinds) and not node.name.startswith("_")]


def test_public_names_are_documented(sources: list[Any]) -> None:
    explained = _documented_methods(sources)
    wrong = []
    for source in sources:
        for node in _public(source.tree.body):
            where = f"{source.path}:{node.lineno} {node.name}"
            if not ast.get_docstring(node) and node.name not in explained:
                wrong.append(where)
            if isinstance(node, ast.ClassDef):
                wrong += [
                    f"{where}.{method.name}"
                    for method in _public(node.body)
                    if not ast.get_docstring(method)
                    and method.name not in explained
                    and not _speaks_for_itself(method)
                ]
    assert not wrong, "\n".join(wrong)
