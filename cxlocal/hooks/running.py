"""Processes that outlive a task: for tools that start services.

A pid alone names nobody for long; with the start time of the process it does. What a tool keeps in
its handle or state file is an ``Identity``.
"""

from __future__ import annotations

from cxlocal.processes.environment import stage_environment
from cxlocal.processes.identity import Identity, alive, identity, own_identity
from cxlocal.processes.start import become

__all__ = ["Identity", "alive", "become", "identity", "own_identity", "stage_environment"]
