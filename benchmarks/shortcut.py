"""Do maps move to a planted mark? Share of their mass on it, for a network trained with it and one trained without.

Both are the network of `kedro run --pipelines=cnn`, trained on the same scenes by the same recipe; for the first, 90 %
of the trucks carry a small square of a colour of its own near a corner. Both explain the same test images, all of them
trucks with the mark, for the class truck. The ratio says how many times more of its maps' mass a network that learned
the shortcut puts on it; baselines, which look at no network, have a ratio of 1.
"""

import io
import platform
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor

from glasshead.explainers.budget import Budget
from glasshead.explainers.localisation import mass_on_mark
from glasshead.explainers.methods import METHODS
from glasshead.images.scenes import CLASSES, Defects, ScenesParams, Shortcut, generate_scenes
from glasshead.models.classifier import as_images
from glasshead.models.cnn import CNNClassifier, build_cnn
from glasshead.training.augment import Augmentation, AugmentParams
from glasshead.training.batches import TensorBatches
from glasshead.training.loop import TrainingParams, fit
from glasshead.training.statistics import channel_statistics, evenly_spaced
from report import ROOT, Result, write_results

TRAIN, VALIDATION, TEST, SEED = 4800, 600, 600, 0
RATE = 0.9
TRUCK = CLASSES.index("truck")


def draw(train_rate: float) -> tuple[Tensor, Tensor, Tensor, np.ndarray]:
    """Return train pixels (n, 3, h, w) and labels; pixels and marks (m, h, w) of the test split's marked trucks."""
    defects = Defects(shortcut=Shortcut(class_name="truck", train_rate=train_rate, test_rate=1.0))
    params = ScenesParams(train=TRAIN + VALIDATION, test=TEST, defects=defects)
    pixels: dict[str | None, list[np.ndarray]] = {"train": [], "test": []}
    labels, marks = [], []
    for record in generate_scenes(params, SEED):
        image = np.asarray(Image.open(io.BytesIO(record["image"]))).transpose(2, 0, 1)
        if record["given_split"] == "train":
            pixels["train"].append(image)
            labels.append(CLASSES.index(record["label"]))
        elif record["defects"]:
            pixels["test"].append(image)
            x, y, width, height = map(int, record["defects"][0][1].split(","))
            marks.append(np.zeros(image.shape[1:], bool))
            marks[-1][y : y + height, x : x + width] = True
    train, test = (torch.from_numpy(np.stack(pixels[split])) for split in ("train", "test"))
    return train, torch.tensor(labels), test, np.stack(marks)


def train(pixels: Tensor, labels: Tensor) -> CNNClassifier:
    """Return the base recipe's network after its training, in evaluation mode."""
    text = (ROOT / "conf" / "base" / "parameters_train_cnn.yml").read_text()
    recipe: dict[str, Any] = yaml.safe_load(text)["train_cnn"]
    shown, held_out = (
        TensorBatches(pixels[part], labels[part]) for part in (slice(0, TRAIN), slice(TRAIN, None))
    )
    mean, std = channel_statistics(shown)
    classifier = build_cnn(
        recipe["architecture"], CLASSES, pixels.shape[-1],
        mean=mean, std=std, provenance={}, seed=SEED, width=recipe["width"],
    )  # fmt: skip
    classifier.whiten(as_images(shown.images[evenly_spaced(len(shown), 2000)]))
    augmentation = AugmentParams.model_validate(recipe["augmentation"])
    params = TrainingParams.model_validate(recipe["training"])
    fit(
        classifier, shown, held_out, params, SEED,
        device="cpu", augmentation=Augmentation(augmentation, len(CLASSES)),
    )  # fmt: skip
    return classifier.eval()


def compare(
    name: str, learned: CNNClassifier, clean: CNNClassifier, test: Tensor, marks: np.ndarray
) -> Result:
    """Return a method's mean share of mass on the marks, of the network with the shortcut and of the one without."""
    targets = torch.full((len(test),), TRUCK)
    ours, peer = (
        float(
            np.nanmean(
                mass_on_mark(
                    METHODS[name](model, as_images(test), targets, Budget(baseline=0.5)).maps, marks
                )
            )
        )
        for model in (learned, clean)
    )
    return {
        "case": f"shortcut/{name}",
        "ours": round(ours, 4),
        "peer": round(peer, 4),
        "ratio": round(ours / peer, 2),
        "unit": "share of mass",
        "device": f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)",
        "note": f"{len(test)} marked trucks; the mark has {marks[0].mean():.4f} of the pixels",
    }


def main() -> None:
    """Train both networks, explain the marked trucks by every method that applies, and write the results."""
    clean = train(*draw(0.0)[:2])
    pixels, labels, test, marks = draw(RATE)
    learned = train(pixels, labels)
    applicable = [
        name
        for name, method in METHODS.items()
        if not method.applies_to(learned) and name != "lime"
    ]
    write_results("shortcut", [compare(name, learned, clean, test, marks) for name in applicable])


if __name__ == "__main__":
    main()
