"""Linear layers whose weights lie as the CPU's fastest float32 kernel wants them.

PyTorch sends `nn.Linear` on a CPU to MKL, which uses half the vector width of an AMD processor with AVX-512; oneDNN,
which PyTorch carries too, uses all of it. Its operator is the one that torch.compile calls with frozen weights
(torch/_inductor/mkldnn_lowerings.py); docs/decisions/0005 holds the measurements.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.clip.modeling_clip import CLIPMLP
from transformers.models.siglip.modeling_siglip import SiglipMLP

# What oneDNN computes after the product, as (name, algorithm), and the factor on its input.
ACTIVATIONS = {
    "gelu": (("gelu", "none"), 1.0),
    "gelu_pytorch_tanh": (("gelu", "tanh"), 1.0),
    "quick_gelu": (("swish", ""), 1.702),
}


def _linear_flops(inputs: tuple[int, ...], weight: tuple[int, ...], *_: Any, **__: Any) -> int:
    return 2 * math.prod(inputs) * weight[0]


FLOPS = {torch.ops.mkldnn._linear_pointwise: _linear_flops}  # for torch's FlopCounterMode


def is_available() -> bool:
    """Whether this PyTorch has oneDNN's packed linear operator."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def pack(module: nn.Module) -> nn.Module:
    """Return `module` for inference on a CPU in float32: the same numbers but for rounding, faster.

    `module` itself stays as it is, and shares all but the packed weights with what is returned. Gradients do not flow.
    """
    if type(module) is nn.Linear and module.weight.dtype == torch.float32:
        return PackedLinear(module.weight, module.bias)
    if type(module) is nn.Conv2d and PackedPatches.fits(module):
        return PackedPatches(module)
    children = {
        name: child if child is None else pack(child) for name, child in module._modules.items()
    }
    if all(child is module._modules[name] for name, child in children.items()):
        return module
    packed = copy.copy(module)
    packed._modules = children
    activation = getattr(getattr(module, "config", None), "hidden_act", None)
    if isinstance(module, CLIPMLP | SiglipMLP) and activation in ACTIVATIONS:
        # x · sigmoid(a x), OpenAI's quick GELU with a = 1.702, is swish(a x) / a: the factor goes into the weights.
        kernel, factor = ACTIVATIONS[activation]
        first, second = module.fc1, module.fc2
        packed._modules["fc1"] = PackedLinear(first.weight * factor, first.bias * factor, kernel)
        packed._modules["fc2"] = PackedLinear(second.weight / factor, second.bias)
        packed._modules["activation_fn"] = nn.Identity()
    return packed


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
    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs (..., n) of inputs (..., k)."""
        name, algorithm = self.activation
        outputs: Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs, self.weight, self.bias, name, [], algorithm
        )
        return outputs


class PackedPatches(nn.Module):
    """A convolution of patches side by side, as a vision transformer begins with, by `PackedLinear`."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.height, self.width = convolution.weight.shape[2:]
        self.weight = convolution.weight  # whose dtype transformers asks for
        self.linear = PackedLinear(convolution.weight.flatten(1), convolution.bias)

    @staticmethod
    def fits(convolution: nn.Conv2d) -> bool:
        """Whether the patches of `convolution` neither overlap nor reach over the edge, in float32."""
        return (
            tuple(convolution.stride) == tuple(convolution.kernel_size)
            and convolution.padding in ("valid", (0, 0))
            and convolution.groups == 1
            and tuple(convolution.dilation) == (1, 1)
            and convolution.weight.dtype == torch.float32
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return (b, d, rows, columns) of images (b, c, h, w)."""
        b, c, h, w = images.shape
        rows, columns = h // self.height, w // self.width
        patches = images[:, :, : rows * self.height, : columns * self.width].reshape(
            b, c, rows, self.height, columns, self.width
        )
        outputs: Tensor = self.linear(patches.permute(0, 2, 4, 1, 3, 5).flatten(3))
        return outputs.permute(0, 3, 1, 2)
