"""Exact Shapley values of subtasks: ours against `shap.KernelExplainer` with all coalitions, rounds alternating.

The meta-learner has the default's width and random weights; 8 subtasks are the players, 100 rows the background. Ours
explains 1,000 images a round and the kernel explainer 10, as its time is the same for each; both use all threads.
"""

import platform
import statistics
import time
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from glasshead.explainers.coalitions import Game
from glasshead.explainers.shapley import exact_shapley, kernel_shapley
from glasshead.explainers.two_layer import as_two_layer
from report import Result, pending, write_results

ROUNDS = 5
IMAGES, PEER_IMAGES = 1000, 10
BACKGROUND = 100
WIDTHS = (6, 4, 3, 2, 2, 5, 4, 3)  # answers of each subtask
HIDDEN, CLASSES = 512, 10


def draw_concepts(rows: int) -> Tensor:
    """Return concept probabilities (rows, sum of the widths), each subtask's adding up to 1."""
    return torch.cat([torch.randn(rows, width).mul(3).softmax(dim=1) for width in WIDTHS], dim=1)


def seconds(action: Callable[[], object]) -> float:
    """Return the wall-clock time of one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def compare(case: str, temperature: float | None, device: str) -> Result:
    """Return one case: logits where there is no temperature, else probabilities; the peer is always on the CPU."""
    torch.manual_seed(0)
    columns = sum(WIDTHS)
    network = nn.Sequential(nn.Linear(columns, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
    ours_on, peers = (
        as_two_layer(each, temperature) for each in (deepcopy(network).to(device), network)
    )
    assert ours_on is not None
    assert peers is not None
    rows, background = draw_concepts(IMAGES), draw_concepts(BACKGROUND)
    here = rows.to(device), background.to(device)
    targets = torch.arange(IMAGES) % CLASSES
    groups = [list(part) for part in np.split(np.arange(columns), np.cumsum(WIDTHS)[:-1])]

    def ours(count: int = IMAGES) -> np.ndarray:
        game = Game(ours_on, here[0][:count], here[1], groups, targets[:count])
        return exact_shapley(game).values

    def peer() -> np.ndarray:
        some, target = rows[:PEER_IMAGES], targets[:PEER_IMAGES]
        return kernel_shapley(Game(peers, some, background, groups, target)).values

    difference = float(np.abs(ours(PEER_IMAGES) - peer()).max())  # and a warm-up of both
    rounds = [(seconds(ours) / IMAGES, seconds(peer) / PEER_IMAGES) for _ in range(ROUNDS)]
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    return {
        "case": f"shapley/{case}" if device == "cpu" else f"shapley/{case}/cuda",
        "ours": round(statistics.median(1 / mine for mine, _ in rounds), 1),
        "peer": round(statistics.median(1 / other for _, other in rounds), 1),
        "ratio": round(statistics.median(other / mine for mine, other in rounds), 1),
        "unit": "images/s",
        "device": f"{device} ({name}, {torch.get_num_threads()} threads)",
        "note": f"peer on the CPU: shap.KernelExplainer, all coalitions; largest difference {difference:.1e}",
    }


def main() -> None:
    """Run both cases on the devices there are and write the results."""
    cases = {"logits": None, "probabilities": 1.0}
    results = [compare(case, temperature, "cpu") for case, temperature in cases.items()]
    has_cuda = torch.cuda.is_available()
    results += [
        compare(case, temperature, "cuda")
        if has_cuda
        else pending(f"shapley/{case}/cuda", "images/s")
        for case, temperature in cases.items()
    ]
    write_results("shapley", results)


if __name__ == "__main__":
    main()
