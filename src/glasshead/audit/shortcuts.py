"""Findings on risk scores that rest on places beside the object, or on marks in the image."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8

from glasshead.audit.findings import Finding, Severity, percent
from glasshead.audit.hiding import elsewhere, hide, squares_at, striking_colour
from glasshead.calibration.bootstrap import Estimate, bootstrap_intervals, mean_of, mean_of_defined

LEAST_DROP = 0.02  # of accuracy, for a finding
LARGE_DROP = 0.1
# Least fraction of the images with the risk that must have their highest risk beside the object.
LEAST_FRACTION = 0.05
LEAST_IMAGES = 5
SHOWN = 20  # rows of a finding


@dataclass(frozen=True)
class Audited:
    """Images with their risk maps, the calibrated probability at each place (`heat`), and functions of the model.

    `score` maps pixels (n, 3, h, w) to P(risk), (n,). `attribute` maps pixels to the magnitude of each pixel's
    attribution, (n, h, w). Heat alone does not show the cause: the features at one place may depend on pixels at
    another.
    """

    image_ids: np.ndarray
    pixels: UInt8[np.ndarray, "n 3 h w"]
    maps: Float[np.ndarray, "n h w"]
    heat: Float[np.ndarray, "n h w"]
    has_risk: Bool[np.ndarray, " n"]
    score: Callable[[np.ndarray], np.ndarray]
    attribute: Callable[[np.ndarray], np.ndarray]

    def at(self, rows: Bool[np.ndarray, " n"]) -> "Audited":
        """Return the images of `rows`."""
        columns = ("image_ids", "pixels", "maps", "heat", "has_risk")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})

    def without(self, masks: Bool[np.ndarray, "n h w"]) -> "Removal":
        """Return the scores before and after hiding the pixels of `masks`."""
        hidden, control = hide(self.pixels, masks), hide(self.pixels, elsewhere(masks))
        return Removal(
            self.image_ids,
            self.has_risk,
            before=self.score(self.pixels),
            after=self.score(hidden),
            elsewhere=self.score(control),
            on_place=fraction_on(self.heat, masks),
            area=masks.mean(axis=(1, 2)),
            attributed=lambda: fraction_on(self.attribute(self.pixels), masks),
        )


@dataclass(frozen=True)
class Removal:
    """P(risk) before and after hiding a place, and after hiding another place of the same size.

    `on_place` is the fraction of the map's mass on the hidden place, `area` the fraction of the pixels that it covers,
    and `attributed` computes the fraction of the attribution on its pixels.
    """

    image_ids: np.ndarray
    has_risk: Bool[np.ndarray, " n"]
    before: Float[np.ndarray, " n"]
    after: Float[np.ndarray, " n"]
    elsewhere: Float[np.ndarray, " n"]
    on_place: Float[np.ndarray, " n"]
    area: Float[np.ndarray, " n"]
    attributed: Callable[[], Float[np.ndarray, " n"]]

    def __len__(self) -> int:
        return len(self.before)

    def estimates(self, n_resamples: int, seed: int) -> dict[str, Estimate]:
        """Return accuracies at P = 0.5, their drop, that drop less the drop for another place, mass and area."""
        right, without, control = (
            ((probability >= 0.5) == self.has_risk).astype(float)
            for probability in (self.before, self.after, self.elsewhere)
        )
        statistics = {
            "accuracy": mean_of(right),
            "accuracy_hidden": mean_of(without),
            "accuracy_hidden_elsewhere": mean_of(control),
            "accuracy_drop": mean_of(right - without),
            "accuracy_drop_beyond_elsewhere": mean_of(control - without),
            "mass_on_place": mean_of_defined(self.on_place),
            "area": mean_of(self.area),
        }
        return bootstrap_intervals(statistics, n_resamples, seed)

    def most_changed(self) -> list[str]:
        """Return the ids of the images whose probability changes most, in falling order."""
        order = np.argsort(-np.abs(self.before - self.after), kind="stable")[:SHOWN]
        return [str(self.image_ids[row]) for row in order]


def fraction_on(
    heat: Float[np.ndarray, "n h w"], masks: Bool[np.ndarray, "n h w"]
) -> Float[np.ndarray, " n"]:
    """Return the fraction of the heat inside `masks`; NaN where an image has no heat. Heat must not be negative."""
    whole = heat.sum(axis=(1, 2))
    fraction = np.full(len(whole), np.nan)
    np.divide((heat * masks).sum(axis=(1, 2)), whole, out=fraction, where=whole > 0)
    return fraction


def object_finding(
    risk: str,
    outside: Float[np.ndarray, " n"],
    centre: Float[np.ndarray, " n"],
    image_ids: np.ndarray,
    n_resamples: int,
    seed: int,
) -> Finding | None:
    """Return a finding if the risk map has more mass beside the object than a Gaussian in the centre has.

    `outside` (risk map) and `centre` (Gaussian) hold for each image the fraction of the map's mass outside the object,
    over the map's highest pixels, as many as the object has.
    """
    estimates = bootstrap_intervals(
        {
            "outside": mean_of_defined(outside),
            "outside_centre": mean_of_defined(centre),
            "difference": mean_of_defined(outside - centre),
        },
        n_resamples,
        seed,
    )
    low = estimates["difference"].low
    if low is None or low <= 0:
        return None
    order = np.argsort(-np.nan_to_num(outside), kind="stable")[:SHOWN]
    return Finding(
        check="risk_off_object",
        severity="high" if (estimates["outside"].low or 0) > 0.5 else "medium",
        summary=(
            f"Of the mass of {risk!r}, at the object's own area, {percent(estimates['outside'])} lies beside it; of "
            f"a Gaussian in the centre, {percent(estimates['outside_centre'])}. The score may rest on something else."
        ),
        evidence=_numbers(estimates),
        rows=[str(image_ids[row]) for row in order],
        advice="Look at the heatmaps of these images for what they share beside the object.",
    )


def look_beside(
    subject: str,
    audited: Audited,
    masks: Bool[np.ndarray, "n h w"],
    side: int,
    n_resamples: int,
    seed: int,
) -> Finding | None:
    """Return the finding `mark_beside_object` if the score rests on something beside the object.

    `subject` is the name of the score in the text. In each image with the risk, a square of `side` pixels around the
    map's maximum is hidden, if the square does not touch the object's mask. None if there are few such images.
    """
    height, width = audited.maps.shape[1:]
    highest = audited.maps.reshape(len(audited.maps), -1).argmax(axis=1)
    peaks = np.stack(np.divmod(highest, width), axis=1)
    squares = squares_at(peaks, side, (height, width))
    beside = ~(squares & masks).any(axis=(1, 2))
    if beside.sum() < max(LEAST_IMAGES, LEAST_FRACTION * len(beside)):
        return None
    chosen, marks = audited.at(beside), squares[beside]
    y, x = np.median(peaks[beside], axis=0) / (height, width)
    what = (
        f"something beside the object in {beside.mean():.0%} of the images with it, mostly at {x:.0%} of the width and "
        f"{y:.0%} of the height, its most striking colour {striking_colour(chosen.pixels, marks)}"
    )
    return mark_finding(
        subject, chosen.without(marks), what, "mark_beside_object", n_resamples, seed
    )


def look_at_marks(
    subject: str, audited: Audited, marks: Bool[np.ndarray, "n h w"], n_resamples: int, seed: int
) -> Finding | None:
    """Return the finding `planted_mark` if the score, named `subject` in the text, rests on the known `marks`."""
    colour = striking_colour(audited.pixels, marks)
    what = f"a planted mark, {colour}, in {len(marks)} test images"
    return mark_finding(subject, audited.without(marks), what, "planted_mark", n_resamples, seed)


def mark_finding(
    subject: str, removal: Removal, what: str, check: str, n_resamples: int, seed: int
) -> Finding | None:
    """Return a finding if hiding a place costs more accuracy than hiding another place.

    In the text, `subject` names the score and `what` the place that it rests on. None for too few images, if the
    additional drop in accuracy is below two percentage points, or if its interval contains 0.
    """
    if len(removal) < LEAST_IMAGES:
        return None
    estimates = removal.estimates(n_resamples, seed)
    beyond, drop = estimates["accuracy_drop_beyond_elsewhere"], estimates["accuracy_drop"]
    if (beyond.low or 0) <= 0 or min(beyond.value or 0, drop.value or 0) < LEAST_DROP:
        return None
    severity: Severity = "high" if (drop.value or 0) >= LARGE_DROP else "medium"
    attribution = {"attribution_on_place": mean_of_defined(removal.attributed())}
    estimates |= bootstrap_intervals(attribution, n_resamples, seed)
    return Finding(
        check=check,
        severity=severity,
        summary=(
            f"{subject} rests on {what}. On {percent(estimates['area'])} of the pixels it holds "
            f"{percent(estimates['attribution_on_place'])} of their attribution (Integrated Gradients) and "
            f"{percent(estimates['mass_on_place'])} of the map's mass. If it is hidden, accuracy on {len(removal)} "
            f"images falls from {percent(estimates['accuracy'])} to {percent(estimates['accuracy_hidden'])}; if "
            f"another place is, to {percent(estimates['accuracy_hidden_elsewhere'])}."
        ),
        evidence=_numbers(estimates),
        rows=removal.most_changed(),
        advice="Collect images with the risk that lack it and images without the risk that have it, or paint it over.",
    )


def _numbers(estimates: dict[str, Estimate]) -> dict[str, dict[str, float | None]]:
    return {name: asdict(estimate) for name, estimate in estimates.items()}
