"""Plain-loop second implementations, one file a subject: the other road that expected values take.

They import nothing of the package under test and use no array arithmetic: nested lists, loops, `+` and `*`.
So they run on floats and on `fractions.Fraction` alike, and on Fractions they are exact.
"""
