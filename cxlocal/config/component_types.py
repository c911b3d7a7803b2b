"""What may stand in ``[components]``, and what an environment may say differently; as in ``types``."""

# Tables are structs: a default is copied for each, which is not seen across modules.
# ruff: noqa: RUF012

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from cxlocal.config.tables import Duration, Names, Table, says

Weight = Annotated[int, msgspec.Meta(ge=1, le=100)]
Instances = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class RolloutStep(Table, frozen=True, kw_only=True):
    """One step on the way from the old instances to the new ones."""

    weight: Annotated[
        Weight, says("What the new ones get together; the last step is 100.", "percent")
    ]
    hold: Annotated[Duration, says("Until health and `check` are asked again.", "duration")] = "0s"


class Component(Table, frozen=True, kw_only=True):
    """A named piece that every environment has (docs/environments.md)."""

    tool: Annotated[str, says("The tool that makes, changes and removes it.")]
    options: Annotated[
        dict[str, Any],
        says("Options of the tool; texts may hold placeholders such as `{component.db.url}`."),
    ] = msgspec.field(default_factory=dict, name="with")
    mutable: Annotated[bool, says("Changed in place; otherwise new ones replace the old.")] = False
    was: Annotated[str, says("Its name until now, where a mutable one is called otherwise.")] = ""
    artifact: Annotated[str, says("The artifact that its instances run.")] = ""
    count: Annotated[
        Instances, says("How many instances there are, over all hosts.", "instances")
    ] = 1
    hosts: Annotated[Names, says("Where they are made, in turn; handed to the tool.")] = []
    min_hosts: Annotated[
        Instances | None,
        says("On so many of them it must be possible; left out: on all.", "hosts"),
    ] = None
    needs: Annotated[Names, says("Components that come before it.")] = []
    behind: Annotated[str, says("The component that spreads what comes over the instances.")] = ""
    env: Annotated[dict[str, str], says("Variables of its instances, with placeholders.")] = {}
    secrets: Annotated[Names, says("Secrets given to its tool.")] = []
    pass_env: Annotated[Names, says("Variables of the calling environment its tool gets.")] = []
    health: Annotated[
        str,
        says(
            "Asks each instance: a path that must answer below 400, or `tcp`; left out: nothing does."
        ),
    ] = ""
    check: Annotated[
        str, says("A command that must succeed for each; it finds `CXLOCAL_RESOURCE_URI`.")
    ] = ""
    rollout: Annotated[
        list[RolloutStep], says("Steps to the new ones; left out: all at once.")
    ] = []
    overlap: Annotated[
        bool, says("New ones may run beside the old; otherwise these are stopped first.")
    ] = True
    drain: Annotated[Duration, says("For old ones to end what is under way.", "duration")] = "30s"
    keep_old: Annotated[Duration, says("The ones before stay, for a rollback.", "duration")] = "0s"
    timeout: Annotated[
        Duration | None,
        says(
            "Time limit of each verb, and for becoming healthy; left out: as in [defaults].",
            "duration",
        ),
    ] = None


class Difference(Table, frozen=True, kw_only=True):
    """What is different of a component in one environment; what is left out is the same."""

    options: Annotated[
        dict[str, Any],
        says(
            "Options in place of those of the same name; `url`: it is given, and never made or destroyed."
        ),
    ] = msgspec.field(default_factory=dict, name="with")
    count: Annotated[Instances | None, says("As in [components].", "instances")] = None
    hosts: Annotated[Names | None, says("As in [components].")] = None
    min_hosts: Annotated[Instances | None, says("As in [components].", "hosts")] = None
    env: Annotated[dict[str, str] | None, says("As in [components]; in place of all of it.")] = None
    secrets: Annotated[Names | None, says("As in [components].")] = None
    pass_env: Annotated[Names | None, says("As in [components].")] = None
    health: Annotated[str | None, says("As in [components].")] = None
    check: Annotated[str | None, says("As in [components].")] = None
    rollout: Annotated[list[RolloutStep] | None, says("As in [components].")] = None
    drain: Annotated[Duration | None, says("As in [components].", "duration")] = None
    keep_old: Annotated[Duration | None, says("As in [components].", "duration")] = None
    timeout: Annotated[Duration | None, says("As in [components].", "duration")] = None
