"""Kedro datasets for models: Classifiers, the checkpoints of their trainings, and nano-clip."""

from typing import TYPE_CHECKING, Any

from glasshead.datasets.paths import ModelDataset, StoreDataset
from glasshead.errors import ArtifactError

if TYPE_CHECKING:  # torch and transformers take seconds to import
    from glasshead.models.classifier import Classifier
    from glasshead.models.nano_clip import NanoClip
    from glasshead.models.store import ClassifierStore, VariantStore
    from glasshead.training.checkpoint import CheckpointFolder


class ClassifierDataset(ModelDataset["Classifier"]):
    """A Classifier in the folder `filepath`; ArtifactError if it is missing or damaged."""

    def load(self) -> "Classifier":
        """Return the Classifier, in evaluation mode."""
        from glasshead.models.classifier import Classifier

        return Classifier.load(self._filepath)

    def _exists(self) -> bool:
        return (self._filepath / "classifier.json").is_file()


class ClassifierStoreDataset(StoreDataset["ClassifierStore"]):
    """The Classifiers under the folder `filepath` by name, each in the subfolder `part` of its own folder."""

    def __init__(
        self, *, filepath: str, part: str = "", metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self._part = part

    def load(self) -> "ClassifierStore":
        """Return the store; no Classifier is read yet."""
        from glasshead.models.store import ClassifierStore

        return ClassifierStore(self._filepath, self._part)

    def _describe(self) -> dict[str, Any]:
        return super()._describe() | {"part": self._part}


class VariantStoreDataset(ClassifierStoreDataset):
    """The Classifiers of a comparison; the store reports each variant's results as soon as they exist."""

    def load(self) -> "VariantStore":
        """Return the store; no Classifier is read yet."""
        from glasshead.models.store import VariantStore

        return VariantStore(self._filepath, self._part)


class CheckpointsDataset(StoreDataset["CheckpointFolder"]):
    """The checkpoints of a training in the folder `filepath`; the training loop writes them, epoch by epoch."""

    def load(self) -> "CheckpointFolder":
        """Return the folder of checkpoints; nothing is read yet."""
        from glasshead.training.checkpoint import CheckpointFolder

        return CheckpointFolder(self._filepath)

    def parts(self) -> frozenset[str]:
        """Return no names: a trained network needs its checkpoints no more."""
        return frozenset()


class NanoClipDataset(ModelDataset["NanoClip"]):
    """Model, tokenizer and processor in the folder `filepath`, in the layout of a hub repository.

    Raises ArtifactError if they are missing or damaged.
    """

    def load(self) -> "NanoClip":
        """Return the model in evaluation mode with its tokenizer and processor."""
        from glasshead.models.nano_clip import NanoClip

        if not self._exists():  # transformers would look for a model of this name on the hub
            raise ArtifactError(
                f"There is no nano-clip in {self._filepath}. Run `kedro run --pipelines=pretrain`."
            )
        try:
            return NanoClip.load(self._filepath)
        except Exception as error:  # on damaged files, transformers raises almost anything
            raise ArtifactError(
                f"The nano-clip in {self._filepath} is damaged ({error}). Delete the folder and run "
                "`kedro run --pipelines=pretrain`."
            ) from error

    def _exists(self) -> bool:
        return (self._filepath / "config.json").is_file()
