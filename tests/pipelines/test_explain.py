"""The `explain` pipeline in memory, over a small bottleneck and a classifier without concepts."""

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from pydantic import ValidationError
from torch import Tensor, nn

from glasshead.embedding.store import Embeddings
from glasshead.errors import ArtifactError, ParameterError
from glasshead.explainers.attribution import Explanation
from glasshead.explainers.cost import OPERATIONS
from glasshead.explainers.evaluation import EvaluationParams
from glasshead.explainers.methods import METHODS
from glasshead.explainers.passes import Budget
from glasshead.images.table import ImageTable
from glasshead.pipelines.explain.concept_nodes import (
    explain_answers,
    explain_concepts,
    true_answers,
)
from glasshead.pipelines.explain.nodes import explain_pixels, measure_explanations
from glasshead.pipelines.explain.params import ConceptParams, ExplainParams
from glasshead.pipelines.explain.pipeline import create_pipeline
from glasshead.pipelines.explain.plan_nodes import divided, plan_explanations
from glasshead.reporting.notes import plan_note

ROOT = Path(__file__).parents[2]
CLASSES = ("cat", "dog", "ship")
SIZE = 6
ROWS = 40
WHOLE = {"divisor": 1.0}
WITH_CONCEPTS, PIXELS = (create_pipeline(concepts=concepts) for concepts in (True, False))


class Plain(nn.Module):
    """A linear classifier of the pixels, without concepts."""

    classes = CLASSES
    input_size = SIZE
    concepts: tuple[SimpleNamespace, ...] = ()
    temperature = 1.0

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.final = nn.Linear(3 * SIZE * SIZE, len(CLASSES))

    def prepare(self, pictures: list[Image.Image]) -> Tensor:
        arrays = [np.asarray(picture.resize((SIZE, SIZE))) for picture in pictures]
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()

    def forward(self, images: Tensor) -> Tensor:
        return self.final(images.flatten(1))

    def probabilities(self, images: Tensor) -> Tensor:
        return (self(images) / self.temperature).softmax(dim=1)


class Bottleneck(Plain):
    """Pixels to an embedding, to the probabilities of three subtasks, to logits; not linear."""

    encoder_key = "key"

    concepts = (
        SimpleNamespace(name="legs", values=("none", "two", "four")),
        SimpleNamespace(name="fur", values=("no", "yes")),
        SimpleNamespace(name="habitat", values=("air", "land", "sea")),
    )
    temperature = 2.0

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(3 * SIZE * SIZE, 8)
        self.heads = nn.ModuleList(nn.Linear(8, len(task.values)) for task in self.concepts)
        self.meta_learner = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, len(CLASSES)))
        for parameter in self.parameters():
            parameter.data *= 3  # far enough from linear for absent concepts to matter

    def embed(self, images: Tensor) -> Tensor:
        return self.encoder(images.flatten(1)).tanh()

    def concept_logits(self, embeddings: Tensor) -> Tensor:
        return torch.cat([head(embeddings) for head in self.heads], dim=1)

    def concept_probabilities(self, embeddings: Tensor) -> Tensor:
        parts = self.concept_logits(embeddings).split([3, 2, 3], dim=1)
        return torch.cat([part.softmax(dim=1) for part in parts], dim=1)

    def logits_from_concepts(self, concepts: Tensor) -> Tensor:
        return self.meta_learner(concepts)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits_from_concepts(self.concept_probabilities(self.embed(images)))


@pytest.fixture(scope="module")
def images() -> ImageTable:
    draw = np.random.default_rng(0)
    records = []
    for row in range(ROWS):
        sink = io.BytesIO()
        Image.fromarray(draw.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)).save(sink, "PNG")
        records.append(
            {
                "image_id": f"all/{row}",
                "image": sink.getvalue(),
                "label": CLASSES[row % 3],
                "given_split": None,
                "mask": None,
                "attributes": {},
                "defects": [],
            }
        )
    return ImageTable.from_records(records, CLASSES)


@pytest.fixture(scope="module")
def parameters() -> ExplainParams:
    return ExplainParams(
        images=6,
        methods={
            "integrated_gradients": None,
            "grad_cam": None,
            "occlusion": 3,
            "edge_detector": None,
        },
        budget=Budget(steps=32),
        evaluation=EvaluationParams(
            images=8, deletion_steps=4, infidelity_samples=3, sensitivity_images=2
        ),
        background=10,
        n_resamples=50,
        concepts=ConceptParams(maps=("grad_cam", "saliency"), mapped=2),
    )


@torch.no_grad()
def inputs(classifier: Plain, images: ImageTable, parameters: ExplainParams) -> dict[str, object]:
    """Return what stands before `explain`, all of it computed from `classifier` and `images`."""
    frame = images.frame()
    pixels = classifier.prepare([images.pil(row) for row in range(ROWS)]).float() / 255
    probabilities = (classifier(pixels) / classifier.temperature).softmax(dim=1)
    split = np.where(np.arange(ROWS) < 20, "train", "test")
    predictions = pd.DataFrame(
        {
            "image_id": frame["image_id"],
            "split": split,
            "label": frame["label"],
            "predicted": [CLASSES[best] for best in probabilities.argmax(dim=1)],
            "confidence": probabilities.amax(dim=1),
        }
    )
    values = (
        classifier.embed(pixels).numpy() if classifier.concepts else np.ones((ROWS, 8), np.float32)
    )
    return {
        "classifier": classifier,
        "images": images,
        "predictions": predictions,
        "samples": predictions[["image_id", "split", "label"]].assign(
            content_hash=frame["content_hash"],
            **{f"target/{task.name}": 0 for task in classifier.concepts},
        ),
        "embeddings": Embeddings(
            frame["image_id"].to_numpy(object),
            images.hashes(),
            values,
            "key",
        ),
        "planted": pd.DataFrame(columns=["image_id", "defect", "detail"], dtype="str"),
        "params:explain": parameters,
        "params:seed": 0,
    }


@pytest.fixture(scope="module")
def bottleneck(images, parameters, explain_heads, tmp_path_factory):
    """Return a bottleneck's inputs and results."""
    contents = inputs(Bottleneck(), images, parameters)
    return contents, explain_heads(WITH_CONCEPTS, contents, tmp_path_factory.mktemp("run"))


def test_only_test_images_are_explained_right_and_wrong(bottleneck):
    contents, results = bottleneck
    examples = results["examples"]
    assert examples["shown"].sum() == 6
    assert examples["measured"].sum() == 8
    assert (examples["shown"] | examples["measured"]).all()
    assert set(examples["correct"]) == {False, True}
    truth = contents["predictions"].set_index("image_id").loc[examples["image_id"]]
    assert (truth["split"] == "test").all()
    assert (truth["predicted"].to_numpy() == examples["predicted"]).all()


def test_concept_contributions_lead_to_the_calibrated_confidence(bottleneck):
    _, results = bottleneck
    shapley = results["shapley"]
    assert shapley["players"].tolist() == ["legs", "fur", "habitat"]
    np.testing.assert_allclose(shapley["output"], results["examples"]["confidence"], atol=1e-6)
    np.testing.assert_allclose(
        shapley["base"] + shapley["values"].sum(axis=1), shapley["output"], atol=1e-6
    )
    assert np.abs(shapley["values"]).max() > 0.01
    for player in range(3):
        mine = shapley["concepts"][:, shapley["concept_player"] == player]
        np.testing.assert_allclose(mine.sum(axis=1), 1, atol=1e-6)
    assert shapley["concept_value"].tolist() == [
        "none",
        "two",
        "four",
        "no",
        "yes",
        "air",
        "land",
        "sea",
    ]


def test_concepts_come_from_embeddings_without_a_pass_of_the_encoder(images, parameters):
    contents = inputs(Bottleneck(), images, parameters)
    classifier = contents["classifier"]
    classifier.encoder = None  # any pass would fail
    examples = contents["predictions"].query("split == 'test'").head(2)
    shapley = explain_concepts(
        classifier, contents["embeddings"], contents["samples"], examples, parameters, 0
    )
    np.testing.assert_allclose(shapley["output"], examples["confidence"], atol=1e-6)


def test_pixel_contributions_lead_to_the_predicted_logit(bottleneck):
    contents, results = bottleneck
    maps, pixels = results["attributions"], results["example_images"]["pixels"]
    assert (
        maps["integrated_gradients"].shape
        == pixels.shape
        == (len(results["examples"]), 3, SIZE, SIZE)
    )
    assert maps["integrated_gradients"].dtype == np.float32
    assert maps["image_id"].tolist() == results["examples"]["image_id"].tolist()
    logits = contents["classifier"](torch.from_numpy(pixels) / 255).detach().numpy().max(axis=1)
    np.testing.assert_allclose(maps["integrated_gradients/output"], logits, atol=1e-5)
    total = maps["integrated_gradients"].sum(axis=(1, 2, 3)) + maps["integrated_gradients/base"]
    np.testing.assert_allclose(total, logits, atol=1e-3)


def test_each_method_has_its_evidence(bottleneck):
    explanations = bottleneck[1]["explanations"]
    assert set(explanations) == {"integrated_gradients", "occlusion", "edge_detector", "shapley"}
    for name in ("integrated_gradients", "shapley"):
        gap = explanations[name]["completeness_gap"]
        assert 0 <= gap["low"] <= gap["value"] <= gap["high"] < 1e-3
        assert gap["better"] == "lower"
    for name in ("integrated_gradients", "occlusion", "edge_detector"):
        found = explanations[name]
        assert {"deletion_auc", "infidelity", "max_sensitivity", "rank_agreement"} <= set(found)
        assert found["pointing_game"]["value"] is None  # these images have no masks
        assert found["seconds_per_image"]["value"] > 0
    assert explanations["edge_detector"]["randomisation"]["value"] == pytest.approx(1)


def test_slow_methods_explain_some_of_the_measured_and_others_say_why_not(bottleneck):
    results = bottleneck[1]
    maps, examples = results["attributions"], results["examples"]
    assert maps["methods"].tolist() == ["integrated_gradients", "occlusion", "edge_detector"]
    assert len(maps["occlusion"]) == len(maps["occlusion/rows"]) == 3
    assert examples["measured"][maps["occlusion/rows"]].all()
    (left_out, reason), *others = maps["not_applicable"].tolist()
    assert left_out == "grad_cam"
    assert "cam_layers" in reason
    assert not others


def test_masks_and_marks_are_where_the_classifier_sees_them(
    images, parameters, explain_heads, tmp_path
):
    contents = inputs(Plain(), images, parameters)
    contents["planted"] = pd.DataFrame(
        [(f"all/{row}", "shortcut", "1,2,3,2") for row in range(ROWS)],
        columns=["image_id", "defect", "detail"],
    )
    results = explain_heads(PIXELS.to_outputs("explanations"), contents, tmp_path)
    expected = np.zeros((SIZE, SIZE), bool)
    expected[2:4, 1:4] = True
    assert (results["example_images"]["marks"] == expected).all()
    assert not results["example_images"]["masks"].any()
    for measures in results["explanations"].values():
        assert 0 <= measures["mass_on_mark"]["value"] <= 1


def test_two_runs_agree(bottleneck, explain_heads, tmp_path):
    contents, results = bottleneck
    compared = WITH_CONCEPTS.to_outputs("explanations", "shapley_images_figure")
    again = explain_heads(compared, contents, tmp_path)
    for name in ("shapley", "attributions"):
        for key, array in results[name].items():
            if not key.endswith("/seconds"):
                np.testing.assert_array_equal(array, again[name][key])
    for method, measures in results["explanations"].items():
        for measure, found in measures.items():
            if measure != "seconds_per_image":
                value = again["explanations"][method][measure]["value"]
                assert value == (found["value"] and pytest.approx(found["value"], rel=1e-5))
    assert again["shapley_images_figure"] == results["shapley_images_figure"]


def test_answers_of_shown_images_are_explained_by_the_first_method_that_applies(bottleneck):
    contents, results = bottleneck
    found, examples = results["answer_maps"], results["examples"]
    assert found["method"] == "saliency"
    order = np.abs(results["shapley"]["values"]).mean(axis=0).argsort()[::-1]
    assert found["subtasks"].tolist() == results["shapley"]["players"][order[:2]].tolist()
    assert found["all"] == 3
    shown = examples["shown"].to_numpy()
    assert found["image_id"].tolist() == examples["image_id"][shown].tolist()
    classifier = contents["classifier"]
    pixels = torch.from_numpy(results["example_images"]["pixels"][shown]) / 255
    pixels.requires_grad_()
    names = [task.name for task in classifier.concepts]
    for place, name in enumerate(found["subtasks"].tolist()):
        task = names.index(name)
        logits = classifier.heads[task](classifier.embed(pixels))
        best = logits.softmax(dim=1).max(dim=1)
        expected = [classifier.concepts[task].values[index] for index in best.indices]
        assert found["answers"][:, place].tolist() == expected
        np.testing.assert_allclose(found["probabilities"][:, place], best.values.detach(), 1e-5)
        assert (found["right"][:, place] == (best.indices == 0).numpy()).all()  # the samples' own
        (gradient,) = torch.autograd.grad(logits.amax(dim=1).sum(), pixels)
        maps = Explanation(gradient.numpy()).maps
        np.testing.assert_allclose(found["maps"][:, place], maps, rtol=1e-3, atol=1e-6)


def test_answers_are_read_in_any_order_of_the_subtasks(bottleneck):
    contents, _ = bottleneck
    subtasks = contents["classifier"].concepts
    samples = contents["samples"].assign(**{"target/fur": 1, "target/habitat": 2})
    found = true_answers(subtasks[::-1], samples)
    assert found.unique(dim=0).tolist() == [[2, 1, 0]]


def test_a_short_time_reduces_counts_and_says_so(images, parameters, caplog):
    """Half of the operations are wanted, so that the counts are divided by less than two each."""
    classifier = Bottleneck()
    whole = plan_explanations(classifier, parameters)
    assert (whole["cut"], whole["divisor"]) == ([], 1.0)
    many = parameters.model_copy(update={"images": 1000, "budget": Budget(samples=200)})
    operations = plan_explanations(classifier, many)["operations"]
    short = many.model_copy(update={"seconds": operations / OPERATIONS / 2})
    plan = plan_explanations(classifier, short)
    assert operations / 8 < plan["operations"] <= operations / 2
    assert ["explain.images", 1000, divided(many, plan["divisor"]).images] in plan["cut"]
    assert "explain.budget.samples" in caplog.text
    assert "instead of 1000" in plan_note(plan)
    assert plan == plan_explanations(classifier, short)


def test_no_method_for_answers_means_no_maps(bottleneck, parameters):
    contents, results = bottleneck
    chosen = parameters.model_copy(update={"concepts": ConceptParams(maps=("grad_cam",))})
    given = (contents["classifier"], results["example_images"], results["examples"])
    found = explain_answers(*given, contents["samples"], results["shapley"], chosen, 0)
    assert found["method"] == ""
    assert found["maps"].shape == (6, 0, SIZE, SIZE)


def test_a_gpu_that_is_not_there_is_refused(bottleneck, parameters):
    contents, results = bottleneck
    chosen = parameters.model_copy(update={"device": "cuda"})
    given = contents["classifier"], results["example_images"], results["examples"]
    refused = pytest.raises(ParameterError, match=r"explain\.device is cuda")
    with patch("torch.cuda.is_available", return_value=False):
        with refused:
            explain_pixels(*given, chosen, WHOLE, 0)
        with refused:
            measure_explanations(*given, results["attributions"], chosen, WHOLE, 0)
        with refused:
            explain_answers(*given, contents["samples"], results["shapley"], chosen, 0)


def test_engines_agree(images, parameters):
    contents = inputs(Bottleneck(), images, parameters)
    examples = contents["predictions"].query("split == 'test'").head(3)
    given = contents["classifier"], contents["embeddings"], contents["samples"], examples
    exact = explain_concepts(*given, parameters, 0)
    kernel = explain_concepts(*given, parameters.model_copy(update={"engine": "kernel"}), 0)
    np.testing.assert_allclose(exact["values"], kernel["values"], atol=1e-6)


def test_a_classifier_without_concepts_is_explained_by_its_pixels(
    images, parameters, explain_heads, tmp_path
):
    results = explain_heads(PIXELS, inputs(Plain(), images, parameters), tmp_path)
    assert not {"shapley", "neighbours"} & set(results)
    assert set(results["explanations"]) == {"integrated_gradients", "occlusion", "edge_detector"}


def test_too_few_steps_are_reported(images, parameters, caplog):
    contents = inputs(Bottleneck(), images, parameters)
    examples = contents["predictions"].query("split == 'test'").head(4).reset_index(drop=True)
    examples = examples.assign(measured=True)
    pixels = {
        "pixels": contents["classifier"].prepare([images.pil(20 + row) for row in range(4)]).numpy()
    }
    few = parameters.model_copy(update={"budget": Budget(steps=1)})
    explain_pixels(contents["classifier"], pixels, examples, few, WHOLE, 0)
    assert "Raise explain.budget.steps above 1" in caplog.text


def test_embeddings_of_other_images_are_refused(images, parameters):
    contents = inputs(Bottleneck(), images, parameters)
    examples = contents["predictions"].query("split == 'test'")
    others = contents["samples"].assign(content_hash="0" * 64)
    with pytest.raises(ArtifactError, match="no embedding"):
        explain_concepts(
            contents["classifier"], contents["embeddings"], others, examples, parameters, 0
        )


@pytest.mark.parametrize("stale", ["predictions", "images", "embeddings"])
def test_what_is_not_of_one_run_is_refused(images, parameters, explain_heads, tmp_path, stale):
    contents = inputs(Bottleneck(), images, parameters)
    match stale:
        case "predictions":
            contents["predictions"] = contents["predictions"].assign(split="test")
        case "images":
            contents["samples"] = contents["samples"].assign(content_hash="0" * 64)
        case "embeddings":
            contents["embeddings"] = replace(contents["embeddings"], encoder_key="another")
    with pytest.raises(ArtifactError, match=r"Run .*pipeline"):
        explain_heads(WITH_CONCEPTS, contents, tmp_path)


def test_the_shipped_parameters_are_valid():
    loaded = OmegaConf.load(ROOT / "conf/base/parameters_explain.yml")
    shipped = OmegaConf.to_container(loaded, resolve=True)
    for block in shipped.values():
        assert set(block) == set(ExplainParams.model_fields)
        ExplainParams(**block)
    assert set(shipped["explain_full"]["methods"]) == set(METHODS)


@pytest.mark.parametrize(
    "mistake",
    [
        {"stpes": 3},
        {"engine": "exakt"},
        {"methods": {"gradcam": None}},
        {"budget": {"steps": 0}},
        {"images": 0},
    ],
)
def test_a_mistyped_parameter_is_refused(mistake):
    with pytest.raises(ValidationError):
        ExplainParams(**mistake)
