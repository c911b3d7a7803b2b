"""What people may write: cx.toml, cx.local.toml and the settings, typed, checked and shown.

Not here: what a run does with it (plan).
"""
