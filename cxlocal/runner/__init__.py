"""Runs: opened, carried out, judged, recorded; deployments, what tools made and what is kept.

Not here: words for people (commands), SQL of other rooms.
"""
