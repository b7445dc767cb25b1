"""LRP: by the epsilon rule it is gradient times input where activations are ReLU (Ancona et al. 2018)."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from glasshead.errors import ExplanationError
from glasshead.explainers.passes import Budget
from glasshead.explainers.propagation import lrp, propagable


def input_times_gradient(classifier: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    normal = classifier.normalise(images).requires_grad_()
    logits = classifier.net(normal).gather(1, targets[:, None])
    return (normal * torch.autograd.grad(logits.sum(), normal)[0]).detach()


def test_lrp_of_a_relu_network_is_gradient_times_input(small_cnn, scenes, targets):
    classifier = small_cnn("compact_cnn")
    weights = copy.deepcopy(classifier.state_dict())
    found = lrp(classifier, scenes, targets, Budget(batch_size=2))
    expected = input_times_gradient(classifier, scenes, targets)
    np.testing.assert_allclose(found.values, expected, rtol=2e-2, atol=1e-5)
    assert all(torch.equal(value, weights[name]) for name, value in classifier.state_dict().items())
    assert not any(hasattr(module, "rule") for module in classifier.modules())


def test_without_biases_relevance_is_complete(small_cnn, scenes, targets):
    classifier = small_cnn("compact_cnn")
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.running_mean)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
    found = lrp(classifier, scenes, targets, Budget())
    assert np.abs(found.output).min() > 1e-3
    assert (found.gap < 1e-3 * np.abs(found.output - found.base)).all()


class Chain(nn.Module):
    """A network of given layers behind no normalisation, as a classifier."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(*layers)

    def normalise(self, images: Tensor) -> Tensor:
        return images


@pytest.mark.parametrize(
    ("classifier", "reason"),
    [
        (Chain(nn.Conv2d(3, 4, 3), nn.ReLU()), None),
        (Chain(nn.Conv2d(3, 4, 3), nn.GELU()), "no rule for GELU"),
        (Chain(nn.Conv2d(3, 4, 3), *[nn.ReLU()] * 2), "used twice"),
        (Chain(*[nn.Conv2d(3, 3, 3)] * 2), "used twice"),
        (nn.Flatten(), "not a chain of layers"),
    ],
)
def test_a_reason_names_what_has_no_rule(classifier, reason):
    found = propagable(classifier)
    assert found is None if reason is None else reason in found


def test_networks_with_residuals_or_attention_are_refused(heads, small_cnn, scenes, targets):
    assert "residuals" in propagable(small_cnn("resnet18"))
    assert "chain of torch's own layers" in propagable(small_cnn("fast_cnn"))
    with pytest.raises(ExplanationError, match="attention"):
        lrp(heads, scenes, targets, Budget())
