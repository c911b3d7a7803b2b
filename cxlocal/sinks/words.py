"""What a sink says, as it may be shown and kept: its receiver may repeat the credential it was given."""

from __future__ import annotations

from collections.abc import Callable

from cxlocal.processes.mask import Masker
from cxlocal.text import shorten

WORDS_CHARACTERS = 240

Words = Callable[[str], str]


def words_without(token: str) -> Words:
    """Masks ``token`` in whatever form, and only then shortens: half of a token is not found."""
    masker = Masker([token])
    return lambda words: shorten(masker.text(words), WORDS_CHARACTERS)
