"""Tools that do nothing but say what each verb was given: for the page about the life of a tool."""

import json
from pathlib import Path

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import (
    Applied,
    Created,
    Done,
    Held,
    Holdings,
    Observed,
    ObservedResource,
    Previewed,
    Produced,
    Published,
    ReportFile,
    Tool,
    Withdrawn,
)  # fmt: skip

NAMES = (
    "stage", "environment", "artifacts", "handle", "resource", "turn", "component", "behind", "host", "back",
    "ahead",
    "artifact", "variables", "secret_variables", "wanted", "addresses", "components", "notes", "put",
)  # fmt: skip


class Telling(Tool):
    """Writes down which fields of ``ctx`` hold something."""

    name = "telling"
    api = 2

    class Options(Tool.Options, frozen=True):
        log: str

    def told(self, ctx, verb):
        given = [name for name in NAMES if getattr(ctx, name)]
        with open(Path(ctx.options.log) / "told", "a") as file:
            file.write(json.dumps([verb, given]) + "\n")
        place = Path(ctx.options.log) / (ctx.environment.instance if ctx.environment else "")
        place.mkdir(exist_ok=True)
        return place


class Maker(Telling):
    name = "life-maker"

    def build(self, ctx):
        self.told(ctx, "build")
        path = ctx.scratch / "app"
        path.write_text(ctx.revision)
        return Done(artifacts=(Produced(name="app", path=path),))

    def test(self, ctx):
        self.told(ctx, "test")
        path = ctx.scratch / "report.xml"
        path.write_text('<testsuite tests="1"><testcase classname="a" name="b"/></testsuite>')
        return Done(reports=(ReportFile(path=path),))


class Place(Telling):
    name = "life-place"

    def provision(self, ctx):
        self.told(ctx, "provision")
        ctx.intend({"place": ctx.environment.instance})
        return Done()

    def destroy(self, ctx):
        self.told(ctx, "destroy")
        return Done()


class Database(Telling):
    name = "life-database"

    def preview(self, ctx):
        self.told(ctx, "preview")
        return Previewed()

    def apply(self, ctx):
        self.told(ctx, "apply")
        ctx.intend({"database": "shop"})
        return Applied(
            outputs={"url": "db.example.org"}, secret_outputs={"password": "a-secret-of-the-test"}
        )

    def destroy(self, ctx):
        self.told(ctx, "destroy")
        return Done()


class Web(Telling):
    name = "life-web"

    def create(self, ctx):
        (self.told(ctx, "create") / f"{ctx.component}-{ctx.resource}").write_text(ctx.version)
        return Created(address="127.0.0.1:9")

    def remove(self, ctx):
        (self.told(ctx, "remove") / f"{ctx.component}-{ctx.resource}").unlink(missing_ok=True)
        return Done()

    def observe(self, ctx):
        found = sorted(self.told(ctx, "observe").glob(f"{ctx.component}-*"))
        return Observed(
            resources=tuple(
                ObservedResource(
                    id=one.name.removeprefix(f"{ctx.component}-"), version=one.read_text()
                )
                for one in found
            )
        )


class Worker(Web):
    name = "life-worker"

    def stop(self, ctx):
        self.told(ctx, "stop")
        return Done()

    def start(self, ctx):
        self.told(ctx, "start")
        return Done()


class Balancer(Telling):
    name = "life-balancer"

    def apply(self, ctx):
        self.told(ctx, "apply")
        ctx.intend({"balancer": "front"})
        return Applied()

    def destroy(self, ctx):
        self.told(ctx, "destroy")
        return Done()

    def rotate(self, ctx):
        said = {"turn": ctx.turn, "wanted": dict(ctx.wanted)}
        (self.told(ctx, "rotate") / "weights").write_text(json.dumps(said))
        return Done()

    def drain(self, ctx):
        self.told(ctx, "drain")
        return Done()

    def observe(self, ctx):
        file = self.told(ctx, "observe") / "weights"
        said = json.loads(file.read_text()) if file.exists() else {"turn": 0, "wanted": {}}
        shown = (ObservedResource(id=one, weight=weight) for one, weight in said["wanted"].items())
        return Observed(resources=tuple(shown), turn=said["turn"])


class Shelf(Telling):
    name = "life-shelf"

    def ask(self, ctx):
        there = (self.told(ctx, "ask") / "shelf").exists()
        return Holdings(
            files={name: Held(state="same" if there else "absent") for name in ctx.artifacts}
        )

    def publish(self, ctx):
        shelf = self.told(ctx, "publish") / "shelf"
        shelf.write_bytes(ctx.artifacts["app"].path.read_bytes())
        return Published(locations={name: str(shelf) for name in ctx.put})

    def fetch(self, ctx):
        path = ctx.scratch / "app"
        path.write_bytes((self.told(ctx, "fetch") / "shelf").read_bytes())
        return Done(artifacts=(Produced(name="app", path=path),))

    def withdraw(self, ctx):
        (self.told(ctx, "withdraw") / "shelf").unlink()
        return Withdrawn(how="deleted")


@hookimpl
def cxlocal_register_tools():
    return [Maker, Place, Database, Web, Worker, Balancer, Shelf]
