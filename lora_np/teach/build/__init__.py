"""Making classroom material from the lessons: scripts and notebooks without solutions, and with.  Floor 6.

One master a lesson is the source; nothing that is made here is kept in the repository.
"""
