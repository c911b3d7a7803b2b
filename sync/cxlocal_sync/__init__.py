"""The stores: how each kind keeps what it is told, and the server.

Not here: what a machine does with the answers (cxlocal.exchange).
"""
