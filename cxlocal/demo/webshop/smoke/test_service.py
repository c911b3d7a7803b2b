"""Black-box tests: they know nothing but the address of the deployed service."""

import json
import os
from urllib.request import urlopen

BASE = os.environ["CXLOCAL_ENVIRONMENT_URI"].rstrip("/")


def get(path: str) -> object:
    with urlopen(BASE + path, timeout=10) as answer:
        return json.load(answer)


def test_it_is_the_version_of_this_run() -> None:
    assert get("/version") == os.environ["CXLOCAL_VERSION"]


def test_it_adds_up() -> None:
    assert get("/total?item=tea&item=cake") == {"pence": 570}
