"""What a report concludes of a sigmoid output and its maps, by rules on measured numbers; nothing is measured here."""

from collections.abc import Sequence
from typing import TypedDict

from glasshead.audit.findings import Finding
from glasshead.reporting.verdicts import (
    Answer,
    Metrics,
    Verdict,
    is_calibrated,
    numbers_found,
    stands_against,
)
from glasshead.reporting.wording import Estimate, clipped, estimated, number

LOCALISATION = ("iou", "pointing_game")
OF_ANSWERS = (
    "confident_mistakes",
)  # checks of whether the score is right, not of what it rests on


def sigmoid_verdicts(
    classes: Sequence[str], metrics: Metrics, findings: Sequence[Finding], right_from: float
) -> list[Verdict]:
    """Return the verdicts on each class, and what the checks say of all of them.

    Two more on its maps, where these were held against masks.
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
    """Return the metrics of one risk by their plain names."""
    if len(risks) == 1:
        return metrics
    prefix = f"{risk}/"
    return {
        name.removeprefix(prefix): estimate
        for name, estimate in metrics.items()
        if name.startswith(prefix)
    }


def finds_the_risk(metrics: Metrics, right_from: float) -> Verdict:
    """Compare AUROC with what it should reach."""
    auroc = metrics["auroc"]
    return {
        "question": "Does the score find the risk?",
        "answer": stands_against(auroc, right_from, right_from),
        "reason": "Of two test images, one with the risk and one without, it scores the one with it higher in a "
        f"fraction of {estimated(auroc)}.",
        "rule": f"Yes if the interval of AUROC lies above {number(right_from)} (report.right_from), no if it lies "
        "below; else unresolved.",
        "numbers": numbers_found(metrics, "auroc", "auprc", "accuracy", "gap"),
    }


def points_at_the_cause(metrics: Metrics) -> Verdict:
    """Compare the maps with a Gaussian in the centre, which looks at nothing."""
    return {
        "question": "Do its maps point at the cause?",
        **_compared(metrics, "_centre", "a Gaussian in the centre"),
    }


def beats_grad_cam(metrics: Metrics) -> Verdict:
    """Compare the maps with what one would look at without an auditor."""
    return {
        "question": "Do they point better than Grad-CAM?",
        **_compared(metrics, "_grad_cam", "Grad-CAM of a usual classifier on the same features"),
    }


def is_of_answers(finding: Finding) -> bool:
    """Return whether a finding says that the score errs, not what it rests on."""
    return finding["check"] in OF_ANSWERS


def rests_on_the_risk(findings: Sequence[Finding]) -> Verdict:
    """Read what the checks have found; a check that was not made holds no evidence."""
    findings = [finding for finding in findings if not is_of_answers(finding)]
    made = [finding for finding in findings if finding["evidence"]]
    missed = [finding["check"] for finding in findings if not finding["evidence"]]
    answer: Answer = "unknown" if missed else "yes"
    reason = "No check has found anything else that the scores rest on."
    if made:
        answer = "no" if "high" in {finding["severity"] for finding in made} else "unresolved"
        reason = f"Checks have found something else: {', '.join(sorted({finding['check'] for finding in made}))}."
    if missed:
        reason += f" Not made, for want of what they need: {', '.join(sorted(set(missed)))}."
    return {
        "question": "Does the score rest on the risk alone?",
        "answer": answer,
        "reason": reason,
        "rule": "No if a finding of the checks is high, unresolved if there is a lesser one, unknown if there is none "
        f"but a check was not made; else yes. Mistakes ({', '.join(OF_ANSWERS)}) do not count: they may rest on the "
        "risk. A check sees only what it looks for.",
        "numbers": {},
    }


class _Compared(TypedDict):
    answer: Answer
    reason: str
    rule: str
    numbers: dict[str, Estimate]


def _compared(metrics: Metrics, rival: str, named: str) -> _Compared:
    answer: Answer = "unknown"
    reason = "No masks of test images with the risk are known: its maps are held against nothing."
    pairs = [(metrics[name], metrics[name + rival]) for name in LOCALISATION]
    if pairs[0][0]["value"] is not None:
        answers = [stands_against(own, other["low"], other["high"]) for own, other in pairs]
        answer = next(
            (unwanted for unwanted in ("no", "unknown", "unresolved") if unwanted in answers), "yes"
        )
        (iou, its_iou), (hits, its_hits) = (map(estimated, pair) for pair in pairs)
        reason = (
            f"Its maps agree with the masks by an IoU of {iou}, and their highest place lies on the object in a "
            f"fraction of {hits}; {named} has {its_iou} and {its_hits}."
        )
    return {
        "answer": answer,
        "reason": reason,
        "rule": f"Yes if the intervals of both IoU and pointing game lie above those of {named}; no if one of them "
        "lies below; else unresolved. Unknown without masks.",
        "numbers": numbers_found(
            metrics, *(name + end for name in LOCALISATION for end in ("", rival))
        ),
    }
