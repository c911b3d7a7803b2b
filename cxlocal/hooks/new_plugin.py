"""A plugin to begin with, and its test: what ``cxlocal plugins new`` writes. Pure."""

from __future__ import annotations

from cxlocal.errors import UsageError
from cxlocal.hooks.class_checks import is_tool_name
from cxlocal.hooks.found import SHIPPED
from cxlocal.version import VERSION

TOOL = '''\
"""A tool for cxlocal. Its instances are folders: put what you make in their place."""

import json
import shutil
from pathlib import Path

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Context, Created, Done, Observed, ObservedResource, Tool


class CLASS(Tool):
    name = "NAME"
    api = 2
    title = "NAME"
    # Programs that must be on PATH, such as ("ssh",).
    executables = ()

    class Options(Tool.Options, frozen=True):
        # The keys of `with`, with types and defaults.
        greeting: str = "hello"

    def create(self, ctx: Context) -> Created:
        """Make one instance, labelled with its id. It was recorded before this begins."""
        place = _places(ctx) / ctx.resource
        place.mkdir(parents=True, exist_ok=True)
        # ctx.artifact is what it is to run, ctx.variables what it is to find in its environment: they
        # may hold secrets, so hand them over by file or pipe and never by argument.
        (place / "greeting").write_text(ctx.options.greeting)
        label = {"version": ctx.version, "digest": ctx.artifact.sha256 if ctx.artifact else ""}
        # Last: what has no label is half made, and is made again.
        (place / "label.json").write_text(json.dumps(label))
        return Created(address="")  # "host:port", where it answers

    def remove(self, ctx: Context) -> Done:
        """Take an instance away, by its id alone; also one that was half made, or never."""
        shutil.rmtree(_places(ctx) / ctx.resource, ignore_errors=True)
        if _places(ctx).is_dir() and not any(_places(ctx).iterdir()):
            _places(ctx).rmdir()
        return Done()

    def observe(self, ctx: Context) -> Observed:
        """Every instance with our label that is there."""
        found = []
        for label in sorted(_places(ctx).glob("*/label.json")):
            said = json.loads(label.read_text())
            found.append(ObservedResource(id=label.parent.name, **said))
        return Observed(resources=tuple(found))


def _places(ctx: Context) -> Path:
    """What belongs to this component, and to nobody else."""
    assert ctx.environment is not None
    return ctx.environment.folder / ctx.component


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    return [CLASS]
'''

TEST = '''\
"""What every tool should keep, tried on NAME in real workers."""

from MODULE import CLASS

from cxlocal.testing import Bench, ComponentContract


class TestCLASS(ComponentContract):
    tool = CLASS
    with_table = {"greeting": "hello"}

    def remains(self, bench: Bench, handle: object) -> list[str]:
        # What is left of the instance with this id after kill -9 and `remove`, looked for without the
        # tool: its own `observe` may not see what is half made. Look where yours are made.
        return [str(path) for path in bench.environment.folder.rglob("*") if path.name == handle]

    def test_an_instance_has_what_it_was_told(self, bench: Bench) -> None:
        self._run(bench, "create")
        [file] = bench.environment.folder.rglob("greeting")
        assert file.read_text() == "hello"
'''

READER = '''\
"""A report format for cxlocal: one line a case, `passed a test` or `failed a test`."""

from pathlib import Path

from cxlocal.hooks.report import Case, Report
from cxlocal.hooks.specs import hookimpl

BYTES_MAX = 1 << 20
# Reports come from builds, so nothing in them is to be believed.


class CLASS:
    format = "NAME"

    def read(self, path: Path, *, suite: str) -> Report:
        with path.open("rb") as file:
            text = file.read(BYTES_MAX).decode("utf-8", "replace")
        cases, odd = [], 0
        for line in text.splitlines():
            outcome, _, name = line.partition(" ")
            if outcome in ("passed", "failed") and name:
                cases.append(Case(suite, name, outcome, None, ""))
            else:
                odd += 1
        # What is wrong with the file makes the stage an error; nothing is raised for it.
        return Report(self.format, suite, tuple(cases), f"{odd} odd lines" if odd else "")


@hookimpl
def cxlocal_register_report_readers() -> list[CLASS]:
    return [CLASS()]
'''

READER_TEST = '''\
"""Reports as they come, and as they should not."""

from pathlib import Path

from MODULE import CLASS

from cxlocal.testing import read_report


def test_each_line_is_a_case(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("passed adds\\nfailed divides\\n")
    report = read_report(CLASS(), tmp_path / "report")
    assert [(case.name, case.outcome) for case in report.cases] == [
        ("adds", "passed"), ("divides", "failed"),
    ]
    assert report.problem == "" and report.outcome == "failure"


def test_what_it_cannot_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "report").write_bytes(b"\\xff\\x00 nonsense")
    assert read_report(CLASS(), tmp_path / "report").problem == "1 odd lines"
'''

GATE = '''\
"""A gate for cxlocal: has a say before something is deployed, published or promoted."""

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.stage_view import GateAnswer, GateQuestion

NAME_OF_GATE = "NAME"


@hookimpl
def cxlocal_gate(question: GateQuestion) -> GateAnswer | None:
    if question.kind != "deploy" or question.lifetime != "lasting":
        return None  # no opinion
    if question.planned or question.reason:
        return GateAnswer(NAME_OF_GATE, "allow", question.reason or "it is planned")
    return GateAnswer(NAME_OF_GATE, "deny", "what is not planned needs --reason")
'''

GATE_TEST = '''\
"""Questions as cxlocal asks them."""

from MODULE import cxlocal_gate

from cxlocal.testing import question


def test_what_is_not_planned_needs_a_reason() -> None:
    assert cxlocal_gate(question("deploy", planned=False)).verdict == "deny"
    assert cxlocal_gate(question("deploy", planned=False, reason="fire")).verdict == "allow"
    assert cxlocal_gate(question("deploy")).verdict == "allow"
    assert cxlocal_gate(question("promotion")) is None
'''

SINK = '''\
"""A sink for cxlocal: appends events to a file, one JSON document a line."""

import json
import os
from collections.abc import Sequence

from cxlocal.hooks.sink import EventRecord, Sink
from cxlocal.hooks.specs import hookimpl


class CLASS(Sink):
    name = "NAME"
    api = 1
    schemes = ("NAME",)  # NAME:/var/log/events.jsonl
    takes = frozenset({"events"})

    def deliver(self, batch: Sequence[EventRecord]) -> int:
        """How many, from the first on, are surely there. OSError means: later."""
        with open(self.to.partition(":")[2], "a", encoding="utf-8") as file:
            for one in batch:
                file.write(json.dumps({"id": one.id, "type": one.type}) + "\\n")
            file.flush()
            os.fsync(file.fileno())
        return len(batch)


@hookimpl
def cxlocal_register_sinks() -> list[type[Sink]]:
    return [CLASS]
'''

SINK_TEST = '''\
"""What every sink should keep."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from MODULE import CLASS

from cxlocal.testing import Receiver, SinkContract


class TestCLASS(SinkContract):
    sink = CLASS
    nowhere = "NAME:/nowhere/at/all"

    @contextmanager
    def receiver(self, folder: Path) -> Iterator[Receiver]:
        file = folder / "events.jsonl"

        def ids() -> list[str]:
            return [json.loads(line)["id"] for line in file.read_text().splitlines()]

        yield Receiver(f"NAME:{file}", ids)
'''

TARGET = '''\
"""A target for cxlocal: a folder that holds each version once."""

import hashlib
import os
import shutil
from pathlib import Path

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Context, Held, Holdings, Published, Tool, Withdrawn


class CLASS(Tool):
    name = "NAME"
    api = 2

    class Options(Tool.Options, frozen=True):
        folder: str

    def ask(self, ctx: Context) -> Holdings:
        """What is there of each artifact. What cannot be found out is `not known`, never `absent`."""
        files = {}
        for name, artifact in ctx.artifacts.items():
            file = _place(ctx, name)
            held = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""
            files[name] = Held.compared(artifact.sha256, held, location=str(file))
        # The put below refuses what exists, so it may be tried where nothing is known.
        return Holdings(files=files, refuses=True)

    def publish(self, ctx: Context) -> Published:
        """Put what `ctx.put` names, and nothing else."""
        for name in ctx.put:
            file = _place(ctx, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_name(f".{file.name}.{ctx.run}")
            shutil.copyfile(ctx.artifacts[name].path, part)
            os.link(part, file)  # refused where something is
            part.unlink()
        return Published(locations={name: str(_place(ctx, name)) for name in ctx.put})

    def withdraw(self, ctx: Context) -> Withdrawn:
        for name in ctx.artifacts:
            _place(ctx, name).unlink(missing_ok=True)
        return Withdrawn(how="deleted")


def _place(ctx: Context, name: str) -> Path:
    return Path(ctx.options.folder) / ctx.deliverable / f"{name}-{ctx.version}"


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    return [CLASS]
'''

TARGET_TEST = '''\
"""What every target should keep, in real workers."""

from MODULE import CLASS

from cxlocal.testing import TargetContract


class TestCLASS(TargetContract):
    tool = CLASS
    with_table = {"folder": "shelf"}
'''

PACKAGE = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "cxlocal-NAME"
version = "0.1.0"
dependencies = ["cxlocal>=RELEASE"]

[project.entry-points.cxlocal]
NAME = "MODULE"

[tool.hatch.build]
dev-mode-dirs = ["."]

[tool.hatch.build.targets.wheel]
include = ["MODULE.py"]
"""

KINDS = {
    "tool": (TOOL, TEST),
    "target": (TARGET, TARGET_TEST),
    "reader": (READER, READER_TEST),
    "gate": (GATE, GATE_TEST),
    "sink": (SINK, SINK_TEST),
}
"""What can be written: the plugin, and its test."""
PACKAGE_FILE = "pyproject.toml"


def new_plugin(name: str, kind: str = "tool") -> dict[str, str]:
    """The files, by name, of a plugin of this name: itself, its test, and what makes a package of it.
    Raises UsageError for what is no name of one, or that of a shipped one."""
    if not is_tool_name(name):
        raise UsageError(
            f"{name!r} is no name of a plugin",
            why="it is a word like local-service: small letters, digits, and - between them",
            hint="cxlocal plugins new my-tool",
            name="bad-plugin-name",
        )
    if any(name in (one.name, *one.tools) for one in SHIPPED):
        raise UsageError(
            f"{name!r} is the name of a plugin that comes with cxlocal",
            why="of two of one name only one is asked",
            hint="cxlocal plugins new my-tool",
            name="shipped-plugin-name",
        )
    module = f"cxlocal_{name.replace('-', '_')}"
    words = {
        "NAME_OF_GATE": "GATE", "NAME": name, "MODULE": module, "RELEASE": VERSION,
        "CLASS": "".join(part.title() for part in name.split("-")),
    }  # fmt: skip
    plugin, test = KINDS[kind]
    files = {f"{module}.py": plugin, f"test_{module}.py": test, PACKAGE_FILE: PACKAGE}
    for word, stands in words.items():
        files = {file: text.replace(word, stands) for file, text in files.items()}
    return files
