"""Where a classifier fails, in sentences that each name the result they rest on; nothing is measured here."""

from collections.abc import Iterator
from typing import Any, TypedDict

import pandas as pd

from glasshead.explainers.methods import METHODS, real_methods
from glasshead.explainers.randomisation import standing
from glasshead.reporting.verdicts import Explanations, Metrics
from glasshead.reporting.wording import clipped, estimated, interval, number, records

MOST = 3  # pairs, classes, ranges or concepts to name


class Failure(TypedDict):
    """A sentence, and the file and entry that hold its numbers."""

    sentence: str
    source: str


def failures(
    metrics: Metrics,
    class_recall: pd.DataFrame,
    confused_pairs: pd.DataFrame,
    reliability: pd.DataFrame,
    explanations: Explanations,
    interventions: Metrics | None = None,
) -> list[Failure]:
    """Return what went wrong on the test split, what costs most first; `interventions` are None without concepts."""
    return [
        *_confusions(confused_pairs, class_recall),
        *_weak_classes(class_recall, metrics),
        *_misplaced_confidence(reliability),
        *_concepts(metrics),
        *_beyond_concepts(interventions or {}),
        *_unfaithful(explanations),
    ]


def _confusions(pairs: pd.DataFrame, recall: pd.DataFrame) -> Iterator[Failure]:
    sizes = dict(zip(recall["class"], recall["n"], strict=True))
    for pair in records(pairs.head(MOST)):
        yield {
            "sentence": f"{_name(pair['true'])} is taken for {_name(pair['predicted'])} in {pair['count']} of its "
            f"{sizes.get(pair['true'], 'few')} test images (a share of {number(pair['share'])}).",
            "source": "confused_pairs.csv",
        }


def _weak_classes(recall: pd.DataFrame, metrics: Metrics) -> Iterator[Failure]:
    known = recall[recall["recall"].notna()].sort_values("recall", kind="stable")
    accuracy = metrics["accuracy"]["value"] or 0
    for row in records(known[known["recall"] < 1].head(MOST)):
        weak = row["high"] < accuracy
        yield {
            "sentence": f"The recall of {_name(row['class'])} is {number(row['recall'])} ({interval(row)}) on "
            f"{row['n']} test images, {'' if weak else 'too few to tell it '}"
            f"{'below' if weak else 'from'} the accuracy on all classes.",
            "source": "class_recall.csv",
        }
    unknown = recall.loc[recall["recall"].isna(), "class"]
    if len(unknown):
        names = ", ".join(_name(name) for name in unknown.head(MOST))
        yield {
            "sentence": f"Nothing is known of {len(unknown)} of {len(recall)} classes, which have fewer than two test "
            f"images: {names}{', …' if len(unknown) > MOST else ''}.",
            "source": "class_recall.csv",
        }


def _misplaced_confidence(reliability: pd.DataFrame) -> Iterator[Failure]:
    """Yield the bins whose mean confidence lies outside the interval of their accuracy, those of most images first."""
    outside = (reliability["confidence"] < reliability["low"]) | (
        reliability["confidence"] > reliability["high"]
    )
    cost = reliability["n"] * (reliability["confidence"] - reliability["accuracy"]).abs()
    worst = reliability[outside].assign(cost=cost[outside]).sort_values("cost", ascending=False)
    for row in records(worst.head(MOST)):
        way = "over" if row["confidence"] > row["accuracy"] else "under"
        yield {
            "sentence": f"Between {number(row['from'])} and {number(row['to'])}, its confidence is "
            f"{number(row['confidence'])} on average but its accuracy {number(row['accuracy'])} "
            f"({interval(row)}) on {row['n']} test images: "
            f"{way}confident.",
            "source": "reliability.csv",
        }


def _concepts(metrics: Metrics) -> Iterator[Failure]:
    answered = {
        name.split("/")[1]: found
        for name, found in metrics.items()
        if name.startswith("subtask/")
        and name.endswith("/accuracy")
        and found["value"] not in (None, 1)
    }
    for name in sorted(answered, key=lambda name: float(answered[name]["value"]))[:MOST]:
        yield {
            "sentence": f"The concept {_name(name)} is answered right in {estimated(answered[name])} of the test "
            "images.",
            "source": f"metrics.json: subtask/{clipped(name)}/accuracy",
        }
    accuracy, hard = metrics["accuracy"], metrics.get("accuracy_hard_concepts")
    if hard and _apart(hard, accuracy):
        yield {
            "sentence": "With the most probable answer of each concept in place of its probabilities, accuracy falls "
            f"to {estimated(hard)}: soft probabilities carry more than their names say.",
            "source": "metrics.json: accuracy_hard_concepts",
        }
    chance = metrics.get("accuracy_random_concepts")
    if chance and chance["value"] is not None and not _apart(chance, accuracy):
        yield {
            "sentence": f"Concepts without meaning reach an accuracy of {estimated(chance)}: the names explain "
            "decisions but add nothing to their accuracy.",
            "source": "metrics.json: accuracy_random_concepts",
        }


def _beyond_concepts(interventions: Metrics) -> Iterator[Failure]:
    """Yield what corrected concepts leave wrong."""
    start = "intervention/random/"
    counts = [name.removeprefix(start) for name in interventions if name.startswith(start)]
    steps = sorted(filter(str.isdecimal, counts), key=int)
    if not steps:
        return
    before, corrected = (interventions[start + steps[place]] for place in (0, -1))
    if corrected["value"] < 1:
        yield {
            "sentence": f"With all of its concepts corrected, accuracy is {estimated(corrected)} after "
            f"{estimated(before)}: what then is wrong is not the concepts' answers but what is made of "
            "them.",
            "source": f"interventions.json: {start}{steps[-1]}",
        }


def _unfaithful(explanations: Explanations) -> Iterator[Failure]:
    for name in real_methods(name for name in explanations if name in METHODS):
        if standing(name, explanations) == "fails":
            found: Any = explanations[name]["randomisation"]
            yield {
                "sentence": f"Maps by {name} stay alike ({estimated(found)}) when the weights are shuffled, so that "
                "they say little of this classifier.",
                "source": f"explanations.json: {name}/randomisation",
            }


def _apart(lower: Any, upper: Any) -> bool:
    return lower["high"] is not None and upper["low"] is not None and lower["high"] < upper["low"]


def _name(label: Any) -> str:
    return f"“{clipped(label)}”"
