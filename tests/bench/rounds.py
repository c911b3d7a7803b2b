"""Interleaved rounds: the one way this project measures.

Every round runs each case once, one after the other, so that a slow moment of the machine hits all
of them; what is compared are the ratios within a round, and of those the median. Absolute times
are printed beside it for orientation only.

Used by the scripts in this folder, which print one JSON document each.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import resource
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# Fewer rounds are worth nothing on a shared machine (docs/performance.md).
ROUNDS = 9
FEWEST_ROUNDS = 7

Case = Callable[[], float | None]


def measure(
    cases: Mapping[str, Case],
    *,
    rounds: int = ROUNDS,
    warm_up: int = 1,
    fewest: int = FEWEST_ROUNDS,
    processor: dict[str, list[float]] | None = None,
) -> dict[str, list[float]]:
    """Seconds of each case, round by round.

    A case that returns a number has measured itself (and that number is taken); one that returns
    None is timed here. ``warm_up`` rounds are thrown away. ``fewest``: cases of half a minute need
    less than those of milliseconds. ``processor`` is filled with the seconds of processor time, round by
    round, that the programs of each case had, with all that they waited for.
    """
    if rounds < fewest:
        raise ValueError(f"{rounds} rounds are too few; {fewest} at least")
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(warm_up + rounds):
        for name, case in cases.items():
            gc.collect()
            used, start = children_time(), time.perf_counter()
            own = case()
            taken = time.perf_counter() - start if own is None else own
            if number >= warm_up:
                seconds[name].append(taken)
                if processor is not None:
                    processor.setdefault(name, []).append(children_time() - used)
    return seconds


def children_time() -> float:
    """Seconds of the processor, the system's included, of all programs that this process has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def by_turns(
    cases: Mapping[str, Case], *, rounds: int = ROUNDS, steps: int, fewest: int = FEWEST_ROUNDS
) -> dict[str, list[float]]:
    """As ``measure``, where each case is one short step: in a round every case takes ``steps`` of them, one of
    each after the other, and a round counts the median of its steps, times their number.

    For what waits for the disk at each step: others slow down single commits a hundredfold, and a round of
    nothing but one case says what the disk did meanwhile.
    """
    if rounds < fewest:
        raise ValueError(f"{rounds} rounds are too few; {fewest} at least")
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(1 + rounds):
        taken: dict[str, list[float]] = {name: [] for name in cases}
        gc.collect()
        for _ in range(steps):
            for name, case in cases.items():
                start = time.perf_counter()
                own = case()
                taken[name].append(time.perf_counter() - start if own is None else own)
        for name, values in taken.items() if number else ():
            seconds[name].append(statistics.median(values) * steps)
    return seconds


def command(argv: Sequence[str], **rest: Any) -> Case:
    """A case that runs a program, output thrown away; an exit code other than 0 is an error.

    Python may write bytecode, also where the caller's shell forbids it: what is measured is an
    installed program, which is not compiled anew at every start.
    """
    environ = dict(rest.pop("env", os.environ))
    environ.pop("PYTHONDONTWRITEBYTECODE", None)

    def run() -> None:
        subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, env=environ,
            **rest,
        )  # fmt: skip

    return run


def summary(values: Sequence[float], *, scale: float = 1.0, digits: int = 2) -> dict[str, float]:
    """Median, quartiles, least and greatest."""
    lower, _, upper = statistics.quantiles(values, method="inclusive")
    return {
        "median": round(statistics.median(values) * scale, digits),
        "lower": round(lower * scale, digits),
        "upper": round(upper * scale, digits),
        "min": round(min(values) * scale, digits),
        "max": round(max(values) * scale, digits),
    }


def processor_time(*others: int) -> float:
    """Seconds of the processor that this process and the processes ``others`` (their ids) have had. Their
    clocks have the form that Linux gives them; elsewhere name none."""
    return time.process_time() + sum(time.clock_gettime(~each << 3 | 2) for each in others)


def ratios(seconds: Mapping[str, Sequence[float]], case: str, floor: str) -> dict[str, float]:
    """``case`` as a multiple of ``floor``, from the ratios of each round."""
    pairs = zip(seconds[case], seconds[floor], strict=True)
    return summary([mine / theirs for mine, theirs in pairs])


def report(
    title: str,
    seconds: Mapping[str, Sequence[float]],
    bars: Sequence[tuple[str, str, float]],
    **further: Any,
) -> int:
    """Print everything as JSON. ``bars`` are (case, floor, ratio allowed). Returns 1 if one is
    missed, else 0."""
    checked = [
        {"case": case, "floor": floor, "allowed": allowed, **(found := ratios(seconds, case, floor)),
         "holds": found["median"] <= allowed}
        for case, floor, allowed in bars
    ]  # fmt: skip
    document = {
        "title": title,
        "rounds": len(next(iter(seconds.values()))),
        "milliseconds": {name: summary(values, scale=1000) for name, values in seconds.items()},
        "ratios": checked,
        "machine": {
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "system": f"{platform.system()} {platform.machine()}",
        },
        **further,
    }
    print(json.dumps(document, indent=2))
    return int(not all(bar["holds"] for bar in checked))


def rounds_wanted(usual: int = ROUNDS) -> int:
    """The first argument of the script, else ``usual``."""
    return int(sys.argv[1]) if len(sys.argv) > 1 else usual
