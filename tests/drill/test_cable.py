"""The cable is pulled in the middle of everything and plugged in again: nothing is lost, nothing
is doubled, all boards are equal."""

from __future__ import annotations

import time

import pytest
from company import Company
from network import CENTRE_NAME, Cut

pytestmark = [
    pytest.mark.slow, pytest.mark.timeout(120),
    pytest.mark.needs("ip", "nft", "unshare", "nsenter", "git"),
]  # fmt: skip

DELAY_SECONDS = 3.0
"""What a store that is away may cost a run (promise P17)."""
GIT_SECONDS = 10.0
"""What a release waits for a git host that does not answer."""
SLACK_SECONDS = 5.0
"""What a machine that is busy with other tests may add."""
RESTART_SECONDS = 5.0
SHARES = (0.2, 0.5, 0.8)
"""Where in what a release says to the store the cable is cut."""


def number(version: str) -> int:
    """The counted part of ``2.7.14``."""
    return int(version.rpartition(".")[2])


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(cut, id=str(cut), marks=[pytest.mark.heavy] if heavy else [])
        # What is heavy happens to releases in the tests below as well.
        for cut, heavy in (
            (Cut("refused"), False), (Cut("silent", "replies"), False),
            (Cut("silent"), True), (Cut("refused", "requests"), True),
        )
    ],
)  # fmt: skip
def test_pulled_in_the_middle_of_a_release(company: Company, cut: Cut) -> None:
    """P1, P4, P7, P13, P18: in the middle of its unit tests, and before all of a second one, while
    the other machine goes on as usual."""
    laptop, build = company.seats.values()
    with laptop.in_the_middle_of_a_release("--to", "production") as ended:
        laptop.machine.pull(cut)
        elsewhere = build.begin_release()
    elsewhere()
    online = ended[0].json()["version"]
    waiting = laptop("sync")
    assert (waiting.code, "nothing is lost" in waiting.err) == (5, True)
    offline = laptop.release().json()["version"]
    assert number(offline) > number(online)
    laptop.ok("promote", offline, "APPROVED", "-m", "seen by eye")
    laptop.ok("deploy", offline, "--to", "production")
    assert laptop.deployed() == offline
    company.level()
    for seat in (laptop, build):
        (live,) = seat.boards()["live"]
        assert (live["version"], live["disputed"]) == (offline, 0)
    company.check()


def test_an_outage_longer_than_the_reserve(company: Company) -> None:
    """Three releases from the reserve, then a refusal that names the ways out. The server may be
    restarted meanwhile, at once: it does not wait for a machine that is gone."""
    laptop, _ = company.seats.values()
    with laptop.in_the_middle_of_a_release():
        laptop.machine.pull(Cut("silent"))
        began = time.monotonic()
        company.stop()
        assert time.monotonic() - began < RESTART_SECONDS
        company.serve()
    for _ in range(3):
        laptop.release()
    refused = laptop("run")
    assert refused.code == 5, refused.err
    assert "holds no number" in refused.err
    assert "To do:" in refused.err
    company.level()
    laptop.release()
    company.level()
    company.check()


def test_cut_after_a_part_of_what_a_release_and_the_store_say(company: Company) -> None:
    """P1, P7, P13, P17: of one machine the requests are cut, of the other the replies, later in
    each release than in the one before. What reached the store, and whose answer did not come
    back, is not done twice."""
    laptop, build = company.seats.values()
    sides = {laptop: "requests", build: "replies"}
    for seat in sides:
        seat.machine.count()
    usual = company.release_at_once()
    whole = {seat: seat.machine.counted()[side] for seat, side in sides.items()}
    limit = max(said.seconds for said in usual) + DELAY_SECONDS + SLACK_SECONDS
    for index, share in enumerate(SHARES):
        company.meet()
        for place, (seat, side) in enumerate(sides.items()):
            way = ("refused", "silent")[(index + place) % 2]
            seat.machine.pull(Cut(way, side, int(share * whole[seat])))
        for done in company.release_at_once():
            assert done.seconds < limit
    company.level()
    company.check()


def test_the_answer_with_the_number_is_lost(company: Company) -> None:
    """P1, P7: a number was handed out and nobody heard of it. The release goes on with one from
    the reserve; the first is skipped, and said to be."""
    laptop, _ = company.seats.values()
    laptop.machine.count()
    laptop.ok("sync")
    # A release begins as this did, give or take some events, and then asks for its number.
    laptop.machine.pull(Cut("silent", "replies", laptop.machine.counted()["replies"] + 500))
    lost = laptop.release()
    company.level()
    company.check()
    run = lost.json()["run"]
    granted = company.in_store(
        f"SELECT lo FROM grant_entry WHERE kind = 'online' AND run = '{run}'"
    )
    assert len(granted) == 1
    (span,) = (span for span in laptop.boards()["ledger"] if span["lo"] == granted[0][0])
    assert span["state"] == "skipped"
    assert "lost on the way" in span["why"]
    assert lost.json()["version"] != f"2.7.{span['lo']}"


def test_everything_at_the_centre_is_out_of_reach(company: Company) -> None:
    """P17: the store, the git host and the name server swallow what they are sent."""
    laptop, build = company.seats.values()
    there = str(company.remote)
    daemon = company.serve_git()
    try:
        laptop.git("remote", "set-url", "origin", f"git://{CENTRE_NAME}/shop.git")
        laptop.git("fetch", "-q")
        usual = laptop.release()
        laptop.machine.pull(Cut("silent"))
        laptop.machine.forget_names()
        offline = laptop.release()
        assert offline.seconds < usual.seconds + DELAY_SECONDS + GIT_SECONDS + SLACK_SECONDS
        ask = f"SELECT proof, reverified FROM run WHERE id = '{offline.json()['run']}'"
        assert laptop.rows(ask) == [{"proof": "tracking ref", "reverified": None}]
        laptop.machine.know_names()
        laptop.machine.plug()
        # The git host is asked again in the same command, and what it said is sent too.
        assert laptop.ok("sync", "--json").json()["pending"] == 0
        build.ok("sync")
        for seat in (laptop, build):
            assert seat.rows(ask) == [{"proof": "tracking ref", "reverified": 1}]
    finally:
        laptop.machine.know_names()
        laptop.git("remote", "set-url", "origin", there)
        daemon.terminate()
        daemon.communicate(timeout=10)
    company.level()
    company.check()
