"""Predictions are the Classifier's own numbers, whatever else is predicted beside them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator
from PIL import Image

import glasshead
from glasshead.errors import ParameterError
from glasshead.models.backbone import BackboneParams
from glasshead.models.classifier import Classifier, as_images
from glasshead.models.clip import load_encoder
from glasshead.models.cnn import build_cnn
from glasshead.models.risk import RiskAuditor, RiskHead, RiskHeadParams
from glasshead.serving.lines import csv_header, csv_line, json_line, text_line
from glasshead.serving.predictor import Predictor

PROMISE = {"threshold": 0.5, "target_error": 0.02, "certainty": 0.95, "rows": 9, "coverage": 1.0}


@pytest.fixture
def predictor(classifier: Classifier) -> Predictor:
    return Predictor(classifier)


def test_probabilities_are_calibrated_of_classes_and_concepts(predictor, classifier, pictures):
    found = predictor.predict(pictures)
    with torch.no_grad():
        images = torch.cat([as_images(classifier.prepare([picture])) for picture in pictures])
        expected = (classifier(images) / 2).softmax(1).numpy()
        logits = classifier.bottleneck.concept_logits(classifier.embed(images))
        wings, legs = (logits[:, :2] / 0.5).softmax(1), (logits[:, 2:] / 3).softmax(1)
    table = np.array([list(each.probabilities.values()) for each in found])
    np.testing.assert_allclose(table, expected, atol=1e-5)
    for name, values in (("wings", wings), ("legs", legs)):
        table = np.array([list(each.concepts[name].values()) for each in found])
        np.testing.assert_allclose(table, values, atol=1e-5)
    assert [each.predicted for each in found] == [
        classifier.classes[row] for row in expected.argmax(1)
    ]
    assert [each.confidence for each in found] == pytest.approx(list(expected.max(1)), abs=1e-5)
    assert np.ptp(expected, axis=0).max() > 0.01  # the images differ
    assert found[0].top(2) == sorted(found[0].probabilities.items(), key=lambda p: -p[1])[:2]
    assert [each.image for each in found] == ["#0", "#1", "#2", "#3", "#4"]


def test_an_image_gives_the_same_bits_alone_and_among_others(predictor, pictures):
    together = predictor.predict(pictures * 3)
    alone = [predictor.predict([picture])[0] for picture in pictures]
    threads = torch.get_num_threads()
    torch.set_num_threads(threads % 2 + 1)
    try:
        others = predictor.predict(pictures)
        assert torch.get_num_threads() == threads % 2 + 1
    finally:
        torch.set_num_threads(threads)
    for index, one in enumerate(alone):
        for found in (together[index], together[index + 5], others[index]):
            assert (found.probabilities, found.concepts) == (one.probabilities, one.concepts)


def test_a_classifier_without_concepts_has_none(pictures):
    colours = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.2, 0.2)}
    cnn = build_cnn("compact_cnn", ("a", "b"), 32, **colours, width=0.125, provenance={}, seed=0)
    found = Predictor(cnn).predict(pictures)
    assert all(each.concepts == {} for each in found)
    assert all(sum(each.probabilities.values()) == pytest.approx(1) for each in found)


@pytest.mark.parametrize(("difference", "abstains"), [(0, True), (1e-9, True), (-1e-9, False)])
def test_it_abstains_up_to_the_threshold(predictor, classifier, pictures, difference, abstains):
    confidence = predictor.predict(pictures[:1])[0].confidence
    promise = PROMISE | {"threshold": confidence + difference}
    (found,) = Predictor(classifier.with_abstention(promise)).predict(pictures[:1])
    assert found.abstain is abstains
    assert (found.reason is not None) is abstains
    assert not abstains or "confidence is not above" in found.reason


def test_without_a_threshold_that_keeps_the_target_it_always_abstains(classifier, pictures):
    never = classifier.with_abstention(PROMISE | {"threshold": None})
    found = Predictor(never).predict(pictures)
    assert all(each.abstain is True for each in found)
    assert "that needs at least 203 above a threshold" in found[0].reason
    assert all(each.abstain is None for each in Predictor(classifier).predict(pictures))


def test_a_bad_image_keeps_its_place(predictor, pictures):
    found = predictor.predict([pictures[0], b"<html>", pictures[1]])
    assert [each.error is None for each in found] == [True, False, True]
    assert "not a readable image" in found[1].error
    assert (found[1].predicted, found[1].confidence, found[1].top(3)) == (None, None, [])


def test_a_single_image_must_stand_in_a_list(predictor, pictures):
    for given in ("cat.png", Path("cat.png"), b"", pictures[0]):
        with pytest.raises(TypeError, match="a list of images"):
            predictor.predict(given)


def test_a_saved_classifier_predicts_as_before(predictor, classifier, pictures, tmp_path):
    classifier.with_abstention(PROMISE).save(tmp_path)
    (found,) = glasshead.load(tmp_path).predict(pictures[:1])
    (before,) = predictor.predict(pictures[:1])
    assert found.probabilities == before.probabilities
    assert found.abstain is (before.confidence <= 0.5)


class TestExplanations:
    def test_the_png_shows_what_was_seen_beside_the_map(self, predictor, pictures, tmp_path):
        first, second = predictor.predict(pictures[:2], "saliency", tmp_path)
        assert first.explanation != second.explanation
        drawn = np.asarray(Image.open(first.explanation))
        assert drawn.shape == (224, 448, 3)
        np.testing.assert_array_equal(drawn[::7, :224:7], np.asarray(pictures[0]))
        right = drawn[::7, 224::7].astype(int)
        assert np.ptp(right, axis=2).max() > 50  # colours over grey

    def test_the_same_image_gives_the_same_bytes(self, predictor, pictures, tmp_path):
        paths = [
            Path(
                predictor.predict(pictures[:1], "integrated_gradients", tmp_path / name)[
                    0
                ].explanation
            )
            for name in "ab"
        ]
        assert paths[0].name == paths[1].name
        assert paths[0].read_bytes() == paths[1].read_bytes()

    def test_a_bad_image_has_none(self, predictor, tmp_path):
        (found,) = predictor.predict([b""], "saliency", tmp_path)
        assert found.explanation is None
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("method", "reason"),
        [("magic", "no such method"), ("random", "no such method"), ("grad_cam", "transformer")],
    )
    def test_what_does_not_apply_is_refused_with_what_does(
        self, predictor, pictures, method, reason
    ):
        with pytest.raises(ParameterError, match=f"{reason}.*Choose one of saliency"):
            predictor.predict(pictures, method)

    def test_a_map_that_is_not_finite_is_not_drawn(
        self, predictor, pictures, tmp_path, monkeypatch
    ):
        from glasshead.explainers.attribution import Explanation
        from glasshead.explainers.methods import METHODS

        def explain(*_):
            return Explanation(np.full((1, 32, 32), np.nan))

        broken = replace(METHODS["saliency"], explain=explain)
        monkeypatch.setitem(METHODS, "saliency", broken)
        (found,) = predictor.predict(pictures[:1], "saliency", tmp_path)
        assert found.explanation is None
        assert found.error is None


def test_labels_that_do_not_exclude_each_other_are_those_of_at_least_a_half(pictures, tmp_path):
    encoder = load_encoder(BackboneParams(), "attention_inputs")
    head = RiskHead(encoder.dimension, 3, RiskHeadParams())
    auditor = RiskAuditor(encoder, head, ("truck", "fog", "dusk"), {})
    with torch.no_grad():
        head.mlp.second_bias.copy_(torch.tensor([-99.0, 9.0, 3.0]))
    auditor.with_temperatures({"truck": 1.0, "fog": 1.0, "dusk": 0.1}).save(tmp_path / "risk")
    predictor = glasshead.load(tmp_path / "risk")
    (found,) = predictor.predict(pictures[:1])
    with torch.no_grad():
        images = as_images(predictor.classifier.prepare(pictures[:1]))
        expected = predictor.classifier.probabilities(images)[0].tolist()
    assert list(found.probabilities.values()) == pytest.approx(expected, abs=1e-5)
    assert (found.labels, found.abstain) == (("dusk", "fog"), None)
    record = json.loads(json_line(found, 3))
    assert record["labels"] == ["dusk", "fog"]
    assert csv_header(predictor.classifier).startswith('"image","labels","probability/truck"')
    assert csv_line(found, predictor.classifier).startswith('"#0","dusk, fog",0.0,')
    assert text_line(found, 2).startswith("#0\tdusk, fog\tdusk 1.000, fog ")
    schema = json.loads(
        Path(glasshead.__file__).with_name("assets").joinpath("prediction.schema.json").read_text()
    )
    Draft202012Validator(schema).validate(record)
