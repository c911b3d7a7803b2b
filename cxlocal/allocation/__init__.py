"""How a run gets its number: asked of the store, taken from the reserve, borrowed or lent.

Not here: the rules of the grant log (numbers), the conversation itself (exchange).
"""
