"""A publication cut at each of its steps, by cxlocal and by what many use: twine and git, npm alone, release-it.

    python tests/bench/cuts.py                 # installs the others into a temporary folder
    python tests/bench/cuts.py --tools FOLDER  # keeps them there, for the next time
    python tests/bench/cuts.py --only npm      # tools whose name holds it

Prints the table of docs/publishing.md. A project whose last tag is v1.0.0 is published, and everything at work is killed by
SIGKILL at a request to the index, or at the push of the tag, before it arrives or after it was
carried out. Then the same is typed again.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "publishing"))

from indexes import pypiserver
from neighbours import CXLOCAL, LIMIT_SECONDS, Person, World, finish, link_program
from neighbours import Tool as Neighbour
from npm_registry import NpmRegistry
from weather import Weather, serving

PROGRAMS = ("twine==6.2.0", "build", "setuptools", "wheel")
TARGETS = """
[secrets]
token = { env = "TOKEN" }
[targets.index]
tool = "@TOOL@"
secrets = ["token"]
with = { @AT@, token = "token" }
[targets.tag]
tool = "git-tag"
"""
NEXT = "sed -i 's/1.0.0/1.0.1/' pyproject.toml && git commit -qam 1.0.1 && rm -rf dist && python -m build -n"


class Way(NamedTuple):
    """How the version 1.0.1 is published."""

    name: str
    language: str
    setup: str
    release: str
    again: str
    """Typed after a cut: the same, from where it was cut as far as a person can tell."""


def ours(language: str, tool: str, at: str) -> Way:
    """Our own."""
    targets = TARGETS.replace("@TOOL@", tool).replace("@AT@", at)
    more = " && cxlocal run && cxlocal publish 1.0.1"
    return Way(
        f"cxlocal ({language})", language,
        f"cxlocal init && cat >> cx.toml <<'END'\n{targets}END\ngit add -A && git commit -qm release"
        " && git push -q && cxlocal trust --yes", f"git push -q{more}", "cxlocal publish 1.0.1",
    )  # fmt: skip


UPLOAD = 'twine upload --non-interactive --repository-url "$INDEX/" -u __token__ -p "$TOKEN" dist/*'
TAG = "git tag -a -m 1.0.1 v1.0.1 && git push -q --follow-tags"
WAYS = (
    ours("python", "python-index", 'url = "@INDEX@/", simple = "@INDEX@/simple/"'),
    Way("twine, git", "python", "true", f"{NEXT} && {UPLOAD} && {TAG}", f"{UPLOAD} && {TAG}"),
    ours("node", "npm", 'registry = "@INDEX@"'),
    Way("npm, git", "node", "true", "npm version patch && npm publish && git push --follow-tags",
        "npm publish && git push --follow-tags"),
    Way("release-it", "node", "true", "release-it --ci", "release-it --ci"),
)  # fmt: skip
CUTS = {
    "before the index has it": "WRITE before", "the index has it": "WRITE after",
    "before the tag is there": "pre-receive", "the tag is there": "post-receive",
}  # fmt: skip
TWO_FILES = {"between two files": "WRITE 2 before"}


@contextmanager
def index(language: str, folder: Path) -> Iterator[Weather]:
    """What a language publishes to."""
    folder.mkdir()
    if language == "python":
        with pypiserver(folder) as found:
            yield found.weather
    else:
        with serving(NpmRegistry()) as npm, serving(Weather(npm.url)) as weather:
            weather.double = npm
            yield weather


class Place:
    """A project with its remote and its index."""

    def __init__(self, way: Way, folder: Path, bins: list[Path], weather: Weather) -> None:
        tool = Neighbour(way.name, way.language, "", (), ())
        self.way, self.weather, self.folder = way, weather, folder
        self.world = World(folder / "world", tool, bins)
        self.ann: Person = self.world.ann
        self.ann.environ |= {"INDEX": weather.url, "TOKEN": "npm-secret-token", "CI": "1"}
        host = weather.url.removeprefix("http:")
        (self.ann.home / ".npmrc").write_text(
            f"registry={weather.url}\n{host}/:_authToken=npm-secret-token\nfetch-retries=0\n"
        )
        self.ann.environ["NPM_CONFIG_USERCONFIG"] = str(self.ann.home / ".npmrc")
        self.type(way.setup)

    def words(self, text: str) -> str:
        """What is typed."""
        return text.replace("@INDEX@", self.weather.url)

    def type(self, text: str) -> None:
        """What has to go well."""
        done = finish(self.ann.start(self.words(text)))
        assert done.code == 0, f"{self.way.name}: {done.words}"

    def cut(self, point: str) -> None:
        """Publish a change, and kill everything at a point of it."""
        self.ann.change()
        if point.startswith("WRITE"):
            self.weather.counts.clear()
            self.weather.reached.clear()
            self.weather.go.clear()
            method = "POST" if self.way.language == "python" else "PUT"
            self.weather.stop_at = point.replace("WRITE", method)
        else:
            hook = self.world.remote / "hooks" / point
            hook.write_text(
                "#!/bin/sh\nwhile read old new ref; do\n"
                f"case $ref in refs/tags/*) touch {self.folder}/at; while [ ! -e {self.folder}/go ];"
                f" do sleep 0.05; done; exit {int(point == 'pre-receive')};; esac; done\n"
            )
            hook.chmod(0o755)
        process = self.ann.start(self.words(self.way.release))
        end = time.monotonic() + LIMIT_SECONDS
        while not (self.weather.reached.is_set() or (self.folder / "at").exists()):
            assert process.poll() is None and time.monotonic() < end, finish(process).words
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        for name in ("pre-receive", "post-receive"):
            (self.world.remote / "hooks" / name).unlink(missing_ok=True)
        (self.folder / "go").touch()
        self.weather.drops = True
        self.weather.go.set()
        time.sleep(1)  # What the killed one began at the remote comes to its end.

    def state(self, *versions: str) -> str:
        """Where these versions are."""
        found = []
        names = [path.name for path in (self.folder / "index").iterdir()]
        if self.weather.double is not None:
            known = self.weather.double.packages.get("shop", {"versions": {}})["versions"]
            names = [f"shop-{one}." for one in known]
        tags = subprocess.run(
            ["git", "tag"], cwd=self.world.remote, capture_output=True, text=True, check=True
        ).stdout.split()
        for one in versions:
            files = [name for name in names if re.search(rf"\D{re.escape(one)}[.-]", name)]
            half = (
                f" ({len(files)} file)" if self.way.language == "python" and len(files) == 1 else ""
            )
            if files:
                found.append(f"index {one}{'' if self.way.name.startswith('cx') else half}")
            if f"v{one}" in tags or one in tags:
                found.append("tag" if files else f"tag {one} alone")
        return ", ".join(found) or "nothing"


def row(way: Way, name: str, point: str, top: Path, bins: list[Path]) -> str:
    """One line of the table."""
    folder = top / re.sub(r"\W+", "-", f"{way.name}-{name}")
    folder.mkdir()
    with index(way.language, folder / "index") as weather:
        place = Place(way, folder, bins, weather)
        place.cut(point)
        then = place.state("1.0.1")
        done = finish(place.ann.start(place.words(way.again)))
        if os.environ.get("CUTS_DEBUG"):
            print(done.words, file=sys.stderr)
        return (
            f"| {way.name} | {name} | {then} | exit {done.code}; {place.state('1.0.1', '1.0.2')} |"
        )


def install(folder: Path) -> list[Path]:
    """The folders of the programs of the others, installed where they are not."""
    node, python = folder / "node_modules/.bin", folder / "python/bin"
    if not node.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "release-it@19.2.4"]
        subprocess.run(command, cwd=folder, check=True)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "python")], check=True)
        subprocess.run([str(python / "pip"), "install", "-q", *PROGRAMS], check=True)
    return [node, python]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tools", type=Path, help="Keep the installed tools in this folder.")
    parser.add_argument("--only", default="", help="Tools whose name holds this.")
    asked = parser.parse_args()
    assert CXLOCAL.exists()
    with tempfile.TemporaryDirectory(prefix="cuts-") as text:
        top = Path(text)
        bins = [link_program(top), *install(asked.tools or top / "tools")]
        print("| tool | killed | then there is | the same again |\n|---|---|---|---|")
        for way in WAYS:
            two = TWO_FILES if way.name == "twine, git" else {}
            for name, point in {**CUTS, **two}.items():
                if asked.only in way.name:
                    print(row(way, name, point, top, bins), flush=True)


if __name__ == "__main__":
    main()
