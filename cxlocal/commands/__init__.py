"""The command line: options, words and exit codes.

Not here: rules: a command calls what the Python API calls.
"""
