"""An address that cannot be used is named in the error, its password is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cxlocal_sync.http.wire import check_address
from cxlocal_sync.keys.objects import parts_of
from cxlocal_sync.keys.open import folder_of
from cxlocal_sync.postgresql.connecting import read_address

from cxlocal.address import public_address
from cxlocal.errors import ConfigError

ADDRESSES: tuple[tuple[Callable[[str], Any], str], ...] = (
    (parts_of, "s3://AKIA:s3cret@builds/releases"),
    (parts_of, "s3://builds/releases?secret_access_key=s3cret"),
    (folder_of, "folder://ann:s3cret@nas/releases"),
    (check_address, "https://ann:s3cret@store.example.org"),
    (check_address, "https://ann:s3cret@store.example.org:99999"),
    (check_address, "https:/ann:s3cret@store.example.org"),
    (check_address, "http://store.example.org?token=s3cret"),
    (read_address, "postgresql://ann:s3@cret@db/store?s3cret"),
)


@pytest.mark.parametrize(("read", "url"), ADDRESSES)
def test_no_password_stands_in_the_error(read: Callable[[str], Any], url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(url)
    told = refused.value
    assert "s3" not in f"{told.what} {told.why} {told.hint}".replace("s3://", "")


@pytest.mark.parametrize(
    ("mistyped", "shown"),
    [
        ("sqlite:x@y.db", "sqlite:x@y.db"), ("folder:/mnt/x@y", "folder:/mnt/x@y"),
        ("postgresql:/cx:s3cret@db/store", "postgresql:/db/store"),
        ("https//cx:s3@cret@db/store", "db/store"), ("cx:s3cret@db", "cx:db"),
        ("https:\\\\s3cret@db", "https:\\\\db"),
    ],
)  # fmt: skip
def test_what_is_mistyped_shows_no_password(mistyped: str, shown: str) -> None:
    assert public_address(mistyped) == shown
