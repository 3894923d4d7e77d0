"""Running the test vectors against an implementation, and what becomes of each case.  Floor 6.

adapter      what an implementer writes, about twenty lines; and how one is found by name
levels       bronze, silver, gold: what each runs, and how large an error it lets pass
target       the two ways to reach an implementation: in a process of its own, or in this one
calling      one adapter and one case, in this process; `deadline` limits its time
remote       a process that is asked line by line, ended and restarted; `serve` answers for Python
answer       what came back, and its line of JSON; protocol.md describes the lines
comparing    errors in units of u, and the first wrong element
judging      from a case and its answer to a verdict, with a diagnosis
xfails       failures that are expected, with a reason and an end
record       what becomes of a case, and of a run
reproducer   a script that shows one failure again
run          `check`: everything of the above, one case after the other

`pytest_plugin` offers all of it to pytest, and `pytest_cases` does its work there.
"""
