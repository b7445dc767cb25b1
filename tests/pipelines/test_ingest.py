"""`ingest` as Kedro runs it, and the parameters that are shipped for it."""

from pathlib import Path

import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from glasshead.datasets.atomic import ImageTableDataset
from glasshead.images.sources.params import IngestParams
from glasshead.images.table import ImageTable
from glasshead.pipelines.ingest.pipeline import create_pipeline

CONF = Path(__file__).parents[2] / "conf"


def parameters(env: str) -> dict:
    return yaml.safe_load((CONF / env / "parameters_ingest.yml").read_text())["ingest"]


@pytest.fixture
def outputs(tmp_path) -> dict:
    scenes = {"train": 60, "test": 20, "defects": {"label_noise": 0.3, "corrupt": 0.1}}
    params = IngestParams.model_validate({"max_bad_fraction": 0.5, "scenes": scenes})
    catalog = DataCatalog(
        {
            "params:ingest": MemoryDataset(params),
            "params:seed": MemoryDataset(7),
            "images": ImageTableDataset(filepath=str(tmp_path / "images.arrow")),
        }
    )
    results = SequentialRunner().run(create_pipeline(), catalog)
    return {name: dataset.load() for name, dataset in results.items()}


def test_a_run_gives_images_quarantine_planted_defects_and_counts(outputs):
    images, counts = outputs["images"], outputs["ingest_counts"]
    assert isinstance(images, ImageTable)
    assert counts["images"] == len(images) == 80 - len(outputs["quarantine"])
    assert sum(counts["classes"].values()) == len(images)
    assert set(outputs["planted"]["defect"]) == {"label_noise", "corrupt"}
    assert outputs["quarantine"]["reason"].str.startswith("cannot be decoded").all()
    assert images.pil(0).size == (32, 32)


def test_planted_label_noise_says_what_the_label_was(outputs):
    labels = outputs["images"].frame().set_index("image_id")["label"]
    noise = outputs["planted"].query("defect == 'label_noise' and image_id in @labels.index")
    assert len(noise) > 5
    assert (noise["detail"].to_numpy() != labels[noise["image_id"]].to_numpy()).all()


def test_the_shipped_parameters_are_the_defaults():
    assert IngestParams.model_validate(parameters("base")) == IngestParams()


def test_the_cifar10_environment_changes_the_source_alone():
    assert parameters("cifar10") == {"source": "cifar10"}
