"""The galleries of `explain` in memory, over planted embeddings, maps and evidence."""

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from kedro.pipeline import Pipeline
from PIL import Image
from pydantic import ValidationError

from glasshead.embedding.store import Embeddings
from glasshead.errors import ArtifactError
from glasshead.images.scenes import CLASSES as SCENES
from glasshead.images.table import ImageTable
from glasshead.pipelines.explain.gallery_nodes import find_neighbours, plot_explanation_views
from glasshead.pipelines.explain.params import VIEWS, ExplainParams
from glasshead.pipelines.explain.pipeline import concepts_pipeline, gallery_pipeline

ROOT = Path(__file__).parents[2]
CLASSES = ("cat", "dog", "ship")
# label and embedding; the first two coordinates say what the image is like, the third answers `wheels`
TRAIN = [
    ("cat", (1.0, 0.0, 0.1)),
    ("cat", (1.0, 0.3, -0.1)),
    ("cat", (-1.0, 0.0, 0.1)),
    ("dog", (0.9, 0.1, 0.1)),
    ("dog", (0.0, 1.0, 0.1)),
    ("ship", (1.0, 0.1, -0.1)),
]
TEST = [("dog", (1.0, 0.02, 0.1)), ("cat", (1.0, 0.25, -0.1))]  # taken for a cat; right
ROWS = TRAIN + TEST
CLASSIFIER = SimpleNamespace(
    classes=CLASSES,
    encoder_key="key",
    concepts=(
        SimpleNamespace(name="legs", values=("four",)),
        SimpleNamespace(name="wheels", values=("no", "yes")),
    ),
    concept_probabilities=lambda values: torch.stack(
        [torch.ones(len(values)), values[:, 2], -values[:, 2]], dim=1
    ),
)


def record(row: int) -> dict[str, object]:
    sink = io.BytesIO()
    Image.new("RGB", (8, 6), (row, 0, 0)).save(sink, "PNG")
    return {
        "image_id": f"all/{row}",
        "image": sink.getvalue(),
        "label": ROWS[row][0],
        "given_split": None,
        "mask": None,
        "attributes": {},
        "defects": [],
    }


@pytest.fixture(scope="module")
def images() -> ImageTable:
    return ImageTable.from_records(map(record, range(len(ROWS))), CLASSES)


@pytest.fixture
def contents(images: ImageTable) -> dict[str, object]:
    """Return what stands before the galleries."""
    frame = images.frame()
    values = np.array([values for _, values in ROWS], dtype=np.float32)
    test = [f"all/{row}" for row in range(len(TRAIN), len(ROWS))]
    maps = np.random.default_rng(0).normal(size=(2, 8, 8)).astype(np.float32)
    return {
        "classifier": CLASSIFIER,
        "images": images,
        "embeddings": Embeddings(
            frame["image_id"].to_numpy(object), images.hashes(), values, "key"
        ),
        "samples": frame[["image_id", "label", "content_hash"]].assign(
            split=["train"] * len(TRAIN) + ["test"] * len(TEST)
        ),
        "examples": pd.DataFrame(
            {
                "image_id": test,
                "label": ["dog", "cat"],
                "predicted": ["cat", "cat"],
                "confidence": [0.6, 0.9],
                "correct": [False, True],
                "shown": True,
                "measured": True,
            }
        ),
        "example_images": {"pixels": np.zeros((2, 3, 8, 8), np.uint8)},
        "attributions": {
            "methods": np.array(["occlusion"]),
            "occlusion": maps,
            "occlusion/rows": np.arange(2),
        },
        "explanations": {"occlusion": {"insertion_auc": {"value": 0.5}}},
        "shapley": {
            "image_id": np.array(test),
            "players": np.array(["legs", "wheels"]),
            "unit": np.array("probability"),
            "values": np.array([[0.1, 0.2], [0.3, -0.1]]),
            "concepts": np.array([[1.0, 0.9, 0.1]] * 2),
            "concept_value": np.array(["four", "no", "yes"]),
            "concept_player": np.array([0, 1, 1]),
        },
        "params:explain": ExplainParams(neighbours=2),
    }


NEIGHBOURS = concepts_pipeline().only_nodes("find_neighbours")


def test_neighbours_are_those_planted_with_the_concepts_they_fraction(
    contents, explain_heads, tmp_path
):
    found = explain_heads(NEIGHBOURS, contents, tmp_path)["neighbours"]
    wrong, right = (
        [tuple(row) for row in part[["same_class", "rank", "neighbour_id", "label"]].to_numpy()]
        for _, part in found.groupby("image_id", sort=True)
        for part in [part.sort_values(["same_class", "rank"], ascending=[False, True])]
    )
    assert wrong == [  # of the class it was taken for, then of its own
        (True, 1, "all/0", "cat"),
        (True, 2, "all/1", "cat"),
        (False, 1, "all/3", "dog"),
        (False, 2, "all/4", "dog"),
    ]
    assert right == [  # of its class, then of any other
        (True, 1, "all/1", "cat"),
        (True, 2, "all/0", "cat"),
        (False, 1, "all/5", "ship"),
        (False, 2, "all/3", "dog"),
    ]
    shared = found.set_index(["image_id", "neighbour_id"])["shared_concepts"]
    assert shared["all/6", "all/0"] == "legs, wheels"
    assert shared["all/6", "all/1"] == "legs"
    cosine = found.set_index(["image_id", "neighbour_id"])["cosine"]["all/6", "all/4"]
    a, b = np.array(TEST[0][1]), np.array(TRAIN[4][1])
    assert cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_a_class_that_train_lacks_has_no_neighbours(contents):
    examples = contents["examples"].assign(predicted=["frog", "cat"])
    given = contents["classifier"], contents["embeddings"], contents["samples"]
    found = find_neighbours(*given, examples, contents["params:explain"])
    mine = found[found["image_id"] == "all/6"]
    assert set(mine["label"]) == {"dog"}
    assert not mine["same_class"].any()


def test_embeddings_of_another_encoder_are_refused(contents):
    other = SimpleNamespace(**{**vars(CLASSIFIER), "encoder_key": "another"})
    given = contents["embeddings"], contents["samples"], contents["examples"]
    with pytest.raises(ArtifactError, match="another backbone"):
        find_neighbours(other, *given, contents["params:explain"])


def test_all_figures_are_drawn_with_and_without_concepts(contents, explain_heads, tmp_path):
    figures = {"explanation_gallery_figure", "mistakes_figure", "explanation_views_figure"}
    for concepts in (True, False):
        template = gallery_pipeline(concepts=concepts) + (NEIGHBOURS if concepts else Pipeline([]))
        results = explain_heads(template, contents, tmp_path)
        assert figures <= set(results)
        for name in figures:
            assert Image.open(io.BytesIO(results[name])).width > 1000, name


def test_views_of_missing_classes_are_left_out_with_a_log_line(contents, caplog):
    caplog.set_level("INFO")
    names = ["examples", "example_images", "attributions", "explanations", "images"]
    figure = plot_explanation_views(
        *(contents[name] for name in names), contents["params:explain"], contents["shapley"]
    )
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "cat and dog" in texts
    assert not {"rigid against organic", "plane and bird"} & set(texts)
    assert "'plane and bird' is left out, as the data has no class airplane, bird" in caplog.text


def test_the_shipped_views_are_the_default_and_of_known_classes():
    shipped = yaml.safe_load((ROOT / "conf/base/parameters_explain.yml").read_text())["explain"]
    assert ExplainParams(views=shipped["views"]).views == ExplainParams().views == VIEWS
    assert {name for sides in VIEWS.values() for side in sides for name in side} == set(SCENES)


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        ([["cat"]], "Field required"),
        ([["cat"], []], "at least 1 item"),
        ([["cat"], ["dog"], ["ship"]], "at most 2 items"),
        ([["cat", "dog"], ["dog"]], "dog cannot stand on both sides"),
        ("cats", "valid tuple"),
    ],
)
def test_views_that_are_no_two_sides_are_refused(sides, message):
    with pytest.raises(ValidationError, match=message):
        ExplainParams(views={"mine": sides})
