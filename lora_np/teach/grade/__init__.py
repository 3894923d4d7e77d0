"""Grading a folder of submissions: each runs in a process of its own, and is judged from outside.  Floor 6.

    submissions   which students handed in what
    reading       what stands in a script or a notebook, cell by cell
    messages      what goes between the judge and a submission's process, and what may come back
    fence         what a submission may not do, held inside its process
    kernel        the same, held by the kernel where it can
    limits        what it may take, and what it took
    stopping      stopping what runs too long
    child         that process: it runs the cells, then answers calls
    sandbox       that process from outside: its folder, its limits, its end
    answering     a student's function, seen by the judge as if it were here
    marks         what an exercise earned, and a submission
    grading       one submission: run, judged, marked
    journal       the marks so far, so that nothing is lost
    run           all submissions, some at a time
    report        marks for people (CSV) and for Gradescope (JSON)

The judge never shares a process with a submission: what is expected, the seed and the marks are not there to be read
or forged.  A submission sees the arguments of each hidden case, and what it returns is compared here.
"""
