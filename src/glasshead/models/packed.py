"""Linear layers with weights in the layout of the CPU's fastest kernels, in float32 or int8.

PyTorch sends `nn.Linear` on a CPU to MKL, which uses half the vector width of an AMD processor with AVX-512; oneDNN,
which PyTorch carries too, uses all of it. The float32 operator here is the one that torch.compile calls with frozen
weights (torch/_inductor/fx_passes/mkldnn_fusion.py). The int8 operator is that of PyTorch's dynamic quantisation, which
scales weights by output channel and activations by batch. docs/decisions/0004 holds the measurements.
"""

import copy
import logging
import math
import warnings
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from glasshead.errors import ParameterError
from glasshead.models.vision_transformer import Layer

logger = logging.getLogger(__name__)

Precision = Literal["float32", "int8", "bfloat16"]
SIGLIP_LAYER = "SiglipEncoderLayer"  # by name, as importing transformers' class takes seconds

# For each activation, what oneDNN computes after the product, as (name, algorithm), and the factor on the activation's
# input: OpenAI's quick GELU, x · sigmoid(1.702 x), is swish(1.702 x) / 1.702. The weights before the activation take
# the factor, those after the activation its inverse.
ACTIVATIONS = {
    "gelu": (("gelu", "none"), 1.0),
    "gelu_pytorch_tanh": (("gelu", "tanh"), 1.0),
    "quick_gelu": (("swish", ""), 1.702),
}


def is_available() -> bool:
    """Whether this PyTorch has oneDNN's packed linear operator."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def pack_if_it_runs(module: nn.Module, precision: Precision = "float32") -> nn.Module:
    """Return `pack(module)`, or `module` itself if it reads its layers' weights without calling the layers.

    A pass of one black image shows this, if `module` has an `input_size`. Raises ParameterError if int8 does not run.
    """
    packed = pack(module, precision)
    side = getattr(module, "input_size", None)
    if side is None or packed is module:
        return packed
    device = next(module.parameters()).device
    layout = torch.channels_last if is_convolutional(module) else torch.preserve_format
    try:
        with torch.inference_mode():
            packed(torch.zeros(1, 3, side, side, device=device).to(memory_format=layout))
    except Exception as error:  # of more than a thousand networks, each has its own
        return without_packed_layers(module, precision, error)
    return packed


def without_packed_layers(module: nn.Module, precision: Precision, error: Exception) -> nn.Module:
    """Return `module`, whose packed layers raised `error`, and log that; ParameterError for int8."""
    if precision == "int8":
        raise ParameterError(
            f"{type(module).__name__} cannot compute in int8: {error}. Set embed.precision to float32."
        ) from error
    logger.info("Without packed layers, which %s cannot use: %s", type(module).__name__, error)
    return module


def pack(module: nn.Module, precision: Precision = "float32") -> nn.Module:
    """Return a faster `module` for inference on a CPU; in float32, outputs differ only by rounding.

    `module` is unchanged and shares all but the packed weights with the result. Gradients do not flow. `precision` is
    float32 or int8. In int8, an output depends slightly on the other images of its batch, as activations are scaled by
    their common range.
    """
    linear = PackedLinear if precision == "float32" else Int8Linear
    if type(module) is nn.Linear and module.weight.dtype == torch.float32:
        return linear(module.weight, module.bias)
    if type(module) is nn.Conv2d and PackedPatches.fits(module):
        return PackedPatches(module)
    if isinstance(module, Layer) or type(module).__name__ == SIGLIP_LAYER:
        return PackedLayer(module, linear)
    children = {
        name: child if child is None else pack(child, precision)
        for name, child in module._modules.items()
    }
    if all(child is module._modules[name] for name, child in children.items()):
        return module
    packed = copy.copy(module)
    packed._modules = children
    if getattr(module, "reads_class_token_alone", False):
        *_, last = (layer for layer in packed.modules() if isinstance(layer, PackedLayer))
        last.first_token_alone = True
    return packed


def is_convolutional(module: nn.Module) -> bool:
    """Whether `module` has convolutions besides those over adjacent patches, which `pack` makes linear layers."""
    return any(
        isinstance(layer, nn.Conv2d) and not PackedPatches.fits(layer) for layer in module.modules()
    )


class PackedLinear(nn.Module):
    """activation(inputs · weightᵀ + bias) by oneDNN; `weight` (n, k) and `bias` (n,) float32."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, activation: tuple[str, str] = ("none", "")
    ) -> None:
        super().__init__()
        self.weight: Any = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
        self.bias = None if bias is None else bias.detach()
        self.activation = activation

    @torch.no_grad()
    def forward(self, inputs: Tensor, added: Tensor | None = None) -> Tensor:
        """Return outputs (..., n) of inputs (..., k), plus `added` (..., n); without `added`, after the activation."""
        if added is not None:
            return torch.ops.mkldnn._linear_pointwise.binary(
                inputs, added, self.weight, self.bias, "add"
            )
        name, algorithm = self.activation
        return torch.ops.mkldnn._linear_pointwise(
            inputs, self.weight, self.bias, name, [], algorithm
        )


class Int8Linear(nn.Module):
    """inputs · weightᵀ + bias with both factors in int8; `weight` (n, k) and `bias` (n,) are given in float32."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        weight = weight.detach()
        scales = weight.abs().amax(dim=1).clamp(min=1e-12).double() / 127
        zeros = torch.zeros(len(weight), dtype=torch.int64)
        with warnings.catch_warnings():  # PyTorch announces their removal, but 2.14 has them
            warnings.simplefilter("ignore")
            quantised = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        self.packed: Any = torch.ops.quantized.linear_prepack(
            quantised, None if bias is None else bias.detach()
        )

    @torch.no_grad()
    def forward(self, inputs: Tensor, added: Tensor | None = None) -> Tensor:
        """Return outputs (..., n) of inputs (..., k), plus `added` (..., n)."""
        # Activations get seven bits: without VNNI, products of eight-bit ones overflow the 16 bits they are added in.
        outputs: Tensor = torch.ops.quantized.linear_dynamic(inputs, self.packed, reduce_range=True)
        return outputs if added is None else outputs + added


class PackedLayer(nn.Module):
    """A transformer layer of CLIP or SigLIP, with one product for queries, keys and values, and fused residual sums.

    With `first_token_alone`, it computes only the first token (b, 1, d), the only one that CLIP reads from its last
    layer.
    """

    def __init__(self, layer: Any, linear: type[PackedLinear] | type[Int8Linear]) -> None:
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp
        self.heads, self.scale = attention.num_heads, attention.scale
        self.first_token_alone = False
        self.norm1, self.norm2 = layer.layer_norm1, layer.layer_norm2
        projections = attention.q_proj, attention.k_proj, attention.v_proj
        self.qkv = linear(
            torch.cat([projection.weight for projection in projections]),
            torch.cat([projection.bias for projection in projections]),
        )
        self.out = linear(attention.out_proj.weight, attention.out_proj.bias)
        first, second, name = mlp.fc1, mlp.fc2, mlp.config.hidden_act
        if linear is PackedLinear and name in ACTIVATIONS:
            kernel, factor = ACTIVATIONS[name]
            self.fc1: nn.Module = PackedLinear(first.weight * factor, first.bias * factor, kernel)
            self.fc2: nn.Module = linear(second.weight / factor, second.bias)
        else:
            self.fc1 = nn.Sequential(linear(first.weight, first.bias), mlp.activation_fn)
            self.fc2 = linear(second.weight, second.bias)

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None, **_: Any) -> Tensor:
        """Return the outputs (b, t, d) of tokens (b, t, d); (b, 1, d) with `first_token_alone`."""
        b, t, d = tokens.shape
        qkv = self.qkv(self.norm1(tokens)).view(b, t, 3, self.heads, d // self.heads)
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4)
        if self.first_token_alone:
            t, tokens, queries = 1, tokens[:, :1].contiguous(), queries[:, :, :1]
        mixed = scaled_dot_product_attention(
            queries, keys, values, attn_mask=attention_mask, scale=self.scale
        )
        tokens = self.out(mixed.transpose(1, 2).reshape(b, t, d), tokens)
        return self.fc2(self.fc1(self.norm2(tokens)), tokens)


class PackedPatches(nn.Module):
    """A convolution over adjacent patches, a vision transformer's first layer, computed by `PackedLinear`."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.height, self.width = convolution.weight.shape[2:]
        self.weight = convolution.weight  # transformers reads its dtype
        self.linear = PackedLinear(convolution.weight.flatten(1), convolution.bias)

    @staticmethod
    def fits(convolution: nn.Conv2d) -> bool:
        """Whether `convolution` is in float32 and its patches neither overlap nor reach over the edge."""
        return (
            tuple(convolution.stride) == tuple(convolution.kernel_size)
            and convolution.padding in ("valid", (0, 0))
            and convolution.groups == 1
            and tuple(convolution.dilation) == (1, 1)
            and convolution.weight.dtype == torch.float32
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the patch features (b, d, rows, columns) of images (b, c, h, w)."""
        b, c, h, w = images.shape
        rows, columns = h // self.height, w // self.width
        patches = images[:, :, : rows * self.height, : columns * self.width].reshape(
            b, c, rows, self.height, columns, self.width
        )
        outputs: Tensor = self.linear(patches.permute(0, 2, 4, 1, 3, 5).flatten(3))
        return outputs.permute(0, 3, 1, 2)


def _flops(inputs: tuple[int, ...], *_: Any, out_shape: tuple[int, ...], **__: Any) -> int:
    return 2 * math.prod(inputs) * out_shape[-1]


# For torch's FlopCounterMode, which does not know these operators.
FLOPS = {torch.ops.quantized.linear_dynamic: _flops}
if is_available():
    FLOPS[torch.ops.mkldnn._linear_pointwise] = _flops  # with and without an addition
