"""Real data that ship with the package, and the shifts that make a second task of them.  Floor 4.

`digits` loads the UCI optical digits, `split` holds some out, `shift` turns a task into another one.  Nothing is
ever downloaded.
"""
