"""The wrappers of a running stage (hook ``cxlocal_run_stage``).

Stages run at the same time in one loop, so their wrappers cannot be nested calls: each is started
before its stage, kept, and given the result when the stage has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

import pluggy

from cxlocal.hooks.calls import CALL_SECONDS, guarded
from cxlocal.hooks.implementations import Mistake
from cxlocal.hooks.stage_view import StageResult, StageView

HOOK = "cxlocal_run_stage"


class OpenStage:
    """The wrappers that were started for one stage."""

    def __init__(
        self,
        implementations: Sequence[pluggy.HookImpl],
        view: StageView,
        complain: Callable[[str, str, str], None],
    ) -> None:
        self._complain = complain
        self._running: list[tuple[str, Generator[None, StageResult, Any]]] = []
        for impl in implementations:
            arguments = {"stage": view} if impl.argnames else {}
            function: Callable[..., Any] = impl.function
            generator: Generator[None, StageResult, Any] = function(**arguments)
            if self._step(impl.plugin_name, partial(next, generator)):
                self._running.append((impl.plugin_name, generator))

    def close(self, result: StageResult) -> None:
        """Give the wrappers the result, the last started first. A second call does nothing."""
        running, self._running = self._running, []
        for plugin, generator in reversed(running):
            if self._step(plugin, partial(generator.send, result)):
                self._complain(plugin, HOOK, f"hook {HOOK} yields more than once")
                self._step(plugin, generator.close)

    def _step(self, plugin: str, step: Callable[[], object]) -> bool:
        """Let a wrapper go on; whether it stopped at a yield."""
        try:
            return guarded(CALL_SECONDS, lambda: _yields(step))
        except Mistake as mistake:
            self._complain(plugin, HOOK, f"hook {HOOK}: {mistake}")
            return False


def _yields(step: Callable[[], object]) -> bool:
    try:
        step()
    except StopIteration:
        return False
    return True
