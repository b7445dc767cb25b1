"""One concept as a classifier of its own."""

import numpy as np
import pytest
import torch

from glasshead.errors import ParameterError
from glasshead.explainers.concepts import ConceptLogits
from glasshead.explainers.gradients import saliency
from glasshead.explainers.passes import Budget


def test_logits_are_those_of_the_concepts_head(heads, scenes):
    legs = ConceptLogits(heads, "legs")
    assert legs.classes == ("none", "two", "four")
    with torch.no_grad():
        logits = legs(scenes)
        probabilities = heads.concept_probabilities(heads.embed(scenes))
    torch.testing.assert_close(logits.softmax(dim=1), probabilities[:, 2:])


def test_an_answer_is_explained_and_not_a_class(heads, scenes):
    targets = torch.tensor([2, 0, 1])
    pixels = scenes.clone().requires_grad_()
    head = heads.bottleneck.heads[1]
    standard = (heads.embed(pixels) - heads.bottleneck.mean) / heads.bottleneck.scale
    chosen = head(standard).gather(1, targets[:, None])
    expected = torch.autograd.grad(chosen.sum(), pixels)[0]
    found = saliency(ConceptLogits(heads, "legs"), scenes, targets, Budget())
    np.testing.assert_allclose(found.values, expected, rtol=1e-3, atol=1e-6)


def test_unknown_concepts_are_refused(heads):
    with pytest.raises(ParameterError, match="Choose one of wings, legs"):
        ConceptLogits(heads, "wheels")
