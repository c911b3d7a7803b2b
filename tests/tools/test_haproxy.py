"""The tool ``haproxy`` with a real one: its own, and one that was there before."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cxlocal_plugins.haproxy import Haproxy, render, started_with
from cxlocal_plugins.haproxy_agent import place, scaled
from engine_kit import free_port, wait_for
from load_kit import Service, load
from page import blocks, options

from cxlocal.errors import ConfigError
from cxlocal.hooks.options import check_options
from cxlocal.hooks.tool import Applied, Observed, Previewed, ToolFailure
from cxlocal.testing import Bench, ComponentContract
from cxlocal.testing.contract import story

pytestmark = pytest.mark.needs("haproxy", "ps", "ip")

CONFIG = f"{blocks('haproxy', 'cfg')[0]}  retries 0\nbackend other\n  balance first\n"
"""That of the page, with nothing that hides a failure, and another backend."""
WEB = "0190d4c2-0000-7000-8000-00000000000"
"""Ids but for their last digit."""


class Given:
    """A balancer that somebody else runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.socket = folder, free_port(), folder / "admin.sock"
        text = CONFIG.replace("CXLOCAL_PORT", str(self.port))
        head = "global\n  stats socket unix@admin.sock level admin\n"
        (folder / "own.cfg").write_text(f"{head}{text}  server stranger 127.0.0.1:9\n")
        self.start()

    def start(self) -> None:
        with open(self.folder / "own.log", "ab") as log:
            self.process = subprocess.Popen(
                ["haproxy", "-db", "-f", "own.cfg"], cwd=self.folder, stdout=log, stderr=log
            )
        wait_for(lambda: _listens(self.port), (self.folder / "own.log").read_text())

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def services() -> Iterator[list[Service]]:
    made = [Service(name) for name in ("old-1", "old-2", "new-1", "new-2")]
    yield made
    for one in made:
        one.close()


def running(folder: Path) -> list[int]:
    said = subprocess.run(["pgrep", "-f", f"haproxy .*{folder}"], capture_output=True, check=False)
    return [int(line) for line in said.stdout.split()]


class TestHaproxy(ComponentContract):
    """One that the tool runs."""

    tool = Haproxy
    with_table: ClassVar[dict[str, Any]] = options("haproxy")
    behind = True

    def prepare(self, bench: Bench) -> None:
        (bench.checkout / "lb").mkdir()
        (bench.checkout / "lb" / "haproxy.cfg").write_text(CONFIG)

    def restart(self, bench: Bench) -> None:
        root = bench.environment.folder / "lb"
        [process] = running(root)
        subprocess.run(["kill", "-9", str(process)], check=True)
        wait_for(lambda: not running(root), "it does not end")
        self.process = subprocess.Popen(
            ["haproxy", "-db", "-f", str(root / "haproxy.cfg")], cwd=root, stderr=subprocess.DEVNULL
        )
        wait_for(lambda: _listens(int((root / "port").read_text())), "it does not come up")

    @pytest.fixture(autouse=True)
    def _stopped(self, bench: Bench) -> Iterator[None]:
        self.process: subprocess.Popen[bytes] | None = None
        yield
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def remains(self, bench: Bench, handle: Any) -> list[str]:
        return list(map(str, running(bench.folder)))

    def applied(self, bench: Bench) -> Applied:
        ran = self._run(bench, "apply")
        assert isinstance(ran.outcome.result, Applied), story(ran)
        return ran.outcome.result

    def test_started_again_it_has_its_servers(self, bench: Bench, services: list[Service]) -> None:
        """And says where it can be reached; the address stays."""
        self._run(bench, "provision")
        port = int(self.applied(bench).outputs["address"].rpartition(":")[2])
        weights = {f"{WEB}1": 90, f"{WEB}2": 10}
        self._run(bench, "rotate", turn=3, wanted=weights,
                  addresses={f"{WEB}{n + 1}": services[n].address for n in range(2)})  # fmt: skip
        self.restart(bench)
        with load(port, seconds=(1, 1)) as used:
            seen = used.wait_for(200)
        assert used.failures == [] and 12 < seen["old-2"] < 30
        assert {one.id: one.weight for one in self._seen(bench)} == weights
        lost = self._run(bench, "rotate", turn=4, wanted={f"{WEB}3": 100}).outcome
        assert (lost.outcome, lost.reason[:20]) == ("failure", "no address is known ")

    def test_a_new_configuration_cuts_nobody_off(
        self, bench: Bench, services: list[Service]
    ) -> None:
        self._run(bench, "provision")
        port = int(self.applied(bench).outputs["address"].rpartition(":")[2])
        self._run(bench, "rotate", turn=3, wanted={f"{WEB}1": 100},
                  addresses={f"{WEB}1": services[0].address})  # fmt: skip
        file = bench.checkout / "lb" / "haproxy.cfg"
        with load(port, seconds=(1, 2)) as used:
            used.wait_for(50)
            file.write_text(CONFIG.replace("retries 0", "retries 1"))
            preview = self._run(bench, "preview").outcome.result
            assert isinstance(preview, Previewed) and len(preview.changes) == 1
            assert self.applied(bench).changed
            used.wait_for(50)
        assert used.failures == []
        file.write_text(CONFIG.replace("mode http", "mode htpp"))
        ran = self._run(bench, "apply")
        assert ran.outcome.outcome == "failure" and "refuses lb/haproxy.cfg" in ran.outcome.reason

    def turned(self, bench: Bench, services: list[Service]) -> int:
        """One that has a server; its port."""
        self._run(bench, "provision")
        port = int(self.applied(bench).outputs["address"].rpartition(":")[2])
        self._run(bench, "rotate", turn=3, wanted={f"{WEB}1": 100},
                  addresses={f"{WEB}1": services[0].address})  # fmt: skip
        return port

    def kill(self, root: Path) -> None:
        for process in started_with(root):
            subprocess.run(["kill", "-9", str(process)], check=True)
        wait_for(lambda: not started_with(root), "it does not end")

    def test_one_that_was_killed_is_not_well_and_comes_back(
        self, bench: Bench, services: list[Service]
    ) -> None:
        port, root = self.turned(bench, services), bench.environment.folder / "lb"
        self.kill(root)
        seen = self._observed(bench)
        assert (seen.healthy, seen.resources, seen.turn) == (False, (), 3)
        preview = self._run(bench, "preview").outcome.result
        assert preview == Previewed(changes=("haproxy is started with lb/haproxy.cfg",))
        assert self.applied(bench).changed
        with load(port, seconds=(1, 1)) as used:
            used.wait_for(20)
        assert used.failures == [] and self._seen(bench)[0].weight

    @pytest.mark.parametrize(
        ("words", "folder"),
        [(["-D", "-f", "haproxy.cfg"], "lb"), (["-D", "-f", "./lb/haproxy.cfg"], ""),
         (["-D", "-f", "."], "lb"), (["-W", "-D", "--", "haproxy.cfg"], "lb")],
        ids=["its folder", "another folder", "a folder of files", "a master"],
    )  # fmt: skip
    def test_one_that_somebody_started_hands_over(
        self, bench: Bench, services: list[Service], words: list[str], folder: str
    ) -> None:
        """However that was done: never do two of them get what comes."""
        port, root = self.turned(bench, services), bench.environment.folder / "lb"
        self.kill(root)
        subprocess.run(["haproxy", *words], cwd=root.parent / folder, check=True)
        wait_for(lambda: _listens(port), "it does not come up")
        if folder:
            assert self._observed(bench).healthy is not False and not self.applied(bench).changed
        by_hand = set(started_with(root))
        file = bench.checkout / "lb" / "haproxy.cfg"
        file.write_text(CONFIG.replace("retries 0", "retries 1"))
        with load(port, seconds=(1, 1)) as used:
            used.wait_for(20)
            assert self.applied(bench).changed
            wait_for(lambda: not by_hand & set(started_with(root)), "it does not hand over")
            used.wait_for(50)
        assert used.failures == [] and len(started_with(root)) == 1

    def test_a_port_that_another_process_has_is_not_shared(
        self, bench: Bench, services: list[Service]
    ) -> None:
        port, root = self.turned(bench, services), bench.environment.folder / "lb"
        self.kill(root)
        other = bench.folder / "other.cfg"
        other.write_text(CONFIG.replace("CXLOCAL_PORT", str(port)))
        with subprocess.Popen(
            ["haproxy", "-db", "-f", other], stderr=subprocess.DEVNULL
        ) as stranger:
            wait_for(lambda: _listens(port), "it does not come up")
            ran = self._run(bench, "apply")
            assert ran.outcome.outcome == "failure" and not started_with(root)
            assert f"process {stranger.pid} listens at 127.0.0.1:{port}" in ran.outcome.reason
            stranger.kill()
        assert self.applied(bench).changed

    def test_on_another_day_there_is_no_checkout(
        self, bench: Bench, services: list[Service]
    ) -> None:
        """What runs is turned, drained and asked; started again by hand it has what it was told last."""
        self.turned(bench, services)
        (bench.checkout / "lb" / "haproxy.cfg").unlink()
        places = {f"{WEB}{n}": services[n].address for n in range(3)}
        for verb, told in (
            ("rotate", {"wanted": {f"{WEB}0": 100}, "addresses": places}),
            ("drain", {"resource": f"{WEB}1", "addresses": places}),
        ):
            ran = self._run(bench, verb, turn=4, **told)
            assert ran.outcome.outcome == "success", story(ran)
        self.restart(bench)
        assert {one.id: one.weight for one in self._seen(bench) if one.weight} == {f"{WEB}0": 100}


class TestGivenHaproxy(ComponentContract):
    """One that is there: never made or taken away here, and strangers in it are left alone."""

    tool = Haproxy
    behind = True

    @pytest.fixture(autouse=True)
    def _balancer(self, tmp_path: Path) -> Iterator[None]:
        self.given = Given(tmp_path)
        self.with_table = {"url": f"unix://{self.given.socket}", "config": "unused.cfg"}  # type: ignore[misc]
        yield
        self.given.stop()

    def _makers(self) -> tuple[str, ...]:
        return ()

    def restart(self, bench: Bench) -> None:
        self.given.stop()
        self.given.start()

    def observed(self, bench: Bench) -> Observed:
        ran = self._run(bench, "observe")
        assert isinstance(ran.outcome.result, Observed), story(ran)
        return ran.outcome.result

    def test_a_whole_rotation_loses_no_request(self, bench: Bench, services: list[Service]) -> None:
        """In with a little, in whole, out when the last one is done; and a restart, which the next
        command mends."""
        ids = [f"{WEB}{n}" for n in range(4)]
        places = {one: service.address for one, service in zip(ids, services, strict=True)}

        def rotate(turn: int, **weights: int) -> None:
            wanted = {WEB + name[1:]: weight for name, weight in weights.items()}
            ran = self._run(bench, "rotate", turn=turn, wanted=wanted, addresses=places)
            assert ran.outcome.outcome == "success", story(ran)

        rotate(1, w0=50, w1=50)
        with load(self.given.port, seconds=(1, 2)) as used:
            used.wait_for(100)
            rotate(2, w0=45, w1=45, w2=5, w3=5)
            seen = used.wait_for(400)
            assert 10 < seen["new-1"] + seen["new-2"] < 80, seen
            rotate(2, w2=50, w3=50)
            for number in (0, 1):
                ran = self._run(bench, "drain", turn=2, resource=ids[number], addresses=places)
                assert ran.outcome.outcome == "success", story(ran)
                services[number].close()
            assert set(used.wait_for(200)) == {"new-1", "new-2"}
        assert used.faults() == []
        assert {one.id for one in self._seen(bench)} == set(ids[2:])
        services[:2] = []

    def test_what_is_wanted_no_more_does_not_stay_for_ever(
        self, bench: Bench, services: list[Service]
    ) -> None:
        """Nobody drained it: the rotation after the next one takes it out, and it may come again."""
        places = {f"{WEB}{n}": services[n].address for n in range(2)}
        for seen, name in (("0", "0"), ("01", "1"), ("1", "1"), ("01", "0"), ("0", "0")):
            ran = self._run(bench, "rotate", turn=1, wanted={WEB + name: 100}, addresses=places)
            assert ran.outcome.outcome == "success", story(ran)
            assert {one.id for one in self._seen(bench)} == {WEB + each for each in seen}

    def test_a_drain_that_takes_too_long_says_so(
        self, bench: Bench, services: list[Service]
    ) -> None:
        one, other = f"{WEB}1", f"{WEB}2"
        places = {one: services[0].address, other: services[1].address}
        self._run(bench, "rotate", turn=1, wanted={one: 100}, addresses=places)
        with load(self.given.port, seconds=(4, 4)) as used:
            used.wait_for(50)
            self._run(bench, "rotate", turn=2, wanted={other: 100}, addresses=places)
            ran = self._run(
                bench, "drain", turn=2, resource=one, addresses=places, limit_seconds=3.5
            )
            assert ran.outcome.outcome == "failure" and "still uses" in ran.outcome.reason
        assert used.failures == []

    def test_a_restart_is_seen_and_strangers_are_named(
        self, bench: Bench, services: list[Service]
    ) -> None:
        self.with_table["backend"] = "other"  # type: ignore[index]
        one = f"{WEB}1"
        self._run(bench, "rotate", turn=4, wanted={one: 100}, addresses={one: services[0].address})
        assert self.observed(bench).details == {"others": ["stranger"]}
        self.restart(bench)
        seen = self.observed(bench)
        assert seen.details == {"forgotten": [one], "others": ["stranger"]}
        assert (seen.resources, seen.turn) == ((), 4)

    def test_what_is_not_there_is_trouble(self, bench: Bench) -> None:
        for broken in ({"backend": "nope"}, {"url": str(self.given.folder / "no.sock")}):
            ran = bench.run(Haproxy, "observe", {**self.with_table, **broken}, component="web")
            assert ran.outcome.outcome == "error"
            assert "cannot be asked" in ran.outcome.reason


def test_the_servers_stand_at_the_end_of_their_backend() -> None:
    wanted = {"b": [10, "127.0.0.1:2"], "a": [90, "http://127.0.0.1:1/x"]}
    said = render(CONFIG, "web", 81, wanted, "check")
    assert said.endswith(
        "backend web\n  balance roundrobin\n  retries 0\n"
        "  server cxlocal-a 127.0.0.1:1 check weight 90\n"
        "  server cxlocal-b 127.0.0.1:2 check weight 10\n"
        "backend other\n  balance first\n"
    )
    with pytest.raises(ToolFailure, match="no backend 'we'"):
        render(CONFIG, "we", 81, wanted, "check")


def test_what_was_added_before_is_replaced() -> None:
    """By whatever release, with whatever socket."""
    old = render(CONFIG, "web", 81, {"b": [10, "127.0.0.1:2"]}, "check", "/run/a b/admin.sock")
    new = {"a": [90, "127.0.0.1:1"]}
    assert render(old, "web", 81, new, "check") == render(CONFIG, "web", 81, new, "check")


def test_weights_and_places() -> None:
    assert [scaled(weight, 1024) for weight in (1024, 512, 1, 0)] == [256, 128, 1, 0]
    assert place("https://localhost:8443/path") == "127.0.0.1:8443"


def test_it_is_told_one_balancer(tmp_path: Path) -> None:
    for wrong in ({}, {"backend": "web"}, {"url": "a", "backend": "web; shutdown"}):
        with pytest.raises(ConfigError):
            check_options(Haproxy, wrong)
