"""Do maps move to a planted mark? Fraction of their mass on it, for a classifier trained with it and one trained
without.

Two kinds: the network of `kedro run --pipelines=cnn` and the heads of `kedro run`, each by its base recipe. Both
trainings of a kind see the same scenes; for the first, 90 % of the trucks carry a small square of a colour of its own
near a corner. Both explain the same test images, all of them trucks with the mark, for the class truck. The ratio says
how many times more of its maps' mass a classifier that learned the shortcut puts on it; baselines, which look at no
classifier, have a ratio of 1. Medians over three seeds of scenes and trainings. LIME, the slowest, is left out.
"""

import platform
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from torch import Tensor

from glasshead.explainers.localisation import mass_on_mark
from glasshead.explainers.methods import METHODS
from glasshead.explainers.passes import Budget
from glasshead.images.scenes import CLASSES, Defects, ScenesParams, Shortcut, generate_scenes
from glasshead.images.table import ImageTable
from glasshead.images.taxonomy import add_targets, parse_taxonomy
from glasshead.models.backbone import BackboneParams
from glasshead.models.classifier import Classifier, Concept, as_images
from glasshead.models.clip import load_encoder
from glasshead.models.cnn import build_cnn
from glasshead.models.heads import Bottleneck, GlassHeads
from glasshead.training.augment import Augmentation, AugmentParams
from glasshead.training.batches import TensorBatches, channel_statistics, evenly_spaced
from glasshead.training.bottleneck import BottleneckData, BottleneckTraining, train_bottleneck
from glasshead.training.loop import fit
from glasshead.training.params import TrainingParams
from report import ROOT, Result, write_results

TRAIN, VALIDATION, TEST = 4800, 600, 600
SEEDS = (0, 1, 2)
RATE = 0.9
TRUCK = CLASSES.index("truck")


def draw(rate: float, seed: int) -> tuple[ImageTable, np.ndarray]:
    """Return scenes, train before test, their trucks marked at `rate`, and the marks (m, h, w) of the test split."""
    defects = Defects(
        shortcut=Shortcut(class_name="truck", train_rate=rate, test_rate=1.0 * (rate > 0))
    )
    params = ScenesParams(train=TRAIN + VALIDATION, test=TEST, defects=defects)
    records = list(generate_scenes(params, seed))
    marks = []
    for record in records[TRAIN + VALIDATION :]:
        mark = np.zeros((params.size, params.size), bool)
        for _, box in record["defects"]:
            x, y, width, height = map(int, box.split(","))
            mark[y : y + height, x : x + width] = True
        marks.append(mark)
    return ImageTable.from_records(records, CLASSES), np.stack(marks)


def pixels_of(images: ImageTable, rows: range | np.ndarray) -> Tensor:
    """Return pixels (n, 3, h, w) uint8."""
    arrays = [np.asarray(images.pil(int(row))).transpose(2, 0, 1) for row in rows]
    return torch.from_numpy(np.stack(arrays))


def recipe(stage: str) -> dict[str, Any]:
    """Return the base parameters of a stage."""
    text = (ROOT / "conf" / "base" / f"parameters_{stage}.yml").read_text()
    chosen: dict[str, Any] = yaml.safe_load(text)[stage]
    return chosen


def train_cnn(images: ImageTable, seed: int) -> Classifier:
    """Return the base recipe's network after its training."""
    chosen = recipe("train_cnn")
    labels = torch.tensor(images.frame()["label"].map(CLASSES.index).to_numpy())
    pixels = pixels_of(images, range(TRAIN + VALIDATION))
    shown, held_out = (
        TensorBatches(pixels[part], labels[: len(pixels)][part])
        for part in (slice(TRAIN), slice(TRAIN, None))
    )
    mean, std = channel_statistics(shown)
    classifier = build_cnn(
        chosen["architecture"], CLASSES, pixels.shape[-1],
        mean=mean, std=std, provenance={}, seed=seed, width=chosen["width"],
    )  # fmt: skip
    classifier.whiten(as_images(shown.images[evenly_spaced(len(shown), 2000)]))
    augmentation = AugmentParams.model_validate(chosen["augmentation"])
    params = TrainingParams.model_validate(chosen["training"])
    fit(
        classifier, shown, held_out, params, seed,
        device="cpu", augmentation=Augmentation(augmentation, len(CLASSES)),
    )  # fmt: skip
    return classifier


def train_heads(images: ImageTable, seed: int) -> Classifier:
    """Return nano-clip with the base recipe's heads after their training."""
    chosen, encoder = recipe("train_heads"), load_encoder(BackboneParams())
    name = recipe("preprocess")["taxonomy"]
    content = (ROOT / "conf" / "base" / "taxonomies" / f"{name}.yml").read_text()
    taxonomy = parse_taxonomy(name, {name: yaml.safe_load(content)}, CLASSES)
    samples = add_targets(images.frame(), images, taxonomy)
    with torch.inference_mode():
        embeddings = torch.cat(
            [
                encoder(as_images(pixels_of(images, rows)))
                for rows in np.array_split(np.arange(TRAIN + VALIDATION), 100)
            ]
        )
    shown, held_out = (
        _bottleneck_data(embeddings.clone(), samples, part)
        for part in (slice(TRAIN), slice(TRAIN, TRAIN + VALIDATION))
    )
    widths = tuple(len(task.values) for task in taxonomy.subtasks)
    torch.manual_seed(seed)
    bottleneck = Bottleneck(
        encoder.dimension, widths, len(CLASSES), chosen["hidden"], chosen["meta_hidden"]
    )
    bottleneck.standardise_by(shown.embeddings)
    params = BottleneckTraining.model_validate(chosen["training"])
    train_bottleneck(bottleneck, shown, held_out, params, seed)
    concepts = tuple(Concept(task.name, task.values) for task in taxonomy.subtasks)
    return GlassHeads(encoder, bottleneck, CLASSES, concepts, {})


def _bottleneck_data(embeddings: Tensor, samples: pd.DataFrame, part: slice) -> BottleneckData:
    targets = [name for name in samples if name.startswith("target/")]
    labels = samples["label"].map(CLASSES.index)
    return BottleneckData(
        embeddings[part],
        torch.from_numpy(samples[targets].to_numpy(np.int64)[part].copy()),
        torch.from_numpy(labels.to_numpy(np.int64)[part].copy()),
    )


KINDS: dict[str, Callable[[ImageTable, int], Classifier]] = {"heads": train_heads, "cnn": train_cnn}


def mass(name: str, classifier: Classifier, test: Tensor, marks: np.ndarray) -> float:
    """Return the mean fraction of a method's mass on the marks, over the images where there is any mass."""
    targets = torch.full((len(test),), TRUCK)
    maps = METHODS[name](classifier, as_images(test), targets, Budget(baseline=0.5)).maps
    return float(np.nanmean(mass_on_mark(maps, marks)))


@torch.no_grad()
def fraction_of_trucks(classifier: Classifier, pixels: Tensor) -> float:
    """Return the fraction of images that are classified as trucks."""
    return (classifier(as_images(pixels)).argmax(dim=1) == TRUCK).double().mean().item()


def compare(kind: str) -> list[Result]:
    """Return the median ratio of each method over the seeds, each with its own scenes and trainings."""
    fractions: dict[str, list[tuple[float, float]]] = {}
    right: list[tuple[float, float]] = []
    for seed in SEEDS:
        (clean_images, _), (images, marks) = draw(0.0, seed), draw(RATE, seed)
        marked = np.flatnonzero(marks.any(axis=(1, 2)))
        rows = TRAIN + VALIDATION + marked
        test = pixels_of(images, rows)
        clean, learned = (KINDS[kind](each, seed).eval() for each in (clean_images, images))
        right.append(
            (
                fraction_of_trucks(learned, test),
                fraction_of_trucks(learned, pixels_of(clean_images, rows)),
            )
        )
        for name, method in METHODS.items():
            if not method.applies_to(learned) and name != "lime":
                pair = tuple(mass(name, each, test, marks[marked]) for each in (learned, clean))
                fractions.setdefault(name, []).append(pair)
    found = [statistics.median(part) for part in zip(*right, strict=True)]
    note = f"trucks found with the mark {found[0]:.2f}, without it {found[1]:.2f}"
    return [_result(kind, name, pairs, note) for name, pairs in fractions.items()]


def _result(kind: str, name: str, pairs: list[tuple[float, float]], note: str) -> Result:
    ratios = [ours / peer for ours, peer in pairs if peer > 0]
    known = len(ratios) == len(pairs)
    spread = (
        f"ratio {min(ratios):.1f} to {max(ratios):.1f} over {len(SEEDS)} seeds; " if known else ""
    )
    ours, peer = (round(statistics.median(part), 4) for part in zip(*pairs, strict=True))
    return {
        "case": f"{kind}/{name}",
        "ours": ours,
        "peer": peer,
        "ratio": round(statistics.median(ratios), 2) if known else None,
        "unit": "fraction of mass",
        "device": f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)",
        "note": spread + note,
    }


def main() -> None:
    """Compare classifiers of both kinds by every method that applies, and write the results."""
    write_results("shortcut", [result for kind in KINDS for result in compare(kind)])


if __name__ == "__main__":
    main()
