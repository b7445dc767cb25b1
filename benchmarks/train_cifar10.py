"""From scratch on CIFAR-10: accuracy against seconds of `fast_cnn` and of the classic `compact_cnn`, by `fit`.

    make bench ONLY=train_cifar10 CIFAR=FOLDER      train.parquet and test.parquet in the Hugging Face image layout

Each gets its recipe (`conf/cifar10` for fast_cnn) on 48,000 of the train images; the other 2,000 are validated after
every epoch and choose the weights; the test images are read once, at the end. Seconds are those of training alone. The
rate of a bare PyTorch loop over the same network, measured first, says how fast this machine is. A run that was
stopped goes on where it was (data/benchmarks). Without CIFAR nothing is measured.
"""

import hashlib
import io
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
import yaml
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from glasshead.device import choose_device
from glasshead.images.sources.columns import class_names
from glasshead.models.classifier import Classifier, as_images
from glasshead.models.cnn import CNNClassifier, build_cnn
from glasshead.models.inference import flip_tta, logits_of
from glasshead.training.augment import Augmentation, AugmentParams
from glasshead.training.batches import TensorBatches, channel_statistics, evenly_spaced
from glasshead.training.checkpoint import CheckpointFolder
from glasshead.training.history import History
from glasshead.training.loop import fit
from glasshead.training.params import TrainingParams
from report import ROOT, Result, write_results

VALIDATION, SEED = 2000, 0
FIGURE = ROOT / "docs" / "images" / "train_cifar10.png"
COLOURS = {"fast_cnn": "#0072B2", "compact_cnn": "#D55E00"}  # Okabe and Ito's
COMPACT = {
    "architecture": "compact_cnn",
    "width": 1.0,
    "augmentation": {"crop_padding": 4, "flip": "random"},
    "training": {
        "epochs": 4,
        "batch_size": 128,
        "optimiser": {"name": "sgd", "learning_rate": 0.1, "weight_decay": 5e-4},
        "schedule": {"name": "one_cycle", "warmup_fraction": 0.25},
        "label_smoothing": 0.1,
        "channels_last": True,
    },
}


def recipes() -> dict[str, dict[str, Any]]:
    """Return architecture, width, augmentation and training of both."""
    chosen: dict[str, Any] = {}
    for environment in ("base", "cifar10"):
        text = (ROOT / "conf" / environment / "parameters_train_cnn.yml").read_text()
        chosen = _merged(chosen, yaml.safe_load(text)["train_cnn"])
    return {"fast_cnn": chosen, "compact_cnn": COMPACT}


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    deeper = {
        name: _merged(old[name], value)
        for name, value in new.items()
        if isinstance(value, dict) and isinstance(old.get(name), dict)
    }
    return old | new | deeper


def read(path: Path) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Return images (n, 3, 32, 32) uint8, labels (n,) and class names of a parquet file."""
    table = pq.read_table(path)
    arrays = [
        np.asarray(Image.open(io.BytesIO(row["bytes"])).convert("RGB"))
        for row in table["image"].to_pylist()
    ]
    pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()
    return (
        pixels,
        torch.tensor(table["label"].to_pylist()),
        class_names(table.schema, "label") or (),
    )


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def described(device: str) -> str:
    """Return the device in words."""
    if device == "cuda":
        return f"cuda ({torch.cuda.get_device_name()})"
    return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"


def bare_rate(
    classifier: Classifier, train: TensorBatches, params: TrainingParams, device: str
) -> float:
    """Return images a second of a bare loop over the same network with SGD, for some steps after a warm-up."""
    model = classifier.to(device, memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(model.parameters(), 1e-6, 0.9)
    batches = torch.randperm(len(train)).split(params.batch_size)[
        : max(4, 8192 // params.batch_size)
    ]
    started = 0.0
    for step, rows in enumerate(batches):
        if step == 2:
            started = time.perf_counter()
        images = as_images(train.images[rows]).to(device, memory_format=torch.channels_last)
        optimiser.zero_grad()
        F.cross_entropy(model(images), train.labels[rows].to(device)).backward()
        optimiser.step()
    if device == "cuda":
        torch.cuda.synchronize()
    return params.batch_size * (len(batches) - 2) / (time.perf_counter() - started)


def train_one(name: str, recipe: dict[str, Any], folder: Path, device: str) -> dict[str, Any]:
    """Train one network; return its history, test accuracies and rates."""
    images, labels, classes = read(folder / "train.parquet")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SEED))
    validation, train = (
        TensorBatches(images[rows], labels[rows])
        for rows in order.split([VALIDATION, len(labels) - VALIDATION])
    )
    mean, std = channel_statistics(train)

    def build() -> CNNClassifier:
        built = build_cnn(
            recipe["architecture"], classes, 32, mean=mean, std=std, provenance={}, seed=SEED, width=recipe["width"]
        )  # fmt: skip
        built.whiten(as_images(train.images[evenly_spaced(len(train), 2000)]))
        return built

    params = TrainingParams.model_validate(recipe["training"])
    augmentation = AugmentParams.model_validate(recipe["augmentation"])
    rate = bare_rate(build(), train, params, device)
    classifier = build()
    history = fit(
        classifier, train, validation, params, SEED, device=device,  # type: ignore[arg-type]
        checkpoints=CheckpointFolder(ROOT / "data" / "benchmarks" / name),
        identity=repr((recipe, described(device), digest(folder / "train.parquet"))),
        augmentation=Augmentation(augmentation, len(classes)),
    )  # fmt: skip
    pixels, truth, _ = read(folder / "test.parquet")

    def accuracy(compute: Any = None) -> float:
        logits = logits_of(classifier, lambda rows: pixels[rows], len(truth), device, compute)
        return float((logits.argmax(axis=1) == truth.numpy()).mean())

    last = history.epochs[-1]
    return {
        "history": history,
        "accuracy": accuracy(),
        "mirrored": accuracy(flip_tta(classifier, shift=1)),
        "rate": last["images_seen"] / last["seconds"],
        "bare": rate,
    }


def draw(histories: dict[str, History], device: str) -> Figure:
    """Return validation accuracy against seconds of training."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, history in histories.items():
        seconds = [row["seconds"] for row in history.epochs]
        accuracy = [row["validation_accuracy"] for row in history.epochs]
        axes.plot(seconds, accuracy, "o-", color=COLOURS[name], markersize=3, label=name)
    axes.set(
        xlabel=f"seconds of training on {device}",
        ylabel=f"accuracy on {VALIDATION:,} validation images",
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def rows_of(name: str, found: dict[str, Any], peer: dict[str, Any], device: str) -> list[Result]:
    """Return a network's accuracy beside the other's, and its rate beside the bare loop's."""
    seconds = found["history"].epochs[-1]["seconds"]
    note = f"10,000 test images after {seconds:,.0f} s of training; with test-time augmentation {found['mirrored']:.4f}"
    return [
        {
            "case": f"{name}/accuracy",
            "ours": round(found["accuracy"], 4),
            "peer": round(peer["accuracy"], 4),
            "ratio": round(found["accuracy"] / peer["accuracy"], 3),
            "unit": "fraction right",
            "device": device,
            "note": f"{note}; peer: the other network",
        },
        {
            "case": f"{name}/images",
            "ours": round(found["rate"], 1),
            "peer": round(found["bare"], 1),
            "ratio": round(found["rate"] / found["bare"], 3),
            "unit": "images/s",
            "device": device,
            "note": "over the whole training; peer: a bare loop of SGD before it, without augmentation",
        },
    ]


def main() -> None:
    """Train both and write results and figure."""
    if not (given := os.environ.get("CIFAR")):
        print("train_cifar10 wants CIFAR=FOLDER; nothing measured")
        return
    where = choose_device("auto", "device")
    device = described(where)
    found = {
        name: train_one(name, recipe, Path(given), where) for name, recipe in recipes().items()
    }
    fast, compact = found["fast_cnn"], found["compact_cnn"]
    write_results(
        "train_cifar10",
        rows_of("fast_cnn", fast, compact, device) + rows_of("compact_cnn", compact, fast, device),
    )
    draw({name: each["history"] for name, each in found.items()}, device).savefig(FIGURE, dpi=120)


if __name__ == "__main__":
    main()
