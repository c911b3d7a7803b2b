"""Checks a person can ask for: is this machine ready, above all without the store?

Not here: rules of their own: a check asks whoever does the deed.
"""
