"""One concept of a bottleneck as a classifier, so that every pixel method can explain its answers."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from glasshead.errors import ParameterError
from glasshead.explainers.concepts import subtask_columns


class ConceptLogits(nn.Module):
    """Images → the logits of one concept's answers: pixels → CLIP → the head of that subtask.

    Attributes:
        classes: the concept's answers in logit order.

    Raises ParameterError for a classifier without concepts, or one that lacks this one.
    """

    def __init__(self, classifier: nn.Module, concept: str) -> None:
        super().__init__()
        concepts = getattr(classifier, "concepts", ())
        if not concepts:
            raise ParameterError(
                f"A {type(classifier).__name__} has no concepts to explain. Explain its classes instead."
            )
        names = [known.name for known in concepts]
        if concept not in names:
            raise ParameterError(
                f"The classifier has no concept {concept!r}. Choose one of {', '.join(names)}."
            )
        index = names.index(concept)
        self.classifier: Any = classifier
        self.classes: tuple[str, ...] = concepts[index].values
        self._columns = list(subtask_columns(concepts)[index])

    def cam_layer(self) -> nn.Module:
        """Return the classifier's last convolutional map."""
        layer: nn.Module = self.classifier.cam_layer()
        return layer

    def transformer_layers(self) -> list[nn.Module]:
        """Return the classifier's transformer layers, if it has any."""
        layers: list[nn.Module] = getattr(self.classifier, "transformer_layers", list)()
        return layers

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b v"]:
        """Return the raw logits of the concept's answers."""
        logits: Tensor = self.classifier.concept_logits(self.classifier.embed(images))
        return logits[:, self._columns]
