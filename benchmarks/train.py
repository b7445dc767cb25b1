"""Training: one epoch of `fit` against the bare loop that PyTorch's tutorials show, over the same network.

Both have the images in memory on the device, as uint8, and neither augments; both step with SGD-Nesterov. On a GPU
both compute in bfloat16 and channels-last. They alternate in one run, after a warm-up of each. Ours is timed from call
to return: measuring gradients, the history and a validation on eight images are in it.
"""

import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from glasshead.training.batches import TensorBatches
from glasshead.training.loop import fit
from glasshead.training.params import TrainingParams
from report import Result, pending, write_results

ROUNDS = 7
IMAGES = {"cpu": 2048, "cuda": 50_000}
BATCH = {"cpu": 128, "cuda": 1000}
WIDTHS = {"cpu": (32, 64, 128), "cuda": (64, 256, 512)}
CLASSES = 10
RATE = 0.05


def build_network(widths: tuple[int, ...]) -> nn.Module:
    """Return blocks of two 3 x 3 convolutions with batch norm and pooling, and a linear head."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    channels = 3
    for width in widths:
        for _ in range(2):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
            layers += [nn.ReLU()]
            channels = width
        layers += [nn.MaxPool2d(2)]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)
    )


def bare(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, batch: int) -> None:
    """Train one epoch as tutorials do."""
    device = images.device.type
    layout = torch.channels_last if device == "cuda" else torch.contiguous_format
    model.to(device, memory_format=layout).train()
    optimiser = torch.optim.SGD(model.parameters(), RATE, 0.9, weight_decay=5e-4, nesterov=True)
    loss_function = nn.CrossEntropyLoss()
    for rows in torch.randperm(len(labels), device=device).split(batch):
        pixels = (images[rows].float() / 255).contiguous(memory_format=layout)
        optimiser.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = loss_function(model(pixels), labels[rows])
        loss.backward()
        optimiser.step()


def seconds(action: Callable[[], object], device: str) -> float:
    """Return the wall-clock time of one call, all of its work on the device included."""
    started = time.perf_counter()
    action()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def compare(device: str) -> Result:
    """Return the case on one device."""
    count, batch = IMAGES[device] // BATCH[device] * BATCH[device], BATCH[device]
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    train = TensorBatches(images.to(device), labels)
    validation = TensorBatches(train.images[:8], labels[:8])
    params = TrainingParams(
        epochs=1,
        batch_size=batch,
        optimiser={"learning_rate": RATE},
        channels_last=device == "cuda",
    )
    there = labels.to(device)

    def ours() -> None:
        fit(build_network(WIDTHS[device]), train, validation, params, 0, device=device)

    def peer() -> None:
        bare(build_network(WIDTHS[device]), train.images, there, batch)

    seconds(ours, device), seconds(peer, device)
    rounds = [(seconds(ours, device), seconds(peer, device)) for _ in range(ROUNDS)]
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    return {
        "case": "train/throughput" + ("/cuda" if device == "cuda" else ""),
        "ours": round(statistics.median(count / mine for mine, _ in rounds), 1),
        "peer": round(statistics.median(count / other for _, other in rounds), 1),
        "ratio": round(statistics.median(other / mine for mine, other in rounds), 3),
        "unit": "images/s",
        "device": f"{device} ({name}, {torch.get_num_threads()} threads)",
        "note": f"peer: a bare PyTorch loop, batch {batch}; convolutions of {WIDTHS[device]} channels",
    }


def main() -> None:
    """Compare on the CPU and, where there is one, on a GPU; write the results."""
    waiting = pending("train/throughput/cuda", "images/s")
    on_gpu = compare("cuda") if torch.cuda.is_available() else waiting
    write_results("train", [compare("cpu"), on_gpu])


if __name__ == "__main__":
    main()
