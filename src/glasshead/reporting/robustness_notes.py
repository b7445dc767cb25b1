"""Sentences on what changed images do to a classifier."""

import pandas as pd

from glasshead.reporting.wording import alike, estimated, number, records

CLEAN = "clean"


def robustness_notes(table: pd.DataFrame) -> list[str]:
    """Return a sentence on each perturbation, at the strength that costs the most accuracy.

    `table` has perturbation, strength, unit, accuracy, low, high, difference (to clean images), confidence and n.
    """
    changed = table[table["perturbation"] != CLEAN]
    worst = changed.loc[changed.groupby("perturbation", sort=False)["accuracy"].idxmin()]
    return [
        f"Under {row['perturbation']} of {number(row['strength'])} ({row['unit']}), the worst measured, its accuracy "
        f"is {estimated(row | {'value': row['accuracy']})}, "
        f"{alike(row['difference'], row)} from that on the same {row['n']} images unchanged, "
        f"at a mean confidence of {alike(row['confidence'], row)}."
        for row in records(worst)
    ]
