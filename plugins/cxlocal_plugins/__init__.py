"""The shipped tools, sinks, report readers and CI servers: each is the example for its hook.

Not here: anything beyond the public names of cxlocal.
"""
