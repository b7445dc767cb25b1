"""Glass heads: a concept bottleneck on frozen CLIP embeddings.

A small MLP with softmax answers each subtask, and a meta-learner (label predictor in the literature) reads only the
probabilities of these answers.
After Koh et al. 2020, "Concept Bottleneck Models", arXiv:2007.04612.
"""

from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from glasshead.models.classifier import Classifier, Concept, concepts_of
from glasshead.models.clip import ImageEncoder, load_described_encoder


class Bottleneck(nn.Module):
    """Embeddings `(n, d)` → concept probabilities `(n, c)` → class logits `(n, k)`.

    Embeddings are standardised with the train split's mean and standard deviation, saved with the weights.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, dimension: int, widths: tuple[int, ...], classes: int, hidden: int, meta_hidden: int
    ) -> None:
        super().__init__()
        self.widths = widths
        self.shape = {
            "dimension": dimension,
            "widths": list(widths),
            "classes": classes,
            "hidden": hidden,
            "meta_hidden": meta_hidden,
        }
        self.heads = nn.ModuleList(_mlp(dimension, hidden, width) for width in widths)
        self.meta = _mlp(sum(widths), meta_hidden, classes)
        self.register_buffer("mean", torch.zeros(dimension))
        self.register_buffer("scale", torch.ones(dimension))

    def standardise_by(self, embeddings: Float[Tensor, "n d"]) -> None:
        """Standardise inputs by mean and standard deviation of `embeddings`."""
        self.mean.copy_(embeddings.mean(dim=0))
        self.scale.copy_(embeddings.std(dim=0, correction=0).clamp(min=1e-6))

    def concept_logits(self, embeddings: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Return the heads' logits side by side, in subtask order."""
        standard = (embeddings - self.mean) / self.scale
        return torch.cat([head(standard) for head in self.heads], dim=-1)

    def to_probabilities(self, concept_logits: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        """Return each subtask's softmax, side by side."""
        return torch.cat(
            [own.softmax(dim=-1) for own in concept_logits.split(self.widths, dim=-1)], dim=-1
        )

    def harden(self, concepts: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        """Return each subtask's largest entry as a one-hot code."""
        by_subtask = concepts.split(self.widths, dim=-1)
        codes = [nn.functional.one_hot(own.argmax(dim=-1), own.shape[-1]) for own in by_subtask]
        return torch.cat(codes, dim=-1).to(concepts.dtype)

    def forward(self, embeddings: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """Return class logits."""
        return self.meta(self.to_probabilities(self.concept_logits(embeddings)))


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class EncoderClassifier(Classifier):
    """A classifier with a trained part on a frozen CLIP image encoder; saved files give the encoder by name and hash.

    Attributes:
        trained: the name of the attribute that holds the trained part, whose `shape` goes into the settings.
    """

    trained: ClassVar[str]
    encoder: ImageEncoder

    @property
    def encoder_key(self) -> str:
        """The key of the encoder whose outputs the trained part reads."""
        return self.encoder.key

    @property
    def settings(self) -> dict[str, Any]:
        """What loading needs: backbone, output and key (a hash) of the encoder, and the shape of the trained part."""
        return {**self.encoder.named, self.trained: getattr(self, self.trained).shape}

    def own_state(self) -> dict[str, Tensor]:
        """Return the weights of the trained part alone."""
        weights = getattr(self, self.trained).state_dict()
        return {f"{self.trained}.{name}": value for name, value in weights.items()}

    def prepare(self, images: list[Image.Image]) -> UInt8[Tensor, "b 3 h w"]:
        """Resize and crop as the CLIP processor does."""
        return self.encoder.prepare(images)


class GlassHeads(EncoderClassifier):
    """A frozen CLIP image encoder and a bottleneck."""

    kind = "heads"
    trained = "bottleneck"

    def __init__(
        self,
        encoder: ImageEncoder,
        bottleneck: Bottleneck,
        classes: tuple[str, ...],
        concepts: tuple[Concept, ...],
        provenance: dict[str, Any],
    ) -> None:
        super().__init__(classes, encoder.input_size, provenance, concepts)
        self.encoder = encoder
        self.bottleneck = bottleneck

    @property
    def meta_learner(self) -> nn.Module:
        """The network from concept probabilities to class logits."""
        return self.bottleneck.meta

    @classmethod
    def from_settings(cls, settings: dict[str, Any], described: dict[str, Any]) -> Self:
        """Load the encoder that `settings` name and build the bottleneck; an encoder with another key is refused."""
        encoder = load_described_encoder(settings, "heads")
        shape = settings["bottleneck"]
        bottleneck = Bottleneck(**(shape | {"widths": tuple(shape["widths"])}))
        return cls(
            encoder,
            bottleneck,
            tuple(described["classes"]),
            concepts_of(described),
            described["provenance"],
        )

    def embed(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Return CLIP embeddings of images in [0, 1]."""
        return self.encoder(images)

    def transformer_layers(self) -> list[nn.Module]:
        """Return the layers of CLIP's vision transformer, first to last; none for other backbones."""
        return self.encoder.transformer_layers()

    def cam_layers(self) -> list[nn.Module]:
        """Return the stages of a convolutional backbone; ParameterError where the backbone is a transformer."""
        return self.encoder.cam_layers()

    def concept_logits(self, embeddings: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Return the subtasks' raw logits side by side, in the order of `concepts`."""
        return self.bottleneck.concept_logits(embeddings)

    def concept_probabilities(self, embeddings: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Return the subtasks' raw probabilities, which the meta-learner reads, in the order of `concepts`."""
        return self.bottleneck.to_probabilities(self.concept_logits(embeddings))

    def logits_from_concepts(self, concepts: Float[Tensor, "n c"]) -> Float[Tensor, "n k"]:
        """Return class logits for concept probabilities, whether predicted or set by hand."""
        return self.bottleneck.meta(concepts)

    def logits_and_concepts(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b c"]]:
        """Return class logits and the heads' logits, in one pass."""
        concepts = self.bottleneck.concept_logits(self.embed(images))
        return self.logits_from_concepts(self.bottleneck.to_probabilities(concepts)), concepts

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Return class logits: pixels → CLIP → concepts → classes."""
        return self.logits_from_concepts(self.concept_probabilities(self.embed(images)))
