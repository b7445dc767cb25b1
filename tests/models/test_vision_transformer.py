"""CLIP's vision transformer against transformers' own."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPVisionConfig, CLIPVisionModelWithProjection

from glasshead.models.vision_transformer import VisionConfig, load_vision_transformer

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


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Compare but for rounding, which differs with where in memory weights lie; by the largest value."""
    torch.testing.assert_close(
        found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().clamp(min=1).item()
    )


@pytest.mark.parametrize(
    "activation", ["gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu"]
)
def test_outputs_and_gradients_are_those_of_transformers(tmp_path, activation):
    theirs = save(tmp_path, activation)
    ours, missing = load_vision_transformer(tmp_path)
    assert missing == []
    images = torch.randn(3, 3, 16, 16, requires_grad=True)
    expected, found = theirs(pixel_values=images), ours(images)
    assert_same(found, expected.image_embeds)
    assert_same(ours.tokens(images), expected.last_hidden_state)
    gradients = [
        torch.autograd.grad(each.square().sum(), images)[0]
        for each in (found, expected.image_embeds)
    ]
    assert_same(*gradients)
    assert gradients[0].abs().max() > 0.01


def test_weights_in_shards_are_read_from_all_of_them(tmp_path):
    theirs = save(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    ours, missing = load_vision_transformer(tmp_path)
    images = torch.randn(2, 3, 16, 16)
    assert missing == []
    assert_same(ours(images), theirs(pixel_values=images).image_embeds)


def test_half_precision_is_read_as_float32(tmp_path):
    theirs = save(tmp_path).half()
    theirs.save_pretrained(tmp_path)
    ours, _ = load_vision_transformer(tmp_path)
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    images = torch.randn(2, 3, 16, 16)
    assert_same(ours(images), theirs.float()(pixel_values=images).image_embeds)


def test_loading_draws_no_random_number(tmp_path):
    save(tmp_path)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_vision_transformer(tmp_path)
    assert torch.equal(torch.rand(3), expected)


OTHER = {"num_attention_heads": 2, "hidden_act": "relu"}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"vision_config_dict": None},
        {"vision_config_dict": {}},
        {"vision_config_dict": OTHER},
        {"vision_config": None},
        {"vision_config": None, "vision_config_dict": OTHER},
    ],
)
def test_the_configuration_is_the_one_that_transformers_reads(tmp_path, change):
    whole = {"model_type": "clip", "vision_config": SHAPE}
    (tmp_path / "config.json").write_text(json.dumps(whole | change))
    theirs = CLIPConfig.from_pretrained(tmp_path).vision_config
    save_file({"none": torch.zeros(1)}, tmp_path / "model.safetensors")
    ours, _ = load_vision_transformer(tmp_path)
    expected = {name: getattr(theirs, name) for name in VisionConfig.model_fields}
    assert ours.config.model_dump() == expected


def test_one_file_of_weights_counts_before_the_shards_beside_it(tmp_path):
    save(tmp_path, max_shard_size="10KB")
    whole = CLIPVisionModelWithProjection.from_pretrained(tmp_path).state_dict()
    save_file({name: value + 0.1 for name, value in whole.items()}, tmp_path / "model.safetensors")
    theirs = CLIPVisionModelWithProjection.from_pretrained(tmp_path).eval()
    ours, missing = load_vision_transformer(tmp_path)
    images = torch.randn(2, 3, 16, 16)
    assert missing == []
    assert_same(ours(images), theirs(pixel_values=images).image_embeds)
