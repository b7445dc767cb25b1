"""Classifiers to explain: heads on nano-clip with an untrained bottleneck, and small untrained CNNs."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from glasshead.explainers.passes import Budget
from glasshead.models.backbone import BackboneParams
from glasshead.models.classifier import Concept
from glasshead.models.clip import load_encoder
from glasshead.models.cnn import Architecture, CNNClassifier, build_cnn
from glasshead.models.heads import Bottleneck, GlassHeads

CLASSES = ("bird", "cat", "ship")
CONCEPTS = (Concept("wings", ("yes", "no")), Concept("legs", ("none", "two", "four")))


@pytest.fixture(scope="session")
def heads() -> GlassHeads:
    encoder = load_encoder(BackboneParams())
    torch.manual_seed(1)
    bottleneck = Bottleneck(encoder.dimension, (2, 3), len(CLASSES), hidden=8, meta_hidden=8)
    return GlassHeads(encoder, bottleneck, CLASSES, CONCEPTS, {}).eval()


@pytest.fixture(scope="session")
def small_cnn() -> Callable[[Architecture], CNNClassifier]:
    """Return a function that builds an untrained CNN whose batch norms are not the identity."""

    def build(architecture: Architecture) -> CNNClassifier:
        settings = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3), "width": 0.125}
        classifier = build_cnn(architecture, CLASSES, 32, **settings, provenance={}, seed=0)
        draw = torch.Generator().manual_seed(3)
        for module in classifier.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2, generator=draw)
                module.running_var.uniform_(0.5, 2.0, generator=draw)
        return classifier.eval()

    return build


@pytest.fixture
def scenes() -> Tensor:
    """Return images of 32 × 32 with some structure: (3, 3, 32, 32) in [0, 1]."""
    noise = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    return torch.nn.functional.interpolate(noise, size=32, mode="bilinear")


@pytest.fixture
def targets() -> Tensor:
    return torch.tensor([1, 0, 1])


@pytest.fixture
def small_budget() -> Budget:
    return Budget(batch_size=2, steps=3, samples=3, lime_samples=40, patch=8, stride=8)
