"""The risk auditor: does its map point at the risk, and what do a shortcut and wrong labels do to it?

Scenes of the default size, nano-clip's patch tokens, the base parameters; four choices of risky classes, the last of
classes that have no part in common, which one map does not hold: give such classes a risk each. And each other class
alone. Of test images with the risk, pointing_game and iou (at the object's own area) stand beside those of Grad-CAM of
the usual classifier (the same network for each place, its average, cross-entropy alone) and of a Gaussian in the
centre. Intervals are 95 %, over images. The peer of label-noise is the auditor of clean labels, on the same test rows,
which keep theirs. For shortcut,
90 % of the trucks carry a small square of a colour of its own near a corner: ours is the accuracy on those in test with
the square painted over, the peer that with it, of the auditor and of the usual classifier; the notes say how much of
the attribution (Integrated Gradients by pixel) and of the risk map lies on it. planted_mark and mark_beside_object
count the seeds in which the check of that name tells of it in either, the second without being told where it is; silent
those in which none tells anything of trucks that carry the square in test alone, so that nothing was learnt from it.
"""

import platform
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml

from glasshead.audit.shortcuts import Audited, look_at_marks, look_beside
from glasshead.calibration.bootstrap import Estimate, bootstrap_intervals, mean_of_defined
from glasshead.calibration.ranking import auroc
from glasshead.explainers.risk_maps import (
    LocalisationImages,
    hold_against_masks,
    risk_attribution,
    risk_maps,
    risk_probabilities,
)
from glasshead.images.decode import decode_rgb
from glasshead.images.scenes import CLASSES, Defects, ScenesParams, Shortcut, generate_scenes
from glasshead.models.backbone import BackboneParams
from glasshead.models.clip import ImageEncoder, load_encoder
from glasshead.models.risk import RiskAuditor, RiskHead, RiskHeadParams, as_map
from glasshead.seeds import generator, stream_seed, torch_seeded
from glasshead.training.risk import RiskRows, RiskTraining, train_risk_head
from glasshead.training.risk_losses import RiskLossWeights
from report import ROOT, Result, write_results

SIZES = (
    4320,
    480,
    1200,
)  # train, validation, test; 480 more would calibrate, which changes no order
MARKED_SIZES = (2160, 240, 600)  # of each of the ten sets with marks
CHOICES = (("automobile", "truck"), ("bird", "frog"), ("airplane",), ("ship", "deer", "cat"))
ALONE = tuple((name,) for name in CLASSES if (name,) not in CHOICES)
NOISE = 0.2
SEEDS = range(5)
SPOT = 6  # pixels: 1.5 places of the features


class Drawn(NamedTuple):
    """Scenes as pixels (n, 3, h, w), class names, masks and marks (n, h, w), and their frozen features (n, d, h, w)."""

    pixels: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    marks: np.ndarray
    features: torch.Tensor


def draw(
    encoder: ImageEncoder, seed: int, shortcut: Shortcut, sizes: tuple[int, int, int]
) -> tuple[Drawn, Drawn, Drawn]:
    """Return train, validation and test of these sizes."""
    train, validation, test = sizes
    params = ScenesParams(train=train + validation, test=test, defects=Defects(shortcut=shortcut))
    pixels, labels, masks, marks = [], [], [], []
    for record in generate_scenes(params, seed):
        pixels.append(np.asarray(decode_rgb(record["image"])).transpose(2, 0, 1))
        labels.append(record["label"])
        masks.append(np.asarray(decode_rgb(record["mask"] or b"").convert("L")) > 127)
        marks.append(np.zeros_like(masks[-1]))
        for _, box in record["defects"]:
            x, y, width, height = map(int, box.split(","))
            marks[-1][y : y + height, x : x + width] = True
    whole = Drawn(
        np.stack(pixels),
        np.array(labels),
        np.stack(masks),
        np.stack(marks),
        encode(encoder, np.stack(pixels)),
    )
    ends = np.cumsum([0, *sizes])
    return tuple(Drawn(*(part[start:end] for part in whole)) for start, end in pairwise(ends))


@torch.inference_mode()
def encode(encoder: ImageEncoder, pixels: np.ndarray) -> torch.Tensor:
    """Return frozen features, rounded to float16 as the store does."""
    parts = [
        as_map(encoder(torch.from_numpy(pixels[start : start + 64]).float() / 255)).half().float()
        for start in range(0, len(pixels), 64)
    ]
    return torch.cat(parts)


def train(
    encoder: ImageEncoder,
    shown: Drawn,
    held_out: Drawn,
    risky: tuple[str, ...],
    seed: int,
    noise: float = 0.0,
    usual: bool = False,
) -> RiskAuditor:
    """Return the auditor of the base parameters, or the usual classifier that Grad-CAM explains."""
    recipe: dict[str, Any] = yaml.safe_load(
        (ROOT / "conf" / "base" / "parameters_risk.yml").read_text()
    )["risk"]
    head_params = RiskHeadParams.model_validate(recipe["head"])
    training = RiskTraining.model_validate(recipe["training"])
    if usual:
        head_params = head_params.model_copy(update={"pooling": "average"})
        training = training.model_copy(
            update={"losses": RiskLossWeights(bce=1, ranking=0, patch=0)}
        )
    flipped = generator(seed, "benchmark", "noise")
    rows = []
    for part in (shown, held_out):
        labels = np.isin(part.labels, risky)
        labels = labels ^ (flipped.random(len(labels)) < noise)
        features = part.features
        rows.append(
            RiskRows(
                lambda places, features=features: features[torch.from_numpy(places)],
                torch.from_numpy(labels[:, None].astype(np.float32)),
            )
        )
    with torch_seeded(stream_seed(seed, "risk", "initial_weights")):
        head = RiskHead(encoder.dimension, 1, head_params)
    train_risk_head(head, *rows, training, seed, lambda maps: {})
    return RiskAuditor(encoder, head, ("+".join(risky),), {})


def logits_of(auditor: RiskAuditor, part: Drawn) -> np.ndarray:
    """Return the raw logits."""
    with torch.inference_mode():
        return auditor.head(part.features)[:, 0].double().numpy()


def row(case: str, ours: Estimate, peer: Estimate, unit: str, note: str) -> Result:
    """Return a row of two estimates, their intervals in the note."""
    assert ours.value is not None
    assert peer.value is not None
    return {
        "case": case,
        "ours": round(ours.value, 4),
        "peer": round(peer.value, 4),
        "ratio": round(ours.value / peer.value, 3) if peer.value else None,
        "unit": unit,
        "device": f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)",
        "note": f"{interval(ours)}; {note} {interval(peer)}",
    }


def interval(each: Estimate) -> str:
    """Return the bounds of an estimate."""
    return "no interval" if each.low is None else f"{each.low:.3f}–{each.high:.3f}"


def localisation(encoder: ImageEncoder, parts: tuple[Drawn, Drawn, Drawn]) -> list[Result]:
    """Return, for each choice of risky classes, AUROC and where the maps point."""
    results = []
    for risky in (*CHOICES, *ALONE):
        name = "+".join(risky)
        auditor = train(encoder, *parts[:2], risky, 0)
        reference = train(encoder, *parts[:2], risky, 0, usual=True)
        test = parts[2]
        has_risk = np.isin(test.labels, risky)
        found = bootstrap_intervals(
            {
                "ours": auroc(logits_of(auditor, test), has_risk),
                "peer": auroc(logits_of(reference, test), has_risk),
            },
            1000,
            0,
        )
        results.append(
            row(f"{name}/auroc", found["ours"], found["peer"], "AUROC", "usual classifier")
        )
        localisation_images = LocalisationImages(
            np.flatnonzero(has_risk).astype(str), test.pixels[has_risk], test.masks[has_risk]
        )
        measured = hold_against_masks(auditor, reference, localisation_images, 0)
        each = bootstrap_intervals(
            {key: mean_of_defined(values) for key, values in measured.items()}, 1000, 0
        )
        for measure in ("pointing_game", "iou"):
            for rival, what in (("_grad_cam", "Grad-CAM"), ("_centre", "centred Gaussian")):
                case = f"{name}/{measure}/{rival.removeprefix('_')}"
                results.append(row(case, each[measure], each[measure + rival], measure, what))
    return results


def label_noise(encoder: ImageEncoder, parts: tuple[Drawn, Drawn, Drawn]) -> list[Result]:
    """Return what 20 % of wrong labels in train and validation cost."""
    results = []
    for risky in CHOICES:
        has_risk = np.isin(parts[2].labels, risky)
        found = bootstrap_intervals(
            {
                name: auroc(
                    logits_of(train(encoder, *parts[:2], risky, 0, noise=noise), parts[2]), has_risk
                )
                for name, noise in (("noisy", NOISE), ("clean", 0.0))
            },
            1000,
            0,
        )
        case = f"{'+'.join(risky)}/label-noise-20"
        results.append(row(case, found["noisy"], found["clean"], "AUROC", "clean labels"))
    return results


def audited(auditor: RiskAuditor, test: Drawn, rows: np.ndarray) -> Audited:
    """Return some test images as the checks take them; the risk is to be a truck."""
    pixels = test.pixels[rows]
    return Audited(
        np.flatnonzero(rows),
        pixels,
        *risk_maps(auditor, pixels, 0),
        test.labels[rows] == "truck",
        partial(risk_probabilities, auditor, risk_index=0),
        partial(risk_attribution, auditor, risk_index=0),
    )


def checks(models: dict[str, RiskAuditor], test: Drawn) -> set[str]:
    """Return which checks find a mark, in any of the models: where it is known, or beside the object."""
    marked, trucks = test.marks.any(axis=(1, 2)), test.labels == "truck"
    found = []
    for name, model in models.items():
        known, whole = (audited(model, test, rows) for rows in (marked, trucks))
        found += [
            look_at_marks(name, known, test.marks[marked], 1000, 0),
            look_beside(name, whole, test.masks[trucks], SPOT, 1000, 0),
        ]
    return {each["check"] for each in found if each}


def train_both(encoder: ImageEncoder, parts: tuple[Drawn, Drawn, Drawn], seed: int) -> Any:
    """Return the auditor of trucks and the usual classifier, by name."""
    return {
        name: train(encoder, *parts[:2], ("truck",), seed, usual=usual)
        for name, usual in (("auditor", False), ("usual", True))
    }


def shortcuts(encoder: ImageEncoder) -> list[Result]:
    """Return what is found where a mark was learnt, and where it was not, for five seeds each."""
    results: list[Result] = []
    counts = dict.fromkeys(("planted_mark", "mark_beside_object", "silent"), 0)
    for seed in SEEDS:
        learnt = Shortcut(class_name="truck", train_rate=0.9, test_rate=0.9)
        planted = draw(encoder, seed, learnt, MARKED_SIZES)
        models = train_both(encoder, planted, seed)
        for check in checks(models, planted[2]):
            counts[check] += 1
        marked = planted[2].marks.any(axis=(1, 2))
        for name, model in models.items():
            removal = audited(model, planted[2], marked).without(planted[2].marks[marked])
            found = removal.estimates(1000, 0)
            mass, area = (found[each].value or 0.0 for each in ("mass_on_place", "area"))
            attribution = np.nanmean(removal.attributed())
            note = (
                f"of the attribution {attribution:.3f} on the mark, of the map {mass:.3f}, of the pixels {area:.3f}; "
                "with it"
            )
            hidden, shown = found["accuracy_hidden"], found["accuracy"]
            results.append(row(f"shortcut/{name}/seed-{seed}", hidden, shown, "accuracy", note))
        unlearnt = Shortcut(class_name="truck", train_rate=0.0, test_rate=1.0)
        clean = draw(encoder, seed, unlearnt, MARKED_SIZES)
        counts["silent"] += not checks(train_both(encoder, clean, seed), clean[2])
    total = Estimate(float(len(SEEDS)), None, None, len(SEEDS))
    for name, count in counts.items():
        estimate = Estimate(float(count), None, None, len(SEEDS))
        results.append(row(f"shortcut/{name}", estimate, total, "seeds", "of"))
    return results


def main() -> None:
    """Measure all of it and write the results."""
    encoder = load_encoder(BackboneParams(), "attention_inputs")
    parts = draw(encoder, 0, Shortcut(), SIZES)
    write_results(
        "risk", [*localisation(encoder, parts), *label_noise(encoder, parts), *shortcuts(encoder)]
    )


if __name__ == "__main__":
    main()
