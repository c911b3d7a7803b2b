"""Contact tokens as keys: few of them stay, and what was passed cannot be taken again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cxlocal_sync.keys import names
from cxlocal_sync.keys.folder import FolderSpace
from cxlocal_sync.keys.store import KeyStore
from cxlocal_sync.keys.tokens import KEPT, keep_token, stored_token
from numbers_kit import request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.exchange.sync import synchronise
from cxlocal.exchange.token import NO_TOKEN, Token, propose
from cxlocal.journal.file import Journal

NODE = "a" * 32


def files(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*") if path.is_file())


def test_a_store_does_not_grow_by_contacts_that_bring_nothing(
    share: Path, seen_by: Callable[..., KeyStore], machine: Callable[..., Journal]
) -> None:
    journals = {name: machine(name) for name in ("one", "two")}
    stores = {name: seen_by(share, name) for name in journals}
    for turn in range(2):
        for name, journal in journals.items():
            obtain_number(journal, stores[name], request(f"{name}-{turn}"))
            synchronise(journal, stores[name], use_breaker=False)
    before = files(share)
    for _ in range(6):
        for name, journal in journals.items():
            assert synchronise(journal, stores[name], use_breaker=False).reached
    assert files(share) <= before


def _who(presented: Token, value: str) -> dict[str, Any]:
    return {
        "node": NODE,
        "token": presented,
        "proposal": propose(presented, value),
        "generation": 1,
    }


def test_a_name_that_was_passed_and_removed_is_not_taken_again(tmp_path: Path) -> None:
    """A copy that looked, was held up while the other one was in contact again and again, and goes on
    then, finds its name free: it must not be let in."""
    space = FolderSpace(tmp_path)
    token, seen = NO_TOKEN, []
    for turn in range(6):
        who = _who(token, f"v{turn}")
        assert stored_token(space, who, 1) in (None, token)
        assert keep_token(space, who, 1, follows=True)
        token = who["proposal"]
        seen.append(token)
    kept = names.counts(space.names(names.contacts_of(1, NODE)))
    assert kept == [token.step - 1, token.step] and len(kept) == KEPT
    for late in seen[:-1]:
        assert not keep_token(space, _who(late, "other"), 1, follows=True), late
        assert stored_token(space, _who(token, "next"), 1) == token
    assert keep_token(space, _who(token, "next"), 1, follows=True)
    space.close()


def test_names_of_an_earlier_release_go_by_and_by(tmp_path: Path) -> None:
    space = FolderSpace(tmp_path)
    token = NO_TOKEN
    for count in range(1, 251):
        space.put_new(names.contact_key(1, NODE, count), b"")
    token = Token(250, "v")
    for turn in range(3):
        who = _who(token, f"v{turn}")
        assert keep_token(space, who, 1, follows=True)
        token = who["proposal"]
    assert len(space.names(names.contacts_of(1, NODE))) == KEPT
    space.close()
