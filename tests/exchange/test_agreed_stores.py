"""Nothing goes to an address that only a repository names, and a token to no other than its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cxlocal_sync.plugin import cxlocal_register_stores

from cxlocal.config.load import parse
from cxlocal.config.settings import settings
from cxlocal.errors import ConfigError, Refused, Trouble
from cxlocal.exchange.agreed import agree_to
from cxlocal.exchange.open import Access, open_lender, open_store, require_agreed
from cxlocal.exchange.store import StoreUnreachable

HEAD = 'cx = 1\n[deliverable]\nname = "nice"\n[store]\n'
EVIL, OURS = "https://evil.example", "https://store.company.example"
ADDRESSES = (
    EVIL, "http://127.0.0.1:9", "https://evil.example/x?to=y", "folder:///mnt/evil",
    "s3://evil/p?endpoint=http://127.0.0.1:9", "postgresql://evil.example/cx",
    "sqlite:///srv/evil.db", "sqlite:journal.db", "sqlite:../evil.db",
)  # fmt: skip


class Fake:
    """A store that only keeps what it is signed in with."""

    def __init__(self, url: str, home: Path) -> None:
        self.url = url
        self.find: Callable[[], str] | None = None

    def sign_in(self, find: Callable[[], str]) -> None:
        self.find = find

    def close(self) -> None:
        pass


def access(
    home: Path, config: str, environ: Mapping[str, str] | None = None, user: str = "", real: bool = False
) -> Access:  # fmt: skip
    """What a command in a checkout with this ``[store]`` table has; ``user``: the person's own file."""
    said = {"XDG_CONFIG_HOME": str(home / "xdg"), **(environ or {})}
    if user:
        path = home / "xdg" / "cxlocal" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(user)
    found = settings(parse(HEAD + config), local=None, environ=said)
    stores: dict[str, Any] = dict.fromkeys(cxlocal_register_stores(), Fake)
    return Access(found, cxlocal_register_stores() if real else stores, home, said, home)


def token(opened: Any) -> str:
    """The token a store is given; empty for none."""
    try:
        return "" if opened.find is None else opened.find()
    except Trouble as problem:
        assert "is not set" in problem.why
        return ""


@pytest.mark.parametrize("url", ADDRESSES)
def test_a_stranger_is_not_opened(tmp_path: Path, url: str) -> None:
    strange = access(tmp_path, f'url = "{url}"', real="to=y" not in url)
    with pytest.raises(Refused) as caught:
        open_store(strange)
    assert caught.value.name == "not-agreed" and "cxlocal trust" in caught.value.hint
    assert url.partition("?")[0] in caught.value.what
    with pytest.raises(Refused):
        require_agreed(strange)
    # The address of a person: named in the command, or by the calling process.
    open_store(strange, url).close()
    open_store(access(tmp_path, "", {"CXLOCAL_STORE": url})).close()
    open_store(access(tmp_path, f'url = "{EVIL}"', {"CXLOCAL_STORE": url})).close()
    agree_to(tmp_path, url, {}, how="test", at="now")
    open_store(strange).close()
    assert {one.name for one in tmp_path.iterdir()} == {"trust.json", "trust.lock"}


def test_agreeing_to_one_is_agreeing_to_no_other(tmp_path: Path) -> None:
    for url in ADDRESSES:
        if url != EVIL:
            agree_to(tmp_path, url, {}, how="test", at="now")
    with pytest.raises(Refused):
        open_store(access(tmp_path, f'url = "{EVIL}"'))
    agree_to(tmp_path, EVIL, {}, how="test", at="now")
    for near in (f"{EVIL}:444", f"{EVIL}/path", "http://evil.example", f"{EVIL}?x"):
        with pytest.raises(Refused):
            open_store(access(tmp_path, f'url = "{near}"'))
    open_store(access(tmp_path, 'url = "https://Evil.example:443/"'))


def test_what_the_surroundings_change_asks_again(tmp_path: Path) -> None:
    config = 'url = "s3://bucket/p"'
    agree_to(tmp_path, "s3://bucket/p", {}, how="test", at="now")
    open_store(access(tmp_path, config))
    with pytest.raises(Refused):
        open_store(access(tmp_path, config, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}))


def test_the_own_store_asks_nobody(tmp_path: Path) -> None:
    for config in ("", 'url = "sqlite:"'):
        assert open_store(access(tmp_path, config)).url == "sqlite:"


def test_a_lender_is_a_stranger_too(tmp_path: Path) -> None:
    strange = access(tmp_path, f'lender = "{EVIL}"')
    with pytest.raises(Refused):
        open_lender(strange)
    open_lender(access(tmp_path, f'lender = "{OURS}"', {"CXLOCAL_LENDER": EVIL}))
    agree_to(tmp_path, EVIL, {}, how="test", at="now")
    open_lender(strange)


USER = f'[store]\nurl = "{OURS}"\ntoken = {{ env = "COMPANY" }}\n'
ALL = {"COMPANY": "company-secret", "JOB": "job-secret", "OTHER": "other-secret"}


@pytest.mark.parametrize(
    ("config", "environ", "user", "given"),
    [
        # The repository's address never gets the person's token, whoever agreed to it.
        (f'url = "{EVIL}"', {}, USER, ""),
        (f'url = "{EVIL}"', {"CXLOCAL_STORE": EVIL}, USER, ""),
        ("", {"CXLOCAL_STORE": EVIL}, USER, ""),
        (f'url = "{OURS}.evil.example"', {}, USER, ""),
        # Its own address does, whichever layer named that.
        ("", {}, USER, "company-secret"),
        (f'url = "{OURS}"', {}, USER, "company-secret"),
        ("", {"CXLOCAL_STORE": f"{OURS}/"}, USER, "company-secret"),
        ('url = "https://Store.Company.example:443"', {}, USER, "company-secret"),
        # The token of the calling process goes to the address of the calling process.
        (f'url = "{EVIL}"', {"CXLOCAL_STORE": OURS, "CXLOCAL_STORE_TOKEN": "t"}, USER, "t"),
        ("", {"CXLOCAL_STORE": EVIL, "CXLOCAL_STORE_TOKEN": "t"}, "", "t"),
        # A variable that cx.toml names: for its address, where it is set.
        (f'url = "{OURS}"\ntoken = {{ env = "JOB" }}', {"CXLOCAL_STORE": OURS}, "", "job-secret"),
        (f'url = "{EVIL}"\ntoken = {{ env = "JOB" }}', {"CXLOCAL_STORE": OURS}, "", ""),
        (f'url = "{OURS}"\ntoken = {{ env = "UNSET" }}', {"CXLOCAL_STORE": OURS}, "", ""),
        (f'url = "{OURS}"\ntoken = {{ env = "UNSET" }}', {}, USER, "company-secret"),
    ],
)
def test_a_token_goes_to_the_address_it_was_given_for(
    tmp_path: Path, config: str, environ: dict[str, str], user: str, given: str
) -> None:
    if "CXLOCAL_STORE" not in environ:
        for url in (EVIL, OURS, f"{OURS}.evil.example"):
            agree_to(tmp_path, url, {}, how="store join", at="now")
    assert token(open_store(access(tmp_path, config, {**ALL, **environ}, user))) == given


def test_only_a_variable_that_was_shown_is_sent(tmp_path: Path) -> None:
    config = f'url = "{OURS}"\ntoken = {{ env = "JOB" }}'
    agree_to(tmp_path, OURS, {}, how="store join", at="now")
    assert token(open_store(access(tmp_path, config, ALL))) == ""
    agree_to(tmp_path, OURS, {}, how="trust", at="now", token={"env": "JOB"})
    assert token(open_store(access(tmp_path, config, ALL))) == "job-secret"
    other = config.replace("JOB", "OTHER")
    assert token(open_store(access(tmp_path, other, ALL))) == ""
    # Enrolling later takes nothing back.
    agree_to(tmp_path, OURS, {}, how="store join", at="later")
    assert token(open_store(access(tmp_path, config, ALL))) == "job-secret"


def test_a_token_that_cannot_be_had_is_a_store_that_is_away(tmp_path: Path) -> None:
    user = f'[store]\nurl = "{OURS}"\ntoken = {{ file = "{tmp_path}/gone" }}\n'
    agree_to(tmp_path, OURS, {}, how="store join", at="now")
    for config, words in (("", "gone"), (f'url = "{OURS}"\ntoken = {{ env = "UNSET" }}', "UNSET")):
        opened = open_store(access(tmp_path, config, {}, "" if config else user, real=True))
        with pytest.raises(StoreUnreachable) as caught:
            opened.exchange(b"{}", timeout=1)
        assert words in caught.value.why
        (tmp_path / "xdg" / "cxlocal" / "config.toml").unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["STORE", "LENDER"])
def test_a_token_without_its_address_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"CXLOCAL_{name}") as caught:
        access(tmp_path, f'url = "{OURS}"', {f"CXLOCAL_{name}_TOKEN": "x"})
    assert caught.value.name == "token-without-address"
