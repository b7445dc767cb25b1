"""`glasshead.audit_model`: numbers of a model in memory, equal to what is computed by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import glasshead
from glasshead.errors import ModelError, ParameterError

CONTRACT = {
    "classes": ("blue", "red"),
    "input_size": 16,
    "mean": (0.0, 0.0, 0.0),
    "std": (1.0, 1.0, 1.0),
}


class Redness(nn.Module):
    """Twice the mean red and the mean blue, as logits of blue and red."""

    def forward(self, images):
        means = images.mean(dim=(2, 3))
        return 20 * torch.stack([means[:, 2], means[:, 0]], dim=1)


class OfMaite:
    """The same, by MAITE's protocol, as probabilities."""

    def __init__(self):
        self.metadata = {"id": "redness", "index2label": {0: "blue", 1: "red"}}

    def __call__(self, batch):
        with torch.no_grad():
            return list(Redness()(torch.from_numpy(np.stack(batch))).softmax(dim=1).numpy())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return 160 images, half of a class, so noisy that some are of the other colour."""
    root = tmp_path_factory.mktemp("folder")
    rng = np.random.default_rng(0)
    for name, channel in (("red", 0), ("blue", 2)):
        (root / name).mkdir()
        for number in range(80):
            pixels = rng.integers(0, 200, (16, 16, 3)).astype(float)
            pixels[..., channel] += rng.normal(12, 20)
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(root / name / f"{number:02d}.png")
    return root


@pytest.mark.parametrize(
    ("model", "outputs"), [(Redness(), "logits"), (OfMaite(), "probabilities")]
)
def test_its_numbers_are_those_of_the_model(folder, model, outputs):
    audit = glasshead.audit_model(model, folder, CONTRACT, trained_on="none")
    test = audit.predictions[audit.predictions["split"] == "test"]
    right = []
    for name, label in zip(test["image_id"], test["label"], strict=True):
        (path,) = folder.glob(f"**/{Path(name).name}*") if "/" not in name else [folder / name]
        pixels = np.asarray(Image.open(path)).reshape(-1, 3).mean(axis=0)
        right.append(("red" if pixels[0] > pixels[2] else "blue") == label)
    assert 0.5 < np.mean(right) < 1
    assert audit.metrics["accuracy"]["value"] == pytest.approx(np.mean(right))
    assert set(audit.predictions["split"]) == {"calibration", "test"}
    assert audit.classifier.temperature == pytest.approx(audit.metrics["temperature"]["value"])
    assert audit.classifier.access == ("gradient" if outputs == "logits" else "forward")
    assert {check["verdict"] for check in audit.preflight["checks"]} == {"ok"}
    assert not [finding for finding in audit.findings if finding["check"] == "training_images"]


def test_what_it_was_trained_on_is_asked_for(folder):
    findings = glasshead.audit_model(Redness(), folder, CONTRACT).findings
    assert "training_images" in {finding["check"] for finding in findings}


@pytest.mark.parametrize(
    ("model", "changes", "error", "message"),
    [
        (3, {}, ModelError, "The model returns a int"),
        (Redness(), {"classes": ("blue", "green")}, ModelError, "are not those of the images"),
        (Redness(), {"size": 16}, ParameterError, r"There is no parameter contract\.size"),
        (Redness(), {"std": (0.0, 1.0, 1.0)}, ParameterError, "std"),
    ],
)
def test_what_does_not_fit_is_one_error(folder, model, changes, error, message):
    with pytest.raises(error, match=message):
        glasshead.audit_model(model, folder, CONTRACT | changes)
