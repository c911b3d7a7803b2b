"""``install``: the tests see the wheel, however hard the project puts its sources first."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cxlocal_plugins.pytest_tool import Pytest

from cxlocal.hooks.tool import ArtifactRef

Run = Callable[..., Any]
TEST = "import shop.price\ndef test_it():\n    assert shop.price.ORIGIN == 'wheel', shop.__path__\n"


def wheel(folder: Path, **others: str) -> dict[str, ArtifactRef]:
    """A wheel of a package ``shop``, as a backend would make it; ``a__b`` is the file a/b.py."""
    files = {
        "shop/__init__.py": "",
        "shop/price.py": "ORIGIN = 'wheel'\n",
        **{f"{name.replace('__', '/')}.py": text for name, text in others.items()},
        "shop-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: shop\nVersion: 1\n",
        "shop-1.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={digest(text)},{len(text.encode())}\n" for name, text in files.items()
    )
    record += "shop-1.dist-info/RECORD,,\n"
    path = folder / "shop-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, "shop-1.dist-info/RECORD": record}.items():
            archive.writestr(name, text)
    return {"wheel": ArtifactRef(name="wheel", path=path, sha256="a" * 64, size=1)}


def digest(text: str) -> str:
    raw = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """A project whose package stands beside its tests, with other sources than the wheel's."""
    folder = tmp_path / "flat"
    (folder / "shop").mkdir(parents=True)
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "price.py").write_text("ORIGIN = 'sources'\n")
    (folder / "tests").mkdir()
    return folder


@pytest.mark.parametrize(
    ("file", "content"),
    [("tests/__init__.py", ""), ("conftest.py", ""), ("pytest.ini", "[pytest]\npythonpath = .\n"),
     ("tests/conftest.py", "import sys\nsys.path.insert(0, '.')\n"),
     ("pytest.ini", "[pytest]\naddopts = -n 1\npythonpath = .\n")],
)  # fmt: skip
def test_the_wheel_comes_first(
    run_verb: Run, flat: Path, tmp_path: Path, file: str, content: str
) -> None:
    (flat / file).write_text(content)
    (flat / "tests" / "test_shop.py").write_text(TEST)
    artifacts = wheel(tmp_path)
    ran = run_verb(Pytest, "test", {"install": ["wheel"]}, artifacts=artifacts, checkout=flat)
    assert ran.outcome.outcome == "success", (ran.outcome.reason, ran.log)
    ran = run_verb(Pytest, "test", artifacts=artifacts, checkout=flat)
    assert ran.outcome.outcome == "failure", "without install the sources are tested"


def test_tests_beside_the_package_see_the_wheel(run_verb: Run, flat: Path, tmp_path: Path) -> None:
    (flat / "test_shop.py").write_text(TEST)
    table = {"install": ["wheel"]}
    ran = run_verb(Pytest, "test", table, artifacts=wheel(tmp_path), checkout=flat)
    assert ran.outcome.outcome == "success", (ran.outcome.reason, ran.log)


def test_tests_that_a_wheel_brings_along_are_not_those_that_run(
    run_verb: Run, flat: Path, tmp_path: Path
) -> None:
    artifacts = wheel(tmp_path, tests____init__="", tests__helper="raise ImportError('wheel')\n")
    for name, text in (
        ("__init__", ""),
        ("helper", ""),
        ("test_shop", f"import tests.helper\n{TEST}"),
    ):
        (flat / "tests" / f"{name}.py").write_text(text)
    ran = run_verb(Pytest, "test", {"install": ["wheel"]}, artifacts=artifacts, checkout=flat)
    assert ran.outcome.outcome == "success", (ran.outcome.reason, ran.log)


def test_parts_of_a_shared_name_stay_together(run_verb: Run, flat: Path, tmp_path: Path) -> None:
    """``corp`` has no __init__: ``corp.shop`` comes from the wheel, ``corp.tools`` from elsewhere."""
    (flat / "corp").mkdir()
    (flat / "corp" / "tools.py").write_text("ORIGIN = 'sources'\n")
    (flat / "corp" / "shop.py").write_text("ORIGIN = 'sources'\n")
    (flat / "conftest.py").touch()
    (flat / "tests" / "test_corp.py").write_text(
        "from corp import shop, tools\n"
        "def test_it():\n    assert (shop.ORIGIN, tools.ORIGIN) == ('wheel', 'sources')\n"
    )
    artifacts = wheel(tmp_path, corp__shop="ORIGIN = 'wheel'\n")
    ran = run_verb(Pytest, "test", {"install": ["wheel"]}, artifacts=artifacts, checkout=flat)
    assert ran.outcome.outcome == "success", (ran.outcome.reason, ran.log)
