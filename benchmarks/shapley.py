"""Exact Shapley values of subtasks: ours against `shap.KernelExplainer` with all coalitions, rounds alternating.

The meta-learner has the default's width and random weights; 8 subtasks are the players, 100 rows the background. Ours
explains 1,000 images a round and the kernel explainer 10, as its time is the same for each; both use all threads.
"""

import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from glasshead.explainers.coalitions import Game
from glasshead.explainers.shapley import exact_shapley, kernel_shapley
from glasshead.explainers.two_layer import as_two_layer
from report import Result, write_results

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


def compare(case: str, temperature: float | None) -> Result:
    """Return one case: logits where there is no temperature, else probabilities."""
    torch.manual_seed(0)
    columns = sum(WIDTHS)
    network = nn.Sequential(nn.Linear(columns, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
    function = as_two_layer(network, temperature)
    assert function is not None
    rows, background = draw_concepts(IMAGES), draw_concepts(BACKGROUND)
    targets = torch.arange(IMAGES) % CLASSES
    groups = [list(part) for part in np.split(np.arange(columns), np.cumsum(WIDTHS)[:-1])]

    def game(count: int) -> Game:
        return Game(function, rows[:count], background, groups, targets[:count])

    def ours(count: int = IMAGES) -> np.ndarray:
        return exact_shapley(game(count)).values

    def peer() -> np.ndarray:
        return kernel_shapley(game(PEER_IMAGES)).values

    difference = float(np.abs(ours(PEER_IMAGES) - peer()).max())  # and a warm-up of both
    rounds = [(seconds(ours) / IMAGES, seconds(peer) / PEER_IMAGES) for _ in range(ROUNDS)]
    return {
        "case": f"shapley/{case}",
        "ours": round(statistics.median(1 / mine for mine, _ in rounds), 1),
        "peer": round(statistics.median(1 / other for _, other in rounds), 1),
        "ratio": round(statistics.median(other / mine for mine, other in rounds), 1),
        "unit": "images/s",
        "device": f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)",
        "note": f"peer: shap.KernelExplainer, all coalitions; largest difference {difference:.1e}",
    }


def main() -> None:
    """Run both cases and write the results."""
    write_results("shapley", [compare("logits", None), compare("probabilities", 1.0)])


if __name__ == "__main__":
    main()
