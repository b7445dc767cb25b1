"""What a Classifier says of images: class, calibrated confidence, concepts, and whether it rather abstains."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from glasshead.calibration.abstention import abstains
from glasshead.calibration.temperature import probabilities_at
from glasshead.device import computed_ahead, torch_threads
from glasshead.errors import ImageError
from glasshead.models.classifier import Classifier, as_images
from glasshead.serving.inputs import Given, name_of, read_image

LIKELY = 0.5  # the probability from which an image is said to have a label
AHEAD = 64  # predictions that may wait for those before them to be taken


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of one image, or why it cannot.

    Attributes:
        image: its path, with bytes that are not UTF-8 as escapes; "#3" for the fourth image where it has none.
        probabilities: calibrated, by class in their order; empty where the image cannot be used.
        concepts: of each concept, the calibrated probability of each value.
        labels: those of at least a half in probability, most probable first; None where classes exclude each other.
        abstain: whether the confidence is too low for the target error; None for a classifier that knows no threshold.
        explanation: the PNG that explains it, where one was asked for and could be drawn.
        error: why the image cannot be used; None where it can.
    """

    image: str
    probabilities: Mapping[str, float] = field(default_factory=dict)
    concepts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    abstain: bool | None = None
    explanation: str | None = None
    error: str | None = None

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the `count` most probable classes with their probabilities; of equals, the first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:count]

    @property
    def predicted(self) -> str | None:
        """The most probable class; None where the image cannot be used."""
        return next((name for name, _ in self.top(1)), None)

    @property
    def confidence(self) -> float | None:
        """The probability of the predicted class."""
        return next((value for _, value in self.top(1)), None)


def load(folder: str | os.PathLike[str]) -> "Predictor":
    """Return what predicts with the Classifier in `folder`, such as data/06_models/heads/calibrated.

    Raises ArtifactError where it is missing or damaged, BackboneError where its backbone cannot be had.
    """
    return Predictor(Classifier.load(Path(folder)))


class Predictor:
    """A Classifier that takes images as they come. On the CPU, one image at a time in each thread.

    So the same image gives the same numbers, to the bit, whatever is predicted beside it.
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

        One that cannot be used has an `error`. `explain` names a method; its PNGs go into `folder`.

        Raises ParameterError where the method is unknown or does not apply to this classifier.
        """
        return list(self.stream(images, explain, folder))

    def stream(
        self,
        images: Iterable[Given],
        explain: str | None = None,
        folder: str | os.PathLike[str] = "explanations",
    ) -> Iterator[Prediction]:
        """Yield what `predict` returns, in order, as it is computed."""
        if isinstance(images, str | os.PathLike | bytes | Image.Image):
            raise TypeError("images are given as a list, even a single one")
        if explain is not None:
            from glasshead.serving.explanations import check_method, write_explanation

            check_method(self.classifier, explain)
        with (
            torch_threads(1) as threads,
            closing(computed_ahead(self._see, enumerate(images), threads, AHEAD)) as seen,
        ):
            for prediction, pixels in seen:
                if explain is None or pixels is None:
                    yield prediction
                    continue
                path = write_explanation(
                    self.classifier, explain, pixels, prediction.probabilities, Path(folder)
                )
                yield replace(prediction, explanation=None if path is None else str(path))

    def _see(
        self, numbered: tuple[int, Given]
    ) -> tuple[Prediction, UInt8[Tensor, "1 3 h w"] | None]:
        index, source = numbered
        name = name_of(source, index)
        try:
            pixels = self.classifier.prepare([read_image(source)])
        except ImageError as error:
            return Prediction(name, error=str(error)), None
        return self._say(name, pixels), pixels

    def _say(self, name: str, pixels: UInt8[Tensor, "1 3 h w"]) -> Prediction:
        classifier = self.classifier
        with torch.inference_mode():
            logits, concept_logits = classifier.logits_and_concepts(as_images(pixels))
        probabilities = classifier.calibrated(logits.numpy())[0].tolist()
        limits = classifier.abstention
        prediction = Prediction(
            image=name,
            probabilities=dict(zip(classifier.classes, probabilities, strict=True)),
            concepts=self._concepts(concept_logits),
            abstain=None if limits is None else abstains(max(probabilities), limits),
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
