"""Processes: started, watched, ended; their output masked and kept.

Not here: why one is started.
"""
