"""CLIP's vision transformer, Radford et al. 2021, arXiv:2103.00020, read from what `transformers` saved.

Its modules have the same names and give the same numbers as transformers' class. docs/decisions/0032 says why that
class is not imported.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, PositiveFloat, PositiveInt
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

PROJECTION = "visual_projection.weight"
# What reading raises: JSON of another form than expected (the first three), files, weights, their shapes.
DAMAGED = (AttributeError, KeyError, TypeError, OSError, ValueError, SafetensorError, RuntimeError)


class QuickGELU(nn.Module):
    """x · sigmoid(1.702 x), element by element."""

    def forward(self, values: Tensor) -> Tensor:
        """Return the activations, of the same shape."""
        return values * torch.sigmoid(1.702 * values)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_new": partial(nn.GELU, approximate="tanh"),
    "gelu_pytorch_tanh": partial(nn.GELU, approximate="tanh"),
    "quick_gelu": QuickGELU,
    "relu": nn.ReLU,
}


class VisionConfig(BaseModel, frozen=True):
    """The shape of the transformer; what a configuration leaves out has transformers' default."""

    hidden_size: PositiveInt = 768
    intermediate_size: PositiveInt = 3072
    num_hidden_layers: PositiveInt = 12
    num_attention_heads: PositiveInt = 12
    num_channels: PositiveInt = 3
    image_size: PositiveInt = 224
    patch_size: PositiveInt = 32
    hidden_act: Literal["gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu"] = (
        "quick_gelu"
    )
    layer_norm_eps: PositiveFloat = 1e-5

    @property
    def patches(self) -> int:
        """The number of patches of an image."""
        return (self.image_size // self.patch_size) ** 2


class Embeddings(nn.Module):
    """The class token and the projected patches, each with its position embedding added."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width, side = config.hidden_size, config.patch_size
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.patch_embedding = nn.Conv2d(config.num_channels, width, side, side, bias=False)
        positions = torch.empty(config.patches + 1, width)  # as random ones take seconds
        self.position_embedding = nn.Embedding.from_pretrained(positions, freeze=False)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b t d"]:
        """Return the tokens, the class token first."""
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        # With len(patches), an exported program would have a fixed batch size.
        first = self.class_embedding.expand(patches.shape[0], 1, -1)
        return torch.cat([first, patches], dim=1) + self.position_embedding.weight


class Attention(nn.Module):
    """Multi-head self-attention, by a fused kernel; with `shows_weights`, by explicit matrices that are returned."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.head_dim = width // self.num_heads
        self.scale = self.head_dim**-0.5
        self.shows_weights = False
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(
        self, tokens: Float[Tensor, "b t d"]
    ) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b heads t t"] | None]:
        """Return the mixed tokens, and the attention weights with `shows_weights`, else None."""
        queries, keys, values = (
            projection(tokens).unflatten(2, (self.num_heads, self.head_dim)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        if self.shows_weights:
            weights = (queries @ keys.transpose(2, 3) * self.scale).softmax(dim=-1)
            mixed = weights @ values
        else:
            weights = None
            mixed = F.scaled_dot_product_attention(queries, keys, values, scale=self.scale)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), weights


class MLP(nn.Module):
    """Two linear layers, applied to each token by itself."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.activation_fn = ACTIVATIONS[config.hidden_act]()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, tokens: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Return the tokens."""
        return self.fc2(self.activation_fn(self.fc1(tokens)))


class Layer(nn.Module):
    """Attention, then the MLP, each on normalised tokens and added to them."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = MLP(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, tokens: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Return the tokens."""
        tokens = tokens + self.self_attn(self.layer_norm1(tokens))[0]
        return tokens + self.mlp(self.layer_norm2(tokens))


class VisionTransformer(nn.Module):
    """A module from normalised images to tokens; `visual_projection`, if any, leads to the space shared with text."""

    def __init__(self, config: VisionConfig, projection_dim: int | None) -> None:
        super().__init__()
        width = config.hidden_size
        if width % config.num_attention_heads:
            raise ValueError(
                f"{width} features do not divide into {config.num_attention_heads} heads"
            )
        self.config = config
        self.projection_dim = projection_dim
        self.embeddings = Embeddings(config)
        # transformers misspells this name
        self.pre_layrnorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.post_layernorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        if projection_dim is not None:
            self.visual_projection = nn.Linear(width, projection_dim, bias=False)

    def states(
        self, pixels: Float[Tensor, "b 3 h w"], layers: int | None = None
    ) -> Iterator[Float[Tensor, "b t d"]]:
        """Yield the tokens before the first layer and after each layer of `[:layers]`: -1 leaves out the last."""
        tokens: Tensor = self.pre_layrnorm(self.embeddings(pixels))
        yield tokens
        for layer in list(self.layers)[:layers]:
            tokens = layer(tokens)
            yield tokens

    def tokens(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b t d"]:
        """Return the tokens after all layers."""
        return deque(self.states(pixels), maxlen=1).pop()

    def pooled(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Return the class token after all layers and the last norm."""
        return self.post_layernorm(self.tokens(pixels)[:, 0])

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b e"]:
        """Return the projected class token."""
        return self.visual_projection(self.pooled(pixels))


def load_vision_transformer(folder: Path) -> tuple[VisionTransformer, list[str]]:
    """Return the vision transformer of the CLIPModel or CLIPVisionModel in `folder`, and its missing weights.

    Float32, on the CPU. Raises one of `DAMAGED` where files are missing, damaged, or of another model.
    """
    config = VisionConfig.model_validate(_vision_settings(folder))
    weights = _own_weights(folder)
    projection = weights.get(PROJECTION)
    with torch.device("meta"):
        model = VisionTransformer(config, None if projection is None else len(projection))
    missing, _ = model.load_state_dict(weights, strict=False, assign=True)
    return model.eval(), sorted(missing)


def _vision_settings(folder: Path) -> Any:
    """Return the vision tower's part of the configuration in `folder`; an old `vision_config_dict` takes precedence."""
    whole: dict[str, Any] = json.loads((folder / "config.json").read_text())
    if whole.get("model_type") == "clip_vision_model":
        return whole
    old = whole.get("vision_config_dict")
    return (whole.get("vision_config") or {}) if old is None else old


def _own_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights in `folder`, from one file or else from the shards that an index lists, by our names."""
    names = {"model.safetensors"}
    if not (folder / "model.safetensors").is_file():
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        names = set(index["weight_map"].values())
    files = [load_file(folder / Path(name).name) for name in sorted(names)]
    return {
        name.removeprefix("vision_model.").removeprefix("encoder."): value.to(
            torch.float32, copy=True
        )
        for weights in files
        for name, value in weights.items()
        if not name.startswith("text_model.")
    }
