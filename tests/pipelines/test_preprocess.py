"""`preprocess` as Kedro runs it, on scenes, and each of its nodes on what it must notice."""

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from pydantic import ValidationError

from glasshead.errors import ArtifactError, SplitError, TaxonomyError
from glasshead.images.scenes import CLASSES
from glasshead.images.sources.base import plain_record
from glasshead.images.sources.params import IngestParams
from glasshead.images.sources.read import read_source
from glasshead.images.table import ImageTable
from glasshead.models.backbone import BackboneParams
from glasshead.pipelines.preprocess import nodes as nodes_module
from glasshead.pipelines.preprocess.nodes import (
    PreprocessParams,
    build_samples,
    check_samples,
    choose_taxonomy,
    report_duplicates,
)
from glasshead.pipelines.preprocess.pipeline import create_pipeline
from glasshead.reporting.data_figures import mean_images, plot_class_balance

BASE = Path(__file__).parents[2] / "conf" / "base"
FIGURES = ("class_balance_figure", "mean_images_figure")


@pytest.fixture(scope="module")
def images() -> ImageTable:
    params = IngestParams.model_validate({"scenes": {"train": 200, "test": 50}})
    return read_source(params, seed=0).images


@pytest.fixture(scope="module")
def taxonomies() -> dict:
    return {path.stem: yaml.safe_load(path.read_text()) for path in BASE.glob("taxonomies/*.yml")}


@pytest.fixture(scope="module")
def outputs(images, taxonomies) -> dict:
    with pytest.MonkeyPatch.context() as patch:
        settings = {"input_size": 32}
        patch.setattr(nodes_module, "processor_settings", lambda b: settings | {"backbone": b.name})
        catalog = DataCatalog(
            {
                "params:preprocess": MemoryDataset(PreprocessParams()),
                "params:backbone": MemoryDataset(BackboneParams()),
                "images": MemoryDataset(images, copy_mode="assign"),
                "taxonomies": MemoryDataset(taxonomies),
            }
        )
        results = SequentialRunner().run(create_pipeline(), catalog)
        return {name: dataset.load() for name, dataset in results.items()}


@pytest.fixture
def taxonomy(images, taxonomies) -> dict:
    return choose_taxonomy(PreprocessParams(), taxonomies, images)


@pytest.fixture
def samples(images, taxonomy) -> pd.DataFrame:
    return build_samples(images, taxonomy, PreprocessParams())


def test_samples_are_the_rows_of_the_images_split_and_labelled(images, samples):
    assert samples["image_id"].tolist() == images.frame()["image_id"].tolist()
    assert samples["split"].value_counts().to_dict() == {
        "train": 160,
        "test": 50,
        "calibration": 20,
        "validation": 20,
    }
    assert (samples.loc[samples["given_split"] == "test", "split"] == "test").all()
    assert [CLASSES[k] for k in samples["class_index"]] == samples["label"].tolist()
    assert len(samples.filter(like="target/").columns) >= 8


def test_a_run_gives_every_output(outputs):
    assert {*FIGURES, "duplicates", "processor"} <= set(outputs)
    assert outputs["duplicates"].empty
    assert outputs["processor"] == {"input_size": 32, "backbone": "nano-clip"}


def test_the_balance_figure_stacks_the_counts_of_all_splits(outputs):
    axes = outputs["class_balance_figure"].axes[0]
    assert sum(bar.get_width() for bar in axes.patches) == 250
    assert {label.get_text() for label in axes.get_yticklabels()} == set(CLASSES)


def test_of_many_classes_the_balance_figure_shows_the_ends_and_says_so():
    labels = np.repeat([f"class {k}" for k in range(70)], range(1, 71))
    axes = plot_class_balance(pd.DataFrame({"label": labels, "split": "train"})).axes[0]
    shown = {label.get_text() for label in axes.get_yticklabels()}
    assert shown == {f"class {k}" for k in (*range(30), *range(40, 70))}
    assert "of 70 classes" in axes.get_title()


def test_the_mean_figure_has_a_panel_per_class(outputs):
    titles = [axes.get_title() for axes in outputs["mean_images_figure"].axes]
    assert [title.split("\n")[0] for title in titles] == list(CLASSES)
    assert all(title.endswith("n = 16") for title in titles)


def test_an_unknown_taxonomy_is_refused_with_those_there_are(images, taxonomies):
    with pytest.raises(TaxonomyError, match="concepts"):
        choose_taxonomy(PreprocessParams(taxonomy="nothing"), taxonomies, images)


def test_other_classes_get_a_question_each(taxonomies, caplog):
    caplog.set_level(logging.INFO, "glasshead")
    assert (
        choose_taxonomy(PreprocessParams(), taxonomies, SimpleNamespace(classes=CLASSES))["name"]
        == "concepts"
    )
    for classes in (("bus", "car"), CLASSES[:9]):
        chosen = choose_taxonomy(PreprocessParams(), taxonomies, SimpleNamespace(classes=classes))
        assert [task["name"] for task in chosen["subtasks"]] == [f"is_{name}" for name in classes]
    assert "preprocess.taxonomy=auto is classes" in caplog.text


def test_a_class_too_small_to_calibrate_with_is_named(taxonomy, images):
    rows = images.frame()
    keep = rows.index[(rows["label"] != "frog") | (rows["given_split"] == "test")]
    few = ImageTable.from_records(
        (
            plain_record(str(k), images.encoded(k), *rows.loc[k, ["label", "given_split"]])
            for k in keep
        ),
        CLASSES,
    )
    with pytest.raises(SplitError, match="frog: 0 train, 0 validation, 0 calibration, 5 test"):
        build_samples(few, taxonomy, PreprocessParams())


@pytest.mark.parametrize(
    "damage",
    [
        lambda samples: samples.iloc[1:].reset_index(drop=True),
        lambda samples: samples.assign(class_index=len(CLASSES)),
        lambda samples: samples.assign(class_index=-1),
        lambda samples: samples.assign(class_index=samples["class_index"] + 0.5),
        lambda samples: samples.assign(**{"target/more": 0}),
    ],
)
def test_samples_of_another_shape_are_refused(images, samples, taxonomy, damage):
    check_samples(images, samples, taxonomy)
    with pytest.raises(ArtifactError):
        check_samples(images, damage(samples), taxonomy)


def test_duplicates_are_the_copies_that_stand_in_several_splits(caplog):
    samples = pd.DataFrame(
        {
            "image_id": ["d", "c", "b", "a", "e"],
            "content_hash": ["2", "1", "1", "2", "2"],
            "split": ["train", "train", "train", "test", "test"],
            "label": ["cat", "cat", "dog", "dog", "dog"],
        }
    )
    duplicates = report_duplicates(samples)
    assert duplicates.to_dict("list") == {
        "content_hash": ["2", "2", "2"],
        "image_id": ["a", "d", "e"],
        "split": ["test", "train", "test"],
        "label": ["dog", "cat", "dog"],
    }
    assert "1 images are in more than one split" in caplog.text


def test_the_mean_image_is_the_mean_of_the_pixels(images):
    rows = [0, 10, 20]
    means = mean_images(images, pd.Series("airplane", index=rows))
    expected = np.mean([np.asarray(images.pil(row)) for row in rows], axis=0) / 255
    assert means["airplane"].n == 3
    np.testing.assert_allclose(means["airplane"].pixels, expected)


@pytest.mark.parametrize(
    "wrong",
    [
        {"validation_fraction": 0},
        {"test_fraction": 0.9},
        {"taxonomi": "seed"},
        {"mean_image_rows": 0},
    ],
)
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        PreprocessParams.model_validate(wrong)


def test_the_shipped_parameters_are_the_defaults():
    shipped = yaml.safe_load((BASE / "parameters_preprocess.yml").read_text())["preprocess"]
    assert PreprocessParams.model_validate(shipped) == PreprocessParams()
