"""A log that another machine kept is said to be there; nothing else of this machine is shown in its place."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest

ONE = '[stages]\nunit = { kind = "test", command = "echo said by the stage" }\n'


@pytest.mark.parametrize("home", ["same", "other"])
def test_a_log_is_shown_where_it_is(shop: Any, home: str) -> None:
    shop.write(ONE)
    url = f"sqlite://{shop.root}/shared/store.db"
    assert shop.command("store", "create", url).code == 0
    one = {"CXLOCAL_STORE": url}
    assert shop.run(env=one).code == 0
    here = one if home == "same" else {**one, "CXLOCAL_HOME": str(shop.root / "other")}
    shop.command("sync", env=here)
    done = shop.command("show", "latest", "--log", "unit", env=here)
    [log] = shop.command("show", "latest", "--json", env=here).json()["logs"]
    if home == "same":
        assert "said by the stage" in done.out
        assert log["path"].endswith("unit.log")
    else:
        assert done.code == 9 and "not on this machine" in done.err, done.err
        assert log["host"] in done.err and str(shop.root) not in done.err
        assert log["path"] == ""


@pytest.mark.parametrize(
    "told", ["/etc/passwd", "../secret", "logs/../../secret", "logs/../journal.db"]
)
def test_what_a_peer_calls_a_log_is_no_way_out_of_the_folder_of_logs(shop: Any, told: str) -> None:
    shop.write(ONE)
    assert shop.run().code == 0
    (shop.root / "secret").write_text("a secret of this machine")
    with sqlite3.connect(shop.home / "journal.db") as journal:
        journal.execute("UPDATE stage_run SET log = ?", (told,))
    journal.close()
    done = shop.command("show", "latest", "--log", "unit")
    assert done.code == 9 and done.out == "", done.err
    assert json.loads(shop.command("show", "latest", "--json").out)["logs"][0]["path"] == ""
