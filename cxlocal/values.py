"""Named tuples and protocols as those of ``typing``, a tenth as dear to define.

A run defines some 150 named tuples before its first stage. ``typing`` compiles a function and checks
the types for each, 0.16 ms; here all of one length share what the library made for that length, under
their own names. Types stand in ``__annotations__`` as they were written. A protocol is for whoever
checks types; at work it is a plain class.
"""

from __future__ import annotations

from collections import namedtuple
from functools import cache
from types import FunctionType
from typing import TYPE_CHECKING, Any, Self

__all__ = ["NamedTuple", "Protocol"]

if TYPE_CHECKING:
    from typing import NamedTuple, Protocol
else:
    Protocol = object

    class _Values(tuple):
        """What all of them can."""

        __slots__ = ()
        _fields = ()

        @classmethod
        def _make(cls, values: Any) -> Self:
            return cls(*values)

        def _replace(self, /, **changes: Any) -> Self:
            made = tuple.__new__(type(self), map(changes.pop, self._fields, self))
            if changes:
                raise TypeError(f"{type(self).__name__} has no {', '.join(changes)}")
            return made

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self) -> str:
            shown = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
            return f"{type(self).__name__}({shown})"

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)

    @cache
    def _of_length(length: int) -> Any:
        """A function that makes such a tuple, and what reads its fields."""
        model = namedtuple("_", [f"f{place}" for place in range(length)])
        return model.__new__, [vars(model)[name] for name in model._fields]

    class _Definition(type):
        """Turns the body of a class into a subclass of tuple, whose own subclasses are plain."""

        def __new__(mcs: type, name: str, bases: Any, body: dict[str, Any]) -> type:
            fields = tuple(body.get("__annotations__", ()))
            make, readers = _of_length(len(fields))
            defaults = {field: body[field] for field in fields if field in body}
            new = FunctionType(
                make.__code__.replace(co_varnames=("_cls", *fields)),
                make.__globals__, "__new__", tuple(defaults.values()),
            )  # fmt: skip
            new.__qualname__ = f"{name}.__new__"
            body |= zip(fields, readers, strict=True)
            body |= {
                "__slots__": (), "__new__": new, "__match_args__": fields, "_fields": fields,
                "_field_defaults": defaults,
            }  # fmt: skip
            return type(name, (_Values,), body)

    NamedTuple = type.__new__(_Definition, "NamedTuple", (_Values,), {"__slots__": ()})
