"""Unit tests: they run on the checkout."""

import pytest
from webshop import total


def test_a_basket_is_added_up() -> None:
    assert total(["tea", "cake", "tea"]) == 820


def test_an_empty_basket_is_free() -> None:
    assert total([]) == 0


def test_what_is_not_sold_is_refused() -> None:
    with pytest.raises(KeyError):
        total(["coffee"])
