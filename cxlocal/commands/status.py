"""``cxlocal status``: what is live, what was released last, what waits, at a glance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.output import json_option, put, write_document, write_rows
from cxlocal.commands.terminal import harmless, warn
from cxlocal.config.load import read
from cxlocal.config.settings import settings
from cxlocal.config.types import Config
from cxlocal.errors import CxError
from cxlocal.exchange.agreed import unagreed
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.text import counted, quoted

BOARD = """
SELECT title, environment_title, environment, deliverable, service, version, state, since,
  actor AS by, promotions, uri, after_it
FROM release_board WHERE (:name IS NULL OR deliverable = :name)
ORDER BY title, deliverable, position IS NULL, position, environment_title, service
"""
LAST = """
SELECT run, deliverable, version, outcome, kind, revision_subject, queued_at, stopped_before
FROM run_board WHERE kind = 'release' ORDER BY queued_at DESC LIMIT 1
"""
# A query of its own: the newest of one deliverable is found by another index than the newest of all.
LAST_HERE = """
SELECT run, deliverable, version, outcome, kind, revision_subject, queued_at, stopped_before
FROM run_board WHERE kind = 'release' AND deliverable = :name ORDER BY queued_at DESC LIMIT 1
"""
# Of a release of which nothing is left to do but to publish it: how it stands at its targets.
TARGETS = """
WITH undone AS (SELECT s.kind FROM run r JOIN plan_stage s ON s.plan_sha256 = r.plan_sha256
  LEFT JOIN stage_run g ON g.run = r.id AND g.stage = s.stage AND g.counts = 1
  WHERE r.id = :run AND coalesce(g.outcome, '') <> 'success')
SELECT t.name AS target, CASE WHEN p.withdrawn_at IS NOT NULL THEN 'withdrawn'
    ELSE coalesce(p.state, 'not begun') END AS state,
  coalesce(p.withdrawn_why, p.why, '') AS why, (SELECT count(*) FROM undone) AS undone_stages
FROM run r JOIN plan_target t ON t.plan_sha256 = r.plan_sha256
LEFT JOIN publication p ON p.run = r.id AND p.target = t.name
WHERE r.id = :run AND NOT EXISTS (SELECT 1 FROM undone WHERE kind <> 'publish')
ORDER BY t.position
"""
OPEN = """
SELECT run_board.run, version, kind, host, queued_at, process.pid, process.pieces FROM run_board
LEFT JOIN process ON process.run = run_board.run
WHERE run_board.run IN (SELECT id FROM run WHERE outcome IS NULL) AND outcome = 'open'
  AND (:name IS NULL OR deliverable = :name) ORDER BY queued_at DESC LIMIT 10
"""

# Of deployments that failed there is more to say: what is live there instead. So of what is half published.
HALF = """
SELECT version, run, there, targets, words, since, (SELECT group_concat(p.target, ' and ') FROM publication p
    WHERE p.run = half_published.run AND p.state = 'other' AND p.withdrawn_at IS NULL) AS others
FROM half_published
WHERE :name IS NULL OR deliverable = :name ORDER BY since DESC LIMIT 5
"""
FLAGS = """
SELECT kind, text, raised_at, version, run FROM open_flags
WHERE kind NOT IN ('deployment-failed', 'half-published')
  AND (:name IS NULL OR deliverable = :name OR kind IN ('two-histories', 'store-changed'))
ORDER BY kind IN ('two-histories', 'store-changed') DESC, raised_at DESC LIMIT 5
"""

OUTCOMES = {"failure": "failed", "error": "ended in error", "cancel": "was cancelled"}


@command(
    examples=[
        ("cxlocal status", "this folder's deliverable; all of them outside a project"),
        ("cxlocal", "the same"),
        ("cxlocal status --json", "the same for a program"),
    ]
)
@json_option
@pass_app
def status(app: App, as_json: bool) -> None:
    """Show what is live, what was released last and what waits.

    Asks nobody over the network.
    """
    config = config_here(app)
    name = None if config is None else config.deliverable.name
    if not app.journal_paths():
        _say_empty(name, as_json)
        return
    found = {}
    for store, path in app.journals():
        with app.journal(create=False, path=path) as journal:
            catch_up(journal)
            found[store] = _facts(journal, name)
    if as_json and len(found) > 1:
        write_document({"stores": [{"store": store, **facts} for store, facts in found.items()]})
    elif as_json:
        write_document(*found.values())
    else:
        _tell_all(found, deploys=config is None or has_lasting_place(config))


def has_lasting_place(config: Config) -> bool:
    """Whether something of the project can be live somewhere; a library is released, and that is it."""
    return any(one.lifetime != "per-run" for one in config.environments.values())


def lasting_here(app: App) -> list[str]:
    """The lasting environments that the cx.toml of this folder names; none where it cannot be read."""
    try:
        if app.find_project() is None:
            return []
        found = _read(app).environments
    except CxError:
        return []
    return [name for name, one in found.items() if one.lifetime != "per-run"]


def deliverable_here(app: App) -> str | None:
    """The deliverable of the folder one stands in; None outside a project. As ``config_here``."""
    config = config_here(app)
    return None if config is None else config.deliverable.name


def named_here(app: App) -> str | None:
    """The deliverable of the folder one stands in, for commands that only look: None outside a project,
    and where its cx.toml cannot be read."""
    try:
        return None if app.find_project() is None else _read(app).deliverable.name
    except CxError:
        return None


def _read(app: App) -> Config:
    return read(str(app.project() / "cx.toml"))


def config_here(app: App) -> Config | None:
    """The configuration of the folder one stands in; None outside a project. A store that is a stranger
    here is named. Raises ConfigError."""
    if app.find_project() is None:
        return None
    config = _read(app)
    found = unagreed(
        settings(config, local=app.local(), environ=app.environ), app.environ, app.home()
    )
    if found:
        warn(
            f"{found} is not asked: nobody agreed here to the store of this project (cxlocal trust)"
        )
    return config


def _facts(journal: Journal, name: str | None) -> dict[str, Any]:
    from cxlocal.exchange.open import is_own
    from cxlocal.exchange.state import staying, store_state
    from cxlocal.exchange.sync import pending
    from cxlocal.journal.whereabouts import machine_mark
    from cxlocal.numbers.holdings import reserves
    from cxlocal.projection.flags import settled_by
    from cxlocal.runner.orphans import is_carried_out
    from cxlocal.runner.unfinished import add_to, unfinished

    found = unfinished(journal, name)
    live = journal.query(BOARD, {"name": name})
    add_to(live, found)
    held = [r for r in reserves(journal) if name is None or r.deliverable == name]
    owed = (
        "SELECT run, environment, tool FROM resources_now r WHERE lifetime = 'per-run'"
        " AND (due OR NOT EXISTS (SELECT 1 FROM process p WHERE p.run = r.run)"
        " AND (node = :node OR machine = :machine))"
    )
    last = journal.one(LAST if name is None else LAST_HERE, {"name": name})
    return {
        "deliverable": name,
        "live": live,
        "unfinished_deployments": found,
        "last_release": last,
        "last_targets": journal.query(TARGETS, {"run": last["run"]}) if last else [],
        "open_runs": [
            {**row, "alive": bool(is_carried_out(journal, row["run"]))}
            for row in journal.query(OPEN, {"name": name})
        ],
        "reserve": [r._asdict() for r in held],
        "waiting_events": pending(journal),
        "staying_events": staying(journal.connection),
        "own_store": is_own(store_state(journal.connection).url),
        "waiting_versions": _waiting(journal, name),
        "half_published": journal.query(HALF, {"name": name}),
        "store_trouble": journal.one("SELECT url, why FROM breaker ORDER BY failed_at_ms DESC"),
        "owed_environments": journal.query(owed, {"node": journal.node, "machine": machine_mark()}),
        "flags": [
            {**row, "settled_by": settled_by(row["kind"])}
            for row in journal.query(FLAGS, {"name": name})
        ],
    }


def _waiting(journal: Journal, name: str | None) -> list[dict[str, Any]]:
    """The newest version that waits for somebody to go on, and where its bytes are."""
    from cxlocal.exchange.contact import is_shared

    if name is None or not is_shared(journal):
        return []
    from cxlocal.runner.waiting import waiting

    return [
        {
            "run": one.run, "version": one.one.version, "artifact": one.one.name,
            "size_bytes": one.one.size, "where": one.where,
        }
        for one in waiting(journal, name, 1)
    ]  # fmt: skip


def _tell_all(found: dict[str, dict[str, Any]], *, deploys: bool) -> None:
    for number, (store, facts) in enumerate(found.items()):
        if store:
            from cxlocal.commands.journals import words_for

            put(f"{chr(10) * bool(number)}Store: {words_for(store)}")
        _tell(facts, deploys=deploys)


def _tell(facts: dict[str, Any], *, deploys: bool) -> None:
    """``deploys``: something of it may be live somewhere."""
    if facts["live"]:
        write_rows(_board(facts["live"]))
    elif not facts["last_release"]:
        what = "Nothing is live yet" if deploys else "Nothing is released yet"
        put(f"{what}. 'cxlocal run' makes a release.")
    elif deploys:
        put("Nothing is live. 'cxlocal log' lists the releases.")
    if facts["live"] or deploys or not facts["last_release"]:
        put()
    for line in _lines(facts):
        put(harmless(line))


def _board(live: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The board for people; services are named where an environment has several."""
    places = [(row["deliverable"], row["environment"]) for row in live]
    several = len(set(places)) < len(places)
    return [
        {
            "title": row["title"],
            "environment": row["environment_title"],
            **({"service": row["service"]} if several else {}),
            "version": row["version"],
            "state": "; ".join(part for part in (row["state"], row["after_it"]) if part),
            **{name: row[name] for name in ("since", "by", "promotions", "uri")},
        }
        for row in live
    ]


def _lines(facts: dict[str, Any]) -> list[str]:
    from cxlocal.runner.unfinished import telling

    lines: list[str] = []
    if facts["last_release"]:
        last, named = facts["last_release"], facts["deliverable"] is None
        if not any(one["run"] == last["run"] for one in facts["half_published"]):
            lines += _last(last, facts["last_targets"], named=named)
        else:
            lines += [_newest(last, named=named)]
    lines += [
        f"  {one['artifact']} of {one['version']}, {one['size_bytes'] / 1_000_000:.1f} MB: {one['where']}"
        for one in facts["waiting_versions"]
    ]
    for one in facts["half_published"]:
        lines.append(f"Partly published: {one['version']} is at {one['words']}")
        lines.append(_to_finish(one["version"], one["others"] or ""))
    lines += telling(facts["unfinished_deployments"])
    for run in facts["open_runs"]:
        where = f"process {run['pid']} here" if run["pid"] else f"on {run['host'] or 'elsewhere'}"
        if run["pid"] and not run["pieces"] and not run["alive"]:
            where = (
                "cut off: its process here is gone; 'cxlocal env reap' records and tidies it up;"
            )
            where += " in a lasting environment the next deployment does"
        if run["pieces"]:
            from cxlocal.runner.pieces import how_to_finish

            where = f"single commands, begun here; end it with: {how_to_finish(run['run'])}"
        lines.append(f"Open: {run['version'] or run['run'][:8]} ({run['kind']}), {where}")
    for reserve in facts["reserve"]:
        left = reserve["hi"] - reserve["next"] + 1
        state = ", locked until the store was asked" if reserve["locked"] else ""
        lines.append(
            f"Reserve of {reserve['deliverable']} {reserve['line']}: {counted(left, 'number')}, next"
            f" {reserve['next']}{state}"
        )
    if facts["waiting_events"] and not facts["own_store"]:
        lines.append(f"Not yet sent: {counted(facts['waiting_events'], 'event')} ('cxlocal sync')")
    for staying, count in facts["staying_events"].items():
        lines.append(
            f"Not to be sent: {counted(count, 'event')} of {staying}, for which this machine lacks the right"
        )
    if facts["store_trouble"]:
        lines.append(f"The store did not answer lately: {facts['store_trouble']['why']}")
    for one in facts["owed_environments"]:
        lines.append(f"Left behind: environment {one['environment']} ('cxlocal env reap')")
    for flag in facts["flags"]:
        lines.append(f"Look at: {_about(flag)}{flag['text']}")
        lines.append(f"  settled by {flag['settled_by']}")
    return lines


def _newest(last: dict[str, Any], *, named: bool) -> str:
    """What became of the newest release; ``named``: it may be of any deliverable."""
    name = last["version"] or f"{last['run'][:8]}, which got no number,"
    whose = f"{last['deliverable']} " if named else ""
    words = f"Last release: {whose}{name}"
    words += f" {OUTCOMES.get(last['outcome'], last['outcome'])}, {last['queued_at']}"
    return words + (f", {last['revision_subject']}" if last["revision_subject"] else "")


def is_published(targets: list[dict[str, Any]]) -> bool:
    """Whether nothing is left of a release: its targets (rows of ``TARGETS``) have it, by whichever way."""
    settled = all(one["state"] in ("there", "withdrawn") for one in targets)
    return bool(targets) and settled and not targets[0]["undone_stages"]


def _last(last: dict[str, Any], targets: list[dict[str, Any]], *, named: bool) -> Iterator[str]:
    """What became of the newest release, and how it goes on; ``targets``: where it has only to be published."""
    yield _newest(last, named=named)
    lacking = [one for one in targets if one["state"] not in ("there", "withdrawn")]
    open_ = last["outcome"] in OUTCOMES or bool(last["stopped_before"])
    tried = last["outcome"] in OUTCOMES or len(lacking) < len(targets)
    if targets and (not open_ or (tried and (lacking or not targets[0]["undone_stages"]))):
        words = [
            f"{one['target']} {one['state']}" + f" ({one['why']})" * bool(one["why"])
            for one in targets if one["state"] != "there"
        ]  # fmt: skip
        there = f"{len(targets) - len(words)} of {counted(len(targets), 'target')}"
        yield f"  it is at {': '.join(filter(None, (there, ', '.join(words))))}"
        if lacking:
            others = [one["target"] for one in lacking if one["state"] == "other"]
            yield _to_finish(last["version"], " and ".join(others))
        return
    again = f"cxlocal run --resume {last['run'][:8]}"
    if last["stopped_before"]:
        place = last["stopped_before"]
        yield f"  it stopped before {place}; go on with: {again} --to {place}"
    elif last["outcome"] in OUTCOMES:
        yield f"  to try that commit again: {again}"


def _to_finish(version: str, others: str) -> str:
    """How the rest of a version is published; ``others``: the targets that hold other bytes under its name."""
    publish = f"cxlocal publish {quoted(version)}"
    if not others:
        return f"  to finish it: {publish}"
    return (
        f"  {others} holds something else by that name, which is never replaced: release another number, or"
        f" remove it there by hand, then: {publish}"
    )


def _about(flag: dict[str, Any]) -> str:
    name = flag["version"] or str(flag["run"] or "")[:8]
    return f"{name}: " if name else ""


def _say_empty(name: str | None, as_json: bool) -> None:
    if as_json:
        write_document({"deliverable": name, "live": [], "last_release": None, "open_runs": []})
    elif name is None:
        put("No cx.toml here and no journal yet. 'cxlocal init' begins, 'cxlocal demo' shows.")
    else:
        put(f"{name} has not been released from this machine yet. 'cxlocal run' does it.")
