"""The projection: events turned into plain tables that people query.

``project`` is pure and knows nothing of SQL; ``tables`` says which tables and columns there are,
what each means and by which rule it merges; ``apply`` writes; ``views`` are the plain-named views.
Any order of the same events gives the same tables.
"""
