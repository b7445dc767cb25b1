"""Each planted mistake of a contract is named, over five networks; a right contract gives no warning."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from glasshead.audit.preflight import LIKELY_MISTAKE, NOT_POSSIBLE, try_contracts
from glasshead.models.contract import Contract, ContractParams, complete, with_size
from glasshead.models.external import ExternalClassifier

CLASSES = ("red narrow", "red wide", "blue narrow", "blue wide")
SIDE = 32
RIGHT = ContractParams(
    classes=CLASSES, input_size=SIDE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
BODIES: dict[str, Callable[[], list[nn.Module]]] = {
    "relu": lambda: [nn.Conv2d(3, 12, 5, 2, 2), nn.ReLU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU()],
    "gelu": lambda: [nn.Conv2d(3, 16, 3, 1, 1), nn.GELU(), nn.Conv2d(16, 24, 5, 2, 2), nn.GELU()],
    "norms": lambda: [nn.Conv2d(3, 16, 5, 2, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU()],
    "pooled": lambda: [nn.Conv2d(3, 16, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 24, 3, 2, 1), nn.SiLU()],
    "narrow": lambda: [nn.Conv2d(3, 8, 7, 2, 3), nn.Tanh(), nn.Conv2d(8, 24, 3, 2, 1), nn.ReLU()],
}  # fmt: skip


def stripes(count: int, seed: int) -> tuple[list[Image.Image], np.ndarray]:
    """Return pictures of red or blue stripes that are 2 or 4 pixels wide, with noise that a fifth of them drown in."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    pictures = []
    for label in labels:
        width = (4, 8)[label % 2]
        phase = (np.arange(SIDE) + rng.integers(0, 8)) % width < width / 2
        colour = np.array([230, 80, 60]) if label < 2 else np.array([60, 80, 230])
        strength = rng.choice([0.08, 0.7])
        pixels = (
            110
            + strength * phase[None, :, None] * (colour - 110)
            + rng.normal(0, 25, (SIDE, SIDE, 3))
        )
        pictures.append(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))
    return pictures, labels


def external(network: nn.Module, contract: Contract) -> ExternalClassifier:
    groups = tuple((number,) for number in range(4))
    return ExternalClassifier(
        CLASSES, {}, contract=contract, groups=groups, network=network, built={}, access="gradient"
    ).eval()


@pytest.fixture(scope="module", params=BODIES)
def network(request) -> nn.Module:
    """A small network that has learned the stripes under the right contract."""
    torch.manual_seed(0)
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 4)]
    model = nn.Sequential(*BODIES[request.param](), *pool)
    contract = complete(RIGHT, {})
    pictures, labels = stripes(400, 0)
    pixels = torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) for p in pictures]) / 255
    images, targets = contract.normalised(pixels), torch.from_numpy(labels)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(10):
        for rows in torch.randperm(len(images)).split(32):
            optimiser.zero_grad()
            F.cross_entropy(model(images[rows]), targets[rows]).backward()
            optimiser.step()
    return model.eval()


def mistakes(network: nn.Module, contract: Contract) -> dict[str, dict]:
    pictures, labels = stripes(160, 1)
    checks = try_contracts(external(network, contract), labels, None, pictures, "cpu")
    return {check["name"]: check for check in checks if check["verdict"] == LIKELY_MISTAKE}


def test_a_right_contract_gives_no_warning(network):
    assert mistakes(network, complete(RIGHT, {})) == {}


@pytest.mark.parametrize(
    ("changes", "name", "advice"),
    [
        ({"channels": "bgr"}, "channels", "channels to rgb"),
        ({"mean": (0.0,) * 3, "std": (1.0,) * 3}, "normalisation", "mean and std to"),
        ({"range": 255}, "range", "range to 1"),
        ({"input_size": 64}, "input_size", "input_size to 32"),
        ({"outputs": "probabilities"}, "outputs", "outputs to logits"),
        ({"classes": (CLASSES[2], CLASSES[3], CLASSES[1], CLASSES[0])}, "classes", "order"),
    ],
)
def test_a_mistake_is_named(network, changes, name, advice):
    """The input size is wrong without another crop: the whole picture is enlarged."""
    contract = complete(RIGHT.model_copy(update=changes), {})
    if "classes" in changes:
        number = {own: index for index, own in enumerate(CLASSES)}
        order = [number[own] for own in changes["classes"]]
        turned = nn.Sequential(network, _Reordered(order))
        found = mistakes(turned, contract)
    else:
        found = mistakes(network, contract)
    assert name in found
    assert advice in found[name]["advice"]
    if name != "outputs":
        assert found[name]["accuracy_if_changed"] > found[name]["accuracy_now"]


class _Reordered(nn.Module):
    def __init__(self, order: list[int]) -> None:
        super().__init__()
        self.order = order

    def forward(self, logits):
        return logits[:, self.order]


def test_normalisation_inside_the_network_is_applied_twice(network):
    """The contract normalises, and the network does so again itself."""

    class Normalising(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, pixels):
            return self.inner(complete(RIGHT, {}).normalised(pixels))

    found = mistakes(Normalising(), complete(RIGHT, {}))
    assert "no normalisation" in found["normalisation"]["advice"]


def test_probabilities_taken_for_logits_are_seen_in_the_rows(network):
    softmax = nn.Sequential(network, nn.Softmax(dim=1))
    assert "to probabilities" in mistakes(softmax, complete(RIGHT, {}))["outputs"]["advice"]


def test_of_a_table_only_the_order_of_classes_can_be_checked():
    labels = np.arange(80) % 4
    logits = np.eye(4)[(labels + 1) % 4] * 3.0
    classifier = external(nn.Identity(), complete(RIGHT, {}))
    checks = {c["name"]: c for c in try_contracts(classifier, labels, logits, None, "cpu")}
    assert checks["classes"]["verdict"] == LIKELY_MISTAKE
    others = {name: check["verdict"] for name, check in checks.items() if name != "classes"}
    assert set(others.values()) == {NOT_POSSIBLE}
    assert {"channels", "range", "normalisation", "input_size"} <= set(others)


def test_a_size_that_the_network_cannot_take_is_no_mistake():
    """A linear layer on all pixels takes one size only."""
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4))
    pictures, labels = stripes(16, 2)
    checks = try_contracts(external(flat, complete(RIGHT, {})), labels, None, pictures, "cpu")
    size = next(check for check in checks if check["name"] == "input_size")
    assert size["verdict"] == "ok"


def test_another_size_keeps_what_the_processor_does():
    processor = complete(RIGHT.model_copy(update={"resize": 40}), {}).processor
    assert with_size(processor, 64).size == {"shortest_edge": 80}
    stretched = complete(RIGHT.model_copy(update={"resize": "stretch"}), {}).processor
    assert with_size(stretched, 64).size == {"height": 64, "width": 64}
