"""Runs: opened, carried out, judged, recorded; deployments, debts and what is kept.

Not here: words for people (commands), SQL of other rooms.
"""
