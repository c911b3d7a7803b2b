"""Processes that outlive a stage: for tools that start services.

A pid alone names nobody for long; with the start time of the process and the boot it belongs to it
does. What a tool keeps in its handle or state file is an ``Identity`` and the ``boot``.
"""

from __future__ import annotations

from cxlocal.clock import Clock, SystemClock
from cxlocal.processes.environment import stage_environment
from cxlocal.processes.identity import Identity, alive, boot, identity, own_identity

__all__ = [
    "Clock",
    "Identity",
    "SystemClock",
    "alive",
    "boot",
    "identity",
    "own_identity",
    "stage_environment",
]
