"""What is to go is taken away by one command at a time, if it still is to go, and by the scripts it was made with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toys import DB, STAGES, WEB, component

KEYS = 'artifact = "app"\n'
SAYS = """
echo "begin $CXLOCAL_RESOURCE" >> "$DESK/log"
while test -e "$DESK/waits"; do sleep 0.05; done
echo "end $CXLOCAL_RESOURCE" >> "$DESK/log"
"""
PER_RUN = STAGES.replace('environment = "production"', 'environment = "test"').replace(
    "production = { protected = false }", 'test = { lifetime = "per-run" }'
)


def until(happened: Callable[[], bool], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def begun(shop: Any, tree: Path, *words: str) -> subprocess.Popen[bytes]:
    """A command in a checkout, not waited for."""
    return subprocess.Popen(
        [shop.cx.program, *words], cwd=tree, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, **shop.environ},
    )  # fmt: skip


def clone(shop: Any, root: Path) -> Path:
    """Another checkout of the same deliverable."""
    other = root / "other"
    subprocess.run(["git", "clone", "-q", str(shop.remote), str(other)], check=True)
    return other


def removed(shop: Any) -> list[str]:
    """What was begun and ended, in turn."""
    log = shop.desk / "log"
    return log.read_text().splitlines() if log.exists() else []


def test_each_is_removed_by_the_script_of_its_own_commit(desk_shop: Any) -> None:
    shop = desk_shop

    def config(script: str) -> str:
        verbs = {**WEB, "remove": f"sh -eu {script}"}
        return STAGES + component("web", verbs, KEYS)

    def script(text: str) -> str:
        return f'echo "{text} $(cat site.txt) $CXLOCAL_VERSION" >> "$DESK/log"\n' + WEB["remove"]

    files = {".gitignore": "app.txt\n"}
    stories = [("one", "gone.sh"), ("two", "gone.sh"), ("three", "ops/take.sh")]
    for text, name in stories:
        (shop.tree / "gone.sh").unlink(missing_ok=True)
        shop.write(config(name), {**files, "site.txt": text, name: script(text)})
        done = shop.run("--no-input")
        assert done.code == 0, done.err
    assert removed(shop) == ["one one 0.1.0", "two two 0.1.1"], "one was taken away as it was made"
    assert set(shop.running.values()) == {"0.1.2"}
    # On the way back, too.
    done = shop.command("rollback", "production", "--to", "0.1.0", "-m", "back")
    assert done.code == 0, done.err
    assert removed(shop)[2:] == ["three three 0.1.2"]
    assert shop.query("SELECT count(*) FROM resources_now") == [1]


def test_what_needs_a_secret_that_left_the_file_stays_due(desk_shop: Any) -> None:
    shop = desk_shop
    verbs = {**WEB, "remove": 'echo "${OLD_KEY:-nothing}" >> "$DESK/log"\n' + WEB["remove"]}
    files = {"site.txt": "one", ".gitignore": "app.txt\n"}
    secret = '[secrets]\nOLD_KEY = { env = "OLD_KEY" }\n'
    shop.write(STAGES + component("web", verbs, KEYS + 'secrets = ["OLD_KEY"]\n') + secret, files)
    key = {"OLD_KEY": "abcdefghijkl"}
    assert shop.run("--no-input", env=key).code == 0
    shop.write(STAGES + component("web", verbs, KEYS), {"site.txt": "two"})
    done = shop.run("--no-input")
    assert done.code == 0 and "could not remove" in done.err and "OLD_KEY" in done.err, done.err
    assert removed(shop) == [] and len(shop.running) == 2
    without = shop.command("env", "reap")
    assert without.code == 9 and "OLD_KEY" in without.err, without.err
    assert shop.command("env", "reap", env=key).code == 0
    assert removed(shop) == ["abcdefghijkl"] and set(shop.running.values()) == {"0.1.1"}


SAYS_KEY = 'echo "$CXLOCAL_VERSION {verb} ${{OLD_KEY:-nothing}}" >> "$DESK/log"; '


@pytest.mark.parametrize("way", ["a new release", "a rollback"])
def test_what_is_stopped_and_started_has_the_secrets_it_was_made_with(
    desk_shop: Any, way: str
) -> None:
    """The one that serves lists a secret, and what is to come in its place does not."""
    shop = desk_shop
    stops = {"stop": 'echo > "$DESK/stopped"', "start": 'rm -f "$DESK/stopped"'}
    verbs = {**WEB, **stops}
    verbs = {verb: SAYS_KEY.format(verb=verb) + command for verb, command in verbs.items()}
    keys = KEYS + 'overlap = false\nkeep_old = "1h"\n'
    plain = STAGES + component("web", verbs, keys)
    shop.write(plain, {"site.txt": "one", ".gitignore": "app.txt\n"})
    assert shop.run("--no-input").code == 0
    secret = '[secrets]\nOLD_KEY = { env = "OLD_KEY" }\n'
    key = {"OLD_KEY": "abcdefghijkl"}
    shop.write(
        STAGES + component("web", verbs, keys + 'secrets = ["OLD_KEY"]\n') + secret,
        {"site.txt": "two"},
    )
    assert shop.run("--no-input", env=key).code == 0
    back = ("rollback", "production", "--to", "0.1.0", "-m", "back")
    if way == "a new release":
        shop.write(plain, {"site.txt": "three"})
    words = ("run", "--no-input") if way == "a new release" else back
    without = shop.command(*words)
    assert without.code == 9 and "OLD_KEY" in without.err, without.err
    assert "0.1.1 stop abcdefghijkl" not in removed(shop)
    done = shop.command(*words, env=key)
    assert done.code == 0, done.err
    assert "0.1.1 stop abcdefghijkl" in removed(shop)
    assert not [one for one in removed(shop) if one.startswith("0.1.1") and "nothing" in one]


def killed_before_it_is_taken_away(shop: Any) -> None:
    """A run is killed while what it made for itself stands."""
    remove = SAYS + WEB["remove"]
    smoke = 'smoke = { command = "touch $DESK/smokes; sleep 60", environment = "test", needs = ["live"] }\n'
    config = PER_RUN.replace("[environments]", smoke + "[environments]")
    config = config.replace("smoke = {", 'smoke = { pass_env = ["DESK"],')
    shop.write(
        config + component("web", {**WEB, "remove": remove}, KEYS),
        {"site.txt": "one", ".gitignore": "app.txt\n"},
    )
    process = begun(shop, shop.tree, "run", "--no-input")
    until(lambda: (shop.desk / "smokes").exists())
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(shop.running) == 1 and removed(shop) == []


@pytest.mark.parametrize("second", [("env", "reap"), ("run", "--no-input", "--to", "build")])
def test_two_commands_of_two_checkouts_take_it_away_once(
    desk_shop: Any, tmp_path: Path, second: tuple[str, ...]
) -> None:
    shop = desk_shop
    killed_before_it_is_taken_away(shop)
    other = clone(shop, tmp_path)
    waits = shop.desk / "waits"
    waits.touch()
    first = begun(shop, shop.tree, "env", "reap")
    until(lambda: bool(removed(shop)))
    also = shop.cx(*second, cwd=other, env=shop.environ)
    waits.unlink()
    assert first.wait(timeout=50) == 0
    assert also.code == (9 if second[0] == "env" else 0), also.err
    assert ("another command takes away" in also.err) is (second[0] == "env"), also.err
    [begin, end] = removed(shop)
    assert begin.startswith("begin") and end.startswith("end") and shop.running == {}
    assert shop.query("SELECT count(*) FROM resources_now") == [0]
    [closed] = shop.query(
        "SELECT count(*) FROM event e JOIN type_lookup t ON t.id = e.type"
        " WHERE t.name LIKE '%environment.deleted%'"
    )
    assert closed == 1


@pytest.mark.parametrize(
    "words",
    [
        ("env", "destroy", "production", "--yes"),
        ("env", "destroy", "production", "db", "--yes"),
        ("env", "reap"),
    ],
)
def test_nothing_is_taken_away_beside_a_deployment(
    desk_shop: Any, tmp_path: Path, words: tuple[str, ...]
) -> None:
    shop = desk_shop
    web = component("web", {**WEB, "remove": SAYS + WEB["remove"]}, KEYS)
    database = component("db", {**DB, "destroy": 'rm "$DESK/db"'}, "mutable = true\n")
    shop.write(STAGES + web + database, {"site.txt": "one", ".gitignore": "app.txt\n"})
    assert shop.run("--no-input").code == 0
    (shop.desk / "waits").touch()
    other = clone(shop, tmp_path)
    (shop.tree / "site.txt").write_text("two")
    shop.push("two")
    slow = begun(shop, shop.tree, "run", "--no-input")
    until(lambda: bool(removed(shop)))  # its cutover is over, and it takes the old one away
    done = shop.cx(*words, cwd=other, env=shop.environ)
    (shop.desk / "waits").unlink()
    assert slow.wait(timeout=50) == 0
    assert len(removed(shop)) == 2, "once"
    assert set(shop.running.values()) == {"0.1.1"} and (shop.desk / "db").exists()
    if words[1] == "reap":
        assert done.code == 9 and "another command changes production" in done.err
    else:
        assert done.code == 3 and "another command changes production" in done.err, done.err


def test_what_serves_again_since_it_was_found_to_be_due_is_left_alone(desk_shop: Any) -> None:
    """``env reap`` has found two to be due, and is at the first of them when a repair puts the second to use, on a
    person's word: a way back counts on none that is due."""
    shop = desk_shop
    waits = shop.desk / "waits"
    at_place = '"$DESK/at/$CXLOCAL_INSTANCE"'
    verbs = {
        "create": f"{WEB['create']}; mkdir -p {at_place}; touch {at_place}/$CXLOCAL_RESOURCE",
        "remove": SAYS + WEB["remove"],
        "observe": WEB["observe"].replace(
            'for one in "$DESK"/web/*; do',
            f'for one in {at_place}/*; do one="$DESK/web/${{one##*/}}"',
        ),
    }
    staging = (
        'stage = { kind = "deploy", environment = "staging", needs = ["live"] }\n[environments]\n'
    )
    config = STAGES.replace("[environments]\n", staging + "staging = { protected = false }\n")
    config += component("web", verbs, KEYS + 'keep_old = "1s"\n')
    shop.write(config, {"site.txt": "one", ".gitignore": "app.txt\n"})
    for text in ("one", "two"):
        (shop.tree / "site.txt").write_text(text)
        shop.push(text)
        done = shop.run("--no-input")
        assert done.code == 0, done.err
    old = {one for one, version in shop.running.items() if version == "0.1.0"}
    assert len(old) == 2
    waits.touch()
    until(lambda: len(json.loads(shop.command("env", "reap", "--dry-run", "--json").out)) == 2)
    reap = begun(shop, shop.tree, "env", "reap")
    until(lambda: bool(removed(shop)))
    [at] = [one.partition(" ")[2] for one in removed(shop)]
    [place] = shop.query("SELECT instance FROM resources_now WHERE resource = ?", at)
    [other] = {"production", "staging"} - {place}
    done = shop.command("env", "repair", other, "--live", "0.1.0", "-m", "it serves")
    assert done.code == 0, done.err
    waits.unlink()
    assert reap.wait(timeout=50) == 0
    assert old & set(shop.running) == old - {at}, "what was found to be due serves again"
    assert [one for one in removed(shop) if one.startswith("begin")] == [f"begin {at}"]
