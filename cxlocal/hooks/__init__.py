"""Plugins: found, loaded, called within limits; the classes their authors use.

Not here: what a stage is and when it runs (plan, runner).
"""
