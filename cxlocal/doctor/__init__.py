"""Checks a person can ask for: is this machine ready, above all for a release without the store?"""
