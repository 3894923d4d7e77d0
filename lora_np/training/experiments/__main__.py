"""Run every experiment, print its tables, and write the file of results that ships.  Floor 4.

``python -m lora_np.training.experiments [FILE]``; without FILE, the one inside the package.
"""

import sys
from collections.abc import Iterator

from lora_np.training.experiments.adapting import compare_methods
from lora_np.training.experiments.pruning import prune_at_once, prune_while_adapting
from lora_np.training.experiments.records import PATH, Record, summary, write_records


def tables(records: list[Record]) -> Iterator[str]:
    """Write the tables of the report, line by line."""
    adapted = [record for record in records if record["experiment"] == "adapt"]
    for row in summary(adapted, ["variant", "trainable", "share"]):
        yield (
            f"{row['variant']:<10} {row['trainable']:>7,} {row['share']:>7.1%} "
            f"{row['mean']:>7.2%} ± {row['std']:.2%}"
        )
    pruned = [{"adapted_for": 0} | record for record in records if record["experiment"] != "adapt"]
    for row in summary(pruned, ["experiment", "adapted_for", "criterion", "ratio"]):
        yield (
            f"{row['experiment']:<21} {row['adapted_for']:>5} {row['criterion']:<17} {row['ratio']:>4.0%} "
            f"{row['mean']:>7.2%} ± {row['std']:.2%}"
        )


def main(arguments: list[str]) -> None:
    """Run, print, write."""
    records: list[Record] = []
    for experiment in (compare_methods, prune_at_once, prune_while_adapting):
        for record in experiment():
            records.append(record)
            print(
                f"\r{record['experiment']}: seed {record['seed']}, {len(records)} records",
                end="",
                file=sys.stderr,
            )
        print(file=sys.stderr)
    write_records(records, arguments[0] if arguments else PATH)
    print("\n".join(tables(records)))


if __name__ == "__main__":
    main(sys.argv[1:])
