"""The first hour on real projects: ``init``, ``rehearse``, ``run``, a failed test, a second release.

Each project is fetched by the ordinary client of where it lives, its repository pushed to a bare one
in a temporary folder, and played with nothing but what ``cxlocal init`` writes::

    python tests/bench/first_hour.py                        # all of them; half an hour
    python tests/bench/first_hour.py --only fnv,inih        # some
    python tests/bench/first_hour.py --clones FOLDER        # repositories are in FOLDER/owner+name

Prints one line of a Markdown table for each project as it ends. Nothing of these projects is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "real"))

from archives import NotToBeHad, call, debian, git, npm, pushed, pypi, unpacked

PROGRAM = str(Path(sys.executable).with_name("cxlocal"))
LIMIT_SECONDS = 900.0
"""Of one command; the longest build of the list takes two minutes."""
LOG_LINES, SAID_MAX = 3, 300
"""What a row of the table says of a failure."""


class Project(NamedTuple):
    """A project, and what a person who knows it would say."""

    name: str
    source: str
    """``pypi NAME VERSION``, ``npm NAME VERSION``, ``debian NAME``, ``git OWNER/NAME COMMIT``, with
    the tags in the history of the commit."""
    what: str
    """What is special of it, for the table."""
    kind: str
    """What it is, as ``init`` should say."""
    first: str
    """The first version to be handed out."""
    tested: bool = True
    """Whether it has tests."""
    folder: str = ""
    """Of a workspace: the member that is released."""


PROJECTS = (
    Project("itsdangerous", "git pallets/itsdangerous 672971d66a", "Python, flit, uv lock, dependency groups", "a Python package", "2.3.0"),
    Project("tomlkit", "git python-poetry/tomlkit 0.13.3", "Python, Poetry lock", "a Python package", "0.13.4"),
    Project("humanize", "git python-humanize/humanize c3a124cdeb", "Python, hatch-vcs, extras", "a Python package", "4.16.1"),
    Project("colorama", "pypi colorama 0.4.6", "Python, hatch, version in a module", "a Python package", "0.4.7"),
    Project("iniconfig", "git pytest-dev/iniconfig 71901257f6", "Python, hatch-vcs, hatch's environments", "a Python package", "2.1.1"),
    Project("iniconfig", "pypi iniconfig 2.1.0", "Python, version from git, archive without git and tests", "a Python package", "2.1.1", tested=False),
    Project("pluggy", "git pytest-dev/pluggy e382e72789", "Python, setuptools-scm, uv lock", "a Python package", "1.6.1"),
    Project("text-unidecode", "pypi text-unidecode 1.3", "Python, setup.py, two numbers", "a Python package", "1.3.1"),
    Project("commander", "git tj/commander.js ba6d13ddb4", "Node, npm lock", "a Node package", "15.0.1"),
    Project("nanoid", "git ai/nanoid 5.1.5", "Node, pnpm lock", "a Node package", "5.1.6"),
    Project("concat-map", "npm concat-map 0.0.1", "Node, no lock", "a Node package", "0.0.2"),
    Project("remark-parse", "git remarkjs/remark 6c18384e97", "npm workspace of four, private root; its tests are the root's", "a Node package", "11.0.1", tested=False, folder="packages/remark-parse"),
    Project("junit-starter", "git junit-team/junit-examples 02dedb783f", "Maven, wrapper; a folder of many", "a Maven project", "1.0.0", folder="junit-jupiter-starter-maven"),
    Project("fnv", "git servo/rust-fnv 4e55052a34", "Rust crate", "a Rust crate", "1.0.8"),
    Project("pflag", "git spf13/pflag 5fdac2d16c", "Go library", "a Go library", "1.0.11"),
    Project("waybackurls", "git tomnomnom/waybackurls 8d27cf3e30", "Go program, no tests", "a Go module", "0.1.1", tested=False),
    Project("tinyxml2", "git leethomason/tinyxml2 3dcad8e3c3", "C++, CMake (and Meson)", "a CMake project", "11.0.1"),
    Project("inih", "git benhoyt/inih 26254ee9de", "C, Meson, tags r1 to r62", "a Meson project", "63"),
    Project("figlet", "debian figlet", "C, make", "a Makefile", "2.2.6"),
    Project("jansson", "debian jansson", "C library, CMake and configure", "a CMake project", "2.14.1"),
    Project("hello-world", "git docker-library/hello-world a1942f2", "image from scratch, a folder of many; no tags", "an image by Dockerfile", "0.1.0", tested=False, folder="amd64"),
    Project("http-https-echo", "git mendhak/docker-http-https-echo 2c642afdfe", "image, tags 1 to 41", "an image by Dockerfile, of a Node package", "42", tested=False),
)  # fmt: skip


class Row(NamedTuple):
    """What became of a project."""

    project: Project
    kind: str = ""
    first: str = ""
    rehearsed: bool = False
    released: str = ""
    tests: str = ""
    resumed: str = ""
    second: str = ""
    stages_seconds: float = 0.0
    ours_seconds: float = 0.0
    said: str = ""
    """Where it ended, in the words of the command."""

    @property
    def green(self) -> bool:
        """Whether all of it went as a person would want."""
        one = self.project
        return bool(
            self.kind == one.kind and self.first == one.first == self.released and self.rehearsed
            and self.second and bool(self.tests) == one.tested and (self.resumed or not one.tested)
        )  # fmt: skip

    def line(self) -> str:
        """A line of the table."""
        one = self.project
        marks = [
            "yes" if self.kind == one.kind else f"no: {self.kind or '-'}",
            self.first if self.first == one.first else f"{self.first or '-'}, not {one.first}",
            "yes" if self.rehearsed and self.released else "no",
            self.tests or ("none, said" if not one.tested else "no"),
            (self.resumed or "-") if one.tested else "-",
            self.second or "-",
            f"{self.stages_seconds:.1f} + {self.ours_seconds:.1f}" if self.released else "-",
        ]
        words = " ".join(self.said.split())
        return f"| {one.name} | {one.what} | {' | '.join(marks)} |" + (f" {words}" if words else "")


HEAD = """\
| project | what it is | kind right | next version | ran at once | tests | resumed | second release | seconds: stages + ours |
|---|---|---|---|---|---|---|---|---|"""


class Failed(Exception):
    """A command did not do what it should; its last words."""


class Player:
    """Plays one project in a folder of its own."""

    def __init__(self, project: Project, base: Path, clones: Path | None, address: str) -> None:
        self.project, self.base, self.clones, self.address = project, base, clones, address
        self.row = Row(project)
        self.switch = base / "tests-may-pass"
        self.env = {**os.environ, "CXLOCAL_HOME": str(base / "home")}
        for name, value in (("NAME", "First Hour"), ("EMAIL", "first@example.org")):
            self.env |= {f"GIT_AUTHOR_{name}": value, f"GIT_COMMITTER_{name}": value}
        os.environ.update({key: self.env[key] for key in self.env if key.startswith("GIT_")})

    def play(self) -> Row:
        """All of it, as far as it goes."""
        try:
            repository = self._obtain()
            folder = repository / self.project.folder
            self._init(folder)
            self._commit(folder, "describe the release")
            self.cx(folder, "rehearse")
            self.row = self.row._replace(rehearsed=True)
            self._release(folder)
            if self.project.tested:
                self._fail_and_resume(folder)
            self._second(folder)
        except (Failed, NotToBeHad, OSError, subprocess.SubprocessError) as problem:
            self.row = self.row._replace(said=str(problem)[:SAID_MAX])
        return self.row

    def cx(self, folder: Path, *words: str, code: int = 0) -> str:
        """What a command said. Raises Failed where it ends otherwise than in ``code``."""
        done = subprocess.run(
            [PROGRAM, *words], cwd=folder, env=self.env, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=LIMIT_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode != code:
            raise Failed(
                f"`{' '.join(words)}` ended in {done.returncode}: {last_words(done.stderr)}"
            )
        return done.stdout + done.stderr

    def _obtain(self) -> Path:
        way, *words = self.project.source.split()
        fetched = self.base / "fetched"
        fetched.mkdir()
        if way == "git":
            folder = self.base / words[0].partition("/")[2]
            call(["git", "clone", "-q", self._place(words[0]), str(folder)], self.base)
            git(folder, "checkout", "-q", "-B", "main", words[1])
            later = git(folder, "tag", "--no-merged", "HEAD").split()
            git(folder, "tag", "-d", *later, "--")
            self._submodules(folder)
            git(folder, "remote", "remove", "origin")
        else:
            ways: dict[str, Callable[..., Path]] = {"pypi": pypi, "npm": npm, "debian": debian}
            folder = unpacked(ways[way](*words, fetched), self.base / "unpacked")
        pushed(folder, self.base / "remote.git")
        return folder

    def _place(self, repository: str) -> str:
        """Where ``owner/name`` is cloned from."""
        if self.clones is None:
            return f"{self.address}/{repository}.git"
        here = self.clones / repository.replace("/", "+")
        return str(here / "repo" if (here / "repo").is_dir() else here)

    def _submodules(self, folder: Path) -> None:
        """Fetch them. What cannot be had of them is said by the release itself."""
        if not (folder / ".gitmodules").exists():
            return
        git(folder, "submodule", "init", "-q")
        urls = git(folder, "config", "--get-regexp", r"^submodule\..*\.url$")
        for key, url in (line.split(" ", 1) for line in urls.splitlines()):
            owned = "/".join(url.removesuffix(".git").split("/")[-2:])
            git(folder, "config", key, self._place(owned))
        update = ["git", "-c", "protocol.file.allow=always", "submodule", "update", "-q"]
        subprocess.run(update, cwd=folder, capture_output=True, timeout=120, check=False)

    def _init(self, folder: Path) -> None:
        said = self.cx(folder, "init")
        kind = re.search(r"Wrote \S+ for (.*)\.", said)
        text = (folder / "cx.toml").read_text()
        first = re.search(r"^line = .*# (\S+), ", text, re.MULTILINE)
        self.row = self.row._replace(kind=kind[1] if kind else "", first=first[1] if first else "")

    def _commit(self, folder: Path, subject: str) -> None:
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "--allow-empty", "-m", subject)
        git(folder, "push", "-q", "origin", "HEAD")

    def _release(self, folder: Path) -> None:
        begun = time.monotonic()
        said = self.cx(folder, "run")
        whole = time.monotonic() - begun
        run = self._latest(folder)
        spans = [stage_span(one) for one in run["parts"]]
        stages = covered([span for span in spans if span])
        cases = sum(report["total"] or 0 for report in run["reports"])
        counted = "yes, not counted" if not cases else f"{cases} test{'s' * (cases > 1)}"
        tests = counted if run["reports"] else ""
        if not self.project.tested and "not tested" not in said.lower():
            raise Failed("nothing said that nothing was tested")
        self.row = self.row._replace(
            released=run["version"], tests=tests, stages_seconds=stages,
            ours_seconds=max(0.0, whole - stages),
        )  # fmt: skip

    def _latest(self, folder: Path) -> dict[str, Any]:
        return dict(json.loads(self.cx(folder, "show", "--json")))

    def _fail_and_resume(self, folder: Path) -> None:
        """A test that fails until a file is there: at the end of the stage that init wrote."""
        path = folder / "cx.toml"
        promotions = tomllib.loads(path.read_text()).get("promotions", {})
        tests = promotions.get("PASSED_TEST", {}).get("after", [])
        if not tests:
            raise Failed("no tests were found")
        text = path.read_text()
        stage = tomllib.loads(text)["stages"][tests[-1]]
        if "command" in stage:
            wanted = stage["command"] + f" && test -e {self.switch}"
            line = re.search(rf"^{tests[-1]} = .*$", text, re.MULTILINE)
            assert line is not None
            pattern = r"command = (\"(?:[^\"\\]|\\.)*\"|'[^']*')"
            new = re.sub(pattern, lambda _: f"command = {json.dumps(wanted)}", line[0])
            path.write_text(text.replace(line[0], new))
        else:
            files = git(folder, "ls-files").splitlines()
            beside = next(
                one for one in files if re.search(r"(^|/)(test_[^/]*|[^/]*_test)\.py$", one)
            )
            wanted = "test_first_hour.py" if "test_" in beside else "first_hour_test.py"
            (folder / beside).with_name(wanted).write_text(
                f"import os\n\n\ndef test_first_hour():\n    assert os.path.exists({str(self.switch)!r})\n"
            )
        self._commit(folder, "a test that fails")
        self.cx(folder, "run", code=1)
        failed = self._latest(folder)
        self.switch.touch()
        self.cx(folder, "run", "--resume", failed["run"])
        done = self._latest(folder)
        if done["outcome"] != "success" or done["version"] != failed["version"]:
            raise Failed(f"resumed {failed['version']}, came out as {done['version']}")
        self.row = self.row._replace(resumed=done["version"])

    def _second(self, folder: Path) -> None:
        self._commit(folder, "nothing new")
        self.cx(folder, "run")
        self.row = self.row._replace(second=self._latest(folder)["version"])


def last_words(said: str) -> str:
    """What a command said of its failure: lines of the log it shows that speak of one, else its
    last ones, else its error."""
    lines = said.strip().splitlines()
    log = [line.strip(" |") for line in lines if line.lstrip().startswith("|")]
    log = [line for line in log if line]
    telling = [one for one in log if re.search(r"(?i)error|fail|cannot|unable|no such|not f", one)]
    at = next((n for n, line in enumerate(lines) if line.startswith("Error")), 0)
    return " / ".join((telling or log)[-LOG_LINES:] or lines[at:])[:SAID_MAX]


def stage_span(stage: dict[str, Any]) -> tuple[float, float] | None:
    """When a stage began and ended, in seconds."""
    if not stage.get("started_at") or not stage.get("finished_at"):
        return None
    ends = (datetime.fromisoformat(stage[key]) for key in ("started_at", "finished_at"))
    begun, ended = (one.timestamp() for one in ends)
    return begun, ended


def covered(spans: list[tuple[float, float]]) -> float:
    """The seconds in which at least one stage ran."""
    total, until = 0.0, float("-inf")
    for begun, ended in sorted(spans):
        total += max(0.0, ended - max(begun, until))
        until = max(until, ended)
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", default="", help="names, with commas between")
    parser.add_argument("--clones", type=Path, help="a folder with repositories owner+name")
    parser.add_argument("--address", default="https://github.com", help="of repositories")
    parser.add_argument("--keep", type=Path, help="a folder in which everything stays")
    given = parser.parse_args()
    wanted = set(filter(None, given.only.split(",")))
    print(HEAD, flush=True)
    green = count = 0
    for project in PROJECTS:
        if wanted and project.name not in wanted:
            continue
        if given.keep is not None:
            base = given.keep / project.name
            shutil.rmtree(base, ignore_errors=True)
            base.mkdir(parents=True)
        else:
            base = Path(tempfile.mkdtemp(prefix="first-hour-"))
        row = Player(project, base, given.clones, given.address).play()
        print(row.line(), flush=True)
        green += row.green
        count += 1
        if given.keep is None:
            shutil.rmtree(base, ignore_errors=True)
    print(f"\n{green} of {count} green", flush=True)
    return 0 if green * 15 >= count * 13 else 1


if __name__ == "__main__":
    raise SystemExit(main())
