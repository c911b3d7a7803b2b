"""Our named tuples are those of ``typing`` to whoever uses them."""

from __future__ import annotations

import copy
import typing
from typing import Any, NamedTuple

import msgspec
import pytest

from cxlocal import values


def _define(base: Any) -> tuple[Any, Any, Any]:
    class Pair(base):
        """Two."""

        left: int
        right: list[str] = []  # noqa: RUF012  (a default of a tuple: never changed)
        more: str = "m"
        LIMIT = 3

        @property
        def both(self) -> str:
            return f"{self.left} {self.right}"

        @classmethod
        def of(cls, text: str) -> Any:
            return cls(int(text))

    class Only(base):
        one: int

    class Child(Pair):
        def again(self) -> Any:
            return super()._replace(left=0)

    return Pair, Only, Child


OURS, THEIRS = _define(values.NamedTuple), _define(NamedTuple)


@pytest.mark.parametrize(
    "use",
    [
        lambda Pair, Only, Child: repr(Pair(1)) + repr(Only(2)) + repr(Child(3, right=["x"])),
        lambda Pair, Only, Child: (Pair(1, more="x"), Pair(left=1, right=["a"]), Pair.of("7").both),
        lambda Pair, Only, Child: Pair(1)._replace(right=["b"], left=2)._asdict(),
        lambda Pair, Only, Child: (Pair._fields, Pair._field_defaults, Pair.__match_args__),
        lambda Pair, Only, Child: (Pair.__doc__, Pair.__name__, Pair.LIMIT, Pair.__module__),
        lambda Pair, Only, Child: Child(5).again(),
        lambda Pair, Only, Child: (Pair(1) == (1, [], "m"), len({Only(1), (1,)}), Only(1) < (2,)),
        lambda Pair, Only, Child: type(copy.deepcopy(Pair(1))) is Pair,
        lambda Pair, Only, Child: Pair._make([1, 2, 3]),
        lambda Pair, Only, Child: msgspec.json.encode(Pair(1)),
        lambda Pair, Only, Child: typing.get_type_hints(Pair),
        lambda Pair, Only, Child: (issubclass(Child, tuple), type(Pair), vars(Only(1).__class__)["one"]),
    ],
)  # fmt: skip
def test_the_same_values(use: Any) -> None:
    ours, theirs = use(*OURS), use(*THEIRS)
    assert str(ours).partition(" object at ")[0] == str(theirs).partition(" object at ")[0]
    assert not isinstance(ours, tuple) or tuple(ours)[:2] == tuple(theirs)[:2]


@pytest.mark.parametrize(
    "use",
    [
        lambda Pair: Pair(),
        lambda Pair: Pair(1, 2, 3, 4),
        lambda Pair: Pair(1, other=2),
        lambda Pair: Pair(1, left=2),
        lambda Pair: Pair._make([]),
        lambda Pair: setattr(Pair(1), "left", 2),
        lambda Pair: setattr(Pair(1), "other", 2),
    ],
)
def test_the_same_refusals(use: Any) -> None:
    said = []
    for pair in (OURS[0], THEIRS[0]):
        with pytest.raises((TypeError, AttributeError)) as refused:
            use(pair)
        said.append((refused.type, str(refused.value).removeprefix(pair.__qualname__ + ".")))
    if "Expected 3 arguments" not in said[1][1]:
        assert said[0] == said[1]


def test_a_field_that_is_not_there_is_not_replaced() -> None:
    with pytest.raises(TypeError, match="Pair has no other"):
        OURS[0](1)._replace(other=2)


@pytest.mark.parametrize("length", [0, 1, 13, 26, 27, 40])
def test_tuples_of_every_length(length: int) -> None:
    body = {"__annotations__": {f"one{place}": int for place in range(length)}, "__module__": "m"}
    named = {f"one{place}": place for place in range(length)}
    for kind in (
        type(values.NamedTuple)("Many", (values.NamedTuple,), dict(body)),
        NamedTuple("Many", [(name, int) for name in named]),
    ):
        made = kind(*range(length))
        assert made == kind(**named) == tuple(range(length))
        assert made._asdict() == named
        with pytest.raises(TypeError):
            kind(*range(length + 1))
        if length:
            with pytest.raises(TypeError):
                kind(*range(length - 1))
