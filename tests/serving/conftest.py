"""What predictions are made with: random heads on nano-clip that are calibrated, their folder, and some images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glasshead.models.backbone import BackboneParams
from glasshead.models.classifier import Classifier, Concept
from glasshead.models.clip import load_encoder
from glasshead.models.heads import Bottleneck, GlassHeads

CLASSES = ("bird", "cat", "<script>alert('ship')</script>")
CONCEPTS = (Concept("wings", ("yes", "no")), Concept("legs", ("none", "two", "four")))


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    encoder = load_encoder(BackboneParams())
    torch.manual_seed(1)
    bottleneck = Bottleneck(encoder.dimension, (2, 3), len(CLASSES), hidden=8, meta_hidden=8)
    with torch.no_grad():  # or an untrained meta-learner answers nearly alike whatever it sees
        bottleneck.meta[-1].weight.mul_(20)
        bottleneck.heads[0][-1].weight.mul_(20)
    heads = GlassHeads(encoder, bottleneck, CLASSES, CONCEPTS, {}).eval()
    return heads.with_temperatures({"final": 2.0, "wings": 0.5, "legs": 3.0})


@pytest.fixture(scope="session")
def folder(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "heads"
    classifier.save(path)
    return path


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (4, 4, 3), dtype=np.uint8) for _ in range(5)]
    sizes = [(32, 32), (48, 32), (20, 24), (100, 64), (32, 32)]
    return [Image.fromarray(each).resize(size) for each, size in zip(noise, sizes, strict=True)]
