"""Exact arithmetic for expected values: numbers that know their error bound, derivatives by tape, correct rounding.

Floor 6.

    number      a value with its size S and its count of roundings K: the componentwise error bound comes for free
    tape        the chain rule, recorded: gradients of any formula, in the arithmetic of its numbers
    functions   square root, exponential, tanh, the Gaussian error function, on every kind of number
    loops       products, sums and transposes of nested lists, written out
    rounding    from an exact value to the nearest number of a floating type, and to text that loses nothing

A formula written with these runs on Python floats, on exact rationals, and with a tape around either.
"""
