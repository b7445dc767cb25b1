"""The last layer for the class token alone: the same logits and gradients, and nothing left behind."""

import pytest
import torch

from glasshead.explainers.class_token import class_token_alone
from glasshead.explainers.concept_logits import ConceptLogits
from glasshead.explainers.passes import target_gradients


@pytest.mark.parametrize("concept", [None, "legs"])
def test_logits_and_gradients_are_the_same(heads, scenes, targets, concept):
    classifier = ConceptLogits(heads, concept) if concept else heads
    shapes = []
    last = heads.transformer_layers()[-1]
    with torch.no_grad():
        expected = classifier(scenes)
    slopes = target_gradients(classifier, scenes, targets)
    hook = last.register_forward_hook(lambda _module, _inputs, output: shapes.append(output.shape))
    with class_token_alone(classifier):
        with torch.no_grad():
            torch.testing.assert_close(classifier(scenes), expected, atol=1e-5, rtol=1e-5)
        found = target_gradients(classifier, scenes, targets)
    hook.remove()
    torch.testing.assert_close(found, slopes, atol=1e-6, rtol=1e-3)
    assert shapes == [(3, 1, 128)] * 2
    assert "forward" not in vars(last)


def test_it_is_undone_after_an_error_and_does_not_mind_other_classifiers(heads, small_cnn):
    with pytest.raises(KeyError), class_token_alone(heads):
        raise KeyError
    assert "forward" not in vars(heads.transformer_layers()[-1])
    with class_token_alone(small_cnn("compact_cnn")):
        pass
