"""The risk auditor, a classifier that learns from image-level labels where in an image a risk is.

Frozen CLIP features of every place go through 1×1 convolutions to a map for each risk; pooling and a small MLP turn
each map into a logit. These are the class activation maps of Zhou et al. 2016, arXiv:1512.04150, with a choice of
poolings: top-k mean as in Durand et al. 2017, doi:10.1109/CVPR.2017.631, attention as in Ilse et al. 2018,
arXiv:1802.04712.
"""

from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from glasshead.models.clip import ImageEncoder, load_described_encoder
from glasshead.models.heads import EncoderClassifier

Pooling = Literal["average", "max", "top_k_mean", "attention"]
POOLINGS: tuple[Pooling, ...] = ("average", "max", "top_k_mean", "attention")
LEAK = 0.1  # slope of the MLP's leaky ReLU for inputs below 0


class RiskHeadParams(BaseModel, extra="forbid", frozen=True):
    """How a map becomes a logit, and how it is shown.

    Attributes:
        pooling: how the places of a map become one value.
        top_fraction: the fraction of places that top_k_mean uses.
        channels: hidden channels between features and activations; with 0, activations are linear in the features.
        hidden: units of the MLP from the pooled value to the logit.
        spread: steps of the random walk that spreads activations to similar places; with 0, maps are the activations.
        likeness: scale of similarity: in a step, a place counts e times less if its features' cosine is lower by this.
    """

    pooling: Pooling = "top_k_mean"
    top_fraction: float = Field(default=0.1, gt=0, le=1)
    channels: NonNegativeInt = 128
    hidden: PositiveInt = 16
    spread: NonNegativeInt = 3
    likeness: PositiveFloat = 0.5


class AsMap(nn.Module):
    """An encoder's spatial output as a map (b, d, h, w), from patch tokens or from a map.

    It is a module so that class activation maps can use its output.
    """

    def forward(self, features: Float[Tensor, "b ..."]) -> Float[Tensor, "b d h w"]:
        """Return the map; the patches of a transformer form a square grid."""
        return as_map(features)


def as_map(features: Float[Tensor, "b ..."]) -> Float[Tensor, "b d h w"]:
    """Return patch tokens (b, h w, d) as a map; a map (b, d, h, w) as it is."""
    if features.ndim == 4:
        return features
    side = round(features.shape[1] ** 0.5)
    return features.transpose(1, 2).unflatten(2, (side, side))


class MonotoneMLP(nn.Module):
    """1 → hidden → 1 for each risk, strictly increasing, so that higher values of a map always mean a higher risk.

    The weights' absolute values are used: with negative weights, a map could be low where the risk is.
    """

    def __init__(self, risks: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.empty(risks, hidden).uniform_(0.5, 1.5))
        # A vector, as weight decay acts on matrices.
        self.first_bias = nn.Parameter(torch.empty(risks * hidden).uniform_(-1, 1))
        self.second = nn.Parameter(torch.empty(risks, hidden).uniform_(0.5, 1.5) / hidden)
        self.second_bias = nn.Parameter(torch.zeros(risks))

    def forward(self, values: Float[Tensor, "... r"]) -> Float[Tensor, "... r"]:
        """Return the logit of each value."""
        kinks = self.first_bias.view_as(self.first)
        units = F.leaky_relu(values[..., None] * self.first.abs() + kinks, LEAK)
        return (units * self.second.abs()).sum(dim=-1) + self.second_bias


class RiskHead(nn.Module):
    """Features (b, d, h, w) → activations by place (b, r, h, w) → pooled values (b, r) → logits (b, r).

    A risk map is the activations, spread over similar places. Often only one part of an object tells images with the
    risk from those without; the object's other parts resemble that part more than the surroundings do.

    `narrowed` in [0, 1] says how far top_k_mean, max and `top` have narrowed: from all places (0) to the highest (1).

    Features are standardised with the train split's mean and standard deviation, which are saved with the weights.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, dimension: int, risks: int, params: RiskHeadParams) -> None:
        super().__init__()
        self.params = params
        self.narrowed = 1.0
        self.shape = {"dimension": dimension, "risks": risks, "params": params.model_dump()}
        self.to_channels = nn.Conv2d(dimension, params.channels, 1) if params.channels else None
        self.to_maps = nn.Conv2d(params.channels or dimension, risks, 1)
        self.to_attention = (
            nn.Conv2d(dimension, risks, 1) if params.pooling == "attention" else None
        )
        self.mlp = MonotoneMLP(risks, params.hidden)
        self.register_buffer("mean", torch.zeros(dimension))
        self.register_buffer("scale", torch.ones(dimension))

    def standardise_by(self, mean: Float[Tensor, " d"], scale: Float[Tensor, " d"]) -> None:
        """Standardise features by `mean` and standard deviation `scale`."""
        self.mean.copy_(mean)
        self.scale.copy_(scale.clamp(min=1e-6))

    def activations(self, features: Float[Tensor, "b d h w"]) -> Float[Tensor, "b r h w"]:
        """Return the unbounded values from which the logits are pooled."""
        if self.to_channels is None:
            return self._convolved(features, self.to_maps)
        return self.to_maps(F.gelu(self._convolved(features, self.to_channels)))

    def maps(self, features: Float[Tensor, "b d h w"]) -> Float[Tensor, "b r h w"]:
        """Return the risk maps, on the scale of the activations; see `place_logits` for what they mean."""
        return self.spread(self.activations(features), features)

    @torch.no_grad()
    def spread(
        self, activations: Float[Tensor, "b r h w"], features: Float[Tensor, "b d h w"]
    ) -> Float[Tensor, "b r h w"]:
        """Return the activations above each map's mean after a random walk between similar places.

        Ahn & Kwak 2018, arXiv:1803.10464, spread class activation maps in this way. Here, the transition probabilities
        come from standardised frozen features: softmax over places of cosine / likeness. As a walk draws all values to
        their mean, each map is stretched back to the activations' mean and to the activations' mean over the highest
        places that top_k_mean uses (for other poolings, their maximum). Pooling a map with `narrowed` = 1 thus gives
        its image's logit, except with attention, which reads the features.
        """
        if not self.params.spread:
            return activations
        standard = (features - self.mean[:, None, None]) / self.scale[:, None, None]
        places = F.normalize(standard.flatten(2), dim=1)
        walk = (places.transpose(1, 2) @ places / self.params.likeness).softmax(dim=2)
        before = activations.flatten(2).transpose(1, 2)
        mean = before.mean(dim=1, keepdim=True)
        total = before.shape[1]
        fraction = self.params.top_fraction if self.params.pooling == "top_k_mean" else 0.0
        # If all places counted, their mean would say nothing about the peak.
        count = _count(fraction, total) % total or 1
        height = before.topk(count, dim=1).values.mean(dim=1, keepdim=True) - mean
        after = (before - mean).relu()
        for _ in range(self.params.spread):
            after = walk @ after
        after = after - after.mean(dim=1, keepdim=True)
        gain = height / after.topk(count, dim=1).values.mean(dim=1, keepdim=True).clamp(min=1e-9)
        return (mean + gain * after).transpose(1, 2).reshape(activations.shape)

    def pooled(
        self, activations: Float[Tensor, "b r h w"], features: Float[Tensor, "b d h w"]
    ) -> Float[Tensor, "b r"]:
        """Return one value for each risk; only attention reads the features again."""
        flat = activations.flatten(2)
        match self.params.pooling:
            case "average":
                return flat.mean(dim=2)
            case "max":
                return self._highest(activations, 0.0).mean(dim=2)
            case "top_k_mean":
                return self.top(activations).mean(dim=2)
            case "attention":
                assert self.to_attention is not None
                weights = self._convolved(features, self.to_attention).flatten(2).softmax(dim=2)
                return (weights * flat).sum(dim=2)

    def top(self, activations: Float[Tensor, "b r h w"]) -> Float[Tensor, "b r k"]:
        """Return each image's highest activations, in falling order: `top_fraction` of the places, at least one."""
        return self._highest(activations, self.params.top_fraction)

    def place_logits(self, maps: Float[Tensor, "b r h w"]) -> Float[Tensor, "b r h w"]:
        """Return for each place the logit that an image would have if all its places had this place's value."""
        logits: Tensor = self.mlp(maps.movedim(1, -1))
        return logits.movedim(-1, 1)

    def forward(self, features: Float[Tensor, "b d h w"]) -> Float[Tensor, "b r"]:
        """Return the raw logits."""
        return self.logits_and_activations(features)[0]

    def logits_and_activations(
        self, features: Float[Tensor, "b d h w"]
    ) -> tuple[Float[Tensor, "b r"], Float[Tensor, "b r h w"]]:
        """Return raw logits and the activations that they come from."""
        activations = self.activations(features)
        logits: Tensor = self.mlp(self.pooled(activations, features))
        return logits, activations

    def _highest(self, activations: Tensor, fraction: float) -> Float[Tensor, "b r k"]:
        """Return the highest activations, in falling order: `fraction` of the places, at least one (see `narrowed`)."""
        flat = activations.flatten(2)
        return flat.topk(_count(fraction, flat.shape[2], self.narrowed), dim=2).values

    def _convolved(self, features: Tensor, convolution: nn.Conv2d) -> Tensor:
        """Return the 1×1 convolution of standardised features; scaling the weights instead avoids a copy of them."""
        weight = convolution.weight / self.scale[:, None, None]
        assert convolution.bias is not None
        shift = (weight[:, :, 0, 0] * self.mean).sum(dim=1)
        return F.conv2d(features, weight, convolution.bias - shift)


def _count(fraction: float, places: int, narrowed: float = 1.0) -> int:
    """Return how many of `places` a fraction is, at least one; all of them if `narrowed` is 0."""
    return max(1, round(max(fraction, 1 / places) ** narrowed * places))


class RiskAuditor(EncoderClassifier):
    """A frozen CLIP image encoder and a risk head.

    Its classes are the risks. An image may have several risks, and each risk has its own probability.
    """

    kind = "risk"
    trained = "head"
    output = "sigmoid"

    def __init__(
        self,
        encoder: ImageEncoder,
        head: RiskHead,
        risks: tuple[str, ...],
        provenance: dict[str, Any],
    ) -> None:
        super().__init__(risks, encoder.input_size, provenance)
        self.encoder = encoder
        self.as_map = AsMap()
        self.head = head

    @classmethod
    def from_settings(cls, settings: dict[str, Any], described: dict[str, Any]) -> Self:
        """Load the encoder that `settings` name and build the head; an encoder with another key is refused."""
        encoder = load_described_encoder(settings, "risk heads")
        shape = settings["head"]
        params = RiskHeadParams(**shape["params"])
        head = RiskHead(shape["dimension"], shape["risks"], params)
        return cls(encoder, head, tuple(described["classes"]), described["provenance"])

    def features(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d h w"]:
        """Return the frozen features of images in [0, 1]."""
        return self.as_map(self.encoder(images))

    def maps(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b r h w"]:
        """Return the risk maps of images in [0, 1], one value for each place of the features."""
        return self.head.maps(self.features(images))

    def place_logits(self, maps: Float[Tensor, "b r h w"]) -> Float[Tensor, "b r h w"]:
        """Return calibrated logits of risk maps, enlarged or not, place by place: see `RiskHead.place_logits`."""
        return self.head.place_logits(maps) / maps.new_tensor(
            list(self.temperatures.values())
        ).view(-1, 1, 1)

    def place_probabilities(self, maps: Float[Tensor, "b r h w"]) -> Float[Tensor, "b r h w"]:
        """Return for each place the P(risk) that an image would have if all its places had this place's value."""
        return torch.sigmoid(self.place_logits(maps))

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b r"]:
        """Return raw logits: pixels → CLIP → maps → risks."""
        return self.head(self.features(images))

    def cam_layers(self) -> list[nn.Module]:
        """Return the module whose output is the frozen features, for class activation maps on them."""
        return [self.as_map]
