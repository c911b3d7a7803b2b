"""Version numbers: schemes, the rules of grants, what a machine holds, what became of each.

Not here: asking anybody for one (allocation).

``schemes`` makes texts of numbers, ``log`` holds the rules of the grant log (pure), ``ledger``
says what became of every number, ``stamp`` writes a version into a checkout.
"""
