"""What a tool keeps in the home of the machine that made it, and another home that deploys to the same place."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.timeout(180)

KEEPER = """
from pathlib import Path
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Created, Done, Observed, ObservedResource, Tool

class Keeper(Tool):
    '''Everything it makes lies in the folder of the environment, and answers only there.'''
    name, api, here = "keeper", 2, True

    def create(self, ctx):
        Path(ctx.environment.folder).mkdir(parents=True, exist_ok=True)
        (Path(ctx.environment.folder) / f"{ctx.resource}.kept").write_text(ctx.version)
        return Created()

    def remove(self, ctx):
        (Path(ctx.environment.folder) / f"{ctx.resource}.kept").unlink(missing_ok=True)
        return Done()

    def observe(self, ctx):
        found = Path(ctx.environment.folder).glob("*.kept")
        return Observed(resources=tuple(
            ObservedResource(id=one.stem, version=one.read_text()) for one in found
        ))

@hookimpl
def cxlocal_register_tools():
    return [Keeper]
"""
PLACE = "\n[environments.production]\nprotected = false\n"
FORMS = {
    "a stage": '[stages]\nlive = { kind = "deploy", environment = "production", tool = "keeper" }\n',
    "a component": '[stages]\nlive = { kind = "deploy", environment = "production" }\n'
    '[components.web]\ntool = "keeper"\nkeep_old = "0s"\n',
}


class Homes:
    """Homes on this machine that share a store."""

    def __init__(self, shop: Any, tools: Any, form: str) -> None:
        self.shop = shop
        tools(KEEPER)
        shop.write(FORMS[form] + PLACE)
        self.store = {"CXLOCAL_STORE": f"sqlite://{shop.root}/store.db"}
        assert (
            shop.command("store", "create", self.store["CXLOCAL_STORE"], env=self.store).code == 0
        )

    def __call__(self, home: str, *words: str) -> Any:
        return self.shop.command(
            *words, env={**self.store, "CXLOCAL_HOME": str(self.shop.root / home)}
        )

    def kept(self, home: str) -> list[str]:
        """Versions that stand in a home."""
        found = (self.shop.root / home).glob("environments/**/*.kept")
        return sorted(one.read_text() for one in found)

    def resources(self, home: str) -> list[tuple[str, bool]]:
        """What exists by the record, with whether it serves."""
        asked = "SELECT version, serves FROM resources_now ORDER BY version"
        return [
            (row["version"], bool(row["serves"]))
            for row in self(home, "sql", "--json", asked).json()
        ]


@pytest.mark.parametrize("form", FORMS)
def test_another_home_is_refused_and_goes_on_when_told_to(shop: Any, tools: Any, form: str) -> None:
    homes = Homes(shop, tools, form)
    done = homes("one", "run")
    assert done.code == 0, done.err
    refused = homes("two", "run")
    assert refused.code == 3, refused.err
    assert "lives in another home, on " in refused.err and "neither seen nor ended" in refused.err
    hint = "cxlocal deploy 0.1.1 --to production --unobserved"
    assert hint in refused.err
    assert (homes.kept("one"), homes.kept("two")) == (["0.1.0"], [])
    done = homes("two", *hint.split()[1:], "-m", "that machine is given back")
    assert done.code == 0 and "taken away there alone" in done.err, done.err
    assert (homes.kept("one"), homes.kept("two")) == (["0.1.0"], ["0.1.1"])
    assert homes.resources("two") == [("0.1.0", False), ("0.1.1", True)], "it is not called gone"
    left = homes("two", "env", "reap")
    assert left.code == 9 and "it lives on the machine that made it" in left.err, left.err
    assert homes("one", "run").code == 3, "now it is the other one's"
    assert homes("one", "env", "reap").code == 0
    assert (homes.kept("one"), homes.resources("one")) == ([], [("0.1.1", True)])


def test_a_home_whose_journal_was_lost_still_has_it(shop: Any, tools: Any) -> None:
    homes = Homes(shop, tools, "a component")
    assert homes("one", "run").code == 0
    for file in (homes.shop.root / "one").glob("journal.db*"):
        file.unlink()
    done = homes("one", "run")
    assert done.code == 0, done.err
    assert homes.kept("one") == ["0.1.1"] and homes.resources("one") == [("0.1.1", True)]
