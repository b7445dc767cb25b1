"""What changed images do to a classifier, in sentences."""

import pandas as pd

from glasshead.reporting.wording import number, records

CLEAN = "clean"


def robustness_notes(table: pd.DataFrame) -> list[str]:
    """Return a sentence on each perturbation, of its strength that costs the most accuracy.

    `table`: perturbation, strength, unit, accuracy, low, high, difference to clean images, confidence and n, by row.
    """
    changed = table[table["perturbation"] != CLEAN]
    worst = changed.loc[changed.groupby("perturbation", sort=False)["accuracy"].idxmin()]
    return [
        f"Under {row['perturbation']} of {number(row['strength'])} ({row['unit']}), the worst measured, its accuracy "
        f"is {number(row['accuracy'])} ({number(row['low'])} to {number(row['high'])}), "
        f"{number(row['difference'])} from that on the same {row['n']} images unchanged, "
        f"at a mean confidence of {number(row['confidence'])}."
        for row in records(worst)
    ]
