"""Explaining 256 images by nano-clip and heads: all at once against captum's usual loop of one image at a time.

The peer batches the steps or samples of each image itself, as many at once as are fastest of those tried after a
warm-up, and has all threads. Both alternate in one run. Gradients are compared before: saliency and Integrated
Gradients must agree; SmoothGrad draws its own noise. Memory is by how much a process of its own grows at most from
when it holds the classifier and the images, looked at every two milliseconds.
"""

import multiprocessing
import platform
import statistics
import threading
import time
from collections.abc import Callable

import numpy as np
import psutil
import torch
from captum.attr import IntegratedGradients, NoiseTunnel, Saliency
from torch import Tensor

from glasshead.explainers.gradients import integrated_gradients, saliency, smoothgrad
from glasshead.explainers.passes import Budget
from glasshead.images.scenes import CLASSES
from glasshead.models.backbone import BackboneParams
from glasshead.models.clip import load_encoder
from glasshead.models.heads import Bottleneck, GlassHeads
from report import Result, pending, write_results

IMAGES = 256
ROUNDS = {"saliency": 7, "smoothgrad": 3, "integrated_gradients": 3}
STEPS = 16
NOISE = 0.15
PEER_BATCHES = (8, 16)
OURS = {
    "saliency": saliency,
    "smoothgrad": smoothgrad,
    "integrated_gradients": integrated_gradients,
}
IMAGES_PER_PASS = {
    "cpu": 8,
    "cuda": 256,
}  # on the CPU in each thread, as many as `Budget.for_images` allows

Loop = Callable[[GlassHeads, Tensor, Tensor, int], np.ndarray]


def build_heads(device: str) -> GlassHeads:
    """Return nano-clip with untrained heads of the usual size: nine subtasks of three answers."""
    torch.manual_seed(0)
    encoder = load_encoder(BackboneParams())
    bottleneck = Bottleneck(encoder.dimension, (3,) * 9, len(CLASSES), hidden=64, meta_hidden=64)
    return GlassHeads(encoder, bottleneck, CLASSES, (), {}).eval().to(device)


def captum_saliency(
    classifier: GlassHeads, images: Tensor, targets: Tensor, batch: int
) -> np.ndarray:
    """Return gradients, one image at a time."""
    method = Saliency(classifier)
    parts = [
        method.attribute(image.requires_grad_(), target, abs=False)
        for image, target in _pairs(images, targets)
    ]
    return torch.cat(parts).cpu().numpy()


def captum_smoothgrad(
    classifier: GlassHeads, images: Tensor, targets: Tensor, batch: int
) -> np.ndarray:
    """Return mean gradients, one image at a time, `batch` samples at once."""
    method = NoiseTunnel(Saliency(classifier))
    options = {"nt_samples": STEPS, "nt_samples_batch_size": batch, "stdevs": NOISE}
    parts = [
        method.attribute(image.requires_grad_(), target=target, abs=False, **options)
        for image, target in _pairs(images, targets)
    ]
    return torch.cat(parts).detach().cpu().numpy()


def captum_integrated_gradients(
    classifier: GlassHeads, images: Tensor, targets: Tensor, batch: int
) -> np.ndarray:
    """Return Integrated Gradients, one image at a time, `batch` steps at once."""
    method = IntegratedGradients(classifier)
    parts = [
        method.attribute(image, 0.0, target, n_steps=STEPS, internal_batch_size=batch)
        for image, target in _pairs(images, targets)
    ]
    return torch.cat(parts).detach().cpu().numpy()


PEERS: dict[str, Loop] = {
    "saliency": captum_saliency,
    "smoothgrad": captum_smoothgrad,
    "integrated_gradients": captum_integrated_gradients,
}


def _pairs(images: Tensor, targets: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(images.clone().split(1), targets.split(1), strict=True))


def draw_inputs(device: str, count: int = IMAGES) -> tuple[Tensor, Tensor]:
    """Return noise as images, and targets; what they show costs nothing."""
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, 32, 32, generator=draw)
    return images.to(device), torch.randint(len(CLASSES), (count,), generator=draw).to(device)


def seconds(action: Callable[[], object], device: str) -> float:
    """Return the wall-clock time of one call, all of its work on the device included."""
    started = time.perf_counter()
    action()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def explain(case: str, whose: str, device: str, batch: int, count: int = IMAGES) -> Callable:
    """Return a call without arguments that explains `count` images."""
    classifier, (images, targets) = build_heads(device), draw_inputs(device, count)
    if whose == "peer":
        return lambda: PEERS[case](classifier, images, targets, batch)
    budget = Budget(batch_size=batch, steps=STEPS, samples=STEPS, noise=NOISE)
    return lambda: OURS[case](classifier, images, targets, budget).values


def peak_memory(case: str, whose: str, batch: int, threads: int) -> float:
    """Return by how many MB this process grows while it explains, from when it holds the classifier and the images."""
    torch.set_num_threads(threads)
    action = explain(case, whose, "cpu", batch)
    process, done = psutil.Process(), threading.Event()
    held = [process.memory_info().rss]

    def watch() -> None:
        while not done.wait(0.002):
            held.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    action()
    done.set()
    watcher.join()
    return (max(held) - held[0]) / 2**20


def compare(case: str, device: str) -> Result:
    """Return the case on one device."""
    size = IMAGES_PER_PASS[device]
    batches = PEER_BATCHES if case != "saliency" else (1,)
    few = {batch: explain(case, "peer", device, batch, count=16) for batch in batches}
    for action in few.values():
        action()
    batch = min(batches, key=lambda each: seconds(few[each], device))
    ours, peer = explain(case, "ours", device, size), explain(case, "peer", device, batch)
    note = f"peer: captum, {batch} at once; ours: {size}"
    if case != "smoothgrad":
        note += f"; largest difference {_difference(ours(), peer()):.1e} of the largest value"
    if device == "cpu":
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            grown = [
                pool.apply(peak_memory, (case, whose, each, torch.get_num_threads()))
                for whose, each in (("ours", size), ("peer", batch))
            ]
        note += f"; grows by {grown[0]:.0f} MB, peer {grown[1]:.0f} MB"
    times = [(seconds(ours, device), seconds(peer, device)) for _ in range(ROUNDS[case])]
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    return {
        "case": case if device == "cpu" else f"{case}/cuda",
        "ours": round(statistics.median(IMAGES / mine for mine, _ in times), 1),
        "peer": round(statistics.median(IMAGES / other for _, other in times), 1),
        "ratio": round(statistics.median(other / mine for mine, other in times), 2),
        "unit": "images/s",
        "device": f"{device} ({name}, {torch.get_num_threads()} threads)",
        "note": note,
    }


def _difference(ours: np.ndarray, peer: np.ndarray) -> float:
    return float(np.abs(ours - peer).max() / np.abs(peer).max())


def main() -> None:
    """Run all cases on the devices there are and write the results."""
    results = [compare(case, "cpu") for case in OURS]
    has_cuda = torch.cuda.is_available()
    results += [
        compare(case, "cuda") if has_cuda else pending(f"{case}/cuda", "images/s") for case in OURS
    ]
    write_results("explain", results)


if __name__ == "__main__":
    main()
