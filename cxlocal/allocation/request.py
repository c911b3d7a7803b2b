"""What is asked for when a run wants its number, what it is given, and how that is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, repeat

from cxlocal.clock import Ids
from cxlocal.errors import ConfigError, Refused
from cxlocal.events.machines import version_used
from cxlocal.exchange.copies import ensure_node
from cxlocal.journal.file import Journal, Transaction
from cxlocal.journal.witness import note_head
from cxlocal.numbers import holdings
from cxlocal.numbers.holdings import TakenNumber
from cxlocal.numbers.log import ONLINE
from cxlocal.numbers.schemes import Scheme
from cxlocal.values import NamedTuple

LENT = "lent"
"""How a run got a number that another machine held."""
PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Pauses between tries of a passing machine, the last one repeated."""


class NumberRequest(NamedTuple):
    """Which number is asked for."""

    deliverable: str
    line: str
    scheme: Scheme
    run: str
    actor: dict[str, str]
    kept: bool = True
    """False for a passing machine: it neither takes from a reserve nor holds one."""
    reserve: int = 3
    ahead: int = 100
    first: int = 0
    """[version] from."""
    when_empty: str = "stop"
    """``stop`` or ``suffix``."""
    tagged: int = -1
    """The highest number of this line that tags or other journal folders hold."""
    only: int | None = None
    """No other number will do: a final version has that of its pre-releases."""
    above: int = -1
    """A number from the reserve must lie above this one: the borrower knows it to be in use."""
    lent: dict[str, str] | None = None
    """To whom the number is lent (``version_used``), where the run is another machine's."""
    beside: Callable[[Transaction, Number], None] | None = None
    """Writes what belongs with the number into the commit that takes it."""


class Number(NamedTuple):
    """The version of a run."""

    number: int | None
    """None only where the text is unique by construction (``how`` is suffix)."""
    text: str
    sort_key: str
    how: str
    """online, reserve, lent or suffix."""
    online: bool
    line: str
    run: str


def number_of_run(journal: Journal, deliverable: str, run: str) -> Number | None:
    """The version a run holds, taken here or on another machine whose events have arrived."""
    taken = holdings.taken_by(journal.connection, deliverable, run)
    if taken is not None:
        return _number(taken)
    row = journal.connection.execute(
        "SELECT line, number, text, sort_key, how, lineage FROM version"
        " WHERE run = ? AND deliverable = ? AND used_at IS NOT NULL",
        (run, deliverable),
    ).fetchone()
    if row is None:
        return None
    line, number, text, sort_key, how, lineage = row
    counted = number if number >= 0 else None
    return _number(TakenNumber(deliverable, run, line, counted, text, sort_key, how, lineage or ""))


def _number(taken: TakenNumber) -> Number:
    return Number(
        taken.number, taken.text, taken.sort_key, taken.how, taken.how == ONLINE, taken.line,
        taken.run,
    )  # fmt: skip


def pauses(ids: Ids) -> Iterator[float]:
    """Pauses of a machine that waits for the store, in seconds, without end. Each is up to half as
    long again as it says above, so that many jobs do not come back in step."""
    for pause in chain(PAUSES_SECONDS, repeat(PAUSES_SECONDS[-1])):
        yield pause * (1 + int(ids.token()[:4], 16) / 131072)


def rest_seconds(pause: float, asked: float, left: float) -> float:
    """How long a machine that goes on waiting for the store rests: ``pause``, or until the store asked it to
    come (in ``asked`` seconds). Where that is after its patience (``left``) it comes once more at the end of it:
    nobody comes in its place. Pure."""
    return max(pause, min(asked, left))


def taken_of(request: NumberRequest, number: int, how: str, lineage: str) -> TakenNumber:
    """The version that ``number`` makes for the run. Raises ConfigError."""
    text = request.scheme.render(request.line, number)
    return TakenNumber(
        request.deliverable, request.run, request.line, number, text,
        _sort_key(request.scheme, text), how, lineage,
    )  # fmt: skip


def _sort_key(scheme: Scheme, text: str) -> str:
    try:
        return scheme.sort_key(text)
    except ValueError as error:
        raise ConfigError(
            f"the scheme {scheme.name!r} cannot order its own text {text!r}",
            why=str(error),
            hint="change [version] line or scheme in cx.toml",
            name="bad-scheme",
        ) from error


def record_use(
    transaction: Transaction, request: NumberRequest, taken: TakenNumber, generation: int, k: int
) -> Number:
    """Take a version for good: the row that keeps it unique and the event, with the transaction.
    The witness sees it before the transaction is left."""
    holdings.take(transaction.connection, taken)
    transaction.afterwards.append(lambda: note_head(transaction.journal))
    transaction.append(
        version_used(
            deliverable=taken.deliverable, run=taken.run, line=taken.line, number=taken.number,
            scheme=request.scheme.name, text=taken.text, sort_key=taken.sort_key, how=taken.how,
            lineage=taken.lineage, generation=generation, k=k, actor=request.actor,
            lent=request.lent,
        )
    )  # fmt: skip
    number = _number(taken)
    if request.beside is not None:
        request.beside(transaction, number)
    return number


def passed_over(text: str, line: str) -> Refused:
    """The number of a final version was not to be had."""
    return Refused(
        f"{text} cannot be given any more",
        why=f"line {line} is counted beyond it, on this machine or another",
        hint="release a pre-release of a later version ('cxlocal version list' shows the line)",
        name="final-taken",
    )


def known_node(transaction: Transaction) -> str:
    """Our node id, made where there is none yet."""
    return ensure_node(transaction).node
