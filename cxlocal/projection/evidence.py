"""The sheet of a version for somebody who has to answer for it: commit and proof, who built, tested and
approved, what was passed over, which bytes ran where. SQL, and sentences out of its rows. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cxlocal.projection.asked import CHOSEN_RUN, DECISION_WORDS, RUN_WORDS
from cxlocal.projection.own_record import OTHERWISE

TOPICS = {
    "commit": "The commit, and how we know that it was pushed",
    "run": "Who made it, where and when",
    "artifact": "What was made",
    "tests": "Tests",
    "decision": "Decisions of people and stages",
    "gate": "What gates said",
    "deployed": "Where it ran, and with which bytes",
    "look": "What somebody should look at",
    "review": "Who answered for it afterwards",
    "record": "The record itself",
}
"""What each row is about, in order, and what that is called."""

PUSHED = {
    "confirmed": "yes: {} was asked and has it",
    "tracking ref": "by the copy of {} on that machine alone",
    "mirror only": "the mirror {} alone has it",
}
"""By the kind of proof."""

CONTRADICTED = "recorded otherwise here"

# sql: constants of the projection
EVIDENCE: tuple[str, str, str] = (
    "What proves a version",
    (
        "Commit and proof, who built, tested and approved it, what was passed over, its bytes in each"
        " environment, and the end of the record. What a gate said stands as it was said, also where a decision passed"
        f" over it. {RUN_WORDS}"
    ),
    f"""
WITH chosen AS MATERIALIZED (SELECT * FROM run WHERE id = {CHOSEN_RUN})
SELECT * FROM (SELECT 'commit' AS topic, r.revision AS name, coalesce(r.proof, 'not known') || coalesce(', '
    || nullif(r.proof_remote, ''), '') || CASE r.reverified WHEN 1 THEN '; the remote agreed later'
    WHEN 0 THEN '; the remote did not have it later' ELSE '' END AS result, r.revision_author AS who,
  r.revision_at AS at, r.revision_subject AS words, NULL AS sha256
FROM chosen r WHERE r.revision IS NOT NULL
UNION ALL SELECT 'run', r.id, coalesce(r.outcome, 'open') || iif(r.planned = 0, ', unplanned', '')
    || iif(r.online = 0, ', without the store', ''), r.actor, r.queued_at,
    coalesce(nullif(r.place, ''), r.place_kind, '') || coalesce(', ' || m.name, ', ' || r.host, '')
    || coalesce('; ' || nullif(r.reason, ''), ''), r.plan_sha256
  FROM chosen r LEFT JOIN machine m ON m.node = r.node
UNION ALL SELECT 'artifact', a.name, a.size_bytes || ' bytes', '', a.packaged_at,
    coalesce(a.file_name, ''), a.sha256
  FROM chosen r JOIN artifact a ON a.run = r.id
  WHERE a.packaged_at IS NOT NULL AND a.replaced_at IS NULL
UNION ALL SELECT 'tests', p.suite, coalesce(p.outcome, 'open') || ', ' || coalesce(p.passed, '?')
    || ' of ' || coalesce(p.total, '?') || ' passed', p.stage, p.finished_at,
    coalesce(p.problem, ''), p.sha256
  FROM chosen r JOIN report p ON p.run = r.id
UNION ALL SELECT 'decision', coalesce(nullif(p.title, ''), p.name), p.decision,
    iif(p.automatic = 1, '', p.actor), p.decided_at, p.reason, NULL
  FROM chosen r JOIN promotion p ON p.run = r.id
UNION ALL SELECT 'gate', g.gate, g.verdict, '', g.judged_at, g.reason, NULL
  FROM chosen r JOIN verdict g ON g.run = r.id
UNION ALL SELECT 'deployed', coalesce(nullif(e.title, ''), d.environment) || ', ' || d.service,
    CASE WHEN d.artifact_sha256 IS NULL OR d.artifact_sha256 = '' THEN 'which bytes is not known'
      WHEN EXISTS (SELECT 1 FROM artifact a WHERE a.run = r.id AND a.sha256 = d.artifact_sha256)
      THEN 'the bytes that were made' ELSE 'other bytes than were made' END,
    d.actor, d.deployed_at, coalesce(d.reason, ''), d.artifact_sha256
  FROM chosen r JOIN deployment d ON d.version_run = r.id
  LEFT JOIN environment e ON e.deliverable = d.deliverable AND e.instance = d.instance
UNION ALL SELECT 'look', f.kind, 'noticed', '', f.raised_at, f.text, NULL
  FROM chosen r JOIN flag f ON f.run = r.id
UNION ALL SELECT 'look', 'incident', iif(i.closed_at IS NULL, 'not over', 'over'), i.actor, i.opened_at,
    i.words || coalesce('; ' || nullif(i.closed_words, ''), ''), NULL
  FROM chosen r JOIN incident i ON i.run = r.id WHERE i.opened_at IS NOT NULL
UNION ALL SELECT 'look', o.what, 'recorded otherwise here', '', c.queued_at,
    'Recorded on this machine: ' || coalesce(o.recorded_here, 'nothing') || '. Told by another one: '
    || coalesce(o.shown, 'nothing'), NULL
  FROM chosen c, {OTHERWISE} o
UNION ALL SELECT 'review', '', 'answered for', w.actor, w.reviewed_at, w.words, NULL
  FROM chosen r JOIN review w ON w.run = r.id
UNION ALL SELECT 'record', coalesce(m.name, substr(n.name, 1, 8)), 'up to event ' || e.sequence, '',
    strftime('%Y-%m-%dT%H:%M:%fZ', e.time / 1000.0, 'unixepoch'), '', lower(hex(e.hash))
  FROM chosen r JOIN event e ON e.id IN (SELECT max(o.id) FROM run_lookup k JOIN event o ON o.run = k.id
    WHERE k.name = r.id GROUP BY o.node)
  JOIN node_lookup n ON n.id = e.node LEFT JOIN machine m ON m.node = n.name)
ORDER BY CASE topic {" ".join(f"WHEN '{name}' THEN {place}" for place, name in enumerate(TOPICS))} END,
  at, name
""",
)


def evidence_sentences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader of the sheet has to know first: who approved what somebody else wrote, what was
    passed over, whether tests passed, whether the very bytes ran."""
    by: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by.setdefault(str(row["topic"]), []).append(row)
    return [
        one
        for one in (
            _contradicted(by), _approved(by), _passed_over(by.get("decision", [])), _tested(by.get("tests", [])),
            _same_bytes(by.get("deployed", [])), _unplanned(by),
        )
        if one
    ]  # fmt: skip


def _contradicted(by: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    told = [str(row["name"]) for row in by.get("look", ()) if row["result"] == CONTRADICTED]
    if not told:
        return ""
    return f"Another machine says otherwise than was recorded on this one: {', '.join(told)}."


def _approved(by: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    author = next((str(row["who"] or "") for row in by.get("commit", ())), "")
    names = [
        str(row["who"])
        for row in by.get("decision", ())
        if row["who"] and row["result"] == "granted"
    ]
    if not names:
        return "No person approved it."
    if not author:
        return "Whether its author approved it is not known: who wrote the commit was not recorded."
    others = [one for one in names if identity(one) != identity(author)]
    if others:
        return f"Approved by somebody else than its author: {name_of(others[0])}; the author is {name_of(author)}."
    return f"Approved by its author alone: {name_of(author)}."


def _passed_over(rows: Sequence[Mapping[str, Any]]) -> str:
    over = [row for row in rows if row["result"] == "overridden"]
    if not over:
        return "Nothing was passed over."
    first = over[0]
    why = f": {first['words']}" if first["words"] else ", no reason given"
    more = f" And {len(over) - 1} more." if len(over) > 1 else ""
    return f"{first['name']} was passed over by {name_of(str(first['who'] or 'nobody named'))}{why}.{more}"


def _tested(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "No test was recorded."
    last: dict[tuple[object, object], Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda one: str(one["at"] or "")):
        last[row["who"], row["name"]] = row
    bad = [
        str(row["name"]) for row in last.values() if not str(row["result"]).startswith("success")
    ]
    if bad:
        return f"Tests did not pass: {', '.join(sorted(bad))}."
    return f"All tests passed ({len(last)} suite{'' if len(last) == 1 else 's'})."


def _same_bytes(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "It has not run anywhere."
    other = [str(row["name"]) for row in rows if str(row["result"]).startswith("other")]
    unknown = sum("not known" in str(row["result"]) for row in rows)
    if other:
        return f"Other bytes than were made ran in {', '.join(dict.fromkeys(other))}."
    if unknown:
        return f"Which bytes ran is not known of {unknown} of {len(rows)} deployments."
    return "What ran everywhere is what was made, byte for byte."


def _unplanned(by: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    odd = [str(row["result"]).partition(", ")[2] for row in by.get("run", ())]
    if not any(odd):
        return ""
    answered = by.get("review")
    who = (
        f" {name_of(str(answered[-1]['who']))} answered for it."
        if answered
        else " Nobody has answered for it."
    )
    return f"It was made {', '.join(one for one in odd if one)}.{who}"


def identity(person: str) -> str:
    """What tells one person from another: the address where there is one."""
    mail = person.rpartition("<")[2].rstrip("> ") if "<" in person else person
    return mail.strip().casefold()


def name_of(person: str) -> str:
    """Somebody without the address behind the name."""
    return person.partition(" <")[0].strip() or person


def result_words(topic: str, result: str) -> str:
    """The result of a row for people: how it is known that a commit was pushed, what was decided. Pure."""
    if topic == "commit":
        return pushed(result)
    return DECISION_WORDS.get(result, result) if topic == "decision" else result


def pushed(result: str) -> str:
    """How it is known that a commit was pushed, in words: of a kind of proof and its remote. Pure."""
    kind, comma, rest = result.partition(", ")
    words = PUSHED.get(kind)
    if not (words and comma):
        return result
    remote, semicolon, later = rest.partition("; ")
    return f"{words.format(remote)}{semicolon}{later}"
