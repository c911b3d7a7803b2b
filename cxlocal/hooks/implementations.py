"""The hook functions of one plugin, found and checked as it is loaded.

Python forgives every mistake a plugin author can make here: a function without the decorator is
never called, a misspelt hook neither, and a coroutine is created and thrown away. So each of them
is an error with a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cxlocal.hooks import specs

_GENERATOR = 0x20
"""``co_flags`` of a generator function (``inspect``)."""

_COROUTINE = 0x80 | 0x100 | 0x200
"""``co_flags`` of coroutines, iterable coroutines and asynchronous generators (``inspect``)."""


class Mistake(Exception):
    """A plugin is not what it should be; the text says where and what."""


def is_async(function: object) -> bool:
    """Whether calling it gives something that must be awaited: nobody would."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return code is not None and bool(code.co_flags & _COROUTINE)


def shown(value: object) -> str:
    """A value in a message: its type, and what it is when that is short."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # a number of thousands of digits, which Python does not write
        return type(value).__name__
    return text if len(text) <= 60 else type(value).__name__


def hook_names() -> tuple[str, ...]:
    """The names of all hooks, in life-cycle order."""
    return tuple(
        name for name, value in vars(specs).items() if hasattr(value, f"{specs.PROJECT}_spec")
    )


def first_result(hook: str) -> bool:
    """Whether the first answer wins."""
    options: Mapping[str, Any] = getattr(getattr(specs, hook), f"{specs.PROJECT}_spec")
    return bool(options["firstresult"])


def check_hooks(plugin: object, file: str) -> tuple[str, ...]:
    """The hooks that ``plugin`` implements, each checked. Raises Mistake."""
    if isinstance(plugin, type):
        raise Mistake(
            f"the entry point names the class {plugin.__name__}, not an object of it: write"
            f" plugin = {plugin.__name__}() in {file}, and name 'plugin'"
        )
    found: list[str] = []
    for hook, function, options in marked(plugin, file):
        _check(hook, function, options, f"hook {hook} in {file}")
        found.append(hook)
    return tuple(found)


def marked(
    plugin: object, file: str = ""
) -> Iterator[tuple[str, Callable[..., Any], Mapping[str, Any]]]:
    """Each hook that ``plugin`` implements, with its function and the options of that. Raises Mistake."""
    for attribute in sorted(vars(plugin).keys() | dir(type(plugin))):
        value = getattr(plugin, attribute, None)
        options = getattr(value, f"{specs.PROJECT}_impl", None)
        if isinstance(options, Mapping):
            assert callable(value)
            yield options.get("specname") or attribute, value, options
        elif attribute.startswith(f"{specs.PROJECT}_") and hasattr(value, "__code__"):
            raise Mistake(
                f"hook {attribute} in {file} is not marked: write @hookimpl above it, or give it"
                " another name"
            )


def _check(hook: str, function: Callable[..., Any], options: Mapping[str, Any], where: str) -> None:
    known = hook_names()
    if hook not in known:
        import difflib  # only where something is wrong

        near = difflib.get_close_matches(hook, known, n=1)
        raise Mistake(
            f"{where} does not exist"
            + (f": did you mean {near[0]}?" if near else f"; there are {', '.join(known)}")
        )
    if is_async(function):
        raise Mistake(f"{where} is async: nobody would await it; write a plain function")
    wrapper = bool(options.get("wrapper"))
    if options.get("hookwrapper"):
        raise Mistake(f"{where}: write hookimpl(wrapper=True) instead of hookwrapper")
    if wrapper != (hook == "cxlocal_run_stage"):
        must = "must be" if not wrapper else "cannot be"
        raise Mistake(f"{where} {must} a wrapper (hookimpl(wrapper=True))")
    if wrapper and not _code(function, where).co_flags & _GENERATOR:
        raise Mistake(f"{where} must have a yield: before it the stage starts, after it ended")
    _check_arguments(hook, function, where)


def _check_arguments(hook: str, function: Callable[..., Any], where: str) -> None:
    offered = _named(_code(getattr(specs, hook), where))
    taken = _named(_code(function, where))
    if hasattr(function, "__self__"):
        taken = taken[1:]
    unknown = [name for name in taken if name not in offered]
    if unknown:
        raise Mistake(
            f"{where} takes {', '.join(unknown)}, which this hook does not give; it gives"
            f" {', '.join(offered) or 'nothing'}"
        )
    if getattr(function, "__defaults__", None) or getattr(function, "__kwdefaults__", None):
        # pluggy passes only arguments without a default: the function would never see the value.
        raise Mistake(f"{where} has an argument with a default value: leave the default out")


def _named(code: Any) -> tuple[str, ...]:
    return tuple(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])


def _code(function: Callable[..., Any], where: str) -> Any:
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None:
        raise Mistake(f"{where} is {type(function).__name__}, not a function")
    return code
