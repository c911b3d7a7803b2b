"""Version numbers: how they are counted, granted, held in reserve, spent and accounted for.

``schemes`` makes texts of numbers, ``log`` holds the rules of the grant log (pure), ``obtain``
gets a number for a run, ``ledger`` says what became of every number, ``stamp`` writes a version
into a checkout.
"""
