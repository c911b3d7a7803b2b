"""A database that is put back as it lay, on the same server and timeline, spends no number twice: who
answers for it remembers in its own home what the database held."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cxlocal_sync.plugin import cxlocal_register_stores
from cxlocal_sync.postgresql.store import PostgresqlStore
from cxlocal_sync.stores.witness import WENT_BACK, StoreWitness
from failover_kit import Machine
from postgresql_kit import Databases

from cxlocal.journal.witness import FOLDER


class Company:
    """A database with a backup, and servers before it that have homes of their own."""

    def __init__(self, databases: Databases, root: Path) -> None:
        self.databases, self.root, self.url = databases, root, databases.fresh()
        self.opened: list[PostgresqlStore] = []

    def server(self, name: str) -> PostgresqlStore:
        """The store as a server that is started now opens it."""
        store = cxlocal_register_stores()["postgresql"](self.url, self.root / name)
        assert isinstance(store, PostgresqlStore)
        self.opened.append(store)
        return store

    def machine(self, letter: str, server: PostgresqlStore) -> Machine:
        """Somebody new, who remembers nothing."""
        machine = Machine(self.url, letter)
        machine.store = server
        return machine

    def back_up(self) -> None:
        self.let_go()
        self.databases.copy(self.url, f"{self.url}_kept")

    def put_back(self) -> None:
        self.let_go()
        self.databases.copy(f"{self.url}_kept", self.url)

    def let_go(self) -> None:
        for each in self.opened:
            each.close()


@pytest.fixture
def company(databases: Databases, tmp_path: Path) -> Iterator[Company]:
    made = Company(databases, tmp_path)
    yield made
    made.let_go()


def stops(machine: Machine) -> list[str]:
    """Why no number is given to ``machine``, which asks for one; empty where it gets one."""
    answer = machine.work()
    assert bool(answer["store"]["stopped"]) != bool(answer["grant"][0].get("entry"))
    return [stop["cause"] for stop in answer["store"]["stopped"]]


def begin(company: Company) -> tuple[PostgresqlStore, Machine]:
    """A server, and a machine that has got two numbers, the second after the backup."""
    server = company.server("a")
    first = company.machine("a", server)
    first.begin()
    assert stops(first) == []
    company.back_up()
    assert stops(first) == []
    return server, first


@pytest.mark.parametrize("restarted", [True, False], ids=["restarted", "running on"])
def test_a_database_put_back_hands_out_nothing_until_it_is_recovered(
    company: Company, restarted: bool
) -> None:
    server, first = begin(company)
    given, knowing = set(first.numbers.values()), first
    for letter in "bc":  # put back twice: the second time it has forgotten the recovery, too
        company.put_back()
        server = company.server("a") if restarted else server
        newcomer = company.machine(letter, server)
        assert stops(newcomer) == [WENT_BACK]
        assert "its database was put back" in server_says(newcomer)
        knowing.store = server
        knowing.recover(generation=knowing.teller.generation)
        assert stops(newcomer) == []
        assert given.isdisjoint(newcomer.numbers.values())
        given |= set(newcomer.numbers.values())
        knowing = newcomer


def server_says(machine: Machine) -> str:
    (stop,) = machine.say(look={})["store"]["stopped"]
    return str(stop["why"])


def test_what_comes_while_it_is_stopped_wipes_out_no_evidence(company: Company) -> None:
    server, _ = begin(company)
    company.put_back()
    newcomer = company.machine("b", server)
    for _ in range(5):  # beyond where the lost numbers were
        assert stops(newcomer) == [WENT_BACK]
    company.put_back()
    assert stops(company.machine("c", company.server("a"))) == [WENT_BACK]


@pytest.mark.parametrize("way", ["push", "look"])
def test_a_server_knows_what_another_one_gave_once_it_answered(company: Company, way: str) -> None:
    begin(company)
    other = company.machine("b", company.server("b"))
    if way == "look":  # its health was asked, nothing else
        other.say(look={})
    else:
        other.say(push=[])
    company.put_back()
    assert stops(company.machine("c", company.server("b"))) == [WENT_BACK]


def test_an_answer_that_is_noted_late_takes_nothing_back(company: Company) -> None:
    """A server answers on several connections at once."""
    server, first = begin(company)
    slow = company.machine("b", server).say(look={})
    company.back_up()
    assert stops(first) == []
    StoreWitness(company.root / "a" / FOLDER, "it").note(slow, all_seen=True)
    company.put_back()
    assert stops(company.machine("c", company.server("a"))) == [WENT_BACK]


def test_without_the_home_nobody_knows(company: Company) -> None:
    """Which is why the page says so."""
    begin(company)
    company.put_back()
    assert stops(company.machine("c", company.server("new"))) == []


def test_what_is_as_it_was_goes_on(company: Company) -> None:
    begin(company)
    for letter in "bcd":
        company.let_go()
        assert stops(company.machine(letter, company.server("a" if letter == "c" else "b"))) == []
