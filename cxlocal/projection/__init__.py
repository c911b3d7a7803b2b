"""Events turned into plain tables that people query, in any order with one result.

Not here: anything that is not told by an event.

``project`` is pure and knows nothing of SQL; ``tables`` says which tables and columns there are,
what each means and by which rule it merges; ``apply`` writes; ``views`` are the plain-named views.
Any order of the same events gives the same tables.
"""
