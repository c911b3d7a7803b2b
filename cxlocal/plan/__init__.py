"""What a run will do, settled before it starts: stages, their order, what runs now.

Not here: reading files or starting anything: all of it is pure.

``resolve`` makes a plan from a configuration, ``bind`` brings the tools in, ``select`` chooses the
stages, ``Schedule`` says what may start when, ``freeze`` turns the plan into bytes for the journal.
All of it is pure.
"""
