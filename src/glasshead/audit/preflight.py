"""Is the contract of a classifier from outside right? Each likely mistake is tried on labelled images.

A change is called a likely mistake if, with it, more images are classified rightly and the labels are significantly
more likely. Likelihoods are compared at the temperature that suits each contract best, as a wrong contract often only
makes a network less confident.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from scipy.optimize import linear_sum_assignment
from scipy.special import logsumexp

from glasshead.audit.findings import Finding
from glasshead.device import computing_on
from glasshead.errors import GlassheadError
from glasshead.models.classifier import as_images
from glasshead.models.contract import Channels, Contract, with_size
from glasshead.models.external import ExternalClassifier
from glasshead.models.processor import input_size
from glasshead.progress import reported

Verdict = Literal["ok", "likely_mistake", "not_possible"]
OK: Verdict = "ok"
LIKELY_MISTAKE: Verdict = "likely_mistake"
NOT_POSSIBLE: Verdict = "not_possible"
BATCH = 16  # images in one pass
LEAST_Z = 4.0  # standard errors of the mean gain in log-likelihood
LEAST_GAIN = 0.02  # in accuracy
SIZE_GAIN = 0.05  # likewise for another size, as many networks are a little better at one larger than their own
TEMPERATURES = np.geomspace(0.02, 50, 60)  # in standard deviations of the logits
SIZES = (32, 64, 96, 128, 160, 192, 224, 256, 299, 384)
FARTHEST = 3  # by this factor at most, a size that is tried differs from the contract's
NORMALISATIONS = {
    "no normalisation": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "ImageNet's mean and std": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "a mean and std of 0.5": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "CLIP's mean and std": (
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
    ),
}

Logits = Float[np.ndarray, "n k"]


class Change(NamedTuple):
    """A mistake of the contract: its name, the contract without it, what to set, and how much accuracy must rise."""

    name: str
    contract: Contract
    advice: str
    least_gain: float = LEAST_GAIN


def try_contracts(
    classifier: ExternalClassifier,
    labels: Int[np.ndarray, " n"],
    known: Logits | None,
    pictures: list[Image.Image] | None,
    device: str,
) -> list[dict[str, Any]]:
    """Return a check for each likely mistake: name, verdict, accuracy_now, accuracy_if_changed, advice.

    The mistakes are: classes in another order, probabilities taken for logits or logits for probabilities, blue and red
    exchanged, values up to 255 instead of 1 or the reverse, another mean and std, and another input size. Where only a
    table of outputs is `known`, the checks that need images are not_possible. The order of classes is fitted on half of
    the images and tried on the others.

    Raises ModelError as `ExternalClassifier.outputs` does.
    """
    if pictures is None:
        assert known is not None
        outputs, logits = None, known
    else:
        with computing_on(classifier, device):
            outputs = _outputs(classifier, pictures, device)
        logits = classifier.grouped(classifier.contract.as_logits(outputs)).numpy()
    checks = [_check_order(logits, labels, classifier.classes)]
    names = [change.name for change in _changes(classifier.contract)]
    if pictures is None or outputs is None:
        reason = "Only a table of outputs is known; nothing can be computed of other images."
        return checks + [_entry(name, NOT_POSSIBLE, None, None, reason) for name in names]
    checks.append(_check_outputs(classifier.contract, outputs))
    now = _likelihoods(logits, labels)
    best: dict[str, tuple[bool, float, dict[str, Any]]] = {}
    with computing_on(classifier, device):
        changes = list(_changes(classifier.contract))
        for change in reported(changes, "changes of the contract tried", len(changes)):
            tried = _try(classifier, change, pictures, labels, logits, now, device)
            if change.name not in best or tried[:2] > best[change.name][:2]:
                best[change.name] = tried
    return checks + [entry for _, _, entry in best.values()]


def _try(
    classifier: ExternalClassifier,
    change: Change,
    pictures: list[Image.Image],
    labels: Int[np.ndarray, " n"],
    logits: Logits,
    now: Float[np.ndarray, " n"],
    device: str,
) -> tuple[bool, float, dict[str, Any]]:
    """Return whether one change would help, the mean gain in log-likelihood, and its check."""
    right = float((logits.argmax(axis=1) == labels).mean())
    other = classifier.with_contract(change.contract)
    try:
        outputs = _outputs(other, pictures, device)
    except (GlassheadError, RuntimeError, ValueError) as error:  # a network may refuse another size
        reason = f"With this change the network fails: {error}"
        return False, -np.inf, _entry(change.name, OK, right, None, reason)
    changed = other.grouped(other.contract.as_logits(outputs)).numpy()
    if not np.isfinite(changed).all():
        reason = "With this change outputs are not finite."
        return False, -np.inf, _entry(change.name, OK, right, None, reason)
    right_if_changed = float((changed.argmax(axis=1) == labels).mean())
    gains = _likelihoods(changed, labels) - now
    spread = max(float(gains.std(ddof=1)) / np.sqrt(len(gains)), 1e-12)
    rise = right_if_changed - right
    helps = bool(rise >= change.least_gain and gains.mean() / spread >= LEAST_Z)
    verdict, advice = OK, ""
    if helps:
        verdict = LIKELY_MISTAKE
        rise_in_words = f"{right_if_changed:.2f} instead of {right:.2f} on {len(labels)} images"
        advice = f"{change.advice}: accuracy would be {rise_in_words}."
    entry = _entry(change.name, verdict, right, right_if_changed, advice)
    return helps, float(gains.mean()), entry


def _changes(contract: Contract) -> Iterator[Change]:
    """Yield the changes that are tried; several may have one name."""
    processor = contract.processor
    other: Channels = "bgr" if contract.channels == "rgb" else "rgb"
    yield Change(
        "channels",
        contract._replace(channels=other),
        f"Set external.contract.channels to {other}",
    )
    mean, std = np.array(processor.image_mean), np.array(processor.image_std)
    swapped = 1 if contract.range == 255 else 255
    factor = contract.range / swapped
    changed = {"image_mean": (mean * factor).tolist(), "image_std": (std * factor).tolist()}
    yield Change(
        "range",
        contract._replace(processor=processor.model_copy(update=changed), range=swapped),
        f"Set external.contract.range to {swapped}",
    )
    for name, (means, stds) in NORMALISATIONS.items():
        if not np.allclose([means, stds], [mean, std]):
            values = {"image_mean": list(means), "image_std": list(stds)}
            yield Change(
                "normalisation",
                contract._replace(processor=processor.model_copy(update=values), range=1),
                f"Set external.contract.mean and std to {name}, for a range of 1",
            )
    size = input_size(processor)
    for side in SIZES:
        if side != size and 1 / FARTHEST <= side / size <= FARTHEST:
            yield Change(
                "input_size",
                contract._replace(processor=with_size(processor, side)),
                f"Set external.contract.input_size to {side}",
                SIZE_GAIN,
            )


def _check_order(
    logits: Logits, labels: Int[np.ndarray, " n"], classes: tuple[str, ...]
) -> dict[str, Any]:
    """Return the check of the order of classes: the best one on half of the rows, tried on the others."""
    right = float((logits.argmax(axis=1) == labels).mean())
    rows = np.random.default_rng(0).permutation(len(labels))
    fitted, tried = np.array_split(rows, 2)
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, (logits[fitted].argmax(axis=1), labels[fitted]), 1)
    np.add.at(
        counts, (np.arange(len(classes)), np.arange(len(classes))), 0.5
    )  # ties keep the order
    _, order = linear_sum_assignment(-counts)
    before = logits[tried].argmax(axis=1) == labels[tried]
    after = order[logits[tried].argmax(axis=1)] == labels[tried]
    gains = after.astype(float) - before
    error = max(float(gains.std(ddof=1)) / np.sqrt(len(gains)), 1e-12) if len(gains) > 1 else np.inf
    if gains.mean() < LEAST_GAIN or gains.mean() / error < LEAST_Z:
        return _entry("classes", OK, right, float(after.mean()) if len(after) else None, "")
    moved = [
        f"{classes[number]} → {classes[new]}" for number, new in enumerate(order) if number != new
    ]
    return _entry(
        "classes",
        LIKELY_MISTAKE,
        right,
        float(after.mean()),
        f"Correct the order of external.contract.classes, or the mapping: {', '.join(moved[:10])} fits better. "
        f"Accuracy would be {after.mean():.2f} instead of {before.mean():.2f} on {len(after)} images.",
    )


def _check_outputs(contract: Contract, outputs: torch.Tensor) -> dict[str, Any]:
    """Return the check of logits against probabilities, which the outputs themselves show."""
    sums = outputs.double().sum(dim=1)
    proper = bool((outputs >= 0).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-3))
    if contract.outputs == "logits" and proper:
        advice = "Set external.contract.outputs to probabilities: every row is between 0 and 1 and adds up to 1."
    elif contract.outputs == "probabilities" and not proper:
        advice = (
            "Set external.contract.outputs to logits: rows are not probabilities that add up to 1."
        )
    else:
        return _entry("outputs", OK, None, None, "")
    return _entry("outputs", LIKELY_MISTAKE, None, None, advice)


@torch.inference_mode()
def _outputs(
    classifier: ExternalClassifier, pictures: list[Image.Image], device: str
) -> torch.Tensor:
    """Return what the network returns for `pictures`, on the CPU."""
    batches = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
    parts = [
        classifier.outputs(as_images(classifier.prepare(batch).to(device))).float().cpu()
        for batch in batches
    ]
    return torch.cat(parts)


def _likelihoods(logits: Logits, labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return the log-likelihood of each label, at that of many temperatures at which all are most likely."""
    temperatures = (float(logits.std()) or 1.0) * TEMPERATURES
    own = logits[np.arange(len(labels)), labels]
    by_temperature = [own / each - logsumexp(logits / each, axis=1) for each in temperatures]
    return max(by_temperature, key=lambda likelihoods: float(likelihoods.mean()))


def _entry(
    name: str, verdict: Verdict, now: float | None, changed: float | None, advice: str
) -> dict[str, Any]:
    return {
        "name": name,
        "verdict": verdict,
        "accuracy_now": now,
        "accuracy_if_changed": changed,
        "advice": advice,
    }


def contract_findings(preflight: Mapping[str, Any]) -> list[Finding]:
    """Return a finding for each likely mistake that `try_contracts` found."""
    return [
        Finding(
            check=f"contract/{check['name']}",
            severity="high",
            summary=f"The contract of the classifier is likely wrong in its {check['name']}. {check['advice']}",
            evidence={name: value for name, value in check.items() if name.startswith("accuracy_")},
            rows=[],
            advice="Correct external.contract and run `kedro run --pipelines=external` again.",
        )
        for check in preflight["checks"]
        if check["verdict"] == LIKELY_MISTAKE
    ]
