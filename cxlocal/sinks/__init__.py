"""Sinks: what was recorded, delivered to where a team keeps its logs, figures, events and traces.

Not here: how a sink speaks (the shipped ones are in cxlocal_plugins), how a log is written (processes).

``lines`` and ``records`` are pure: bytes and events turned into records. ``chosen`` says which sinks
count here, ``cursor`` how far each is, ``expand`` what comes next, ``delivery`` starts the process
(``worker``) that sends it.
"""
