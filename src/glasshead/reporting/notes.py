"""Sentences on when a classifier abstains, and on its accuracy on changed images."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from glasshead.calibration.abstention import rows_needed
from glasshead.reporting.verdicts import Metrics
from glasshead.reporting.wording import alike, estimated, number, plan_in_words, records


def abstention_note(described: Mapping[str, Any], metrics: Metrics) -> str:
    """Return what abstention guarantees and what test images show; `described` describes the classifier."""
    abstention = described.get("abstention")
    if abstention is None:
        return "It never abstains: no confidence threshold was fitted."
    target = number(abstention["target_error"])
    promise = (
        f"at most {target} of its answers to images like those of the calibration split are wrong, with a certainty of "
        f"{number(abstention['certainty'])}"
    )
    if abstention["threshold"] is None:
        needed = rows_needed(abstention["target_error"], abstention["certainty"])
        return (
            f"It always abstains: no confidence threshold can promise that {promise}. That needs at least {needed} "
            f"calibration images above the threshold, all of them correct, and there are {abstention['rows']}."
        )
    note = f"It answers above a confidence of {abstention['threshold']:g} and abstains below: {promise}."
    if "coverage" in metrics:
        note += f" It answers a fraction of {estimated(metrics['coverage'])} of the test images"
        wrong = metrics["selective_risk"]
        note += (
            "." if wrong["value"] is None else f"; of those answers, {estimated(wrong)} are wrong."
        )
    return note


ACCESS = {
    "table": "Only a table of its outputs is known (access level: table). It is evaluated, calibrated and compared. "
    "Not possible: explanations, robustness, export, and answers for other images.",
    "forward": "Its outputs can be computed for any image, its gradients cannot (access level: forward). Not possible: "
    "methods of gradients, class activation maps and attention, the check of random weights, attacks, export.",
    "gradient": "Everything can be computed (access level: gradient).",
}


def access_note(described: Mapping[str, Any]) -> str | None:
    """Return what a classifier from outside permits, and what it does not; None for one that was trained here."""
    access = described.get("settings", {}).get("access")
    return None if access is None else ACCESS[access]


def plan_note(plan: Mapping[str, Any] | None) -> str | None:
    """Return a sentence on what was reduced, None if nothing was."""
    if plan is None or not plan["cut"]:
        return None
    seconds = number(plan["seconds"])
    return f"To come near {seconds} s (explain.seconds), counts were reduced: {plan_in_words(plan['cut'])}."


CLEAN = "clean"


def robustness_notes(table: pd.DataFrame) -> list[str]:
    """Return a sentence on each perturbation at the strength with the largest loss of accuracy.

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
