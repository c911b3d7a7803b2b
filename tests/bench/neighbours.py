"""Side by side with release-it, commit-and-tag-version, bump-my-version and python-semantic-release.

The same small project, a repository with the tag v1.0.0 and a remote, is released by each of them: what
a person types to the first and to the second release, and what is left where something goes wrong::

    python tests/bench/neighbours.py                   # installs the four into a temporary folder
    python tests/bench/neighbours.py --tools FOLDER    # keeps them there, for the next time
    python tests/bench/neighbours.py --only cxlocal    # tools whose name holds it

Prints the tables of docs/neighbours.md. Steps are carried out as they are typed, by a shell. What is
installed stands in ``neighbour_tools.py``; nothing outside the temporary folder is touched.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from neighbour_tools import (
    NODE_TOOLS,
    PRE_PUSH,
    PROJECTS,
    PYTHON_TOOLS,
    TOOLS,
    Asked,
    File,
    Step,
    Tool,
)  # fmt: skip

CXLOCAL = Path(sys.executable).with_name("cxlocal")
LIMIT_SECONDS = 120.0
POLL_SECONDS = 0.02
KILLED = 137


class Done(NamedTuple):
    """How something typed went."""

    code: int
    words: str


class Found(NamedTuple):
    """What can be seen of releases, in the clone and at the remote."""

    released: frozenset[str]
    half: frozenset[str]
    """Versions that somebody has begun and nobody has got: a tag that is here alone, a run that failed."""
    unpushed: int
    changed: tuple[str, ...]
    """Files that differ from the last commit."""


class Person:
    """Somebody's clone and home."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.tree = world.root / name / "shop"
        self.home = world.root / name / "home"
        self.home.mkdir(parents=True)
        self.environ = {
            "PATH": os.pathsep.join([*map(str, world.bins), os.environ["PATH"]]),
            "HOME": str(self.home), "LANG": "C.UTF-8", "TEAM": str(world.root / "team"),
            "GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": f"{name}@example.org",
            "GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": f"{name}@example.org",
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "init.defaultBranch",
            "GIT_CONFIG_VALUE_0": "main", "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        for name_, value in os.environ.items():
            if name_.startswith(("PIP_", "UV_", "NPM_CONFIG_", "npm_config_")):
                self.environ[name_] = value
        self.sh(f"git clone -q {world.remote} {self.tree}", world.root)
        hook = self.tree / ".git/hooks/pre-push"
        hook.write_text(PRE_PUSH.replace("GATE", str(world.gate)))
        hook.chmod(0o755)

    def start(self, command: str, folder: Path | None = None) -> subprocess.Popen[str]:
        """A command as it is typed, in a process group of its own."""
        return subprocess.Popen(
            ["sh", "-c", command], cwd=folder or self.tree, env=self.environ, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip

    def sh(self, command: str, folder: Path | None = None) -> str:
        """A command that must succeed; what it printed."""
        done = finish(self.start(command, folder))
        assert done.code == 0, f"{command}: {done.words}"
        return done.words

    def answer(self, step: Asked) -> Done:
        """A command at a terminal of its own."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            ["sh", "-c", step.command], cwd=self.tree, env={**self.environ, "TERM": "dumb"},
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # The other side is closed.
            while part := os.read(ours, 4096):
                shown += part
                if b"[y/N]" in part:
                    os.write(ours, f"{step.answer}\n".encode())
        os.close(ours)
        return Done(process.wait(), shown.decode(errors="replace"))

    def type(self, steps: Sequence[Step]) -> Done:
        """Carry out what a person types, up to the first that fails."""
        for step in steps:
            if isinstance(step, Asked):
                done = self.answer(step)
                if done.code:
                    return done
                continue
            if isinstance(step, File):
                text = step.text.replace("$TEAM", self.environ["TEAM"])
                with (self.tree / step.name).open("a") as file:
                    file.write(text)
                continue
            done = finish(self.start(step))
            if done.code:
                return Done(done.code, f"$ {step}\n{done.words}")
        return Done(0, "")

    def change(self, text: str = "fix: a fault") -> None:
        """Commit a change, as a person does before a release."""
        notes = f"notes-{self.name}"
        self.sh(f'echo "{text}" >> {notes} && git add {notes} && git commit -qm "{text}"')

    def look(self, tool: Tool) -> Found:
        """What there is now."""
        self.sh("git fetch -q")
        ahead = self.sh("git rev-list --count HEAD --not --remotes=origin").strip()
        changed = [line[3:] for line in self.sh("git status --porcelain").splitlines()]
        if tool.name.startswith("cxlocal"):
            rows = json.loads(
                self.sh("cxlocal sync >/dev/null 2>&1; cxlocal log --json 2>/dev/null || echo '[]'")
            )
            released = {row["version"] for row in rows if row["outcome"] == "success"}
            half = {row["version"] for row in rows if row["version"]} - released
        else:
            tags = f"git --git-dir={self.world.remote} tag"
            released = set(re.findall(r"[\d.]+", self.sh(tags, self.world.root)))
            half = set(re.findall(r"[\d.]+", self.sh("git tag"))) - released
        return Found(frozenset(released - {"1.0.0"}), frozenset(half), int(ahead), tuple(changed))


class World:
    """A remote, a gate, and people."""

    def __init__(self, root: Path, tool: Tool, bins: Sequence[Path]) -> None:
        self.root, self.tool, self.bins = root, tool, bins
        self.gate = root / "gate"
        self.gate.mkdir(parents=True)
        (root / "team").mkdir()
        self.remote = root / "git/owner/shop.git"
        self.remote.parent.mkdir(parents=True)
        run = ["git", "init", "-q", "--bare", "-b", "main", str(self.remote)]
        subprocess.run(run, check=True)
        self.ann = Person(self, "ann")
        for name, text in PROJECTS[tool.language].items():
            (self.ann.tree / name).write_text(text.replace("GATE", str(self.gate)))
        self.ann.sh(
            "git add -A && git commit -qm 'feat: the first' && git tag -a -m 1.0.0 v1.0.0"
            " && git push -q --follow-tags origin HEAD:main"
        )
        self.ann.change("fix: what the first release is for")
        self.ann.sh("git push -q")

    def close(self, name: str) -> None:
        """Turn the tests red (``red``), hold them up (``hold``), or the push (``hold-push``)."""
        (self.gate / name).touch()

    def open(self) -> None:
        """Let everything pass."""
        for file in self.gate.iterdir():
            file.unlink()

    def wait_for_held(self, count: int, processes: Sequence[subprocess.Popen[str]]) -> bool:
        """Until so many are held up; False where one of the processes ended before."""
        until = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < until:
            held = len(list(self.gate.glob("held-*")))
            ended = sum(one.poll() is not None for one in processes)
            if held + ended >= count:
                return not ended
            time.sleep(POLL_SECONDS)
        raise TimeoutError("nothing was held up")


def finish(process: subprocess.Popen[str]) -> Done:
    """Wait for something typed."""
    try:
        words, _ = process.communicate(timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        words, _ = process.communicate()
        return Done(124, words)
    return Done(process.returncode, words)


# What a person types


class Typing(NamedTuple):
    """What was typed to a release."""

    steps: int
    """Commands, and files that are written."""
    signs: int
    """Everything that was typed, the Enter after each command included."""
    files: int
    questions: int


def typing(steps: Sequence[Step]) -> Typing:
    """Count it."""
    files = [one.text for one in steps if isinstance(one, File)]
    asked = [one for one in steps if isinstance(one, Asked)]
    lines = [one for one in steps if isinstance(one, str)] + [one.command for one in asked]
    # What stands behind && is a step as well.
    commands = sum(one.count("&&") + 1 for one in lines)
    signs = sum(map(len, files)) + sum(len(one) + 1 for one in [*lines, *(a.answer for a in asked)])
    return Typing(commands + len(files), signs, len(files), len(asked))


def released_at_once(world: World) -> str:
    """First and second release; the row of the first table."""
    tool, ann = world.tool, world.ann
    release = tool.at_terminal or tool.release
    versions: list[str] = []
    known = ann.look(tool).released
    for steps in ((*tool.setup, *release), release):
        done = ann.type(steps)
        now = ann.look(tool).released
        versions.append(", ".join(sorted(now - known)) if done.code == 0 else f"exit {done.code}")
        known = now
        ann.change()
    cells: list[object] = [tool.name]
    for typed in (typing([tool.install, *tool.setup, *release]), typing(release)):
        cells += [typed.steps, typed.signs, typed.files, typed.questions]
    return f"| {' | '.join(map(str, cells))} | {' and '.join(versions)} |"


# What goes wrong


class Broken(NamedTuple):
    """A release that something came between, and how it is given again when that is gone."""

    done: Done
    again: Sequence[Step] = ()
    """Nothing where nothing is left to do."""


Fault = Callable[["World"], Broken]


def remote_away(world: World) -> Broken:
    """The remote cannot be reached."""
    ann, away = world.ann, world.remote.with_name("away.git")
    ann.change()
    world.remote.rename(away)
    done = ann.type(world.tool.release)
    away.rename(world.remote)
    return Broken(done, world.tool.release)


def remote_gone(world: World) -> Broken:
    """The commit was pushed, and then the remote cannot be reached any more."""
    ann, away = world.ann, world.remote.with_name("away.git")
    ann.change()
    ann.sh("git push -q")
    world.remote.rename(away)
    done = ann.type(without_push(world.tool.release))
    away.rename(world.remote)
    return Broken(done, world.tool.release)


def not_pushed(world: World) -> Broken:
    """The change was committed, and the push forgotten."""
    world.ann.change()
    return Broken(world.ann.type(without_push(world.tool.release)), world.tool.release)


def remote_went_on(world: World) -> Broken:
    """Somebody else pushed to the branch meanwhile."""
    bob = Person(world, "bob")
    bob.change("fix: by bob")
    bob.sh("git push -q")
    world.ann.change()
    return Broken(world.ann.type(world.tool.release), ("git pull --rebase", *world.tool.release))


def tests_red(world: World) -> Broken:
    """The tests fail, for a reason outside of the commit."""
    world.ann.change()
    world.close("red")
    done = world.ann.type(world.tool.release)
    world.open()
    return Broken(done, world.tool.again or world.tool.release)


def cut(world: World, held: str) -> Broken:
    """Everything is killed while it is ``held`` up."""
    ann, tool = world.ann, world.tool
    ann.change()
    if tool.again:
        ann.sh("git push -q")
    world.close(held)
    process = ann.start(" && ".join(without_push(tool.release)))
    if not world.wait_for_held(1, [process]):
        done = finish(process)
        world.open()
        return Broken(done)
    os.killpg(process.pid, signal.SIGKILL)
    world.open()
    process.communicate()
    return Broken(Done(KILLED, ""), tool.again or tool.release)


def two_at_once(world: World) -> Broken:
    """Two people release one commit from two machines, and each tests while the other does."""
    ann, tool = world.ann, world.tool
    if tool.shared:
        done = ann.type([*tool.shared, "git push"])
        assert done.code == 0, done.words
    ann.change()
    ann.sh("git push -q")
    bob = Person(world, "bob")
    done = bob.type(tool.joining)
    assert done.code == 0, done.words
    world.close("hold")
    command = " && ".join(without_push(tool.release))
    processes = [one.start(command) for one in (ann, bob)]
    world.wait_for_held(2, processes)
    world.open()
    ended = [finish(one) for one in processes]
    if all(one.code == 0 for one in ended):
        return Broken(Done(0, ""))
    # The one who lost tries again.
    loser = next(one for one, how in zip((ann, bob), ended, strict=True) if how.code)
    world.ann = loser
    return Broken(
        max(ended, key=lambda one: one.code), tool.again or ("git pull --rebase", *tool.release)
    )


FAULTS: dict[str, Fault] = {
    "the remote is away": remote_away,
    "the remote went away after the push": remote_gone,
    "the push was forgotten": not_pushed,
    "the remote went on": remote_went_on,
    "the tests fail": tests_red,
    "killed in the tests": lambda world: cut(world, "hold"),
    "killed in the push": lambda world: cut(world, "hold-push"),
    "two at once": two_at_once,
}


def without_push(steps: Sequence[str]) -> list[str]:
    """The release alone."""
    return [one for one in steps if one != "git push"]


def broken(world: World, fault: Fault) -> str:
    """What came of a fault, and of the next try: two cells of the second table."""
    tool = world.tool
    done = world.ann.type([*tool.setup, *tool.release])
    assert done.code == 0, done.words
    start = world.ann.look(tool)
    found = fault(world)
    middle = world.ann.look(tool)
    first = cell(tool, found.done, start, middle)
    if not (found.again and found.done.code):
        return f"{first} | |"
    done = world.ann.type(found.again)
    if os.environ.get("NEIGHBOURS_DEBUG"):
        print(found.done.words, "\n-- again:", done.words, file=sys.stderr)
    return f"{first} | {cell(tool, done, middle, world.ann.look(tool))} |"


def cell(tool: Tool, done: Done, before: Found, now: Found) -> str:
    """How it ended, and what it left."""
    words = ["killed" if done.code == KILLED else f"exit {done.code}"]
    new = sorted(now.released - before.released)
    words.append(f"released {', '.join(new)}" if new else "nothing released")
    if now.half:
        half = ", ".join(sorted(now.half))
        # Ours records a run that goes on; theirs leave a tag.
        words.append(f"{half} can go on" if tool.again else f"tag {half} in the clone alone")
    if now.unpushed:
        words.append(f"{now.unpushed} commit{'s' * (now.unpushed > 1)} to push")
    if now.changed:
        words.append(f"changed: {', '.join(now.changed)}")
    return "; ".join(words)


# Tools


def install(folder: Path, names: Sequence[str]) -> list[Path]:
    """The folders of the programs of the four, installed where they are not."""
    node, python = folder / "node_modules/.bin", folder / "python/bin"
    if not node.exists() and any("release-it" in n or "commit-and" in n for n in names):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        run = ["npm", "install", "--silent", "--no-audit", "--no-fund", *NODE_TOOLS]
        subprocess.run(run, cwd=folder, check=True)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "python")], check=True)
        run = [str(python / "pip"), "install", "-q", *PYTHON_TOOLS]
        subprocess.run(run, check=True)
    return [node, python]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tools", type=Path, help="Keep the installed tools in this folder.")
    parser.add_argument("--only", default="", help="Tools whose name holds this.")
    parser.add_argument("--fault", default="", help="Faults whose name this pattern finds.")
    asked = parser.parse_args()
    chosen = [one for one in TOOLS if asked.only in one.name]
    with tempfile.TemporaryDirectory(prefix="neighbours-") as text:
        top = Path(text)
        found = install(asked.tools or top / "tools", [one.name for one in chosen])
        bins = [link_program(top), *found]
        heads = ("steps", "signs", "files", "questions")
        print(f"| tool | {' | '.join(heads)} | next: {' | '.join(heads)} | released |")
        print(f"|{'---|' * 10}")
        for number, tool in enumerate(chosen):
            print(released_at_once(World(top / f"first{number}", tool, bins)), flush=True)
        for name, fault in FAULTS.items():
            if not re.search(asked.fault, name):
                continue
            print(f"\n### {name.capitalize()}\n\n| tool | then | the next try |\n|---|---|---|")
            for number, tool in enumerate(chosen):
                place = top / f"{name.replace(' ', '-')}{number}"
                print(f"| {tool.name} | {broken(World(place, tool, bins), fault)}", flush=True)


def link_program(top: Path) -> Path:
    """A folder on the path that holds our command and nothing else of our environment."""
    folder = top / "bin"
    folder.mkdir()
    (folder / "cxlocal").symlink_to(CXLOCAL)
    return folder


if __name__ == "__main__":
    main()
