"""What a repository says of how it is released: read for `cxlocal init`, written as a `cx.toml`.

Not here: reading files or asking git and people (commands/init). All of it is pure.
"""
