"""A log asked for where it was delivered to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cxlocal.clock import Clock
from cxlocal.errors import CxError
from cxlocal.hooks import registered
from cxlocal.hooks.options import check_options
from cxlocal.hooks.sink import Later, Sink
from cxlocal.processes.mask import Masker
from cxlocal.sinks.chosen import BY_ANOTHER, Target
from cxlocal.sinks.delivery import Around, credential
from cxlocal.sinks.words import words_without
from cxlocal.values import NamedTuple

ASK_SECONDS = 30.0
ANSWER_SECONDS = 10.0
"""For each part of an answer."""
CHARACTERS_MAX = 64 * 1024 * 1024
"""Of one log: as much as a store takes."""
LEFT_OUT = "left-out"


class Found(NamedTuple):
    """A log as a repository has it."""

    lines: tuple[str, ...] = ()
    """In the order in which they were written."""
    missing: int = 0
    """Lines between them that are not there."""
    where: str = ""
    """Who answered."""
    problems: tuple[str, ...] = ()
    """Why others did not."""


def ask_for(around: Around, clock: Clock, run: str, stage: str, stage_run: str) -> Found:
    """The log of one attempt of a stage, from the first repository that has any of it. Raises nothing of
    a repository."""
    known = registered.sinks(around.manager).values()
    classes = {scheme: one for one in known for scheme in one.asked_at}
    problems: list[str] = []
    for target in around.targets:
        if not target.ask:
            continue
        words = words_without("")
        try:
            if target.idle not in ("", BY_ANOTHER):
                raise Later(target.idle)
            kind, token = _known(around, target, classes)
            words = words_without(token)
            sink = kind(
                target.ask, check_options(kind, {}, where="[sinks] logs"), token=token,
                timeout_seconds=ANSWER_SECONDS,
            )  # fmt: skip
            try:
                deadline = clock.monotonic() + ASK_SECONDS
                told = _told(sink.find(run, stage, stage_run), stage_run, clock, deadline)
            finally:
                sink.close()
            lines, missing = in_order(told)
        except CxError as problem:
            problems.append(f"{target.ask}: {words(problem.what)}")
            continue
        except Exception as problem:  # noqa: BLE001  (whatever its code or its answer does is told)
            problems.append(f"{target.ask}: {words(f'{problem}' or type(problem).__name__)}")
            continue
        if lines:
            masker = Masker([token])
            return Found(tuple(map(masker.text, lines)), missing, target.ask, tuple(problems))
        problems.append(f"{target.ask}: it has nothing of it")
    return Found(problems=tuple(problems))


def _known(
    around: Around, target: Target, classes: Mapping[str, type[Sink]]
) -> tuple[type[Sink], str]:
    """Who can ask there, and with what credential. Raises CxError, Later."""
    kind = classes.get(target.ask.partition(":")[0])
    if kind is None:
        raise Later(f"nobody can ask there; there are {', '.join(sorted(classes))}")
    return kind, credential(around, target.ask_token, "[sinks] logs ask_token")


def _told(
    answers: Iterable[tuple[str, str]], stage_run: str, clock: Clock, deadline: float
) -> dict[str, str]:
    """What is behind the id of the attempt, to its text. Raises Later for an answer without end."""
    found: dict[str, str] = {}
    size = 0
    for name, text in answers:
        place = name.removeprefix(f"{stage_run}/")
        if place != name and place not in found:  # else of another attempt, or nothing of ours
            size += len(text) + len(place)
            found[place] = text
        if size > CHARACTERS_MAX or clock.monotonic() > deadline:
            raise Later("its answer does not end")
    return found


def in_order(told: Mapping[str, str]) -> tuple[list[str], int]:
    """Lines by their numbers, pieces of a long one put together, and how many are missing between them.
    What has no number is no line of a log. Pure."""
    lines: dict[int, dict[int, str]] = {}
    for place, text in told.items():
        number, _, piece = place.partition(".")
        if (
            number.isascii()
            and number.isdigit()
            and (piece.isascii() and piece.isdigit() or not piece)
        ):
            lines.setdefault(int(number), {})[int(piece or 0)] = text
    found = ["".join(text for _, text in sorted(lines[number].items())) for number in sorted(lines)]
    if LEFT_OUT in told:
        found.append(told[LEFT_OUT])
    return found, max(lines, default=0) - len(lines)
