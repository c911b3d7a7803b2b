"""A small but real deliverable, and the story `cxlocal demo` tells with it.

Not here: anything another package imports.
"""
