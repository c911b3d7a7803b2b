"""The tool ``object-store`` against SeaweedFS."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cxlocal_plugins.targets.object_store import ObjectStore

from cxlocal.testing import Bench

SPEC = importlib.util.spec_from_file_location(
    "cxlocal_test_bucket_kit", Path(__file__).resolve().parents[1] / "stores" / "bucket_kit.py"
)
assert SPEC is not None and SPEC.loader is not None
kit: Any = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = kit
SPEC.loader.exec_module(kit)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    found = kit.start_seaweedfs(tmp_path_factory.mktemp("bucket") / "weed")
    yield found
    found.stop()


def test_a_file_is_put_once_and_told_from_another(
    bench: Bench, server: Any, made: Any, tmp_path: Path
) -> None:
    options = {
        "bucket": kit.BUCKET, "endpoint": f"http://127.0.0.1:{server.port}", "region": "us-east-1",
        "key": "KEY", "secret": "SECRET",
    }  # fmt: skip
    files = {}
    for folder, text in (("ours", "ours"), ("theirs", "a stranger's")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "app.bin").write_text(text)
        files[folder] = made.reference("app", tmp_path / folder / "app.bin")

    def call(verb: str, whose: str, secret: str = kit.SECRET, **rest: Any) -> Any:
        return bench.run(
            ObjectStore, verb, {**options, **rest.pop("more", {})}, artifacts={"app": files[whose]},
            secrets={"KEY": kit.KEY, "SECRET": secret}, **rest,
        ).outcome  # fmt: skip

    def ask(whose: str, **rest: Any) -> Any:
        return call("ask", whose, **rest).result.files["app"]

    assert ask("ours").state == "absent"
    expired = ask("ours", secret="no longer")
    assert (expired.state, expired.trouble) == ("not known", "credential"), expired.why
    away = ask("ours", more={"endpoint": "http://127.0.0.1:9"})
    assert (away.state, away.trouble) == ("not known", "unreached"), away.why
    assert call("publish", "ours", put=("app",)).outcome == "success"
    held = ask("ours")
    assert (held.state, held.location) == ("same", f"s3://{kit.BUCKET}/1.0.0/app.bin")
    assert ask("theirs").state == "other"
    assert call("publish", "theirs", put=("app",)).outcome == "success", "it is left alone"
    assert ask("ours").state == "same" and ask("theirs").state == "other"
