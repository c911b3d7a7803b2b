"""What ``cxlocal publish`` says and ends with when a target has a bad day, and that the next day finishes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from kinds import KINDS, Kind
from weather import Weather


class Place(NamedTuple):
    """A target to be tried."""

    kind: Kind
    weather: Weather


TAG = '[targets.tag]\ntool = "git-tag"\n'


def marked(name: str, *, heavy: bool) -> Any:
    """A kind as a parameter, with what it needs."""
    marks = [pytest.mark.needs(*KINDS[name].needs)] if KINDS[name].needs else []
    return pytest.param(name, marks=[*marks, pytest.mark.heavy] if heavy else marks)


LIGHT = ("pypiserver", "oci")
"""One for each shape: a file in one request, and many requests by a program of its own. The others are tried
on bad days by their own tests, without whole commands."""


@pytest.fixture(scope="module", params=[marked(name, heavy=name not in LIGHT) for name in KINDS])
def place(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Each kind of target, and the weather there."""
    kind = KINDS[request.param]
    with kind.server(tmp_path_factory.mktemp("place")) as weather:
        yield Place(kind, weather)


@pytest.mark.timeout(300)
def test_exit_codes_and_words_of_bad_days(shop: Any, place: Place) -> None:
    """One version through all weathers: nothing is doubled, nothing lost, and what announces it waits."""
    kind, weather = place
    shop.write('[version]\nline = "5.0"\n' + kind.config(weather) + TAG, kind.files())
    shop.environ |= kind.secrets
    assert shop.command("trust", "--yes").code == 0
    assert shop.run().code == 0
    if weather.double is not None:
        weather.double.follow(shop.remote)
    for mood, code, words in (
        ("down", 9, "502"), ("expired", 4, "expired|E401"), ("no writing", 4, "read-only|E403"),
    ):  # fmt: skip
        weather.mood = mood
        done = shop.command("publish", "5.0.0")
        assert done.code == code and re.search(words, done.err), f"{mood} {done.code} {done.err}"
        assert f"{int(kind.last)} of 2: place" in done.err, done.err
        assert ("refs/tags/v5.0.0" in shop.git("ls-remote", "origin")) == kind.last
        assert not any(secret in done.err + done.out for secret in kind.secrets.values())
    assert re.search(words, shop.command("status").out), "the last of them stands on record"
    weather.taken.clear()
    for mood in ("gone after writing", "late after writing", "fine"):
        weather.mood = mood
        done = shop.command("publish", "5.0.0")
        assert done.code in (0, 9) if mood != "fine" else done.code == 0, (mood, done.err)
        assert done.code == 0 or not kind.single, "it had the bytes: " + done.err
    assert "refs/tags/v5.0.0" in shop.git("ls-remote", "origin")
    assert not kind.single or len(weather.taken) == 1, weather.taken
    if kind is KINDS["pypiserver"]:
        weather.mood = "yanked"
        for words in (("--check",), ()):
            done = shop.command("publish", "5.0.0", *words)
            assert done.code == 3 and "file is yanked (loses data)" in done.err, done.err
        assert "1 of 2: place withdrawn (file is yanked" in shop.command("status").out
        weather.mood = "fine"
        assert shop.command("publish", "5.0.0", "--check").code == 0
    another(shop, weather)


def another(shop: Any, weather: Weather) -> None:
    """Somebody who does not know of the version makes other bytes of its number: they are refused, and named."""
    taken = len(weather.taken)
    shop.git("push", "-q", "origin", "--delete", "v5.0.0")  # It would say that the number is taken.
    told = {"CXLOCAL_HOME": str(shop.root / "another"), "WHO": "me"}
    assert shop.command("trust", "--yes", env=told).code == 0
    made = shop.run("--json", env=told)
    assert made.json()["version"] == "5.0.0", made.err
    for words in ((), ("--check",)):
        done = shop.command("publish", "5.0.0", *words, env=told)
        assert done.code == 10, done.err
        assert len(re.findall(r"sha(?:256:[0-9a-f]{64}|512-)", done.err)) == 2, done.err
    assert len(weather.taken) == taken, "nothing was sent"
    assert shop.command("publish", "5.0.0", "--check").code in (
        0,
        3,
    )  # the tag is back where it announces


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
    done = [shop.command("publish", "0.1.0") for _ in range(2)]
    assert [one.code for one in done] == ([0, 0] if asks else [9, 9])
    assert (tmp_path / "place.log").read_text() == "once\n", "not put a second time"
    named = "mirror cannot be asked: look there; if it lacks the version: cxlocal publish 0.1.0 --again mirror -m WHY"
    assert all((named in one.err) is not asks for one in done), done[-1].err
    if not asks:
        back = shop.command("publish", "0.1.0", "--again", "mirror", "-m", "it is not there")
        assert (back.code, (tmp_path / "place.log").read_text()) == (9, "once\nonce\n"), back.err
