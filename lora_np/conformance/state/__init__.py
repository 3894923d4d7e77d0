"""Adapters that are added, merged, changed and saved: scripts, what is right, and a helper.  Floor 6.

    scripts     the language: a list of steps as plain JSON
    model       what each step does to a bank of adapters, as a pure function on nested lists of any kind of number
    session     runs a script on an implementation: an implementer writes one small class
    mistakes    the mistakes that are made, each as a session: for the diagnoses and for the tests
    explaining  names the step that went wrong, and the mistake that would do the same
    machine     any sequence of operations, by hypothesis (needs the extra "test")

An invariant on the weight alone misses mistakes of bookkeeping: after every step both the weight and what comes out
are compared.
"""
