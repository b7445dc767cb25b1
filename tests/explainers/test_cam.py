"""Class activation maps against a closed form and captum."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerActivation, LayerGradCam, LayerGradientXActivation
from torch import Tensor, nn

from glasshead.errors import ExplanationError
from glasshead.explainers.cam import grad_cam, layer_cam, patch_grad_cam
from glasshead.explainers.passes import Budget


class Pooled(nn.Module):
    """Logits are weights times the means of the channels, which are the features themselves."""

    weights = torch.tensor([[1.0, -2.0, 0.5], [-1.0, 0.0, 3.0]])

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Identity()

    def cam_layers(self) -> list[nn.Module]:
        return [self.features]

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images).mean(dim=(2, 3)) @ self.weights.T


def test_grad_cam_of_pooled_features_is_their_weighted_sum(scenes, targets):
    found = grad_cam(Pooled(), scenes, targets, Budget(batch_size=2))
    weights = Pooled.weights[targets] / 32**2
    expected = torch.einsum("nchw,nc->nhw", scenes, weights).relu()
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("architecture", ["compact_cnn", "fast_cnn", "resnet18"])
def test_grad_cam_agrees_with_captum(small_cnn, scenes, targets, architecture):
    classifier = small_cnn(architecture)
    method = LayerGradCam(classifier, classifier.cam_layers()[-1])
    coarse = method.attribute(scenes, targets, relu_attributions=True).detach()
    expected = F.interpolate(coarse, size=(32, 32), mode="bilinear")[:, 0]
    found = grad_cam(classifier, scenes, targets, Budget(batch_size=2))
    assert found.values.max() > 0
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("architecture", ["compact_cnn", "fast_cnn", "resnet18"])
def test_layer_cam_fuses_captums_gradients_and_activations(
    small_cnn, scenes, targets, architecture
):
    classifier = small_cnn(architecture)
    stages = []
    for layer in classifier.cam_layers()[-3:]:
        values = LayerActivation(classifier, layer).attribute(scenes).detach()
        slope = LayerGradientXActivation(classifier, layer, multiply_by_inputs=False)
        grids = (values * slope.attribute(scenes, targets).detach().relu()).sum(dim=1).relu()
        stages.append(grids / grids.amax(dim=(1, 2), keepdim=True).clamp_min(1e-30))
    first, second, last = stages
    fused = [torch.tanh(2 * first), torch.tanh(2 * second), last]
    size = first.shape[1:]
    coarse = torch.stack([F.interpolate(grid[:, None], size, mode="bilinear") for grid in fused])
    expected = F.interpolate(coarse.amax(dim=0), size=(32, 32), mode="bilinear")[:, 0]
    found = layer_cam(classifier, scenes, targets, Budget(batch_size=2))
    assert 0 < found.values.max() <= 1
    np.testing.assert_allclose(found.values, expected, rtol=1e-3, atol=1e-5)


def test_layer_cam_of_pooled_features_ignores_negative_weights(scenes, targets):
    found = layer_cam(Pooled(), scenes, targets, Budget(batch_size=2))
    weights = Pooled.weights[targets].relu()
    expected = torch.einsum("nchw,nc->nhw", scenes, weights)
    expected = expected / expected.amax(dim=(1, 2), keepdim=True)
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-6)


def test_patch_grad_cam_agrees_with_captums_gradients(heads, scenes, targets):
    layer = heads.transformer_layers()[-1].layer_norm1
    tokens = LayerActivation(heads, layer).attribute(scenes)[:, 1:].detach()
    slope = LayerGradientXActivation(heads, layer, multiply_by_inputs=False)
    weights = slope.attribute(scenes, targets)[:, 1:].detach().mean(dim=1, keepdim=True)
    coarse = (tokens * weights).sum(dim=2).relu().reshape(3, 1, 8, 8)
    expected = F.interpolate(coarse, size=(32, 32), mode="bilinear")[:, 0]
    found = patch_grad_cam(heads, scenes, targets, Budget(batch_size=2))
    assert found.values.max() > 0
    np.testing.assert_allclose(found.values, expected, rtol=1e-3, atol=1e-7)


def test_each_map_wants_its_kind_of_classifier(heads, small_cnn, scenes, targets):
    with pytest.raises(ExplanationError, match="transformer"):
        grad_cam(heads, scenes, targets, Budget())
    with pytest.raises(ExplanationError, match="class token"):
        patch_grad_cam(small_cnn("compact_cnn"), scenes, targets, Budget())
    with pytest.raises(ExplanationError, match="cam_layers"):
        grad_cam(nn.Flatten(), scenes, targets, Budget())
