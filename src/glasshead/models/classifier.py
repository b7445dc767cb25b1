"""The base type of all classifiers: images → logits, with calibration, abstention and provenance."""

import copy
import hashlib
import json
import pkgutil
from abc import abstractmethod
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from glasshead import models
from glasshead.calibration.abstention import Abstention
from glasshead.calibration.temperature import FINAL, Output, probabilities_at
from glasshead.errors import ArtifactError

# what can be computed of a classifier: only its outputs for known images, outputs for any image, gradients too
Access = Literal["table", "forward", "gradient"]
FORMAT = 2  # of classifier.json; increase it when older files can no longer be read


class Concept(NamedTuple):
    """A named question and its answers in column order."""

    name: str
    values: tuple[str, ...]


class Classifier(nn.Module):
    """Base of every classifier. A subclass has a `kind`, is built from `settings`, prepares images, computes logits.

    Attributes:
        classes: class names in logit order.
        input_size: side of the square input in pixels.
        access: what can be computed, see `Access`.
        output: `softmax` if each image has one class, `sigmoid` if each class is a label that an image may have.
        concepts: the subtasks of a bottleneck; empty for other kinds.
        temperatures: T > 0 by name. `probabilities` divides class logits by `final`. Each concept has one for its
            reported probabilities; the meta-learner reads uncalibrated ones. A sigmoid output has one for each class.
        abstention: when predictions abstain; None if no threshold was fitted.
        provenance: data digest, backbone, code version, seed.
    """

    kind: ClassVar[str]
    access: Access = "gradient"
    output: Output = "softmax"

    def __init__(
        self,
        classes: tuple[str, ...],
        input_size: int,
        provenance: dict[str, Any],
        concepts: tuple[Concept, ...] = (),
    ) -> None:
        super().__init__()
        self.classes = classes
        self.input_size = input_size
        self.provenance = provenance
        self.concepts = concepts
        named = [FINAL, *(c.name for c in concepts)] if self.output == "softmax" else classes
        self.temperatures = dict.fromkeys(named, 1.0)
        self.abstention: Abstention | None = None

    @abstractmethod
    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Return raw logits of RGB images in [0, 1] at the input size; the classifier normalises them itself."""

    @abstractmethod
    def prepare(self, images: list[Image.Image]) -> UInt8[Tensor, "b 3 h w"]:
        """Bring RGB images of any size to the input size; values 0 to 255."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The settings, as JSON values, from which `from_settings` builds the same architecture."""

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: dict[str, Any], described: dict[str, Any]) -> Self:
        """Build the architecture; the weights are loaded afterwards."""

    def own_state(self) -> dict[str, Tensor]:
        """Return the weights to save; a frozen backbone is left out and named in `settings`."""
        return self.state_dict()

    @property
    def temperature(self) -> float:
        """The temperature T > 0 of the class logits; for softmax outputs only."""
        return self.temperatures[FINAL]

    def probabilities(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Return calibrated probabilities: softmax(logits / T), or sigmoid(logit / T) of each class."""
        logits: Tensor = self(images)
        if self.output == "sigmoid":
            return torch.sigmoid(logits / logits.new_tensor(list(self.temperatures.values())))
        return (logits / self.temperature).softmax(dim=-1)

    def calibrated(self, logits: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """Return the calibrated probabilities of raw logits, in float64."""
        if self.output == "softmax":
            return probabilities_at(logits, self.temperature)
        columns = [
            probabilities_at(np.stack([np.zeros_like(column), column], axis=1), temperature)[:, 1]
            for column, temperature in zip(logits.T, self.temperatures.values(), strict=True)
        ]
        return np.stack(columns, axis=1)

    def attacked_logits(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Return the logits whose gradient an adversary follows, by default the raw ones."""
        return self(images)

    def logits_and_concepts(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b c"]]:
        """Return raw class logits, and raw logits of all concepts' values side by side; c is 0 without concepts."""
        logits: Tensor = self(images)
        return logits, logits.new_zeros(len(images), 0)

    def with_temperatures(self, temperatures: dict[str, float]) -> Self:
        """Return a copy that uses these temperatures."""
        other = copy.copy(self)
        other.temperatures = {name: float(temperatures[name]) for name in self.temperatures}
        return other

    def with_abstention(self, abstention: Abstention | None) -> Self:
        """Return a copy whose predictions abstain as `abstention` says."""
        other = copy.copy(self)
        other.abstention = abstention
        return other

    def describe(self) -> dict[str, Any]:
        """Return everything but the weights, as JSON values for `from_description`."""
        return {
            "kind": self.kind,
            "classes": self.classes,
            "input_size": self.input_size,
            "output": self.output,
            "temperatures": self.temperatures,
            "concepts": [[concept.name, concept.values] for concept in self.concepts],
            "abstention": self.abstention,
            "provenance": self.provenance,
            "settings": self.settings,
        }

    @staticmethod
    def from_description(described: dict[str, Any]) -> "Classifier":
        """Build a classifier, without weights, from what `describe` returned. LookupError if its kind is unknown."""
        classifier = class_of(described["kind"]).from_settings(described["settings"], described)
        return classifier.with_temperatures(described["temperatures"]).with_abstention(
            described["abstention"]
        )

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` and `classifier.json` into `folder`, which is created."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = self._weights()
        described = {
            "format": FORMAT,
            **self.describe(),
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
        }
        (folder / "model.safetensors").write_bytes(weights)
        (folder / "classifier.json").write_text(json.dumps(described, indent=2) + "\n")

    def weights_digest(self) -> str:
        """Return the SHA-256 of the weights that `save` writes, as in classifier.json."""
        return hashlib.sha256(self._weights()).hexdigest()

    def training_id(self) -> str:
        """Return the training's id: the SHA-256 of weights, data and settings, which calibration does not change."""
        described = self.describe() | {"temperatures": None, "abstention": None}
        identity = json.dumps([described, self.weights_digest()], sort_keys=True)
        return hashlib.sha256(identity.encode()).hexdigest()

    def _weights(self) -> bytes:
        return save({name: value.contiguous() for name, value in self.own_state().items()})

    @staticmethod
    def load(folder: Path) -> "Classifier":
        """Return the classifier in `folder`, in evaluation mode.

        Raises:
            ArtifactError: files are missing or damaged, or the kind is unknown.
            BackboneError: its backbone is not available.
        """
        try:
            described = json.loads((folder / "classifier.json").read_text())
            if described["format"] != FORMAT:
                raise ArtifactError(
                    f"{folder / 'classifier.json'} has format {described['format']!r}; this version of glasshead reads "
                    f"{FORMAT}. Train the classifier again, or use the version that wrote it."
                )
            weights = (folder / "model.safetensors").read_bytes()
            if hashlib.sha256(weights).hexdigest() != described["weights_sha256"]:
                raise ArtifactError(
                    f"{folder / 'model.safetensors'} is not the file that classifier.json describes. Delete the folder "
                    "and run the classifier's pipeline, such as `kedro run --pipelines=heads`."
                )
            classifier = Classifier.from_description(described)
            missing, unexpected = classifier.load_state_dict(load(weights), strict=False)
        except FileNotFoundError as error:
            raise ArtifactError(
                f"{folder} holds no Classifier: {error.filename} is missing. Run the classifier's pipeline, "
                "such as `kedro run --pipelines=heads`."
            ) from error
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            RuntimeError,
            SafetensorError,
        ) as error:
            raise ArtifactError(
                f"The Classifier in {folder} is damaged ({error!r}). Delete the folder and run the classifier's "
                "pipeline, such as `kedro run --pipelines=heads`."
            ) from error
        if unexpected or set(missing) & set(classifier.own_state()):
            raise ArtifactError(
                f"The weights in {folder} do not fit the settings in classifier.json: missing or unexpected are "
                f"{[*missing, *unexpected][:3]}. Delete the folder and run the "
                "classifier's pipeline, such as `kedro run --pipelines=heads`."
            )
        return classifier.eval()


def access_of(module: nn.Module) -> Access:
    """Return the access level of a Classifier; of a plain module from images to logits, everything can be computed."""
    return module.access if isinstance(module, Classifier) else "gradient"


def class_of(kind: str) -> type[Classifier]:
    """Return the subclass of Classifier for `kind`, from the module of `glasshead.models` with the same name.

    Raises LookupError if there is none.
    """
    if kind in {module.name for module in pkgutil.iter_modules(models.__path__)}:
        members = vars(import_module(f"{models.__name__}.{kind}")).values()
        classes = (member for member in members if isinstance(member, type))
        for candidate in classes:
            if issubclass(candidate, Classifier) and vars(candidate).get("kind") == kind:
                return candidate
    raise LookupError(f"there is no kind of classifier called {kind!r}")


def concepts_of(described: dict[str, Any]) -> tuple[Concept, ...]:
    """Return the concepts in a `classifier.json`."""
    return tuple(Concept(name, tuple(values)) for name, values in described["concepts"])


def as_images(pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Return pixels from 0 to 255 as images in [0, 1], the scale a Classifier reads."""
    return pixels.to(torch.float32) / 255
