"""The implementations that the vectors are run against: ours, four ways, and released software.  Floor 6.

reference       the NumPy code of methods, layouts, adapters, prune, optim and counts
reference       (`Compiled`) the Numba backend, where it has a road of its own
naive           the definitions, plain loops on Python floats
autograd        our forward passes, pulled back by HIPS autograd

Each is an adapter as `runner.adapter` describes it, found by its short name.  Nothing is imported here.
"""
