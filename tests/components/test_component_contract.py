"""The contract for tools of components: kept by ``commands``, and each promise is missed where it is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cxlocal_plugins.commands import Commands
from toys import CREATE, DB, DRAIN, LB, OBSERVE, REMOVE, ROTATE, WEB, WEIGHTS

from cxlocal.domain import Outcome
from cxlocal.hooks.tool import Applied, Previewed
from cxlocal.testing import Bench, ComponentContract


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the toys."""
    folder = tmp_path / "desk"
    folder.mkdir()
    monkeypatch.setenv("DESK", str(folder))
    return folder


class Toy(ComponentContract):
    tool = Commands
    kill_after_seconds = (0.0, 0.1)

    def _run(self, bench: Bench, verb: str, **others: Any) -> Any:
        desk = str(bench.folder.parent / "desk")
        return super()._run(bench, verb, env={"DESK": desk}, **others)


class TestWeb(Toy):
    with_table: ClassVar[dict[str, Any]] = WEB


class TestBalancer(Toy):
    with_table: ClassVar[dict[str, Any]] = LB
    behind = True


class TestDatabase(Toy):
    with_table: ClassVar[dict[str, Any]] = DB


BROKEN: dict[str, tuple[dict[str, str], Callable[[Toy, Bench], None]]] = {
    "made once only": (
        {**WEB, "create": CREATE.replace("echo", 'test ! -f "$DESK/web/$CXLOCAL_RESOURCE"; echo', 1)},
        Toy.test_an_instance_is_found_and_removed_by_its_id,
    ),
    "not found by its id": (
        {**WEB, "observe": OBSERVE.replace('"${one##*/}"', '"web"')},
        Toy.test_an_instance_is_found_and_removed_by_its_id,
    ),
    "the version is not said": (
        {**WEB, "observe": OBSERVE.replace('"version"', '"digest"')},
        Toy.test_an_instance_is_found_and_removed_by_its_id,
    ),
    "takes all away": (
        {**WEB, "remove": 'rm -rf "$DESK/web"'},
        Toy.test_an_instance_is_found_and_removed_by_its_id,
    ),
    "removes only what is there": (
        {**WEB, "remove": REMOVE.replace("rm -f", "rm")}, Toy.test_what_was_never_made_can_be_removed,
    ),
    "an older turn is taken": (
        {**LB, "rotate": ROTATE.replace("-ge", "-ge 0 -o 0 -eq")},
        Toy.test_weights_are_set_and_an_older_turn_is_refused,
    ),
    "weights are added": (
        {**LB, "rotate": ROTATE.replace('> "$DESK/lb.part"', '> "$DESK/lb.part"; tail -n +2 "$DESK/lb" >> "$DESK/lb.part" || true')},
        Toy.test_weights_are_set_and_an_older_turn_is_refused,
    ),
    "the turn is not written": (
        {**LB, "observe": WEIGHTS.replace('"$turn" >>', '0 >>')},
        Toy.test_weights_are_set_and_an_older_turn_is_refused,
    ),
    "drains what is drained": (
        {**LB, "drain": DRAIN.removeprefix("! ")},
        Toy.test_weights_are_set_and_an_older_turn_is_refused,
    ),
    "a lock stays when it is killed": (
        {**LB, "rotate": f'mkdir "$DESK/lock"; sleep 6; {ROTATE} rmdir "$DESK/lock"'},
        Toy.test_killed_at_any_verb_it_can_be_asked_again,
    ),
    "a preview changes something": (
        {**DB, "preview": 'test -f "$DESK/db" || echo make it; touch "$DESK/db"'},
        Toy.test_a_preview_changes_nothing,
    ),
    "there is always something to do": (
        {**DB, "preview": "echo make it"}, Toy.test_applied_twice_is_as_good_as_once,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_found(name: str, tmp_path: Path) -> None:
    table, promise = BROKEN[name]
    told = {"with_table": table, "behind": "rotate" in table, "kill_after_seconds": (3.0,)}
    broken = type("Broken", (Toy,), told)()
    with pytest.raises(AssertionError):
        promise(broken, Bench(tmp_path / "bench"))


def preview(bench: Bench, command: str) -> Any:
    return bench.run(Commands, "preview", {"preview": command}, component="db").outcome


@pytest.mark.parametrize(
    ("command", "outcome", "changes", "destroys"),
    [
        ("echo add a column; echo; echo drop an index", "success", ("add a column", "drop an index"), False),
        ("true", "success", (), False),
        ("echo drop the table orders; exit 3", "success", ("drop the table orders",), True),
        ('echo noise; echo \'{"changes": ["one"]}\' > "$CXLOCAL_RESULT"', "success", ("one",), False),
        ("exit 1", "failure", None, None),
    ],
)  # fmt: skip
def test_a_preview_by_a_command(
    bench: Bench, command: str, outcome: str, changes: tuple[str, ...] | None, destroys: bool | None
) -> None:
    found = preview(bench, command)
    assert found.outcome == outcome, found.reason
    if changes is not None:
        assert isinstance(found.result, Previewed)
        assert (found.result.changes, found.result.destroys) == (changes, destroys)


def test_secret_outputs_stand_in_no_result(bench: Bench, tmp_path: Path) -> None:
    say = (
        'echo \'{"secret_outputs": {"url": "pw-4711@db"}, "details": {"said": "pw-4711@db"}}\''
        ' > "$CXLOCAL_RESULT"'
    )
    found = bench.run(Commands, "apply", {"apply": say}, component="db").outcome
    assert found.secrets == {"url": "pw-4711@db"}
    assert not [
        one for one in tmp_path.rglob("*") if b"4711" in (one.is_file() and one.read_bytes() or b"")
    ]
    assert isinstance(found.result, Applied)
    assert "4711" not in str(found.result)


def test_how_far_it_came_is_known_where_apply_fails(bench: Bench) -> None:
    found = bench.run(Commands, "apply", {"apply": "exit 1"}, component="db").outcome
    assert found.outcome is Outcome.FAILURE
    assert isinstance(found.result, Applied) and found.result.changed, (
        "it counts as changed in part"
    )


def test_what_a_command_is_told(bench: Bench) -> None:
    one = "0f0e0d0c-0000-4000-8000-000000000001"
    ran = bench.run(
        Commands, "create", {"create": "env"}, component="web", resource=one, turn=4, host="app-1",
        behind="lb", variables={"GREETING": "hello"}, wanted={one: 90, "b": 10},
        addresses={one: "127.0.0.1:8000"}, components={"db": {"url": "file:///db"}},
    )  # fmt: skip
    lines = ran.log.decode().splitlines()
    for line in (
        f"CXLOCAL_RESOURCE={one}", "CXLOCAL_COMPONENT=web", "CXLOCAL_TURN=4", "CXLOCAL_HOST=app-1",
        "CXLOCAL_BEHIND=lb", "GREETING=hello", f"CXLOCAL_WANTED={one}=90", "b=10",
        "CXLOCAL_ADDRESS_0F0E0D0C_0000_4000_8000_000000000001=127.0.0.1:8000",
        "CXLOCAL_COMPONENT_DB_URL=file:///db",
    ):  # fmt: skip
        assert line in lines
