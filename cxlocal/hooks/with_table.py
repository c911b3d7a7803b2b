"""The base of the options of tools and sinks: what may stand in ``with``."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any, dataclass_transform

import msgspec


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class _OptionsType(msgspec.StructMeta):
    """Options in any order, one that must be given also after one with a default; a list or a table as
    default is a new one each time."""

    def __new__(
        mcs: type[_OptionsType],
        name: str,
        bases: tuple[type, ...],
        body: Mapping[str, Any],
        **settings: Any,
    ) -> Any:
        made = {
            key: msgspec.field(default_factory=partial(copy.deepcopy, value))
            if key in body.get("__annotations__", ()) and isinstance(value, list | dict | set)
            else value
            for key, value in body.items()
        }
        settings = {"kw_only": True, "frozen": True, **settings}
        return super().__new__(mcs, name, bases, made, **settings)


class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True, metaclass=_OptionsType):
    """Options by name, with types and defaults; one without a default must be given."""
