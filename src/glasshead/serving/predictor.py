"""Predictions of a Classifier for images: class, calibrated confidence, concepts and abstention."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from glasshead.calibration.abstention import why_abstain
from glasshead.calibration.temperature import probabilities_at
from glasshead.device import computed_ahead, torch_threads
from glasshead.errors import ImageError
from glasshead.models.classifier import Classifier, as_images
from glasshead.serving.inputs import Given, name_of, read_image

LIKELY = 0.5  # the lowest probability of a label that is predicted
AHEAD = 64  # predictions that are computed before the caller asks for them


@dataclass(frozen=True)
class Prediction:
    """The prediction of a classifier for one image, or the reason why there is none.

    Attributes:
        image: its path, with bytes that are not UTF-8 as escapes; "#3" for the fourth image if it has no path.
        probabilities: the calibrated probability of each class, in the order of classes; empty if there is an error.
        concepts: for each concept, the calibrated probability of each value.
        labels: the labels with a probability of at least 0.5, most probable first; None if an image has one class.
        abstain: whether the confidence is too low for the target error; None if the classifier has no threshold.
        reason: why it abstains; None if it does not.
        explanation: the path of the PNG that explains the prediction; None if not asked for, or its map is not finite.
        error: why the image cannot be used; None if it can.
    """

    image: str
    probabilities: Mapping[str, float] = field(default_factory=dict)
    concepts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    abstain: bool | None = None
    reason: str | None = None
    explanation: str | None = None
    error: str | None = None

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the `count` most probable classes with their probabilities; ties keep the classes' order."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:count]

    @property
    def predicted(self) -> str | None:
        """The most probable class; None if the image cannot be used."""
        return next((name for name, _ in self.top(1)), None)

    @property
    def confidence(self) -> float | None:
        """The probability of the predicted class."""
        return next((value for _, value in self.top(1)), None)


def load(folder: str | os.PathLike[str]) -> "Predictor":
    """Return a Predictor for the Classifier in `folder`, such as data/06_models/heads/calibrated.

    Raises ArtifactError if the Classifier is missing or damaged, BackboneError if its backbone is not available.
    """
    return Predictor(Classifier.load(Path(folder)))


class Predictor:
    """Predicts images of any size with a Classifier, on the CPU, one image at a time in each thread.

    Thus a prediction does not depend on the other images, not even in its last bit.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier.eval()

    def predict(
        self,
        images: Iterable[Given],
        explain: str | None = None,
        folder: str | os.PathLike[str] = "explanations",
    ) -> list[Prediction]:
        """Return a prediction for each of `images`: paths, encoded bytes or Pillow images.

        The prediction for an image that cannot be used has an `error`. `explain` names an explanation method; its PNGs
        are written into `folder`.

        Raises ParameterError if the method is unknown or does not apply to this classifier.
        """
        return list(self.stream(images, explain, folder))

    def stream(
        self,
        images: Iterable[Given],
        explain: str | None = None,
        folder: str | os.PathLike[str] = "explanations",
    ) -> Iterator[Prediction]:
        """Yield the predictions of `predict` in order, as soon as they are computed."""
        if isinstance(images, str | os.PathLike | bytes | Image.Image):
            raise TypeError("Give a list of images, even for a single one.")
        if explain is not None:
            from glasshead.serving.explanations import check_method, write_explanation

            check_method(self.classifier, explain)
        with (
            torch_threads(1) as threads,
            closing(computed_ahead(self._predict, enumerate(images), threads, AHEAD)) as seen,
        ):
            for prediction, pixels in seen:
                if explain is None or pixels is None:
                    yield prediction
                    continue
                path = write_explanation(
                    self.classifier, explain, pixels, prediction.probabilities, Path(folder)
                )
                yield replace(prediction, explanation=None if path is None else str(path))

    def _predict(
        self, numbered: tuple[int, Given]
    ) -> tuple[Prediction, UInt8[Tensor, "1 3 h w"] | None]:
        index, source = numbered
        name = name_of(source, index)
        try:
            pixels = self.classifier.prepare([read_image(source)])
        except ImageError as error:
            return Prediction(name, error=str(error)), None
        return self._predict_pixels(name, pixels), pixels

    def _predict_pixels(self, name: str, pixels: UInt8[Tensor, "1 3 h w"]) -> Prediction:
        classifier = self.classifier
        with torch.inference_mode():
            logits, concept_logits = classifier.logits_and_concepts(as_images(pixels))
        probabilities = classifier.calibrated(logits.numpy())[0].tolist()
        limits = classifier.abstention
        reason = None if limits is None else why_abstain(max(probabilities), limits)
        prediction = Prediction(
            image=name,
            probabilities=dict(zip(classifier.classes, probabilities, strict=True)),
            concepts=self._concepts(concept_logits),
            abstain=None if limits is None else reason is not None,
            reason=reason,
        )
        if classifier.output == "softmax":
            return prediction
        likely = [label for label, p in prediction.top(len(probabilities)) if p >= LIKELY]
        return replace(prediction, labels=tuple(likely))

    def _concepts(self, logits: Tensor) -> dict[str, dict[str, float]]:
        concepts = self.classifier.concepts
        logits_by_concept = logits.split([len(concept.values) for concept in concepts], dim=1)
        probabilities_by_concept = {}
        for (name, values), own_logits in zip(concepts, logits_by_concept, strict=True):
            temperature = self.classifier.temperatures[name]
            probabilities = probabilities_at(own_logits.numpy(), temperature)[0].tolist()
            probabilities_by_concept[name] = dict(zip(values, probabilities, strict=True))
        return probabilities_by_concept
