"""Commits, remotes and checkouts: what is released, and how we know that it was pushed.

Not here: what a release does with it (runner).
"""
