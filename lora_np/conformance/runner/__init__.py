"""Running the test vectors against an implementation, and what becomes of each case.  Floor 6.

adapter     what an implementer writes, about twenty lines; and how one is found by name
"""
