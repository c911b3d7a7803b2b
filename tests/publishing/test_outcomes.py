"""What happens at a target ends ``run`` and ``publish`` in one and the same exit code and words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cxlocal.errors import Refused, Trouble, Undecided
from cxlocal.plan import publication as rule
from cxlocal.runner.standing import Published, Stand, as_error

KIT = """
from pathlib import Path

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.stage_view import GateAnswer
from cxlocal.hooks.tool import Held, Holdings, Published, Tool, ToolFailure


def mood():
    return Path({mood!r}).read_text()


def held(state, held="", **rest):
    return Holdings(files={{"app": Held(state=state, wanted="sha256:1", held=held, **rest)}})


class Moody(Tool):
    name, api = "moody", 2

    class Options(Tool.Options, frozen=True):
        pass

    def ask(self, ctx):
        found = mood()
        if found == "not known":
            return held("not known", why="it answers 502", trouble="unreached")
        if found == "other":
            return held("other", "sha256:2")
        if found == "yanked":
            return held("same", yanked=True)
        return held("same" if found == "there" else "absent")

    def publish(self, ctx):
        found = mood()
        if found == "says no":
            raise ToolFailure("400: it takes no such file")
        if found == "read-only":
            raise ToolFailure("403: it is read-only", trouble="credential")
        return Published()


@hookimpl
def cxlocal_register_tools():
    return [Moody]


@hookimpl
def cxlocal_gate(question):
    found = mood()
    if question.target and found == "undecided":
        return GateAnswer("calendar", found, f"it is {{found}}")
    return None
"""

CONFIG = """
[stages]
build = { kind = "build", command = "echo one > app.txt", produces = { app = "app.txt" } }
place = { target = "place", needs = ["build"] }
[targets.place]
tool = "moody"
secrets = ["token"]
[secrets]
token = { env = "TOKEN" }
"""


class Met(NamedTuple):
    """What is met at the target."""

    mood: str
    code: int
    words: str
    secret: str = "s3cret-token"


WALK = (
    Met("absent", 4, "secret token cannot be had", secret=""),
    Met("undecided", 8, "it is undecided"),
    Met("not known", 9, "0 of 1: place not known .*it answers 502"),
    Met("says no", 1, "0 of 1: place absent .*it takes no such file"),
    Met("read-only", 4, "0 of 1: place absent .*it is read-only"),
    Met("other", 10, "0 of 1: place other .*sha256:2 there, not sha256:1"),
    Met("yanked", 3, "0 of 1: place withdrawn .*app is yanked"),
    Met("there", 0, ""),
)
"""In an order in which nothing that is on record changes what comes next."""


@pytest.fixture
def target(shop: Any, tools: Any, tmp_path: Path) -> Callable[[str], None]:
    """A released version, and a target whose mood can be set."""
    place = tmp_path / "mood"
    place.write_text("absent")
    shop.environ["TOKEN"] = "s3cret-token"
    tools(KIT.format(mood=str(place)))
    shop.write(CONFIG, {".gitignore": "app.txt\n"})
    assert shop.command("trust", "--yes").code == 0
    assert shop.run().code == 0
    return lambda mood: place.write_text(mood) and None


COMMANDS = {
    "publish": ("publish", "0.1.0"),
    "run": ("run", "--resume", "0.1.0", "--to", "place"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_run_and_publish_end_in_the_same_code(
    shop: Any, target: Callable[[str], None], command: str
) -> None:
    for met in WALK:
        target(met.mood)
        shop.environ["TOKEN"] = met.secret
        done = shop.command(*COMMANDS[command])
        assert done.code == met.code, f"{met.mood}: {done.code} {done.err}"
        assert re.search(met.words, done.err), f"{met.mood}: {done.err}"


ALL = [
    (rule.THERE, "", 0, False, 0), (rule.OTHER, "", 0, False, 10), (rule.OTHER, "", 0, True, 10),
    (rule.WITHDRAWN, "", 0, True, 3), (rule.ABSENT, rule.CREDENTIAL, 0, True, 4),
    (rule.ABSENT, "", 0, True, 1), (rule.PARTLY, "", 0, True, 1), (rule.PARTLY, "", 0, False, 9),
    (rule.PARTLY, rule.UNREACHED, 0, True, 9), (rule.NOT_KNOWN, "", 0, True, 9),
    (rule.NOT_KNOWN, rule.CREDENTIAL, 0, False, 4), (rule.ABSENT, "", 3, False, 3),
    (rule.ABSENT, "", 8, False, 8), (rule.ABSENT, "", 10, False, 10), (rule.THERE, "", 3, False, 3),
    (rule.ABSENT, rule.CREDENTIAL, 9, False, 9),
]  # fmt: skip


@pytest.mark.parametrize(("state", "trouble", "stopped", "declined", "code"), ALL)
def test_what_one_target_ends_in(
    state: str, trouble: str, stopped: int, declined: bool, code: int
) -> None:
    one = Stand("a", state, "", trouble, 0, 1, "", stopped=stopped, declined=declined)
    there = Stand("b", rule.THERE, "", "", 1, 1, "")
    assert rule.exit_code([one.standing, there.standing]) == code
    error = as_error(Published("run", "shop", "1.0.0", (one, there), ()))
    assert (0 if error is None else error.exit_code) == code
    assert error is None or error.hint or code == 8, "and says what to do"


@pytest.mark.parametrize(
    ("stopped", "beside", "code"),
    [((), (), 0), ((3, 10), (), 10), ((8, 9), (), 8), ((9,), (1,), 1), ((4,), (1,), 4), ((9,), (77,), 9), ((), (77,), 9)],
)  # fmt: skip
def test_the_most_urgent_of_all_that_a_command_did_counts(
    stopped: tuple[int, ...], beside: tuple[int, ...], code: int
) -> None:
    stands = [rule.Standing("a", rule.ABSENT, stopped=one) for one in stopped]
    assert rule.exit_code(stands, beside) == code


def test_several_refusals_of_one_kind_keep_their_code() -> None:
    """Two targets that a gate left undecided are undecided, and not refused or in trouble."""
    for kind, code in ((Undecided, 8), (Refused, 3), (Trouble, 9)):
        no = [kind("no", why=why, hint=why) for why in "ab"]
        stands = tuple(
            Stand(one.why, rule.ABSENT, "", "", 0, 1, "", "gate", one.hint, stopped=code)
            for one in no
        )
        error = as_error(Published("run", "shop", "1.0.0", stands, tuple(no)))
        assert error is not None and error.exit_code == code
