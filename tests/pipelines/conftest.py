"""What tests of pipelines share: small images whose class is a colour, and catalogs of conf/base."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner
from PIL import Image

from glasshead.images.fitting import select_fitting_samples
from glasshead.images.sources.base import plain_record
from glasshead.images.table import ImageTable, Record

CONF = Path(__file__).parents[2] / "conf" / "base"
CLASSES = ("red", "green", "blue")
SPLITS = ["train", "train", "train", "validation", "calibration", "test"]


def read_catalog(name: str) -> dict[str, dict[str, Any]]:
    """Return the entries of a catalog file of conf/base."""
    text = (CONF / f"catalog_{name}.yml").read_text()
    entries: dict[str, dict[str, Any]] = yaml.safe_load(
        text.replace("${globals:figure_dpi}", "150")
    )
    return entries


@pytest.fixture(scope="session")
def images() -> ImageTable:
    """Noise of 20 x 16 pixels, a channel brighter; rows are in no order of class or split."""
    rng = np.random.default_rng(0)

    def record(row: int) -> Record:
        pixels = rng.integers(0, 150, (16, 20, 3), dtype=np.uint8)
        pixels[..., row % 3] += 80
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, "PNG")
        return plain_record(f"train/{row:03d}", data.getvalue(), CLASSES[row % 3], None)

    return ImageTable.from_records(map(record, rng.permutation(180)), CLASSES)


@pytest.fixture(scope="session")
def samples(images: ImageTable) -> pd.DataFrame:
    frame = images.frame()
    index = frame["label"].map({name: k for k, name in enumerate(CLASSES)})
    return frame.assign(class_index=index.astype("int64"), split=np.resize(SPLITS, len(frame)))


@pytest.fixture(scope="session")
def fitting(images: ImageTable, samples: pd.DataFrame) -> pd.DataFrame:
    return select_fitting_samples(images, samples)


@pytest.fixture(scope="session")
def training_catalog(
    images: ImageTable, samples: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], DataCatalog]:
    """Return a function that makes the catalog of one classifier, with files in a folder of its own."""

    def declare() -> DataCatalog:
        folder = tmp_path_factory.mktemp("training")
        entries = {}
        for name in ("train_heads", "train_cnn", "train_transfer", "evaluate"):
            entries |= read_catalog(name)
        catalog = DataCatalog.from_config(
            {
                name.replace("{classifier}.", "").replace("{name}", "training_history"): entry
                | {
                    "filepath": str(
                        folder / entry["filepath"].format(classifier="c", name="history")
                    )
                }
                for name, entry in entries.items()
            }
        )
        catalog["images"], catalog["samples"], catalog["params:seed"] = images, samples, 0
        return catalog

    return declare


@pytest.fixture(scope="session")
def explain_heads() -> Callable[[Pipeline, dict[str, object], Path], dict[str, object]]:
    """Return a function that runs a template of `explain` as `heads` in a folder, and returns all that it saved.

    It takes what the template's inputs hold, by name.
    """

    def run(template: Pipeline, contents: dict[str, object], folder: Path) -> dict[str, object]:
        inputs = template.inputs()
        shared = inputs & {"images", "planted", "samples", "embeddings"}
        parameters = {name for name in inputs if name.startswith("params:")}
        pipeline = Pipeline(template, namespace="heads", inputs=shared, parameters=parameters)
        entries = {}
        for name in ("explain", "evaluate"):  # evaluate's has the pattern of all figures
            entries |= read_catalog(name)
        catalog = DataCatalog.from_config(entries)
        for name in inputs:
            full = name if name in shared | parameters else f"heads.{name}"
            catalog[full] = MemoryDataset(contents[name], copy_mode="assign")
        with contextlib.chdir(folder):
            SequentialRunner().run(pipeline, catalog)
            return {name: catalog.load(f"heads.{name}") for name in template.all_outputs()}

    return run
