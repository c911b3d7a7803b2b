"""A machine that keeps a database busy and remembers what was acknowledged."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from comparing_kit import Teller
from cxlocal_sync.postgresql.store import PostgresqlStore

from cxlocal.exchange.messages import decode, encode
from cxlocal.exchange.store import StoreUnreachable


class Machine:
    """Takes a number and pushes an event with each message, and remembers what was acknowledged."""

    def __init__(self, url: str, letter: str) -> None:
        self.store = PostgresqlStore(url, Path("/"))
        self.teller = Teller(letter * 32)
        self.count = 0
        self.numbers: dict[str, int] = {}
        """By nonce."""
        self.hashes: list[bytes] = []

    def say(self, timeout: float = 5, **parts: Any) -> dict[str, Any]:
        """One message; a refusal fails the test."""
        message = {"protocol": 1, "contact": self.teller.contact(), **parts}
        answer = decode(self.store.exchange(encode(message), timeout=timeout))
        assert "refusal" not in answer, answer
        self.teller.accepted()
        self.teller.generation = answer["store"]["generation"]
        return answer

    def begin(self) -> dict[str, Any]:
        """Make the store."""
        return self.recover(generation=0)

    def recover(self, generation: int) -> dict[str, Any]:
        evidence = [["webshop", "2.7", number] for number in self.numbers.values()]
        return self.say(recover={"evidence": evidence, "margin": 100, "generation": generation})

    def work(self, timeout: float = 5) -> dict[str, Any]:
        """One message with a number and an event; asked again after no answer it is the same."""
        nonce = f"{self.teller.node[0]}{self.count}"
        if len(self.teller.chain) == self.count:
            self.teller.append("webshop", nonce)
        answer = self.say(
            timeout,
            push=[self.teller.batch(self.count, self.count + 1)],
            grant=[{
                "kind": "online", "deliverable": "webshop", "line": "2.7", "nonce": nonce,
                "run": nonce,
            }],
        )  # fmt: skip
        assert answer["push"][0]["sequence"] == self.count + 1
        self.hashes.append(self.teller.chain[self.count].hash)
        entry = answer["grant"][0].get("entry")
        if entry:
            self.numbers[nonce] = entry["lo"]
        self.count += 1
        return answer

    def work_until(self, over: threading.Event) -> None:
        """Work and, without an answer, ask again."""
        while not over.is_set():
            try:
                self.work(timeout=3)
            except StoreUnreachable:
                time.sleep(0.05)
