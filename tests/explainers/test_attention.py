"""Attention through CLIP against a model that was loaded to show its attention, and against uniform attention."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from glasshead.explainers.attention import (
    attention_rollout,
    attention_weights,
    gradient_weighted_attention,
)
from glasshead.explainers.passes import Budget
from glasshead.models.backbone import BackboneParams, resolve_backbone


@pytest.fixture(scope="module")
def shown():
    """Return the backbone's vision model with matrices for attention, frozen."""
    folder = resolve_backbone(BackboneParams())
    model = CLIPVisionModelWithProjection.from_pretrained(folder, attn_implementation="eager")
    return model.eval()


@pytest.fixture
def attentions(heads, shown, scenes, targets) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return each layer's attention and its gradient, (n, heads, 65, 65), in double precision."""
    pixels = (scenes - heads.encoder.mean) / heads.encoder.std
    outputs = shown(pixel_values=pixels, output_attentions=True)
    logits = heads.bottleneck(outputs.image_embeds).gather(1, targets[:, None])
    gradients = torch.autograd.grad(logits.sum(), outputs.attentions)
    return [
        (attention.detach().double().numpy(), gradient.double().numpy())
        for attention, gradient in zip(outputs.attentions, gradients, strict=True)
    ]


def enlarge(relevance: np.ndarray) -> Tensor:
    grid = torch.from_numpy(relevance[:, 0, 1:]).reshape(-1, 1, 8, 8)
    return F.interpolate(grid, size=(32, 32), mode="bilinear")[:, 0]


def test_attention_is_seen_without_another_logit_and_put_back(heads, scenes, attentions):
    with torch.no_grad():
        expected = heads(scenes)
        with attention_weights(heads.transformer_layers()) as seen:
            logits = heads(scenes)
        torch.testing.assert_close(heads(scenes), expected, atol=0, rtol=0)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    assert len(seen) == 4
    for found, (attention, _) in zip(seen, attentions, strict=True):
        np.testing.assert_allclose(found, attention, atol=1e-5)


def test_attention_is_put_back_after_an_error(heads):
    with pytest.raises(KeyError), attention_weights(heads.transformer_layers()):
        raise KeyError
    assert not any(layer.self_attn.shows_weights for layer in heads.transformer_layers())


def test_rollout_multiplies_attention_up(heads, scenes, targets, attentions):
    joint = np.eye(65)
    for attention, _ in attentions:
        joint = (0.5 * attention.mean(axis=1) + 0.5 * np.eye(65)) @ joint
    found = attention_rollout(heads, scenes, targets, Budget(batch_size=2))
    np.testing.assert_allclose(found.values, enlarge(joint), rtol=1e-3, atol=1e-7)


def test_rollout_of_uniform_attention_is_uniform(heads, scenes, targets):
    # each layer passes half on to the 65 tokens alike: after k layers, patches have (1 - 2^-k) / 65 each
    uniform = copy.deepcopy(heads)
    for layer in uniform.transformer_layers():
        for part in (layer.self_attn.q_proj, layer.self_attn.k_proj):
            torch.nn.init.zeros_(part.weight)
            torch.nn.init.zeros_(part.bias)
    found = attention_rollout(uniform, scenes, targets, Budget())
    np.testing.assert_allclose(found.values, (1 - 2**-4) / 65, rtol=1e-4)


def test_gradient_weighted_attention_adds_up_what_raises_the_logit(
    heads, scenes, targets, attentions
):
    joint = np.tile(np.eye(65), (3, 1, 1))
    for attention, gradient in attentions:
        joint = joint + np.maximum(attention * gradient, 0).mean(axis=1) @ joint
    found = gradient_weighted_attention(heads, scenes, targets, Budget(batch_size=2))
    assert found.values.max() > 0
    np.testing.assert_allclose(found.values, enlarge(joint), rtol=1e-3, atol=1e-7)


def test_only_gradient_weighted_attention_depends_on_the_target(heads, scenes, targets):
    other = (targets + 1) % 3
    for method, is_same in ((attention_rollout, True), (gradient_weighted_attention, False)):
        first, second = (
            method(heads, scenes, wanted, Budget()).values for wanted in (targets, other)
        )
        assert np.array_equal(first, second) == is_same
