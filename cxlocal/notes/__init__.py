"""Notes of a version: its commits in groups, the changelog's own words, and the text made of them.

Not here: which commits and which file they are made of (runner/notes). All of it is pure.
"""
