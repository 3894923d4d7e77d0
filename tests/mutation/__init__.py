"""Mutation testing of the engine's mathematics: plant one small error at a time, and see that something notices.

    python -m tests.mutation lora_np/lora.py lora_np/prune lora_np/methods      every mutant of these files
    python -m tests.mutation --sample 60                                        a sample, the same for one --seed

    operators   the small errors: dropped transposes and scales, swapped factors, + for −, and the ordinary ones
    mutants     where in a file they apply, and the changed code
    swapping    putting changed code into the living function, and taking it out again
    reach       which functions a piece of work enters
    trial       one mutant in a forked process: which vector files and which test notice it
    plugin      a pytest plugin that runs the trials in place of the tests
    scores      the verdicts counted, by module and by vector file
    equivalents.toml   the mutants that compute the same thing, each with the reason

The test vectors run first, then the unit tests that reach the changed function; a mutant that survives both and
stands not in `equivalents.toml` fails the command.
"""
