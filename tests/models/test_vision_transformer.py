"""CLIP's vision transformer and its processor's settings against transformers' own."""

import json
from pathlib import Path

import pytest
import torch
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from glasshead.models import clip_processor
from glasshead.models.vision_transformer import load_vision_transformer

SHAPE = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 16,
    "patch_size": 4,
    "projection_dim": 10,
}


def save(folder: Path, activation: str = "quick_gelu", **how: str) -> CLIPVisionModelWithProjection:
    """Save a model whose weights are far enough from 0 for activations to bend and attention to differ."""
    torch.manual_seed(0)
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(**SHAPE, hidden_act=activation)).eval()
    for parameter in model.parameters():
        parameter.data = torch.randn_like(parameter) * 0.3
    model.save_pretrained(folder, **how)
    return model


@pytest.mark.parametrize("activation", ["gelu", "gelu_pytorch_tanh", "quick_gelu", "relu"])
def test_outputs_and_gradients_are_those_of_transformers(tmp_path, activation):
    theirs = save(tmp_path, activation)
    ours, missing = load_vision_transformer(tmp_path)
    assert missing == []
    images = torch.randn(3, 3, 16, 16, requires_grad=True)
    expected, found = theirs(pixel_values=images), ours(images)
    torch.testing.assert_close(found, expected.image_embeds)
    torch.testing.assert_close(ours.tokens(images), expected.last_hidden_state)
    gradients = [
        torch.autograd.grad(each.square().sum(), images)[0]
        for each in (found, expected.image_embeds)
    ]
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0.01


def test_weights_in_shards_are_read_from_all_of_them(tmp_path):
    theirs = save(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    ours, missing = load_vision_transformer(tmp_path)
    images = torch.randn(2, 3, 16, 16)
    assert missing == []
    torch.testing.assert_close(ours(images), theirs(pixel_values=images).image_embeds)


def test_half_precision_is_read_as_float32(tmp_path):
    theirs = save(tmp_path).half()
    theirs.save_pretrained(tmp_path)
    ours, _ = load_vision_transformer(tmp_path)
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(ours(images), theirs.float()(pixel_values=images).image_embeds)


def test_loading_draws_no_random_number(tmp_path):
    save(tmp_path)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_vision_transformer(tmp_path)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"crop_size": 224, "size": 224, "feature_extractor_type": "CLIPFeatureExtractor"},
        {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}, "resample": 2},
        {"do_resize": False, "image_mean": [0.5, 0.5, 0.5], "crop_size": {"height": 8, "width": 8}},
    ],
)
def test_the_processors_settings_are_those_that_transformers_reads(tmp_path, settings):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    ours = clip_processor.CLIPImageProcessor.from_pretrained(tmp_path)
    theirs = CLIPImageProcessor.from_pretrained(tmp_path)
    assert ours.to_json_string() == theirs.to_json_string()
    image = torch.randint(0, 256, (3, 50, 60), dtype=torch.uint8)
    found, expected = (
        processor(image, return_tensors="pt")["pixel_values"] for processor in (ours, theirs)
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
