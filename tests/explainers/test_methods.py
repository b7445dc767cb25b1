"""What all methods have in common: they explain, or say why not, and leave the classifier as it was."""

import numpy as np
import pytest
import torch

from glasshead.errors import ExplanationError
from glasshead.explainers.concepts import ConceptLogits
from glasshead.explainers.maps import map_faults
from glasshead.explainers.methods import METHODS

TRANSFORMER = {"patch_grad_cam", "attention_rollout", "gradient_weighted_attention"}
NOT_APPLICABLE = {
    "heads": {"grad_cam", "layer_cam", "lrp"},
    "concept": {"grad_cam", "layer_cam", "lrp"},
    "compact_cnn": TRANSFORMER,
    "fast_cnn": TRANSFORMER | {"lrp"},
    "resnet18": TRANSFORMER | {"lrp"},
}


@pytest.fixture(params=NOT_APPLICABLE)
def named(request, heads, small_cnn):
    """Return a kind of classifier and one of that kind."""
    if request.param in ("heads", "concept"):
        return request.param, heads if request.param == "heads" else ConceptLogits(heads, "wings")
    return request.param, small_cnn(request.param)


def test_each_method_explains_or_says_why_not(named, scenes, targets, small_budget):
    kind, classifier = named
    weights = {name: value.clone() for name, value in classifier.state_dict().items()}
    trained = [parameter.requires_grad for parameter in classifier.parameters()]
    refused = set()
    for method in METHODS.values():
        reason = method.applies_to(classifier)
        if reason:
            refused.add(method.name)
            with pytest.raises(ExplanationError, match="not applicable"):
                method(classifier, scenes, targets, small_budget)
            continue
        found = method(classifier, scenes, targets, small_budget)
        again = method(classifier, scenes, targets, small_budget)
        assert found.maps.shape == (3, 32, 32), method.name
        assert not any(fault.any() for fault in map_faults(found.maps).values()), method.name
        np.testing.assert_array_equal(found.values, again.values, err_msg=method.name)
        alone = method(classifier, scenes[1:2], targets[1:2], small_budget).values[0]
        largest = np.abs(alone).max()
        np.testing.assert_allclose(found.values[1], alone, 0, 1e-3 * largest, err_msg=method.name)
    assert refused == NOT_APPLICABLE[kind]
    assert all(torch.equal(value, weights[name]) for name, value in classifier.state_dict().items())
    assert [parameter.requires_grad for parameter in classifier.parameters()] == trained


def test_every_family_is_there_under_its_name():
    assert all(method.name == name for name, method in METHODS.items())
    families = {"gradient", "cam", "attention", "perturbation", "propagation", "baseline"}
    assert {method.family for method in METHODS.values()} == families


@pytest.mark.parametrize(
    ("images", "targets", "message"),
    [
        (torch.rand(3, 32, 32), torch.zeros(3, dtype=torch.long), "shape"),
        (torch.rand(0, 3, 8, 8), torch.zeros(0, dtype=torch.long), "of 1 image or more"),
        (torch.rand(2, 3, 8, 8) * 255, torch.zeros(2, dtype=torch.long), "Divide pixels"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2, dtype=torch.long), "Divide"),
        (torch.full((2, 3, 8, 8), torch.nan), torch.zeros(2, dtype=torch.long), "without NaN"),
        (torch.rand(2, 3, 8, 8), torch.zeros(3, dtype=torch.long), "as many targets"),
        (torch.rand(2, 3, 8, 8), torch.zeros(2), "int64"),
    ],
)
def test_unfit_images_and_targets_are_refused(heads, small_budget, images, targets, message):
    with pytest.raises(ExplanationError, match=message):
        METHODS["saliency"](heads, images, targets, small_budget)
