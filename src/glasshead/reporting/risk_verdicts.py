"""The verdicts on a sigmoid output and its maps, by rules on measured numbers."""

from collections.abc import Sequence

from glasshead.audit.findings import Finding
from glasshead.reporting.verdicts import (
    Answer,
    Metrics,
    Verdict,
    is_calibrated,
    numbers_found,
    stands_against,
)
from glasshead.reporting.wording import clipped, estimated, number

LOCALISATION = ("iou", "pointing_game")
OF_ANSWERS = ("confident_mistakes",)  # checks whether scores are right, not what they rest on


def sigmoid_verdicts(
    classes: Sequence[str], metrics: Metrics, findings: Sequence[Finding], right_from: float
) -> list[Verdict]:
    """Return the verdicts on each class, and one on what the checks say of all classes.

    If maps were compared with masks, each class has two more verdicts, on its maps.
    """
    verdicts: list[Verdict] = []
    for name in classes:
        own = metrics_of(name, classes, metrics)
        of_class = [finds_the_risk(own, right_from), is_calibrated(own)]
        if "iou" in own:
            of_class += [points_at_the_cause(own), beats_grad_cam(own)]
        for verdict in of_class if len(classes) > 1 else []:
            verdict["question"] = f"{clipped(name)}: {verdict['question']}"
        verdicts += of_class
    return [*verdicts, rests_on_the_risk(findings)]


def metrics_of(risk: str, risks: Sequence[str], metrics: Metrics) -> Metrics:
    """Return the metrics of one risk, without the prefix `<risk>/` in their names."""
    if len(risks) == 1:
        return metrics
    prefix = f"{risk}/"
    return {
        name.removeprefix(prefix): estimate
        for name, estimate in metrics.items()
        if name.startswith(prefix)
    }


def finds_the_risk(metrics: Metrics, right_from: float) -> Verdict:
    """Return the verdict on AUROC against `right_from`, the value that it should exceed."""
    auroc = metrics["auroc"]
    return {
        "question": "Does the score find the risk?",
        "answer": stands_against(auroc, right_from, right_from),
        "reason": "Of two test images, one with the risk and one without, it scores the one with the risk "
        f"higher in a fraction of {estimated(auroc)} of the cases.",
        "rule": f"Yes if the interval of AUROC lies above {number(right_from)} (report.right_from), no if it lies "
        "below; else unresolved.",
        "numbers": numbers_found(metrics, "auroc", "auprc", "accuracy", "gap"),
    }


def points_at_the_cause(metrics: Metrics) -> Verdict:
    """Return the verdict on the maps against a Gaussian in the centre."""
    question = "Do its maps point at the cause?"
    return _compared(question, metrics, "_centre", "a Gaussian in the centre")


def beats_grad_cam(metrics: Metrics) -> Verdict:
    """Return the verdict on the maps against Grad-CAM of an ordinary classifier on the same features."""
    named = "Grad-CAM of a usual classifier on the same features"
    return _compared("Do they point better than Grad-CAM?", metrics, "_grad_cam", named)


def is_of_answers(finding: Finding) -> bool:
    """Return whether a finding is on wrong scores, not on what scores rest on."""
    return finding["check"] in OF_ANSWERS


def rests_on_the_risk(findings: Sequence[Finding]) -> Verdict:
    """Return the verdict by the findings; a finding without evidence stands for a check that could not be made."""
    findings = [finding for finding in findings if not is_of_answers(finding)]
    made = [finding for finding in findings if finding["evidence"]]
    missed = [finding["check"] for finding in findings if not finding["evidence"]]
    answer: Answer = "unknown" if missed else "yes"
    reason = "No check has found that the scores rest on anything else."
    if made:
        answer = "no" if "high" in {finding["severity"] for finding in made} else "unresolved"
        reason = f"These checks have found something else: {', '.join(sorted({finding['check'] for finding in made}))}."
    if missed:
        reason += f" Checks that lacked what they need: {', '.join(sorted(set(missed)))}."
    return {
        "question": "Does the score rest on the risk alone?",
        "answer": answer,
        "reason": reason,
        "rule": "No if a finding is high, unresolved if there are only lesser ones, unknown if there is none but a "
        f"check was not made; else yes. Mistakes ({', '.join(OF_ANSWERS)}) do not count: they may rest on the risk. A "
        "check sees only what it looks for.",
        "numbers": {},
    }


def _compared(question: str, metrics: Metrics, rival: str, named: str) -> Verdict:
    answer: Answer = "unknown"
    reason = (
        "No masks of test images with the risk are known, so its maps cannot be compared with any."
    )
    pairs = [(metrics[name], metrics[name + rival]) for name in LOCALISATION]
    if pairs[0][0]["value"] is not None:
        answers = [stands_against(own, other["low"], other["high"]) for own, other in pairs]
        answer = next(
            (unwanted for unwanted in ("no", "unknown", "unresolved") if unwanted in answers), "yes"
        )
        (iou, its_iou), (hits, its_hits) = (map(estimated, pair) for pair in pairs)
        reason = (
            f"Its maps have an IoU of {iou} with the masks, and their highest place lies on the object in a fraction "
            f"of {hits}; {named} has {its_iou} and {its_hits}."
        )
    return {
        "question": question,
        "answer": answer,
        "reason": reason,
        "rule": f"Yes if the intervals of both IoU and pointing game lie above those of {named}; no if one of them "
        "lies below; else unresolved. Unknown without masks.",
        "numbers": numbers_found(
            metrics, *(name + end for name in LOCALISATION for end in ("", rival))
        ),
    }
