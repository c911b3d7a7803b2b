"""What settles each kind of flag.

A flag is settled by what happens: the view ``open_flags`` looks for the later event that answers it.
Somebody's word settles two questions alone: which of two histories of a machine counts, and that what was changed
in part is whole again. Where deployments or
numbers are in dispute there is no flag; a person names the right one ('cxlocal env confirm', a promotion
or deploy by run or digest).
"""

from __future__ import annotations

SETTLED_BY = {
    "revision-gone": (
        "the commit, on a remote of the project again: push it there, then 'cxlocal sync' asks"
    ),
    "changed-outside": "the next deployment to that environment, or a removal there",
    "went-unobserved": "the next deployment to that environment that begins after it",
    "host-left-out": "the next deployment to that environment",
    "other-weights": "the next deployment to that environment, which sets them",
    "found-instances": "the next deployment to that environment, which takes away what does not serve",
    "half-applied": (
        "the next deployment to that environment, which applies it again, or 'cxlocal env settle'"
    ),
    "settled-by-hand": "itself: it is a person's word",
    "not-drained": "the next deployment to that environment",
    "not-removed": "its end: the next deployment there, or 'cxlocal env reap', tries it again",
    "uncommitted-changes": "the next release of this deliverable that succeeds",
    "unreadable-report": "the next release of this deliverable that succeeds",
    "not-asked": "the next release of this deliverable that succeeds",
    "not-provisioned": "the next release of this deliverable that succeeds",
    "not-destroyed": "the end of that environment: 'cxlocal env reap' tries it again, 'cxlocal env destroy' where it lasts",
    "closed-not-destroyed": (
        "the next environment of that name that is destroyed: deploy into it by a tool that can, or"
        " leave nothing in it"
    ),
    "bump-not-pushed": "the next release of this deliverable that succeeds",
    "no-witness": "the store's acknowledgement of that number: 'cxlocal sync'",
    "deployment-failed": "the next deployment there that succeeds, or a removal there",
    "half-published": "'cxlocal publish' of that version, or 'cxlocal withdraw'",
    "clock-ahead": "the next event of that machine with its clock set right",
    "contradicted": "another try that succeeds, or an override: 'cxlocal promote'",
    "other-commit": "a try of that stage with the commit of the run checked out",
    "two-histories": "a person who names the one that counts: 'cxlocal journal settle'",
    "store-changed": "a person who names the history that counts: 'cxlocal journal settle'",
    "untrue-event": "nothing: ask who uses the machine that wrote it, and 'cxlocal verify' names it",
    "unreadable-event": "a newer cxlocal that can read the event",
}
"""By the slug of its kind, as the view ``open_flags`` has it."""
UNKNOWN = "whatever a newer cxlocal, which raised it, has for it"


def settled_by(kind: str) -> str:
    """What settles an open flag of this kind, in words after "settled by"."""
    return SETTLED_BY.get(kind, UNKNOWN)
