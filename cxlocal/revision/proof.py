"""Only pushed revisions run: how we know that a commit was pushed.

Three grades, the first that holds is recorded with the run:

- *confirmed*: a named remote was asked now and holds the commit;
- *tracking ref*: it could not be asked (why is recorded), and our last copy of its refs, so many
  seconds old, holds it;
- *mirror only*: none of that, but a mirror of this machine holds it (``cxlocal mirror add``).

A commit that no remote holds is refused. There is no option that changes this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cxlocal.clock import Clock
from cxlocal.errors import CxError, Refused, UsageError
from cxlocal.revision.git import ask, decode, git
from cxlocal.revision.mirrors import Mirror
from cxlocal.revision.reach import RemoteAnswer, Tracked, ask_remote, tags_of, tracked
from cxlocal.revision.remotes import clean_url, counting_remotes, is_itself, list_remote
from cxlocal.revision.repository import Repository, is_commit_id
from cxlocal.revision.submodules import require_pushed
from cxlocal.text import utc_text
from cxlocal.values import NamedTuple

BUDGET_SECONDS = 10.0
"""For asking all remotes together. A git host that is up answers in one or two seconds; one that
hangs must not cost a release more than this."""

MIRROR_SECONDS = 5.0
"""For asking one mirror; most are folders and answer in milliseconds."""

CONFIRMED, TRACKING, MIRROR = "confirmed", "tracking ref", "mirror only"


class Proof(NamedTuple):
    """How we know that the commit of a run was pushed. Recorded with the run."""

    kind: str
    remote: str
    """The remote's name, or the mirror's address."""
    url: str
    """The remote's address, without credentials."""
    ref: str
    age_seconds: float | None
    """Of the last contact with the remote, for ``tracking ref``; None where it cannot be told."""
    checked_at: str
    reason: str
    """Why it is not confirmed; empty when it is."""
    tags: tuple[str, ...] | None = None
    """The tags of the remotes that answered; None where none did. Not recorded."""

    def as_json(self) -> dict[str, object]:
        """The form in which events carry it."""
        found = self._asdict()
        del found["tags"]
        return found


class Standing(NamedTuple):
    """What the remotes say about a commit some time after it was released."""

    verdict: str
    """``held``, ``absent`` or ``unknown``."""
    remote: str
    ref: str
    checked_at: str
    reason: str


def prove(
    repository: Repository,
    commit: str,
    names: Sequence[str] = (),
    mirrors: Sequence[Mirror] = (),
    *,
    clock: Clock,
    budget_seconds: float = BUDGET_SECONDS,
    online: bool = True,
) -> Proof:
    """Prove that ``commit`` was pushed to one of the remotes ``names`` ([scm] remotes in cx.toml;
    without names ``origin`` or the only remote).

    Raises Refused: ``not-pushed``, ``pushed-away``, ``no-remote``, ``which-remote``,
    ``remote-is-itself``, ``submodule-not-pushed``. UsageError for what is no commit id.
    """
    if not is_commit_id(commit):
        raise UsageError(
            f"{commit!r} is not a full commit id",
            why="what is proven is one commit, and a name may mean another tomorrow",
            hint="give all digits, as 'git rev-parse HEAD' prints them",
            name="bad-revision-name",
        )
    counting = counting_remotes(repository, names)
    checked_at = utc_text(clock.now_ms())
    proof, answers = None, dict.fromkeys(counting, RemoteAnswer("unknown", "", "working offline"))
    if online:
        proof, answers = _ask_all(repository, commit, counting, clock, budget_seconds)
    proof = proof or _from_tracking(repository, commit, counting, answers, clock)
    proof = proof or _from_mirrors(repository, commit, mirrors, answers, clock)
    if proof is None:
        raise _refusal(repository, commit, counting, answers, clock)
    require_pushed(repository, commit)
    told = [answer.tags for answer in answers.values() if answer.tags is not None]
    tags = tuple(dict.fromkeys(tag for tags in told for tag in tags)) if told else None
    return proof._replace(checked_at=checked_at, tags=tags)


def remote_tags(
    repository: Repository, names: Sequence[str] = (), *, budget_seconds: float = BUDGET_SECONDS
) -> tuple[str, ...] | None:
    """The tags of the first remote that counts and answers, for whoever needs no proof; None where
    there is none."""
    try:
        counting = counting_remotes(repository, names)
    except Refused:
        return None
    for name in counting:
        share = budget_seconds / len(counting)
        said = list_remote(repository, name, timeout_seconds=share, everything=False)
        if not said.problem:
            return tags_of(said)
    return None


def reverify(
    repository: Repository,
    commit: str,
    names: Sequence[str] = (),
    *,
    clock: Clock,
    budget_seconds: float = BUDGET_SECONDS,
) -> Standing:
    """Ask again, at a sync after the release: a ``tracking ref`` proof becomes certain or is
    flagged on ``absent``; a ``mirror only`` proof is settled on ``held``.

    Only remotes count here, no mirror and no memory. Raises Refused as ``prove`` does for remotes
    that are not set up, never for what they answer.
    """
    counting = counting_remotes(repository, names)
    checked_at = utc_text(clock.now_ms())
    proof, answers = _ask_all(repository, commit, counting, clock, budget_seconds)
    if proof is not None:
        return Standing("held", proof.remote, proof.ref, checked_at, "")
    absent = bool(answers) and all(answer.verdict == "absent" for answer in answers.values())
    verdict = "absent" if absent else "unknown"
    return Standing(verdict, ", ".join(answers), "", checked_at, _reasons(answers))


def _ask_all(
    repository: Repository,
    commit: str,
    counting: Mapping[str, str],
    clock: Clock,
    budget_seconds: float,
) -> tuple[Proof | None, dict[str, RemoteAnswer]]:
    """Ask the remotes in their order until one holds the commit, each within its share of what is
    left of the budget."""
    deadline = clock.monotonic() + budget_seconds
    answers: dict[str, RemoteAnswer] = {}
    for position, (name, url) in enumerate(counting.items()):
        share = (deadline - clock.monotonic()) / (len(counting) - position)
        answer = ask_remote(repository, commit, name, clock=clock, budget_seconds=share)
        answers[name] = answer
        if answer.verdict == "held":
            return Proof(CONFIRMED, name, clean_url(url), answer.ref, None, "", ""), answers
    return None, answers


def _from_tracking(
    repository: Repository,
    commit: str,
    counting: Mapping[str, str],
    answers: Mapping[str, RemoteAnswer],
    clock: Clock,
) -> Proof | None:
    """The proof by our copy of a remote's refs, for remotes that did not answer."""
    for name, url in counting.items():
        if answers[name].verdict == "absent":
            continue
        found = _tracked(repository, commit, counting, name, clock)
        if found:
            reason = answers[name].reason
            age = found.age_seconds
            return Proof(TRACKING, name, clean_url(url), found.ref, age, "", reason)
    return None


def _tracked(
    repository: Repository, commit: str, counting: Mapping[str, str], name: str, clock: Clock
) -> Tracked | None:
    alone = name == "origin" or len(counting) == 1
    now_ms = clock.now_ms()
    return tracked(repository, commit, name, counting[name], now_ms=now_ms, alone=alone)


def _from_mirrors(
    repository: Repository,
    commit: str,
    mirrors: Sequence[Mirror],
    answers: Mapping[str, RemoteAnswer],
    clock: Clock,
) -> Proof | None:
    for mirror in mirrors:
        place = mirror.location
        if is_itself(repository, place):
            continue
        answer = ask_remote(
            repository, commit, place, clock=clock, budget_seconds=MIRROR_SECONDS
        )  # fmt: skip
        if answer.verdict == "held":
            url = clean_url(place)
            return Proof(MIRROR, url, url, answer.ref, None, "", _reasons(answers))
    return None


def _reasons(answers: Mapping[str, RemoteAnswer]) -> str:
    return "; ".join(f"{name}: {answer.reason}" for name, answer in answers.items())


def _refusal(
    repository: Repository,
    commit: str,
    counting: Mapping[str, str],
    answers: Mapping[str, RemoteAnswer],
    clock: Clock,
) -> CxError:
    """Why the commit cannot be released, and the commands that change that."""
    short = commit[:12]
    if not counting:
        return Refused(
            f"commit {short} is on this machine only: the repository has no remote",
            why="a release is made from a commit that others can get",
            hint="git remote add origin ADDRESS && git push -u origin HEAD\n"
            "or, for this machine alone: cxlocal mirror add PATH",
            name="no-remote",
            commit=commit,
        )
    branch = _branch_of(repository, commit)
    first = next(iter(counting))
    push = f"git push {first} {branch}" if branch else f"git push {first} {short}:refs/heads/NAME"
    enough = bool(branch)
    if branch and _went_on(repository, commit, answers[first].refs.get(f"refs/heads/{branch}", "")):
        push, enough = f"git pull --rebase {first} {branch} && {push}", False
    mirror = "or, while it cannot be pushed to: cxlocal mirror add PATH"
    data: dict[str, object] = {
        "commit": commit,
        "remotes": {n: a.reason for n, a in answers.items()},
    }
    for name, answer in answers.items():
        gone = _tracked(repository, commit, counting, name, clock)
        if answer.verdict == "absent" and gone:
            return Refused(
                f"{name} does not hold commit {short} any more",
                why=f"{gone.ref} here says it did, but {name} was asked now: "
                "its branches and tags were rewritten",
                hint=f"git fetch {name}, then release what it has now\n"
                f"or push it again: {push}\n{mirror}",
                name="pushed-away",
                **data,
            )
    return Refused(
        f"commit {short} has not been pushed to {' or '.join(counting)}",
        why=_reasons(answers),
        hint=f"{push}\n{mirror}",
        name="not-pushed",
        push=["git", "push", first, branch] if enough else [],
        **data,
    )


def _went_on(repository: Repository, commit: str, tip: str) -> bool:
    """Whether the branch has at the remote what the commit does not follow: git refuses to push then."""
    if not tip or not is_commit_id(tip):
        return False
    follows = ("merge-base", "--is-ancestor", "--end-of-options", tip, commit)
    return git(repository.root, *follows).code != 0


def _branch_of(repository: Repository, commit: str) -> str:
    """A local branch that has the commit, best the one at it."""
    raw = ask(
        repository.root, "for-each-ref", f"--contains={commit}",
        "--format=%(objectname) %(refname:strip=2)", "refs/heads/",
    )  # fmt: skip
    found = [line.partition(" ") for line in decode(raw).splitlines()]
    at_it = [name for tip, _, name in found if tip == commit]
    return next(iter(at_it or [name for _, _, name in found]), "")
