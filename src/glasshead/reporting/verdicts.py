"""The four verdicts at the top of a report; each follows a rule on metrics."""

from collections.abc import Mapping
from typing import Literal, TypedDict

from glasshead.explainers.measures import Measure
from glasshead.explainers.methods import METHODS, real_methods
from glasshead.explainers.randomisation import sanity_check
from glasshead.reporting.wording import Estimate, alike, estimated, number

Answer = Literal["yes", "no", "unresolved", "unknown"]
Metrics = Mapping[str, Estimate]
Explanations = Mapping[str, Mapping[str, Measure]]


class Verdict(TypedDict):
    """A question, its answer, the reason in numbers, the rule behind the answer, and the numbers by name."""

    question: str
    answer: Answer
    reason: str
    rule: str
    numbers: dict[str, Estimate]


LEAST_IMAGES = 30  # fewer give no verdict: if all are right, bootstrap intervals have no width


def verdicts(metrics: Metrics, explanations: Explanations, right_from: float) -> list[Verdict]:
    """Return the verdicts in reading order."""
    return [
        is_right(metrics, right_from),
        is_calibrated(metrics),
        looks_at_the_object(explanations),
        beats_the_probe(metrics),
    ]


def is_right(metrics: Metrics, right_from: float) -> Verdict:
    """Return the verdict on accuracy against `right_from` and against always predicting the most frequent class."""
    numbers = numbers_found(metrics, "accuracy", "accuracy_majority")
    accuracy, majority = metrics["accuracy"], metrics.get("accuracy_majority", {})
    low, high = (max(right_from, majority.get(bound) or 0) for bound in ("low", "high"))
    return {
        "question": "Is it right?",
        "answer": _of_enough(accuracy, stands_against(accuracy, low, high)),
        "reason": f"Its accuracy is {estimated(accuracy)} on {number(accuracy.get('n'))} test images.",
        "rule": f"Yes if the interval of accuracy lies above {number(right_from)} (report.right_from) and above that "
        f"of the most frequent class; no if it lies below either. Unresolved otherwise, and for fewer than "
        f"{LEAST_IMAGES} test images.",
        "numbers": numbers,
    }


def is_calibrated(metrics: Metrics) -> Verdict:
    """Return the verdict on ECE against that of a perfectly calibrated classifier with the same confidences."""
    names = "ece", "ece_consistency_95", "ece_debiased", "ece_uncalibrated", "temperature"
    numbers = numbers_found(metrics, *names)
    ece, most = metrics["ece"], metrics["ece_consistency_95"]
    before = metrics.get("ece_uncalibrated", {"value": None})["value"]
    answer: Answer = "unknown"
    if ece["value"] is not None and most["value"] is not None:
        answer = _of_enough(ece, "yes" if ece["value"] <= most["value"] else "no")
    return {
        "question": "Is it calibrated?",
        "answer": answer,
        "reason": f"Its confidence differs from its accuracy by {estimated(ece)} on average; a perfectly calibrated "
        f"classifier stays below {alike(most['value'], ece)} in 95 % of test sets of this size."
        f"{'' if before is None else f' Before temperature scaling it was {alike(before, ece)}.'}",
        "rule": "Yes if ECE after temperature scaling is at most ece_consistency_95, else no; unresolved for fewer "
        f"than {LEAST_IMAGES} test images.",
        "numbers": numbers,
    }


def looks_at_the_object(explanations: Explanations) -> Verdict:
    """Return the verdict on whether explanation methods point at the object more often than baselines.

    A planted mark is not part of the object: if a method puts more mass on the mark than every baseline does, the
    answer is no.
    """
    named = [name for name in explanations if name in METHODS]
    methods = [name for name in real_methods(named) if sanity_check(name, explanations) == "passes"]
    baselines = [name for name in named if name not in real_methods(named)]
    on_mark = _beyond_baselines("mass_on_mark", methods, baselines, explanations)
    pointing = _beyond_baselines("pointing_game", methods, baselines, explanations)
    answer: Answer = "unknown"
    measure, shown = "pointing_game", baselines
    reason = "No method that was compared with masks of objects passes the randomisation check."
    measured = [explanations[name].get("pointing_game") for name in named]
    if not any(estimate and estimate["value"] is not None for estimate in measured):
        reason = (
            "No masks of the objects are known. Images of a folder get masks by "
            "`ingest.image_folder.masks`: see docs/how-to/own-images.md."
        )
    if "yes" in on_mark.values():
        answer, measure = "no", "mass_on_mark"
        first = next(name for name, answer_on_mark in on_mark.items() if answer_on_mark == "yes")
        fraction = estimated(explanations[first][measure])
        reason = f"On images with a planted mark, {first} puts {fraction} of its mass on the mark."
        shown = [first, *baselines]
    elif pointing:
        answer = _agreed(list(pointing.values()))
        best = max(pointing, key=lambda name: _low(explanations[name][measure]))
        reason = (
            f"{best}, the best of {len(pointing)} methods that pass the randomisation check, points at the object in "
            f"{estimated(explanations[best][measure])} of the images."
        )
        shown = [best, *baselines]
    return {
        "question": "Does it look at the object?",
        "answer": answer,
        "reason": reason,
        "rule": "Of the explanation methods that pass the randomisation check: yes if one points at the object more "
        "often than every baseline, no if all point at it less often than the best baseline, or if one puts more mass "
        "on a planted mark than every baseline; intervals must not overlap. Else unresolved.",
        "numbers": {
            f"{name}/{measure}": dict(explanations[name][measure])
            for name in shown
            if measure in explanations[name]
        },
    }


def beats_the_probe(metrics: Metrics) -> Verdict:
    """Return the verdict on accuracy against that of a linear probe on the same embeddings, a black box."""
    numbers = numbers_found(metrics, "accuracy", "accuracy_linear_probe")
    accuracy, probe = metrics["accuracy"], metrics.get("accuracy_linear_probe")
    answer: Answer = "unknown"
    reason = (
        "It reads pixels, so there is no linear probe on the same embeddings to compare it with."
    )
    if probe is not None and probe["value"] is not None:
        answer = stands_against(accuracy, probe["low"], probe["high"])
        reason = (
            f"Its accuracy is {estimated(accuracy)}; that of a linear probe on the same embeddings "
            f"is {estimated(probe)}."
        )
    return {
        "question": "Is it better than the black-box probe?",
        "answer": answer,
        "reason": reason,
        "rule": "Yes if the interval of accuracy lies above that of a linear probe on the same embeddings, no if it "
        "lies below. Unresolved if they overlap: these images then show no accuracy lost to the concepts.",
        "numbers": numbers,
    }


def _beyond_baselines(
    measure: str, methods: list[str], baselines: list[str], explanations: Explanations
) -> dict[str, Answer]:
    """Return "yes" for each method whose measure is above all baselines, "no" if it is below the best baseline."""
    rivals = [
        estimate
        for name in baselines
        if (estimate := explanations[name].get(measure)) and estimate["low"] is not None
    ]
    if not rivals:
        return {}
    low = max(_low(rival) for rival in rivals)
    high = max(float(rival["high"] or 0) for rival in rivals)
    return {
        name: stands_against(estimate, low, high)
        for name in methods
        if (estimate := explanations[name].get(measure)) and estimate["low"] is not None
    }


def _agreed(answers: list[Answer]) -> Answer:
    if "yes" in answers:
        return "yes"
    return "no" if set(answers) == {"no"} else "unresolved"


def stands_against(estimate: Estimate, low: float | None, high: float | None) -> Answer:
    """Return whether the interval of `estimate` lies above `high` ("yes") or below `low` ("no")."""
    if estimate.get("low") is None or low is None or high is None:
        return "unknown"
    if estimate["low"] > high:
        return "yes"
    return "no" if estimate["high"] < low else "unresolved"


def _of_enough(estimate: Estimate, answer: Answer) -> Answer:
    """Return the answer, or "unresolved" if `estimate` rests on too few images."""
    few = (estimate.get("n") or 0) < LEAST_IMAGES
    return "unresolved" if few and answer in ("yes", "no") else answer


def numbers_found(metrics: Metrics, *names: str) -> dict[str, Estimate]:
    """Return those of the metrics `names` that exist."""
    return {name: metrics[name] for name in names if name in metrics}


def _low(measure: Measure) -> float:
    return float(measure["low"] or 0)
