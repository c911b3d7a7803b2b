"""``cxlocal import --tags``: versions released before cxlocal came."""

from __future__ import annotations

from cxlocal.commands.context import App
from cxlocal.commands.output import Output, write_rows
from cxlocal.commands.project import Project, load_project, open_project_store
from cxlocal.commands.terminal import say, warn
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.resolve import resolve
from cxlocal.revision.proof import remote_tags
from cxlocal.revision.repository import open_repository, tags_like, version_tags
from cxlocal.runner.run_version import is_part
from cxlocal.runner.source import find_scheme, today
from cxlocal.runner.tag_adoption import Adopted, adopt

COLUMNS = ("line", "up_to", "tags", "newest", "state")


def adopt_tags(app: App, pattern: str, *, offline: bool, as_json: bool) -> None:
    """Let counting start above the versions that the repository's tags speak of."""
    project = load_project(app, needed=True)
    assert project.config is not None and project.root is not None
    plan = resolve(project.config, today=today(app.clock))
    scheme = find_scheme(project.manager, plan)
    repository = open_repository(project.root)
    told = () if offline else remote_tags(repository, plan.remotes) or ()
    tags = tags_like(dict.fromkeys((*version_tags(repository), *told)), pattern)
    with app.journal() as journal:
        if not offline:
            _sync(app, project, journal)
        catch_up(journal)
        part = is_part(plan, repository)
        found = adopt(journal, scheme, plan.deliverable, plan.version.line, tags, part=part)
        if not offline and any(one.state == "adopted" for one in found):
            _sync(app, project, journal)
    _tell(found, pattern, len(tags), as_json=as_json)


def _sync(app: App, project: Project, journal: Journal) -> None:
    """What other machines adopted counts here, and the reverse. An absent store hinders nothing."""
    store = open_project_store(app, project)
    try:
        synchronise(journal, store, use_breaker=False)
    finally:
        store.close()


def _tell(found: list[Adopted], pattern: str, tags: int, *, as_json: bool) -> None:
    rows = [one._asdict() for one in found]
    if as_json:
        write_rows(rows, COLUMNS, Output("json"))
        return
    if not found:
        say(f"None of the {tags} tags that match {pattern!r} speaks of a version of this scheme.")
        return
    write_rows(rows, COLUMNS)
    for one in found:
        if one.state == "above":
            warn(
                f"line {one.line} is counted here already, and tag {one.newest} lies above it:"
                f" set from = {one.up_to + 1} in [version] of cx.toml"
            )
