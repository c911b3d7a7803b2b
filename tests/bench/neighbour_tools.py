"""The tools of ``neighbours.py``, each as its documentation says to use it, and the project they release."""

from __future__ import annotations

from typing import NamedTuple

NODE_TOOLS = ("release-it@19.2.4", "commit-and-tag-version@12.7.3")
PYTHON_TOOLS = (
    "bump-my-version==1.8.1", "python-semantic-release==10.7.0", "build", "pytest", "setuptools", "wheel",
)  # fmt: skip
# The test of the project. A file in the gate turns it red, another one holds it up until it goes.
NODE_TEST = """\
const fs = require("fs"), gate = "GATE";
if (fs.existsSync(gate + "/red")) process.exit(1);
if (fs.existsSync(gate + "/hold")) fs.writeFileSync(gate + "/held-" + process.pid, "");
while (fs.existsSync(gate + "/hold")) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
"""
PYTHON_TEST = """\
import os, time
gate = "GATE"
def test_it():
    assert not os.path.exists(gate + "/red")
    if os.path.exists(gate + "/hold"):
        open(f"{gate}/held-{os.getpid()}", "w").close()
    while os.path.exists(gate + "/hold"):
        time.sleep(0.02)
"""
PRE_PUSH = """\
#!/bin/sh
[ -e GATE/hold-push ] || exit 0
touch GATE/held-$$
while [ -e GATE/hold-push ]; do sleep 0.05; done
"""
PACKAGE = """\
{
  "name": "shop",
  "version": "1.0.0",
  "license": "MIT",
  "scripts": { "test": "node test.js" },
  "files": ["index.js"]
}
"""
PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "shop"
version = "1.0.0"

[tool.setuptools]
py-modules = ["shop"]
"""
PROJECTS: dict[str, dict[str, str]] = {
    "node": {
        "package.json": PACKAGE, "index.js": "module.exports = 1;\n", "test.js": NODE_TEST,
        ".gitignore": "node_modules\n",
    },
    "python": {
        "pyproject.toml": PYPROJECT, "shop.py": "ONE = 1\n", "test_shop.py": PYTHON_TEST,
        ".gitignore": "build\ndist\n*.egg-info\n__pycache__\n.pytest_cache\n.venv\n",
    },
}  # fmt: skip


class File(NamedTuple):
    """A file that a person writes, or adds to."""

    name: str
    text: str


class Asked(NamedTuple):
    """A command at a terminal, and what is answered to its question."""

    command: str
    answer: str


Step = str | File | Asked


class Tool(NamedTuple):
    """A tool as its documentation says to use it for this project."""

    name: str
    language: str
    install: str
    setup: tuple[str | File, ...]
    """Until the first release can be made, once for a project."""
    release: tuple[str, ...]
    """When a change has been committed, as a script would."""
    at_terminal: tuple[Step, ...] = ()
    """The same as a person does it; empty: as a script."""
    again: tuple[str, ...] = ()
    """After a cut or a failure; empty: as at first."""
    shared: tuple[str | File, ...] = ()
    """What two people need beside it, on the first one's machine."""
    joining: tuple[str, ...] = ()
    """The same on the second one's."""


def commit(name: str) -> str:
    """How the set-up is brought to the remote."""
    return f'git add -A && git commit -m "chore: release with {name}" && git push'


def cxlocal(language: str) -> Tool:
    """Our own, for a kind of project."""
    return Tool(
        f"cxlocal ({language})", language, "pip install 'cxlocal[python]'",
        ("cxlocal init", commit("cxlocal").removesuffix(" && git push")),
        ("git push", "cxlocal run"),
        (Asked("cxlocal run", "y"),),
        ("cxlocal run --resume",),
        ("cxlocal store create folder://$TEAM", "cxlocal store adopt folder://$TEAM", File("cx.toml", '\n[store]\nurl = "folder://$TEAM"\n'),
         "git commit -am 'chore: share the store'"),
        ("cxlocal trust --store folder://$TEAM",),
    )  # fmt: skip


TOOLS = (
    cxlocal("node"),
    Tool(
        "release-it", "node", "npm install -g release-it",
        (
            File(".release-it.json", '{\n  "npm": { "publish": false },\n  "hooks": {\n    "before:init": "npm test",\n    "after:bump": "npm pack"\n  }\n}\n'),
            "echo '*.tgz' >> .gitignore", commit("release-it"),
        ),
        ("release-it --ci",),
    ),
    Tool(
        "commit-and-tag-version", "node", "npm install -g commit-and-tag-version",
        (
            File(".versionrc.json", '{\n  "scripts": {\n    "prerelease": "npm test",\n    "posttag": "npm pack"\n  }\n}\n'),
            "echo '*.tgz' >> .gitignore", commit("commit-and-tag-version"),
        ),
        ("commit-and-tag-version && git push --follow-tags",),
    ),
    cxlocal("python"),
    Tool(
        "bump-my-version", "python", "pip install bump-my-version",
        (
            File(".bumpversion.toml", '[tool.bumpversion]\ncurrent_version = "1.0.0"\ncommit = true\ntag = true\npre_commit_hooks = ["python -m pytest -q", "python -m build -nw"]\n\n[[tool.bumpversion.files]]\nfilename = "pyproject.toml"\n'),
            commit("bump-my-version"),
        ),
        ("bump-my-version bump patch && git push --follow-tags",),
    ),
    Tool(
        "python-semantic-release", "python", "pip install python-semantic-release",
        (
            File("pyproject.toml", '\n[tool.semantic_release]\nversion_toml = ["pyproject.toml:project.version"]\nbuild_command = "python -m pytest -q && python -m build -nw"\n'),
            commit("semantic-release"),
        ),
        ("semantic-release version --no-vcs-release",),
    ),
)  # fmt: skip
