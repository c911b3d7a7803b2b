"""A thousand machines against one server, and whether each costs what one alone costs.

``python tests/bench/many_nodes.py [NODES] [FOLDER]``. Every machine comes three times: with twenty
events and a wish for a number, with nothing new, and to pull what the others brought. Sixty-four
members with a connection each carry them side by side; before and after, one machine alone sends the
same messages over one connection. Prints JSON: messages a second, milliseconds until the answer, the
memory of the server, and what was checked: every number once, every event there, all at one head.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stores"))

from comparing_kit import Teller
from http_kit import ProcessServer

from cxlocal.exchange.messages import decode, encode

CARRIERS = 64
EVENTS = 20
ALONE = 200
"""Machines that one connection carries, one after the other."""


class Crowd:
    """Machines, and what became of their messages."""

    def __init__(self, lineage: str) -> None:
        self.lineage = lineage
        self.numbers: list[int] = []
        self.seconds: list[float] = []
        self.pulled: list[int] = []
        self.problems: list[str] = []

    def visit(self, store: Any, teller: Teller, **parts: Any) -> dict[str, Any]:
        contact = teller.contact(lineage=self.lineage, generation=1)
        message = encode({"protocol": 1, "contact": contact, **parts})
        start = time.perf_counter()
        answer = decode(store.exchange(message, timeout=60))
        self.seconds.append(time.perf_counter() - start)
        if "refusal" in answer:
            self.problems.append(str(answer["refusal"]))
        teller.accepted()
        return answer

    def bring(self, store: Any, teller: Teller) -> None:
        for index in range(EVENTS):
            teller.append(f"deliverable-{index % 3}", f"{index} {'x' * 250}")
        wish = {
            "kind": "online", "deliverable": "webshop", "line": "1", "run": teller.node,
            "nonce": teller.node,
        }  # fmt: skip
        answer = self.visit(store, teller, push=[teller.batch(0, EVENTS)], grant=[wish])
        self.numbers.append(answer["grant"][0]["entry"]["lo"])

    def idle(self, store: Any, teller: Teller) -> None:
        self.visit(store, teller)

    def pull(self, store: Any, teller: Teller) -> None:
        answer = self.visit(store, teller, pull={"cursor": teller.cursor, "limit": 500})
        self.pulled.append(len(answer["pull"]["items"]))


def carried(stores: list[Any], tellers: list[Teller], task: Any) -> float:
    """Seconds until every machine was there, the carriers side by side."""
    shares = [tellers[index :: len(stores)] for index in range(len(stores))]

    def work(store: Any, share: list[Teller]) -> None:
        for teller in share:
            task(store, teller)

    threads = [
        threading.Thread(target=work, args=pair) for pair in zip(stores, shares, strict=True)
    ]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def machines(prefix: str, count: int) -> list[Teller]:
    return [Teller(f"{prefix}{number:031x}") for number in range(count)]


def stages(crowd: Crowd) -> Iterator[tuple[str, Any]]:
    yield "bring", crowd.bring
    yield "idle", crowd.idle
    yield "pull", crowd.pull


def percent(seconds: list[float], share: float) -> float:
    return round(sorted(seconds)[int(share * (len(seconds) - 1))] * 1000, 1)


def main(nodes: int, folder: Path) -> int:
    server = ProcessServer(folder / "central")
    stores = [server.enrol(folder / f"client-{index}", f"m{index}") for index in range(CARRIERS)]
    first = decode(
        stores[0].exchange(
            encode({"protocol": 1, "contact": Teller("0" * 32).contact(lineage="")}), timeout=10
        )
    )
    lineage = first["store"]["lineage"]
    found: dict[str, Any] = {}
    numbers: list[int] = []
    brought = 0
    try:
        for name, using, crowd_size in (
            ("one alone", stores[:1], ALONE), ("all", stores, nodes), ("one again", stores[:1], ALONE)
        ):  # fmt: skip
            crowd = Crowd(lineage)
            tellers = machines({"one alone": "a", "all": "b", "one again": "c"}[name], crowd_size)
            brought += crowd_size * EVENTS
            told: dict[str, Any] = {}
            for stage, task in stages(crowd):
                crowd.seconds.clear()
                taken = carried(using, tellers, task)
                told[stage] = {
                    "a second": round(crowd_size / taken, 1),
                    "milliseconds p50": percent(crowd.seconds, 0.5),
                    "milliseconds p99": percent(crowd.seconds, 0.99),
                }
            assert not crowd.problems, crowd.problems[:3]
            assert all(crowd.pulled), "somebody pulled nothing"
            numbers += crowd.numbers
            found[name] = told
        assert sorted(numbers) == list(range(len(numbers))), "a number twice, or left out"
        last = decode(
            stores[0].exchange(
                encode({"protocol": 1, "contact": Teller("1" * 32).contact(lineage=lineage)}),
                timeout=10,
            )
        )
        assert last["store"]["head"]["position"] == brought + len(numbers), "an event is missing"
        memory = round(server.memory_mib())
    finally:
        for store in stores:
            store.close()
        server.stop()
    alone = [found[name] for name in ("one alone", "one again")]
    ratios = {
        stage: round(
            found["all"][stage]["a second"]
            / statistics.mean(each[stage]["a second"] for each in alone),
            2,
        )
        for stage in found["all"]
    }
    print(
        json.dumps(
            {
                "title": "many nodes", "nodes": nodes, **found, "all to one alone": ratios,
                "server MiB": memory,
            },
            indent=2,
        )
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        sys.exit(main(wanted, Path(name)))
