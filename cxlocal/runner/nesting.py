"""cxlocal inside cxlocal: what a stage's processes are told of the run they are part of.

A command that a stage calls is the same machine: same home, same store. If it has a home of its own
(a test suite that plays with cxlocal in a temporary folder), it is another machine and is told
nothing. A run of the same project inside of its own run would repeat itself without end.

The variable ``WITHIN`` holds, as JSON, what was handed on and the runs around us, outermost first.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, MutableMapping
from typing import Any

from cxlocal.address import handed_address
from cxlocal.errors import Refused
from cxlocal.processes.environment import NO_PUSHES, STORE, WITHIN
from cxlocal.processes.identity import alive, own_identity
from cxlocal.revision.remotes import around
from cxlocal.revision.repository import identity
from cxlocal.runner.orphans import here
from cxlocal.runner.record import RunRecord
from cxlocal.runner.source import Machine, Source

HOME, NODE = "CXLOCAL_HOME", "CXLOCAL_NODE"

NOT_IN_A_CHECKOUT = ("flag", "environment", "cx.local.toml")
"""Where a store may be named that a command in the checkout would not find by itself."""


def handed_on(machine: Machine, source: Source, record: RunRecord) -> dict[str, str]:
    """The environment to make those of stages of: ours, with what makes their commands this
    machine. The address of the store is whole: ``stage_environment`` cuts it for stages."""
    settings = source.settings
    told = {HOME: str(machine.home.resolve()), NODE: "kept" if source.kept else "passing"}
    if settings.store_url and settings.origins["store.url"] in NOT_IN_A_CHECKOUT:
        told[STORE] = handed_address(settings.store_url)
    if record.kind != "release":
        told[NO_PUSHES] = "\n".join(around(source.repository).addresses)
    runs = [*_read(machine.environ)["runs"], _level(machine, record)]
    whole = {STORE: settings.store_url} if STORE in told else {}
    return {**machine.environ, **told, **whole, WITHIN: json.dumps({"told": told, "runs": runs})}


def _level(machine: Machine, record: RunRecord) -> dict[str, str]:

    name = record.ref.deliverable
    row = record.journal.one("SELECT repository_root FROM deliverable WHERE id = ?", (name,))
    own = own_identity()
    return {
        "run": record.run,
        "kind": record.kind,
        "deliverable": name,
        "root": (row and row["repository_root"]) or "",
        "commit": record.revision,
        "home": str(machine.home.resolve()),
        "pid": str(own.pid),
        "start": own.start,
        "here": here(),
    }


def disown(environ: MutableMapping[str, str]) -> None:
    """Take out of ``environ`` what a run around us handed on, if we have a home of our own."""
    if WITHIN not in environ:
        return
    found = _read(environ)
    told = found["told"]
    home = environ.get(HOME, "")
    if home and os.path.realpath(home) == told.get(HOME):
        return
    runs = [run["run"] for run in found["runs"]]
    for name in (STORE, NODE, NO_PUSHES):
        if name in told and handed_address(environ.get(name, "")) == told[name]:
            del environ[name]
    if environ.get("CXLOCAL_RUN") in runs:
        for name in ("CXLOCAL_RUN", "CXLOCAL_STAGE"):
            environ.pop(name, None)


def refuse_repetition(machine: Machine, source: Source) -> None:
    """Raises Refused for a run of the project whose run we are part of."""
    for run in _read(machine.environ)["runs"]:
        if _is_same(run, machine, source) and _goes_on(run):
            name = source.config.deliverable.name
            raise Refused(
                f"this is a stage of run {run['run'][:8]} of {name!r}",
                why=f"a run of {name!r} inside of its own run would begin the same stage again, and"
                " that one another run",
                hint=f"call the programs themselves in the stage; a test that releases a copy on"
                f" purpose: env -u {WITHIN} cxlocal run",
                name="run-within-run",
                run=run["run"],
            )


def refuse_in_rehearsal(machine: Machine) -> None:
    """Raises Refused for what would release, deploy or promote anything while a rehearsal that we are
    part of goes on. A test suite with a home of its own does as it likes."""
    _refuse_in_rehearsal(
        machine.environ, str(machine.home.resolve()), "releases, deploys and promotes"
    )


def refuse_outward(environ: Mapping[str, str]) -> None:
    """Raises Refused, in a stage of a rehearsal, for a command that changes something beside this
    machine's journal: a store, a remote, the journals of others, a lasting environment."""
    home = environ.get(HOME, "")
    _refuse_in_rehearsal(
        environ, os.path.realpath(home) if home else "", "sends, fetches and settles"
    )


def _refuse_in_rehearsal(environ: Mapping[str, str], home: str, does: str) -> None:
    """``home`` is where this command's journal is; empty where nobody says that it is another one."""
    for run in _read(environ)["runs"]:
        if run["kind"] != "release" and home in ("", run["home"]) and _goes_on(run):
            raise Refused(
                f"this is a stage of rehearsal {run['run'][:8]} of {run['deliverable']!r}",
                why=f"a rehearsal {does} nothing, also not by a command of its stages",
                hint='give the stage kind = "publish" or "deploy": a rehearsal leaves it out',
                name="within-rehearsal",
                run=run["run"],
            )


def _is_same(run: dict[str, str], machine: Machine, source: Source) -> bool:
    """Whether it is a run of this project. One home knows one project by that name only."""
    if run["deliverable"] != source.config.deliverable.name:
        return False
    if run["home"] == str(machine.home.resolve()) or run["commit"] == source.revision.commit:
        return True

    root = identity(source.repository, source.revision.commit).root_commit
    return bool(root) and root == run["root"]


def _goes_on(run: dict[str, str]) -> bool:
    """Whether that run is still carried out: a service it has started may outlive it. What cannot
    be known from here (another container) is taken to go on."""

    return run["here"] != here() or alive(int(run["pid"]), run["start"])


_KEYS = ("run", "deliverable", "root", "commit", "home", "pid", "start", "here")


def _read(environ: Mapping[str, str]) -> dict[str, Any]:
    """What the variable says; nothing where it says no such thing."""
    nothing: dict[str, Any] = {"told": {}, "runs": []}
    text = environ.get(WITHIN, "")
    if not text:
        return nothing
    try:
        found = json.loads(text)
        told = {str(name): str(value) for name, value in found["told"].items()}
        # An earlier cxlocal around us does not say of which kind its run is.
        runs = [
            {"kind": str(run.get("kind", "")), **{key: str(run[key]) for key in _KEYS}}
            for run in found["runs"]
        ]
        if not all(run["pid"].isdecimal() for run in runs):
            return nothing
    except (ValueError, TypeError, KeyError, AttributeError):
        return nothing
    return {"told": told, "runs": runs}
