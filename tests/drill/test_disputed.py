"""Two machines deploy into one environment while neither can hear of the other."""

from __future__ import annotations

import pytest
from company import Company
from network import Cut

pytestmark = [
    pytest.mark.slow, pytest.mark.timeout(120),
    pytest.mark.needs("ip", "nft", "unshare", "nsenter", "git"),
]  # fmt: skip


def _live(company: Company) -> list[set[tuple[str, int]]]:
    """What each machine's board says of production: version, and whether that is disputed."""
    return [
        {(row["version"], row["disputed"]) for row in seat.boards()["live"]}
        for seat in company.seats.values()
    ]


def test_two_offline_deployments_are_disputed_everywhere_until_settled(company: Company) -> None:
    laptop, build = company.seats.values()
    for seat, way in ((laptop, "refused"), (build, "silent")):
        seat.machine.pull(Cut(way))
    first, second = (
        said.json()["version"] for said in company.release_at_once("--to", "production")
    )
    assert _live(company) == [{(first, 0)}, {(second, 0)}], "each knows of its own alone"
    assert (laptop.deployed(), build.deployed()) == (first, second)
    company.meet()
    assert _live(company) == [{(first, 1), (second, 1)}] * 2
    for seat in (laptop, build):
        states = {row["state"] for row in seat.ok("status", "--json").json()["live"]}
        assert states == {"disputed"}
        refused = seat("rollback", "production")
        assert (refused.code, "env confirm" in refused.err) == (10, True)

    # A person says which; on the other machine it is disputed until that has arrived there.
    laptop.machine.pull(Cut("refused"))
    laptop.ok("env", "confirm", "production", "--live", second, "-m", "asked the balancer")
    assert _live(company) == [{(second, 0)}, {(first, 1), (second, 1)}]
    company.meet()
    assert _live(company) == [{(second, 0)}] * 2

    # Again, with what was built before; a later deployment settles it.
    for seat, way in ((laptop, "silent"), (build, "refused")):
        seat.machine.pull(Cut(way))
    laptop.ok("deploy", first, "--to", "production", "--allow-older")
    build.ok("deploy", second, "--to", "production", "--allow-older")
    company.meet()
    assert _live(company) == [{(first, 1), (second, 1)}] * 2
    laptop.ok("deploy", first, "--to", "production", "--allow-older")
    company.meet()
    assert _live(company) == [{(first, 0)}] * 2
    assert laptop.deployed() == first
    company.level()
    company.check()
