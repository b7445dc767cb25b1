"""The nodes of `explain` for bottlenecks, on one whose class is one concept: what they must find is known."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot
from pydantic import ValidationError
from torch import Tensor, nn

from glasshead.embedding.hashes import as_hashes
from glasshead.embedding.store import Embeddings
from glasshead.errors import ArtifactError
from glasshead.pipelines.explain.concept_nodes import explain_concepts, intervene
from glasshead.pipelines.explain.params import ConceptParams, ExplainParams
from glasshead.pipelines.explain.pipeline import concepts_pipeline

ROOT = Path(__file__).parents[2]
CLASSES = ("wild", "tame")
ROWS, TRAIN = 60, 20


class Planted:
    """The class is the answer to `kind`; `colour` and `size` are read and ignored. Embeddings are the concepts."""

    classes = CLASSES
    concepts = (
        SimpleNamespace(name="colour", values=("red", "blue")),
        SimpleNamespace(name="kind", values=CLASSES),
        SimpleNamespace(name="size", values=("small", "medium", "large")),
    )
    temperature = 0.5
    encoder_key = "key"

    def __init__(self) -> None:
        self.meta_learner = nn.Linear(7, 2, bias=False)
        self.meta_learner.weight.data = torch.eye(7)[2:4] * 3

    def concept_probabilities(self, embeddings: Tensor) -> Tensor:
        return embeddings

    def logits_from_concepts(self, concepts: Tensor) -> Tensor:
        return self.meta_learner(concepts)


def believed(answers: np.ndarray, values: int, sure: np.ndarray) -> np.ndarray:
    """Return probabilities (n, values) that give `answers` (n,) `sure` (n,), and others the rest in equal parts."""
    truth = np.eye(values)[answers]
    return truth * sure[:, None] + (1 - truth) * (1 - sure[:, None]) / (values - 1)


@pytest.fixture(scope="module")
def contents() -> dict[str, object]:
    """Return what stands before the nodes: of 40 test images, 10 are wrong as their `kind` is believed at 0.4."""
    draw = np.random.default_rng(0)
    answers = {task.name: draw.integers(len(task.values), size=ROWS) for task in Planted.concepts}
    wrong = np.arange(ROWS) % 4 == 0
    parts = [
        believed(answers["colour"], 2, np.full(ROWS, 0.99)),
        believed(answers["kind"], 2, np.where(wrong, 0.4, 0.8)),
        believed(answers["size"], 3, np.full(ROWS, 0.98)),
    ]
    concepts = np.concatenate(parts, axis=1).astype(np.float32)
    hashes = pd.Series([f"{row:064x}" for row in range(ROWS)])
    samples = pd.DataFrame(
        {
            "image_id": [f"all/{row}" for row in range(ROWS)],
            "content_hash": hashes,
            "split": np.where(np.arange(ROWS) < TRAIN, "train", "test"),
            "label": np.array(CLASSES)[answers["kind"]],
            **{f"target/{name}": values for name, values in answers.items()},
        }
    )
    predicted = np.array(CLASSES)[concepts[:, 2:4].argmax(axis=1)]
    examples = samples.assign(
        predicted=predicted, confidence=0.7, correct=~wrong, shown=True, measured=False
    )
    examples = examples[samples["split"] == "test"].head(12)
    examples = examples.sort_values(["correct", "label", "image_id"], ignore_index=True)
    pixels = draw.integers(0, 255, (len(examples), 3, 6, 6), dtype=np.uint8)
    return {
        "classifier": Planted(),
        "embeddings": Embeddings(
            samples["image_id"].to_numpy(object), as_hashes(hashes), concepts, "key"
        ),
        "samples": samples,
        "examples": examples,
        "example_images": {"image_id": examples["image_id"].to_numpy(str), "pixels": pixels},
        "params:explain": ExplainParams(background=15, n_resamples=100),
        "params:seed": 0,
    }


@pytest.fixture(scope="module")
def results(contents, explain_heads, tmp_path_factory) -> dict[str, object]:
    return explain_heads(concepts_pipeline(), contents, tmp_path_factory.mktemp("run"))


def with_concepts(contents, **changed) -> ExplainParams:
    return contents["params:explain"].model_copy(update={"concepts": ConceptParams(**changed)})


def explain(contents, parameters: ExplainParams) -> dict[str, np.ndarray]:
    names = ("classifier", "embeddings", "samples", "examples")
    return explain_concepts(*(contents[name] for name in names), parameters, 0)


def test_all_is_saved_and_no_figure_is_left_open(results):
    figures = {name for name in results if name.endswith("_figure")}
    assert figures == {
        "interactions_figure",
        "interventions_figure",
        "shapley_beeswarm_figure",
        "shapley_global_figure",
        "shapley_images_figure",
        "shapley_mistake_figure",
        "shapley_right_figure",
    }
    assert pyplot.get_fignums() == []


def test_the_one_concept_that_decides_gets_all_the_credit(results):
    shapley = results["shapley"]
    assert str(shapley["unit"]) == "probability"
    np.testing.assert_allclose(shapley["values"][:, [0, 2]], 0, atol=1e-6)
    np.testing.assert_allclose(shapley["values"][:, 1], shapley["output"] - shapley["base"], atol=1e-6)  # fmt: skip
    assert np.abs(shapley["values"][:, 1]).min() > 0.01
    np.testing.assert_allclose(shapley["interactions"].sum(axis=2), shapley["values"], atol=1e-6)
    off = shapley["interactions"][:, ~np.eye(3, dtype=bool)]
    np.testing.assert_allclose(off, 0, atol=1e-6)
    assert "standard_error" not in shapley


def test_logits_of_single_values_are_weight_times_difference(contents):
    """The meta-learner is linear: a Shapley value is 3 (p - mean p) of the predicted class's own value."""
    shapley = explain(contents, with_concepts(contents, players="values", output="logit"))
    assert str(shapley["unit"]) == "logit"
    assert shapley["players"].tolist()[:4] == ["colour/red", "colour/blue", "kind/wild", "kind/tame"]  # fmt: skip
    np.testing.assert_array_equal(shapley["concept_player"], np.arange(7))
    own = 2 + np.array([CLASSES.index(name) for name in shapley["predicted"]])
    rows = np.arange(len(own))
    np.testing.assert_allclose(shapley["output"], 3 * shapley["concepts"][rows, own], rtol=1e-5)
    step = shapley["output"] - shapley["base"]
    np.testing.assert_allclose(shapley["values"][rows, own], step, atol=1e-5)
    np.testing.assert_allclose(shapley["values"].sum(axis=1), step, atol=1e-5)


@pytest.mark.parametrize("engine", ["kernel", "permutation"])
def test_other_engines_agree(contents, results, engine):
    parameters = contents["params:explain"].model_copy(update={"engine": engine})
    shapley = explain(contents, parameters)
    np.testing.assert_allclose(shapley["values"], results["shapley"]["values"], atol=1e-5)
    assert "interactions" not in shapley
    assert ("standard_error" in shapley) == (engine == "permutation")
    if engine == "permutation":
        np.testing.assert_allclose(shapley["standard_error"], 0, atol=1e-6)  # nothing interacts


def test_correcting_what_is_uncertain_makes_all_right(results):
    found = results["interventions"]
    value = {name: each["value"] for name, each in found.items()}
    assert value["intervention/uncertainty/00"] == pytest.approx(0.75)
    for step in (1, 2, 3):
        assert value[f"intervention/uncertainty/{step:02d}"] == 1
    assert value["intervention/uncertainty/mean"] == pytest.approx((0.75 + 3) / 4)
    climb = [value[f"intervention/random/{step:02d}"] for step in range(4)]
    assert climb[0] == pytest.approx(0.75)
    assert climb == sorted(climb)
    assert 0.75 < climb[1] < climb[2] < climb[3] == 1
    start = found["intervention/uncertainty/00"]
    assert 0.5 < start["low"] < 0.75 < start["high"] < 0.95
    assert start["n"] == ROWS - TRAIN


def test_only_the_deciding_concept_needs_to_be_known(results):
    found = results["interventions"]
    assert found["known_concepts/01"]["added"] == "kind"
    assert {found[f"known_concepts/0{k}"]["added"] for k in (2, 3)} == {"colour", "size"}
    values = [found[f"known_concepts/0{k}"]["value"] for k in range(4)]
    assert values[1:] == pytest.approx([0.75] * 3)
    assert values[0] < 0.75


def test_single_values_rank_their_concept(contents):
    names = ("classifier", "embeddings", "samples")
    parameters = with_concepts(contents, players="values", random_orders=1)
    shapley = explain(contents, parameters)
    found, _ = intervene(*(contents[name] for name in names), shapley, parameters, 0)
    assert found["known_concepts/01"]["added"] == "kind"


def test_setting_the_deciding_concept_flips_all_others_nothing(contents, results):
    flips = results["flips"].set_index(["subtask", "value", "probability"])
    assert len(flips) == 2 * 7
    samples = contents["samples"]
    test = samples["split"] == "test"
    concepts = contents["embeddings"].values[test.to_numpy()]
    tame = (concepts[:, 3] > concepts[:, 2]).mean()
    assert flips.loc[("kind", "wild", 1), "fraction"] == pytest.approx(tame)
    assert flips.loc[("kind", "wild", 0), "fraction"] == pytest.approx(1 - tame)
    assert flips.loc[("kind", "wild", 1), ["to", "to_fraction"]].tolist() == ["wild", 1]
    assert (flips.loc[["colour", "size"], "fraction"] == 0).all()


def test_train_answers_change_nothing(contents, results):
    """Interventions are of the test split alone."""
    samples = contents["samples"].copy()
    train = samples["split"] == "train"
    samples.loc[train, [f"target/{task.name}" for task in Planted.concepts]] = 0
    samples.loc[train, "label"] = "wild"
    given = contents["classifier"], contents["embeddings"], samples, results["shapley"]
    found, flips = intervene(*given, contents["params:explain"], 0)
    assert found == results["interventions"]
    assert flips["fraction"].tolist() == results["flips"]["fraction"].tolist()


@pytest.mark.parametrize("change", ["gone", "of another range"])
def test_answers_of_another_taxonomy_are_refused(contents, results, change):
    samples = contents["samples"].drop(columns="target/kind")
    if change != "gone":
        samples = samples.assign(**{"target/kind": 2})
    given = contents["classifier"], contents["embeddings"], samples, results["shapley"]
    with pytest.raises(ArtifactError, match="do not fit the classifier's concept 'kind'"):
        intervene(*given, contents["params:explain"], 0)


@pytest.mark.parametrize("mistake", [{"players": "pixels"}, {"output": "odds"}, {"orders": 3}])
def test_a_mistyped_parameter_is_refused(mistake):
    with pytest.raises(ValidationError):
        ExplainParams(concepts=mistake)
