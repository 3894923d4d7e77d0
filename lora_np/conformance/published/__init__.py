"""What released software computes: the suite's own results, and where PEFT departs from the papers.  Floor 6.

    python -m lora_np.conformance.published         run the released targets again and write results.json

`results()` reads what the vectors found, failure by failure, with a verdict and a script that shows each; measured by
`measuring`, judged by people in verdicts.toml.  `departures()` reads the table of what PEFT does otherwise than the
papers, whether or not a vector can see it; each row was reproduced with the released version.  Reading needs neither.
"""

from lora_np.conformance.published.records import (
    Counted,
    Departure,
    Failure,
    Measured,
    Results,
    departures,
    results,
)

__all__ = ["Counted", "Departure", "Failure", "Measured", "Results", "departures", "results"]
