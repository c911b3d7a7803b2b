"""The page Difference: what changed between two versions of a product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datasette_cxlocal.links import commit_subject, links_of, outward
from datasette_cxlocal.parts import Place
from datasette_cxlocal.words import brief, listed, moment, person, plain, shown


async def difference_page(place: Place, what: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """What ``cxlocal_difference.html`` shows of ``older`` and ``newer``, versions or runs."""
    given = {one: asked.get(one, "") for one in ("older", "newer", "deliverable")}
    newer = await place.ask("one-run", {**given, "run": given["newer"]}, 1)
    given["deliverable"] = given["deliverable"] or str(newer.first.get("deliverable") or "")
    given["older"] = given["older"] or str(newer.first.get("release_before") or "")
    older = (
        await place.ask("one-run", {**given, "run": given["older"]}, 1) if given["older"] else None
    )
    commits = await place.ask("commits-between", given)
    facts = await place.ask("differences", given, 200)
    names = [brief(one.first.get("version"), 40) if one else "" for one in (older, newer)]
    links = links_of(newer.first.get("links"))
    title = brief(newer.first.get("title") or "")
    known = bool(newer.rows) and bool(older and older.rows)
    return {
        "title": f"{title}: what changed" if title else "What changed",
        "late": newer.late or bool(older and older.late),
        "known": known, "asked": {key: plain(given[key] if key == "deliverable" else asked.get(key, "")) for key in given},
        "names": names, "runs": [place.run(one.first.get("run")) if one else "" for one in (older, newer)],
        "sentence": difference_sentence(names, len(commits.rows), commits.more, facts.rows) if known else "",
        "commits": commits, "commit_rows": [_commit(place, row, links) for row in commits.rows],
        "facts": facts, "fact_rows": [_fact(row) for row in facts.rows],
        "live": False,
    }  # fmt: skip


def difference_sentence(
    names: Sequence[str], commits: int, more: bool, facts: Sequence[Mapping[str, Any]]
) -> str:
    """The first sentence. Pure."""
    brought = f"{'at least ' if more else ''}{commits or 'no'} commit{'' if commits == 1 else 's'}"
    parts = []
    for what, one, many in (
        ("artifact", "artifact", "artifacts"), ("tests", "suite of tests", "suites of tests"),
        ("stage", "stage of the plan", "stages of the plan"),
    ):  # fmt: skip
        count = sum(row["what"] == what and not row["same"] for row in facts)
        if count:
            parts.append(f"{count} {one if count == 1 else many}")
    older, newer = (name or "a run without a version" for name in names)
    if not parts:
        return f"From {older} to {newer}: {brought}; nothing else is known to be different."
    are = "is" if len(parts) == 1 and parts[0].startswith("1 ") else "are"
    return f"From {older} to {newer}: {brought}; {listed(parts)} {are} different."


def _commit(place: Place, row: Mapping[str, Any], links: Mapping[str, object]) -> dict[str, Any]:
    return {
        "id": plain(row["revision"])[:12], "address": outward(links, "commit", commit=row["revision"]),
        "subject": commit_subject(row["subject"], links),
        "author": shown(person(row["author"])), "at": moment(row["committed_at"], place.now_ms),
        "first": shown(row["first_in"] or "no version", 40), "run": place.run(row["run"]),
    }  # fmt: skip


def _fact(row: Mapping[str, Any]) -> dict[str, Any]:
    def value(text: object) -> Any:
        if text is None:
            return "not there"
        return shown(text, 16) if row["what"] == "artifact" else shown(text)

    return {
        "what": row["what"], "name": shown(row["name"]), "older": value(row["older"]),
        "newer": value(row["newer"]), "same": bool(row["same"]),
    }  # fmt: skip
