"""Many byte strings looked for at once in long output, of which most holds none. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_HEAD = 8
"""So many bytes of a form are looked for before it is compared: few places have them."""


class Forms:
    """The forms, and what is asked about them for every piece of output."""

    def __init__(self, forms: Iterable[bytes] = ()) -> None:
        self.all = tuple(sorted(set(forms), key=lambda form: (-len(form), form)))
        needles: list[bytes] = []
        for form in reversed(self.all):
            if not any(needle in form for needle in needles):
                needles.append(form)
        self._needles = tuple(needles)
        """Whatever holds a form holds one of these."""
        self._beginnings = frozenset(form[:size] for form in self.all for size in range(1, _HEAD))
        heads: dict[bytes, list[bytes]] = {}
        for form in self.all:
            if len(form) > _HEAD:
                heads.setdefault(form[:_HEAD], []).append(form)
        self._heads = tuple((head, len(some[0]), tuple(some)) for head, some in heads.items())

    def within(self, content: bytes) -> bool:
        """Whether ``content`` holds one of them."""
        return any(needle in content for needle in self._needles)

    def spans(self, content: bytes) -> Iterator[tuple[int, int]]:
        """Where they occur, as (start, end); they may overlap."""
        if not self.within(content):
            return
        for form in self.all:
            at = content.find(form)
            while at >= 0:
                yield at, at + len(form)
                at = content.find(form, at + 1)

    def open_from(self, content: bytes) -> int:
        """Where the first may begin that ``content`` holds only the beginning of."""
        length = first = len(content)
        for head, longest, some in self._heads:
            at = content.find(head, max(0, length - longest + 1), first + _HEAD)
            while 0 <= at < first:
                end = content[at:]
                if any(len(end) < len(form) and form.startswith(end) for form in some):
                    first = at
                at = content.find(head, at + 1, first + _HEAD)
        for at in range(max(0, length - _HEAD + 1), first):
            end = content[at:]
            if end in self._beginnings and any(
                len(end) < len(form) and form.startswith(end) for form in self.all
            ):
                return at
        return first
