"""The Classifier that a run logs as an MLflow model gives the Classifier's own probabilities, and holds no pickle."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow.entities import Run
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from glasshead.hooks.routes import log_classifier
from glasshead.models.backbone import BackboneParams
from glasshead.models.classifier import Classifier, Concept
from glasshead.models.clip import load_encoder
from glasshead.models.heads import Bottleneck, GlassHeads


@pytest.fixture
def classifier(tmp_path: Path) -> Classifier:
    """Glass heads with random weights on a random CLIP encoder of 8x8 images; T = 2."""
    backbone = tmp_path / "backbone"
    torch.manual_seed(0)
    size = {"image_size": 8, "patch_size": 4, "projection_dim": 6}
    config = CLIPVisionConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, **size
    )
    CLIPVisionModelWithProjection(config).save_pretrained(backbone)
    crop = {"height": 8, "width": 8}
    CLIPImageProcessor(size={"shortest_edge": 8}, crop_size=crop).save_pretrained(backbone)
    encoder = load_encoder(BackboneParams(name=str(backbone)))
    bottleneck = Bottleneck(6, (2, 3), classes=2, hidden=4, meta_hidden=4)
    concepts = (Concept("alive", ("no", "yes")), Concept("size", ("s", "m", "l")))
    heads = GlassHeads(encoder, bottleneck, ("cat", "car"), concepts, {})
    return heads.with_temperatures({"final": 2.0, "alive": 1.0, "size": 1.0}).eval()


@pytest.fixture
def run(tmp_path: Path, empty_store: Path) -> Iterator[Run]:
    shutil.copy(empty_store, tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / empty_store.name}")
    experiment = mlflow.create_experiment(tmp_path.name, (tmp_path / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=experiment) as active:
        yield active
    mlflow.set_tracking_uri(None)


def test_a_logged_classifier_predicts_as_the_one_in_memory(
    classifier: Classifier, run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "calibrated"
    classifier.save(folder)
    log_classifier(run.info.run_id, classifier, folder)
    (logged,) = mlflow.MlflowClient().search_logged_models([run.info.experiment_id])
    model = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")

    images = np.random.default_rng(0).random((3, 3, 8, 8), dtype=np.float32)
    with torch.inference_mode():
        expected = classifier.probabilities(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(model.predict({"images": images}), expected, atol=1e-6)
    with pytest.raises(mlflow.MlflowException, match="Model is missing inputs"):
        model.predict({"pixels": images})

    assert model.metadata.get_input_schema().input_names() == ["images"]
    assert model.input_example["images"].shape == (1, 3, 8, 8)
    files = {path.name for path in tmp_path.joinpath("artifacts").rglob("*") if path.is_file()}
    assert {"model.safetensors", "classifier.json", "served_model.py"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pth", ".pt", ".bin"))]
