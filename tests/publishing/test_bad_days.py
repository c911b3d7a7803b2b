"""What ``cxlocal publish`` says and ends with when a target has a bad day, and that the next day finishes it."""

from __future__ import annotations

from typing import Any

import pytest

WHEEL = """
import os, zipfile
version = os.environ["CXLOCAL_VERSION"]
info = f"webshop-{version}.dist-info/"
with zipfile.ZipFile(f"webshop-{version}-py3-none-any.whl", "w") as archive:
    archive.writestr(info + "METADATA", f"Metadata-Version: 2.1\\nName: webshop\\nVersion: {version}\\n")
    archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    archive.writestr(info + "RECORD", "")
"""
CONFIG = """
[version]
line = "5.0"
[stages]
build = { kind = "build", command = "python3 make_wheel.py", produces = { wheel = "webshop-*.whl" } }
[secrets]
INDEX_TOKEN = { env = "INDEX_TOKEN" }
[targets.index]
tool = "python-index"
secrets = ["INDEX_TOKEN"]
with = { url = "@INDEX@/", simple = "@INDEX@/simple/", token = "INDEX_TOKEN" }
[targets.tag]
tool = "git-tag"
"""


def test_exit_codes_and_words_of_bad_days(shop: Any, index: Any) -> None:
    """One version through all weathers: nothing is doubled, nothing lost, and the tag waits until the last."""
    index.mood = "fine"
    shop.write(
        CONFIG.replace("@INDEX@", index.url), {"make_wheel.py": WHEEL, ".gitignore": "*.whl\n"}
    )
    shop.environ["INDEX_TOKEN"] = "pypi-very-secret"
    assert shop.command("trust", "--yes").code == 0
    assert shop.run().code == 0
    for mood, code, words in (
        ("down", 9, "it answers 502"),
        ("expired", 4, "the token has expired"),
        ("no writing", 4, "this index is read-only"),
    ):
        index.mood = mood
        done = shop.command("publish", "5.0.0")
        assert done.code == code and words in done.err, (mood, done.err)
        assert "0 of 2: index" in done.err, done.err
        assert "refs/tags/v5.0.0" not in shop.git("ls-remote", "origin")
        assert "pypi-very-secret" not in done.err + done.out
    assert words in shop.command("status").out, "the last of them stands on record"
    index.mood = "gone after writing"
    done = shop.command("publish", "5.0.0")
    assert done.code == 0, "it hung up, and had the bytes: " + done.err
    assert "refs/tags/v5.0.0" in shop.git("ls-remote", "origin")
    assert sum("/" == path for method, path in index.seen if method == "POST") == 2


COMMANDS = """
[stages]
build = { kind = "build", command = "echo made > app.txt", produces = { app = "app.txt" } }
[targets.mirror]
tool = "commands"
[targets.mirror.with]
"""


@pytest.mark.parametrize("asks", [True, False])
def test_a_command_that_failed_after_its_act(shop: Any, tmp_path: Any, asks: bool) -> None:
    """With ``ask`` it is seen that the bytes are there. Without, nobody knows, and nothing is put again."""
    place = tmp_path / "place"
    config = (
        COMMANDS
        + f"publish = 'echo once >> {place}.log; cp \"$CXLOCAL_ARTIFACT_APP\" {place}; false'\n"
    )
    if asks:
        config += f"ask = 'test ! -e {place} || sha256sum < {place}'\n"
    shop.write(config, {".gitignore": "app.txt\n"})
    assert shop.command("trust", "--yes").code == 0
    assert shop.run().code == 0
    codes = [shop.command("publish", "0.1.0").code for _ in range(2)]
    assert codes == ([0, 0] if asks else [9, 9])
    assert (tmp_path / "place.log").read_text() == "once\n", "not put a second time"
