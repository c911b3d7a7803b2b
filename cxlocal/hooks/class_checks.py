"""What a plugin may register: each check says in one line what is wrong, and what to do. Pure.

Python takes every one of these classes and objects, and fails in the middle of a release.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

import msgspec

from cxlocal.domain import SINK_KINDS
from cxlocal.hooks.implementations import is_async, shown
from cxlocal.hooks.messages import plain, typed
from cxlocal.hooks.sink import API as SINK_API
from cxlocal.hooks.sink import Sink
from cxlocal.hooks.tool import API, FORMER, SERVED, VERBS, Tool, verbs_of
from cxlocal.patterns import compile_late

_NAME = compile_late(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_SCHEME = compile_late(r"[a-z][a-z0-9+.-]*")
OPTION_TYPES = "str, Path, int, float, bool, Literal, list, set, tuple or dict[str, …] of these, msgspec.Struct, … | None"
"""What an option may be, in words for authors."""
_VALUES = (str, bool, int, float, list, tuple, dict, set, frozenset, Path)
_WORDS = {str: "a text", bool: "True or False", int: "a whole number"}


def is_tool_name(name: object) -> bool:
    """Whether a tool can be called so."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def check_tool(tool: object) -> str:
    """What is wrong with a tool class; empty when nothing is."""
    return next(_faults_of_tool(tool), "")


def check_sink(sink: object) -> str:
    """What is wrong with a sink class; empty when nothing is."""
    return next(_faults_of_sink(sink), "")


def check_reader(reader: object) -> str:
    """What is wrong with a report reader; empty when nothing is."""
    return next(_faults_of_reader(reader), "")


def check_scheme(scheme: object) -> str:
    """What is wrong with a version scheme; empty when nothing is."""
    return next(_faults_of_scheme(scheme), "")


def check_stores(stores: object) -> str:
    """What is wrong with a mapping of store back ends; empty when nothing is."""
    if stores is None:
        return "it must return a mapping of URL scheme to store class, and returns nothing"
    if not isinstance(stores, Mapping):
        return f"it must return a mapping of URL scheme to store class, not {shown(stores)}"
    for scheme, store in stores.items():
        if not _is_scheme(scheme):
            return f"a store is known by the scheme of its URLs, a word like 'mem', not {shown(scheme)}"
        if not callable(store):
            return f"a store is a class, or a function, of (url, home), not {shown(store)}"
        if problem := _called(store, f"the store for {scheme}:", "url", "home"):
            return problem
    return ""


def _faults_of_tool(tool: Any) -> Iterator[str]:
    yield from _no_class(tool, Tool, "a tool")
    name, called = getattr(tool, "name", None), tool.__qualname__
    if not is_tool_name(name):
        yield f"{called}.name must be a word like 'local-service', not {shown(name)}"
    yield from _former_verbs(f"tool {name}", tool)
    yield from _other_api(f"tool {name}", tool.api, SERVED, API)
    for attribute, kind in {"title": str, "here": bool, "place": int, "by_options": bool,
                            "shell": bool}.items():  # fmt: skip
        value = getattr(tool, attribute)
        if type(value) is not kind:
            yield f"{called}.{attribute} must be {_WORDS[kind]}, not {shown(value)}"
    for listed in ("secrets", "outputs", "executables"):
        value = getattr(tool, listed)
        if not isinstance(value, tuple) or not all(isinstance(one, str) for one in value):
            yield f"{called}.{listed} must be a tuple of names, not {shown(value)}"
    yield from _wrong_options(tool.Options, f"{called}.Options")
    yield from _wrong_verbs(tool, called)
    if not verbs_of(tool):
        yield f"tool {name} has no verb ({', '.join(VERBS)})"
    if problem := _called(tool, called):
        yield f"{problem}; a tool is made anew for each verb, and keeps nothing"
    yield from _unreachable(tool)


def _former_verbs(who: str, tool: type) -> Iterator[str]:
    found = [f"{verb} became {FORMER[verb]}" for verb in FORMER if verb in dict(_own(tool))]
    if found:
        yield f"{who} is made for interface 1, and {API} is served here: {'; '.join(found)} (docs/own-tool.md)"


def _wrong_verbs(tool: type, called: str) -> Iterator[str]:
    for attribute, value in _own(tool):
        if attribute not in VERBS:
            if isinstance(value, FunctionType) and not attribute.startswith("_"):
                near = difflib.get_close_matches(attribute, VERBS, n=1, cutoff=0.75)
                if near:
                    yield f"{called}.{attribute} is no verb: did you mean {near[0]!r}?"
            continue
        method = getattr(tool, attribute)
        if not callable(method):
            yield f"{called}.{attribute} is a verb, so it is a method, not {shown(method)}"
        if is_async(method):
            yield f"{called}.{attribute} is async: a verb is a plain method"
        own = isinstance(value, FunctionType)
        if problem := _called(method, f"{called}.{attribute}", *(["self"] * own), "ctx"):
            yield problem


def _faults_of_sink(sink: Any) -> Iterator[str]:
    yield from _no_class(sink, Sink, "a sink")
    name, called = getattr(sink, "name", None), sink.__qualname__
    if not is_tool_name(name):
        yield f"{called}.name must be a word like 'syslog', not {shown(name)}"
    yield from _other_api(f"sink {name}", sink.api, (SINK_API,), SINK_API)
    schemes = getattr(sink, "schemes", None)
    if not isinstance(schemes, tuple) or not schemes or not all(map(_is_scheme, schemes)):
        yield f"{called}.schemes must be a tuple such as ('syslog+tcp',), not {shown(schemes)}"
    takes = getattr(sink, "takes", None)
    if not isinstance(takes, frozenset) or not takes or takes - set(SINK_KINDS):
        yield f"{called}.takes must be a frozenset of {', '.join(SINK_KINDS)}, not {shown(takes)}"
    yield from _wrong_options(sink.Options, f"{called}.Options")
    if sink.deliver is Sink.deliver or not callable(sink.deliver) or is_async(sink.deliver):
        yield f"{called} needs a plain method 'deliver'"
    for problem in (
        _called(sink.deliver, f"{called}.deliver", "self", "batch"),
        _called(sink.close, f"{called}.close", "self"),
        _called(sink, called, "to", "options", token="", timeout_seconds=10.0),
    ):
        if problem:
            yield problem
    yield from _unreachable(sink)


def _faults_of_reader(reader: Any) -> Iterator[str]:
    yield from _no_object(reader, "a report reader")
    if not isinstance(form := getattr(reader, "format", None), str) or not form:
        yield f"a report reader needs a 'format', {shown(reader)} has none"
    yield from _methods(reader, f"the reader of {form}", {"read": (("path",), ("suite",))})


def _faults_of_scheme(scheme: Any) -> Iterator[str]:
    yield from _no_object(scheme, "a version scheme")
    if not isinstance(name := getattr(scheme, "name", None), str) or not name:
        yield f"a version scheme needs a 'name', {shown(scheme)} has none"
    methods = {"check_line": ("line",), "render": ("line", "number"), "sort_key": ("text",)}
    told = {method: (names, ()) for method, names in methods.items()}
    yield from _methods(scheme, f"version scheme {name}", told)


def _methods(
    value: object, who: str, told: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
) -> Iterator[str]:
    """Faults of methods that are called with these arguments: by place, and by name."""
    for name, (places, names) in told.items():
        method = getattr(value, name, None)
        if not callable(method):
            yield f"{who} has no method {name!r}"
        if is_async(method):
            yield f"{who}: {name} is async: write a plain method"
        if problem := _called(method, f"{who}: {name}", *places, **dict.fromkeys(names)):
            yield problem


def _no_class(value: object, kind: type, what: str) -> Iterator[str]:
    wanted = f"{what} is a class derived from {kind.__module__}.{kind.__name__}"
    if isinstance(value, kind):
        yield f"{wanted}, not an object of it: write {type(value).__name__} without ()"
    elif not isinstance(value, type) or not issubclass(value, kind):
        yield f"{wanted}, not {shown(value)}"


def _no_object(value: object, what: str) -> Iterator[str]:
    if isinstance(value, type):
        yield f"{what} is an object, not a class: write {value.__name__}() for {value.__name__}"


def _other_api(who: str, api: object, served: tuple[int, ...], newest: int) -> Iterator[str]:
    if type(api) is not int:
        yield f"{who}: api is the number {newest}, not {shown(api)}"
    elif api > newest:
        yield (
            f"{who} is made for interface {api}, and {newest} is served here: upgrade cxlocal, or"
            " install an older release of the plugin"
        )
    elif api not in served:
        yield (
            f"{who} is made for interface {api}, which is not served any more:"
            f" take a release of the plugin that is made for {newest}"
        )


def _wrong_options(options: object, called: str) -> Iterator[str]:
    if not isinstance(options, type) or not issubclass(options, msgspec.Struct):
        yield f"{called} must be a msgspec.Struct: write class Options(Tool.Options)"
        return
    typed_ones = {*options.__annotations__, *options.__struct_fields__}
    for name, value in _own(options):
        own = name.startswith("_") or name.isupper()
        if isinstance(value, _VALUES) and not (name in typed_ones or own):
            yield f"{called}.{name} has no type: write {name}: {type(value).__name__} = {value!r}"
    try:
        fields = msgspec.structs.fields(options)
    except (NameError, TypeError) as error:
        yield f"{called}: {error}"
        return
    for field in fields:
        try:
            msgspec.json.schema(field.type, schema_hook=_schema)
        except TypeError as error:
            kind = inspect.formatannotation(field.type)
            yield f"{called}.{field.name}: no option has the type {kind} ({OPTION_TYPES}): {error}"
            return
    for field in fields:
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        if default is msgspec.NODEFAULT:
            continue
        try:
            typed(plain(default), field.type)
        except (msgspec.ValidationError, TypeError):
            kind = inspect.formatannotation(field.type)
            yield f"{called}.{field.name}: its default {shown(default)} is no {kind}"


def _schema(kind: type) -> dict[str, Any]:
    if kind is Path:
        return {"type": "string"}
    raise TypeError(f"{kind.__name__} cannot stand in cx.toml")


def _called(function: Any, who: str, *places: str, **names: object) -> str:
    """What is wrong with a function that is called so; empty when it fits, or cannot be known."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(*places, **names)
    except TypeError as error:
        told = ", ".join([*places, *(f"{name}=…" for name in names)])
        return f"{who} takes {signature}, and is called with ({told}): {error}"
    return ""


def _is_scheme(value: object) -> bool:
    return isinstance(value, str) and _SCHEME.fullmatch(value) is not None


def _own(tool: type) -> Iterable[tuple[str, object]]:
    for kind in tool.__mro__[:-2]:
        yield from vars(kind).items()


def _unreachable(made: type) -> Iterator[str]:
    """A worker imports the class by name: one made inside a function cannot be found."""
    found: object = sys.modules.get(made.__module__)
    for part in made.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not made:
        yield f"{made.__qualname__} must stand at the top of module {made.__module__}"
