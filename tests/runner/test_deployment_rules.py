"""The pure rules of deployments: what is older, and where a rollback leads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxlocal.runner.admission import newer_than
from cxlocal.runner.deployment_chain import Deployment, Goal, Service, Tried, goal_of


@pytest.mark.parametrize(
    ("own", "there", "newer"),
    [
        ("2", [], ""),
        ("2", [("1.0.1", "1")], ""),
        ("2", [("1.0.2", "2")], ""),
        ("2", [("1.0.3", "3")], "1.0.3"),
        ("2", [("1.0.1", "1"), ("1.0.3", "3"), ("1.0.2", "2")], "1.0.3"),
        ("", [("1.0.3", "3")], ""),
        ("2", [("1.0.3", "")], ""),
        ("2", [("no key", ""), ("1.0.3", "3")], "1.0.3"),
    ],
)
def test_what_is_newer(own: str, there: list[tuple[str, str]], newer: str) -> None:
    assert newer_than(own, there) == newer


def service(chain: str, *tried: str) -> Service:
    """``"3 1r 2 1"``: live is 3; it replaced 1, which was a rollback, and so on. A failed attempt
    that went back ends in r, too."""
    words = [(word.rstrip("r"), word.endswith("r")) for word in chain.split()]
    failed = [Tried(word.rstrip("r"), word.rstrip("r"), word.endswith("r")) for word in tried]
    return Service(
        [
            Deployment(f"d{at}", version, version, "rolledback" if back else "upgraded")
            for at, (version, back) in enumerate(words)
        ],
        failed,
    )


@pytest.mark.parametrize(
    ("services", "to"),
    [
        # all is well: the version before, and after a rollback the one before that
        ([service("2 1")], "1"),
        ([service("2r 3 2 1")], "1"),
        ([service("1")], None),
        ([service("3 2 1"), service("3 2 1")], "2"),
        ([service("3"), service("3 2 1")], "2"),  # a service that is new
        # a deployment failed: the last one that was well, never one further
        ([service("2 1", "3")], "2"),
        ([service("2 1", "3", "4")], "2"),
        ([service("2", "3")], "2"),
        ([service("2r 3 2 1", "3")], "2"),
        ([service("2 1", "2")], "2"),  # what was well before failed when it was put anew
        ([service("", "1")], None),
        # one service is new and another old, or never came to be
        ([service("2 1"), service("1", "2")], "1"),
        ([service("2 1"), service("1")], "1"),
        ([service("2 1", "3"), service("1", "3")], "1"),
        ([service("2 1"), service("", "2")], "1"),
        ([service("1r 2 1"), service("2 1")], "1"),
        ([service("2"), service("1")], None),
        # a rollback that failed is tried again
        ([service("2 1", "1r")], "1"),
        ([service("1r 2 1"), service("2 1", "1r")], "1"),
        ([service("3 2 1", "1r")], "1"),  # it was to go further back, as somebody said
    ],
)
def test_where_a_rollback_leads(services: list[Service], to: str | None) -> None:
    assert goal_of(services) == (None if to is None else Goal(to, to))


VERSIONS = st.lists(st.sampled_from("12345"), min_size=1, max_size=6).map(" ".join)


@given(chains=st.lists(VERSIONS, min_size=1, max_size=3), failed=st.sampled_from("6789"))
def test_after_a_failure_it_leads_to_what_was_well_everywhere(
    chains: list[str], failed: str
) -> None:
    goal = goal_of([service(chain, failed) for chain in chains])
    shared = set.intersection(*(set(chain.split()) for chain in chains))
    assert (goal is None) == (not shared)
    if goal is not None:
        assert goal.version in shared
    if len(chains) == 1:
        assert goal is not None
        assert goal.version == chains[0].split()[0]
