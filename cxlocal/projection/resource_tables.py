"""The tables about environments and what tools make in them, and what is stated about that."""

from __future__ import annotations

from cxlocal.projection.description import Table
from cxlocal.projection.facts import Fact, Said, as_json, replaces, run_stub

ENVIRONMENT = Table(
    "A place where services run, lasting or made for one run.",
    "owned",
    "deliverable instance",
    """
    deliverable TEXT - | Deliverable that uses it.
    instance TEXT - | Its id: the name, or name and run for a per-run one.
    name TEXT created | Name in cx.toml.
    title TEXT created | Title for readers.
    lifetime TEXT created | lasting or per-run.
    protected INTEGER created | 1 when a run stops before it unless told to go on.
    uri TEXT created | Address; empty when it has none.
    spec_sha256 TEXT created | Digest of image and virtualisation spec; equal means same.
    tool TEXT created | Tool that made it.
    created_by_run TEXT created | Run that created it.
    created_at TEXT created | When it was created (UTC).
    deleted_at TEXT deleted | When it came to its end (UTC); empty while it stands.
    deleted_why TEXT deleted | Why it did.
    deleted_how TEXT deleted | destroyed, or: closed, not destroyed (nothing could destroy what was made there).
    """,
)

RESOURCE = Table(
    "One instance of a component that a tool made, or was about to make.",
    "owned",
    "id",
    """
    id TEXT - | Its id, drawn before it was made.
    deliverable TEXT intended | Deliverable it was made for.
    environment TEXT intended | Name of the environment.
    instance TEXT intended | Id of the environment.
    component TEXT intended | The component, or the stage that deploys it; empty for the environment itself.
    lifetime TEXT intended | per-run or lasting.
    run TEXT intended | Run that made it.
    stage TEXT intended | Stage that made it.
    stage_run TEXT intended | Stage run that made it; empty where none did.
    deployment TEXT intended | Deployment it was made for; empty where none is known.
    tool TEXT intended | Tool that made it, and takes it away.
    verb TEXT intended | What the tool was asked: create (of a component), apply (of one that rotates itself), provision or deploy.
    version TEXT intended | Version that it runs; empty where it is not one of a component.
    host TEXT intended | Host it was made on; empty where its component names none.
    address TEXT intended | Where it answers; empty where that is not known.
    spec_sha256 TEXT intended | Digest of what is shared of its component; equal means same.
    differences TEXT intended | What its environment says differently of the component (JSON).
    keep_seconds INTEGER intended | How long it stays once it serves no more, in seconds.
    turn INTEGER intended | Number of the turn in which it was made; 0 where none is known.
    options TEXT intended | The tool's options, with their placeholders (JSON).
    handle TEXT intended | What the tool made durable before the side effect (JSON).
    machine TEXT intended | Mark of the machine that made it; empty where it has none.
    node TEXT intended | Id of the journal chain that made it.
    expires_seconds INTEGER intended | How long nothing may be heard of its run before it counts as left behind, in seconds.
    intended_at TEXT intended | When it was to be made (UTC).
    gone_at TEXT gone | When it was gone (UTC); empty while it exists.
    gone_how TEXT gone | removed, taken over by a later one, released to others, left (no tool can take it away), or given up.
    gone_why TEXT gone | Why.
    """,
)

DEPLOYMENT_RESOURCE = Table(
    "Which resources serve a deployment.",
    "union",
    "deployment resource",
    """
    deployment TEXT - | Id of the deployment.
    resource TEXT - | Id of the resource.
    component TEXT cutover | The component it is an instance of.
    weight INTEGER cutover | Its share of what comes, in percent.
    """,
)


def intended(said: Said) -> list[Fact]:
    """A tool is about to make something. Events of an earlier cxlocal name no resource."""
    from cxlocal.events.resources import EXPIRES_SECONDS

    custom = said.custom
    if "resource" not in custom:
        return []
    names = (
        "environment", "instance", "component", "lifetime", "stage", "deployment", "tool",
        "machine", "verb", "version", "host", "address", "spec_sha256",
    )  # fmt: skip
    values = {
        **{name: custom.get(name) for name in names},
        "deliverable": said.event.deliverable, "run": said.run, "stage_run": custom.get("task"),
        "options": as_json(custom.get("options") or {}), "handle": as_json(custom.get("handle")),
        "node": said.event.node, "intended_at": said.at,
        "expires_seconds": custom.get("expires_seconds", EXPIRES_SECONDS),
        "differences": as_json(custom.get("differences") or {}),
        "keep_seconds": custom.get("keep_seconds", 0), "turn": custom.get("turn", 0),
    }  # fmt: skip
    return [Fact("resource", (custom["resource"],), "intended", values), run_stub(said)]


def gone(said: Said) -> list[Fact]:
    """A resource exists no more."""
    custom = said.custom
    values = {"gone_at": said.at, "gone_how": custom.get("how"), "gone_why": custom.get("why")}
    return [Fact("resource", (custom["resource"],), "gone", values)]


def given_up(said: Said) -> list[Fact]:
    """Nobody will end a run any more."""
    values = {"given_up_at": said.at, "given_up_why": said.custom.get("why")}
    return [Fact("run", (said.subject,), "givenup", values)]


def cutover(said: Said) -> list[Fact]:
    """Resources serve a deployment."""
    return [
        Fact(
            "deployment_resource",
            (one.get("deployment") or said.custom["deployment"], resource),
            "cutover",
            {"component": one.get("component"), "weight": weight},
        )
        for one in said.custom["components"]
        for resource, weight in one["after"].items()
    ]


def environment_closed(said: Said) -> list[Fact]:
    """An environment came to its end, and nothing could destroy it."""
    values = {
        "deleted_at": said.at,
        "deleted_why": said.custom.get("reason"),
        "deleted_how": "closed, not destroyed",
    }
    removed = [
        Fact("deployment", (deployment,), "removed", {"removed_at": said.at})
        for deployment in said.custom.get("deployments") or []
    ]
    key = (said.event.deliverable or "", said.subject)
    return [Fact("environment", key, "deleted", values), *removed, *replaces(said, said.id)]
