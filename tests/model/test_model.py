"""The model of the grant and token protocol: right as it is, wrong where a rule is left out.

``grants.pml`` is the model, docs/model.md says what it leaves out. The right model is searched whole, in
scopes that each look at one kind of trouble; a search that ends early, or leaves a line of the
protocol unreached for lack of numbers, is no proof and fails here. Each broken variant must find a
violation of the promise it is there for, in a story that is printed where it is the wrong one.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

MODEL = Path(__file__).with_name("grants.pml")
COMMAND_SECONDS = 50
DEPTH_MAX = 1000
"""Steps in a story. The longest has fewer than a hundred; reaching this fails the test."""

CLONES = {"MACHINES": 1, "COPIES": 1, "LATES": 0}
LATE = {"MACHINES": 2, "COPIES": 0, "LATES": 1}
RESTORE = {"MACHINES": 2, "COPIES": 0, "LATES": 0, "RESTORES": 1}

RIGHT = {
    "a journal and its copy": {**CLONES, "SENDS": 4, "SPENDS": 2},
    "a journal, its copy, late messages": {**CLONES, "LATES": 1, "SENDS": 3, "SPENDS": 2},
    "two machines, late messages": {**LATE, "SENDS": 3, "SPENDS": 2},
    "two machines, a restored store": {**RESTORE, "SENDS": 4, "SPENDS": 1},
    "a restored store, a message late": {
        **RESTORE,
        "MACHINES": 1,
        "LATES": 1,
        "SENDS": 4,
        "SPENDS": 1,
    },
}


class Broken(NamedTuple):
    """A variant that must fail."""

    scope: dict[str, int]
    promise: str
    """What the comment at the violated assert begins with."""
    options: tuple[str, ...] = ("-DBFS",)
    """Breadth first, for a shortest story, unless that takes too long."""


FIVE, FOUR, THREE = {"SENDS": 5}, {"SENDS": 4}, {"SENDS": 3}
BROKEN = {
    "NO_HINT": Broken({**CLONES, **THREE}, "P1"),
    "UNLOCK_AT_CONTACT": Broken({**CLONES, **FOUR}, "P1"),
    "COPY_KEEPS_RESERVE": Broken({**CLONES, **FOUR}, "P1"),
    "DURABLE_NONCE": Broken({**CLONES, **FOUR}, "P1"),
    "TOKEN_UNCHECKED": Broken({**CLONES, **FOUR}, "P9"),
    "PROPOSAL_READY": Broken({**CLONES, **FOUR}, "P9"),
    "NO_NONCE": Broken({**LATE, **THREE}, "one request, one grant"),
    "NO_RAISE": Broken({**LATE, **THREE}, "P4"),
    "ONLINE_IN_RESERVE": Broken({**LATE, **THREE}, "P5"),
    "RESERVE_NOT_ABOVE": Broken({**LATE, **THREE}, "P5"),
    "NO_WITNESS": Broken({**RESTORE, **FOUR}, "P1"),
    "NO_MARGIN": Broken({**RESTORE, **FOUR, "SPENDS": 2}, "P1", ()),
    # What the manual names as remaining: the model must find it where it is not excluded.
    "RISK_WHOLE": Broken({**CLONES, **THREE}, "P1"),
    "RISK_MOVED": Broken({**CLONES, **THREE}, "P1"),
    "RISK_RESTORE": Broken({**RESTORE, **FOUR}, "P1"),
    "LATE_SETS_BACK": Broken(
        {**RESTORE, **FOUR, "MACHINES": 1, "LATES": 1, "SPENDS": 0}, "recovered once is enough"
    ),
}


@pytest.mark.needs("spin")
@pytest.mark.needs("gcc")
@pytest.mark.parametrize("scope", RIGHT)
def test_p1_p3_p4_p5_p9_hold_in_every_story_of_the_model(scope: str, tmp_path: Path) -> None:
    build(tmp_path, RIGHT[scope])
    said = search(tmp_path)
    assert "errors: 0" in said, said + story(tmp_path, RIGHT[scope])
    assert "Search not completed" not in said, said
    assert "max search depth too small" not in said, said
    found = re.search(r"(\d+) states, stored", said)
    assert found, said
    print(f"{scope}: {found.group(1)} states")
    assert int(found.group(1)) > 50_000, "the model became so narrow that it shows nothing"


@pytest.mark.needs("spin")
@pytest.mark.needs("gcc")
@pytest.mark.parametrize("variant", BROKEN)
def test_a_rule_left_out_breaks_its_promise(variant: str, tmp_path: Path) -> None:
    broken = BROKEN[variant]
    scope = {**broken.scope, variant: 1}
    build(tmp_path, scope, *broken.options)
    said = search(tmp_path)
    assert "errors: 1" in said, f"{variant} breaks nothing\n{said}"
    told = story(tmp_path, scope)
    assert promise_of(told).startswith(broken.promise), told


def test_every_variant_in_the_model_is_tried() -> None:
    defines = set(re.findall(r"^#if(?:n)?def ([A-Z_]+)$", MODEL.read_text(), re.MULTILINE))
    bounds = {"SENDS", "SPENDS", "COPIES", "RESTORES", "RECOVERIES", "LATES", "MACHINES"}
    bounds |= {"SIZE", "AHEAD"}
    assert defines - bounds == set(BROKEN)


def build(folder: Path, scope: dict[str, int], *options: str) -> None:
    """Make the program ``pan`` that searches the model."""
    shutil.copy(MODEL, folder)
    run(folder, ["spin", "-a", *defines_of(scope), MODEL.name])
    # NOREDUCE: there is one process, nothing to reduce. -w: what spin makes is not ours to mend.
    run(folder, ["gcc", "-w", "-O1", "-DSAFETY", "-DNOREDUCE", "-DVECTORSZ=4096",
                 "-DMEMLIM=3000", *options, "-o", "pan", "pan.c"])  # fmt: skip


def search(folder: Path) -> str:
    """Search the whole state space, exactly; what pan said."""
    # -E: a story may stop anywhere, nothing has to come to an end.
    return run(folder, ["./pan", f"-m{DEPTH_MAX}", "-w21", "-E"])


def story(folder: Path, scope: dict[str, int]) -> str:
    """What happened up to the violation, in words."""
    if not (folder / f"{MODEL.name}.trail").exists():
        return ""
    return run(folder, ["spin", "-t", *defines_of(scope), MODEL.name])


def promise_of(told: str) -> str:
    """The comment at the assert that a story violated."""
    at = re.search(r":(\d+), Error: assertion violated", told)
    assert at, told
    line = int(at.group(1))
    comment = re.search(r"/\* (.*?) \*/", "\n".join(MODEL.read_text().splitlines()[line - 1 :]))
    assert comment, told
    return comment.group(1)


def defines_of(scope: dict[str, int]) -> list[str]:
    return [f"-D{name}={value}" for name, value in scope.items()]


def run(folder: Path, command: list[str]) -> str:
    done = subprocess.run(
        command, cwd=folder, text=True, timeout=COMMAND_SECONDS, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    # spin -t ends with 1 where the story ends in a violation.
    assert done.returncode == 0 or command[:2] == ["spin", "-t"], done.stdout
    return done.stdout
