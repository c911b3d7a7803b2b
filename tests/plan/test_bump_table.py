"""``[bump]``: what cannot be is said before anything runs."""

from __future__ import annotations

import pytest

from cxlocal.config.load import parse
from cxlocal.errors import ConfigError
from cxlocal.plan.resolve import resolve

HEAD = 'cx = 1\n[deliverable]\nname = "shop"\n[stages]\nbuild = { command = "true" }\n'
LOG = 'changelog = "CHANGELOG.md"\n'


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("", "would hold nothing"),
        ('changelog = "../x.md"\n', "changelog"),
        ('changelog = "/x.md"\n', "changelog"),
        (LOG + 'message = "Release"\n', "which version"),
        (LOG + 'message = "{version}\\nReviewed-By: x"\n', "which version"),
        (LOG + 'needs = ["built"]\n', "no stage 'built'"),
        *[(LOG + f'branch = "{name}"\n', "names no branch") for name in (
            "refs/tags/v9", "refs/heads/main",
            "a b", "-x", "a..b", "x.lock", "/x", "x/", "a:b", "a^", "x~1", "*", ".x", "a/.b",
        )],
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(table: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        resolve(parse(f"{HEAD}[bump]\n{table}"))


@pytest.mark.parametrize("name", ["main", "release/1.0", "wartung-ä"])
def test_what_can_be_stands_in_the_plan(name: str) -> None:
    plan = resolve(parse(f'{HEAD}[bump]\n{LOG}branch = "{name}"\nneeds = ["build"]\n'))
    assert plan.bump and (plan.bump.branch, plan.bump.needs) == (name, ("build",))
