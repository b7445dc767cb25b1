"""Why *wheels*? One concept of a bottleneck as a classifier of its own, for every method that explains images."""

from jaxtyping import Float
from torch import Tensor, nn

from glasshead.errors import ParameterError
from glasshead.explainers.concepts import subtask_columns
from glasshead.models.heads import GlassHeads


class ConceptLogits(nn.Module):
    """Images → the logits of one concept's answers: pixels → CLIP → the head of that subtask.

    Attributes:
        classes: the concept's answers in logit order.

    Raises ParameterError for a classifier without concepts, or one that lacks this one.
    """

    def __init__(self, classifier: nn.Module, concept: str) -> None:
        super().__init__()
        if not isinstance(classifier, GlassHeads):
            raise ParameterError(
                f"A {type(classifier).__name__} has no concepts to explain. Explain its classes instead."
            )
        names = [each.name for each in classifier.concepts]
        if concept not in names:
            raise ParameterError(
                f"The classifier has no concept {concept!r}. Choose one of {', '.join(names)}."
            )
        index = names.index(concept)
        self.classifier = classifier
        self.classes = classifier.concepts[index].values
        self._columns = list(subtask_columns(classifier.concepts)[index])

    def cam_layer(self) -> nn.Module:
        """Return the classifier's last convolutional map."""
        return self.classifier.cam_layer()

    def transformer_layers(self) -> list[nn.Module]:
        """Return the classifier's transformer layers."""
        return self.classifier.transformer_layers()

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b v"]:
        """Return the raw logits of the concept's answers."""
        embeddings = self.classifier.embed(images)
        return self.classifier.bottleneck.concept_logits(embeddings)[:, self._columns]
