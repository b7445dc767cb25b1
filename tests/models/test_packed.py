"""Packed layers give the numbers of the layers they stand for."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.siglip import SiglipVisionConfig, SiglipVisionModel

from glasshead.models import packed
from glasshead.models.backbone import BackboneParams
from glasshead.models.clip import load_encoder
from glasshead.models.packed import FLOPS, Int8Linear, PackedLinear, PackedPatches, pack
from glasshead.models.vision_transformer import VisionConfig, VisionTransformer

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def clip(activation: str) -> nn.Module:
    torch.manual_seed(0)
    return spread(VisionTransformer(VisionConfig(**SMALL, hidden_act=activation), 24))


def siglip() -> nn.Module:
    torch.manual_seed(0)
    return spread(SiglipVisionModel(SiglipVisionConfig(**SMALL)))


def spread(model: nn.Module) -> nn.Module:
    """Return the model with weights far enough from 0 for activations to bend."""
    for parameter in model.parameters():
        parameter.data = torch.randn_like(parameter) * 0.3
    return model.eval()


@torch.inference_mode()
def output(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    out = model(images)
    return out if isinstance(out, torch.Tensor) else out.pooler_output


def test_this_pytorch_has_the_operator():
    """It is private: a PyTorch without it must be noticed here, not as a slower engine."""
    assert packed.is_available()


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu", "gelu_pytorch_tanh", "relu"])
def test_a_clip_tower_gives_the_same_numbers(activation):
    model, images = clip(activation), torch.randn(5, 3, 32, 32)
    fast = pack(model)
    assert any(isinstance(module, PackedLinear) for module in fast.modules())
    assert any(isinstance(module, PackedPatches) for module in fast.modules())
    torch.testing.assert_close(output(fast, images), output(model, images), rtol=1e-4, atol=1e-4)


def test_a_siglip_tower_gives_the_same_numbers():
    model, images = siglip(), torch.randn(5, 3, 32, 32)
    torch.testing.assert_close(
        output(pack(model), images), output(model, images), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_class_token_alone_is_the_same_and_costs_less(precision):
    class Whole(nn.Module):
        reads_class_token_alone = False

        def __init__(self):
            super().__init__()
            self.vision = clip("quick_gelu")

        def forward(self, images):
            return self.vision(images)

    class Alone(Whole):
        reads_class_token_alone = True

    images, outputs, operations = torch.randn(5, 3, 32, 32), [], []
    for kind in (Whole, Alone):
        with (
            torch.inference_mode(),
            FlopCounterMode(display=False, custom_mapping=FLOPS) as counter,
        ):
            outputs.append(pack(kind(), precision)(images))
        operations.append(counter.get_total_flops())
    whole, alone = outputs
    if precision == "float32":
        torch.testing.assert_close(alone, whole, rtol=1e-5, atol=1e-5)
    assert torch.cosine_similarity(alone, whole).min() > 0.99
    rows, d, wide = (
        5 * 16,
        SMALL["hidden_size"],
        SMALL["intermediate_size"],
    )  # all tokens but the first
    assert operations[0] - operations[1] == 2 * rows * (d * d + 2 * d * wide)


@pytest.mark.parametrize("output", ["projected", "pooled", "spatial", "attention_inputs"])
def test_every_output_of_nano_clip_is_that_of_the_plain_encoder(output):
    encoder = load_encoder(BackboneParams(), output)
    images = torch.rand(3, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(pack(encoder)(images), encoder(images), rtol=1e-4, atol=1e-4)


def test_the_model_itself_stays_as_it_was():
    model, images = clip("quick_gelu"), torch.randn(2, 3, 32, 32)
    before, kinds = output(model, images), [type(module) for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    output(pack(model), images)
    assert [type(module) for module in model.modules()] == kinds
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(output(model, images), before)


def test_what_holds_nothing_to_pack_is_returned_itself():
    module = nn.Sequential(nn.ReLU(), nn.LayerNorm(3))
    assert pack(module) is module


@pytest.mark.parametrize(
    "changes", [{"stride": 2}, {"padding": 1}, {"groups": 3, "out_channels": 6}, {"dilation": 2}]
)
def test_other_convolutions_are_left_alone(changes):
    convolution = nn.Conv2d(
        **({"in_channels": 3, "out_channels": 4, "kernel_size": 4, "stride": 4} | changes)
    )
    assert pack(convolution) is convolution


@pytest.mark.parametrize("side", [32, 35])
def test_patches_are_those_of_the_convolution(side):
    convolution = nn.Conv2d(3, 7, kernel_size=(8, 4), stride=(8, 4))
    images = torch.randn(2, 3, side, side)
    torch.testing.assert_close(pack(convolution)(images), convolution(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_int8_is_near(bias):
    linear, inputs = nn.Linear(64, 32, bias=bias), torch.randn(100, 64)
    with torch.no_grad():
        near, exact = pack(linear, "int8")(inputs), linear(inputs)
    assert isinstance(pack(linear, "int8"), Int8Linear)
    assert 0.999 < torch.cosine_similarity(near, exact).min() < 1 - 1e-9


def test_operations_are_counted_as_those_of_plain_layers():
    model, images = clip("gelu"), torch.randn(3, 3, 32, 32)
    counts = []
    for version in (model, pack(model)):
        with FlopCounterMode(display=False, custom_mapping=FLOPS) as counter:
            output(version, images)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 1e6
