"""docs/life.md against a whole life: what each verb of a tool is given, and gives."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cxlocal.hooks.messages import RESULTS
from cxlocal.hooks.tool import ASKED, VERBS, Context

PAGE = Path(__file__).resolve().parents[2] / "docs" / "life.md"
TOOLS = Path(__file__).with_name("life_tools.py")
FORMER = {"deploy", "undo"}
CONFIG = """\
cx = 1
[deliverable]
name = "shop"
[stages]
before = { command = "echo x > x.txt", produces = { x = "x.txt" } }
build = { tool = "life-maker", kind = "build", needs = ["before"], produces = ["app"] }
unit = { tool = "life-maker", kind = "test", needs = ["build"] }
place = { kind = "deploy", environment = "place", needs = ["unit"] }
live = { kind = "deploy", environment = "production", needs = ["place"] }
shelf = { target = "shelf", needs = ["live"] }
[environments.place]
lifetime = "per-run"
tool = "life-place"
[environments.production]
protected = false
[components.db]
mutable = true
tool = "life-database"
artifact = "app"
[components.lb]
mutable = true
tool = "life-balancer"
[components.web]
tool = "life-web"
artifact = "app"
hosts = ["a"]
needs = ["db"]
behind = "lb"
env = { URL = "{component.db.url}", PASSWORD = "{component.db.password}" }
keep_old = "0s"
[components.mail]
tool = "life-worker"
artifact = "app"
hosts = ["a"]
needs = ["db"]
env = { URL = "{component.db.url}", PASSWORD = "{component.db.password}" }
overlap = false
check = "test ! -e @LOG@/unwell"
[targets.shelf]
tool = "life-shelf"
protected = false
"""


def rows() -> dict[str, tuple[str, set[str], str]]:
    """Verb to: who asks, the fields of ``ctx``, what it gives; as the page says."""
    text = PAGE.read_text(encoding="utf-8")
    found = {}
    for line in re.findall(r"^\| `(\w+)` \|(.*)\|$", text, re.MULTILINE):
        when, given, gives = (cell.strip() for cell in line[1].split("|"))
        found[line[0]] = (when, set(re.findall(r"`(\w+)`", given)), gives)
    return found


def live(root: Path, cx: Any) -> Path:
    """A life of two versions: where the verbs told what they were given."""
    tree, log, home = root / "tree", root / "log", root / "home"
    (tree / ".cx" / "plugins").mkdir(parents=True)
    log.mkdir()
    shutil.copy(TOOLS, tree / ".cx" / "plugins" / "life.py")
    config = re.sub(r'(tool = "life-[a-z]+")', rf'\1, with = {{ log = "{log}" }}', CONFIG)
    config = re.sub(r'^(tool = "[a-z-]+"), with', r"\1\nwith", config, flags=re.MULTILINE)
    (tree / "cx.toml").write_text(config.replace("@LOG@", str(log)))
    subprocess.run(["git", "init", "-q", "--bare", str(root / "remote.git")], check=True)

    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=tree, check=True, capture_output=True)

    git("init", "-q", ".")
    git("remote", "add", "origin", str(root / "remote.git"))
    where = {"cwd": tree, "env": {"CXLOCAL_HOME": str(home)}}
    for words in ("one", "two"):
        (tree / "text").write_text(words)
        git("add", "-A")
        git("commit", "-qm", words)
        git("push", "-q", "origin", "HEAD:main")
        if words == "one":
            cx.ok("trust", "--yes", **where)
        cx.ok("run", "--no-input", **where)
        (log / "shelf").rename(log / f"shelf-{words}")
    (log / "shelf-two").rename(log / "shelf")
    for one in home.rglob("*"):
        if one.is_file() and one.read_bytes() == (log / "shelf").read_bytes():
            one.unlink()
    cx.ok("publish", "0.1.1", **where)
    (log / "unwell").touch()
    assert cx("deploy", "0.1.1", "--schema-ahead", **where).code == 1
    (log / "unwell").unlink()
    (log / "shelf-one").rename(log / "shelf")
    cx.ok("rollback", "production", "--to", "0.1.0", "-m", "two was wrong", **where)
    cx.ok("withdraw", "0.1.0", "--from", "shelf", "-m", "nobody wants it", **where)
    return log


def heard(log: Path) -> dict[str, set[str]]:
    """The fields that held something, over all calls of each verb."""
    found: dict[str, set[str]] = {}
    for line in (log / "told").read_text().splitlines():
        verb, given = json.loads(line)
        found.setdefault(verb, set()).update(given)
    return found


def chains() -> list[list[str]]:
    """The verbs of each line of the picture, in order."""
    text = PAGE.read_text(encoding="utf-8")
    (picture,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    found = [
        [each for each in re.findall(r"\w+", line) if each in ASKED]
        for line in picture.splitlines()
    ]
    return [each for each in found if len(each) > 1]


def is_subsequence(short: list[str], whole: list[str]) -> bool:
    """Whether the one stands in the other, in order."""
    rest = iter(whole)
    return all(one in rest for one in short)


@pytest.mark.timeout(180)
def test_a_life_is_as_the_page_says(tmp_path: Path, cx: Any) -> None:
    log = live(tmp_path, cx)
    page, told = rows(), heard(log)
    assert {verb: given for verb, (_, given, _) in page.items()} == told
    calls = [json.loads(line)[0] for line in (log / "told").read_text().splitlines()]
    assert len(chains()) == 6
    for chain in chains():
        assert is_subsequence(chain, calls), chain


def test_the_page_knows_every_verb_and_what_it_gives() -> None:
    page = rows()
    assert set(page) == set(ASKED) - FORMER
    for verb, (_, _, gives) in page.items():
        kind = RESULTS[verb].__name__ if verb in RESULTS else "Done"
        assert gives.startswith(f"`{kind}`"), verb
    text = PAGE.read_text(encoding="utf-8")
    (always,) = re.findall(r"Every verb has (.*?) and (`\w+`)\. Beside", text)
    fields = set(re.findall(r"`(\w+)`", " ".join(always)))
    known = set(Context.__annotations__) - {"previous"}
    assert fields | {name for _, given, _ in page.values() for name in given} == known
    (reserved,) = re.findall(r"Other names of verbs are reserved: (.*)\.", text)
    assert set(re.findall(r"`(\w+)`", reserved)) == set(VERBS) - set(ASKED) - {"health"}
