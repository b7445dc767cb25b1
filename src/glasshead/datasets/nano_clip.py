"""Kedro dataset for nano-clip: a folder in the layout of a hub repository, replaced as a whole."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from glasshead.errors import ArtifactError
from glasshead.files import replace_folder

if TYPE_CHECKING:  # transformers takes seconds to import
    from glasshead.models.nano_clip import NanoClip


class NanoClipDataset(AbstractDataset["NanoClip", "NanoClip"]):
    """Model, tokenizer and processor in the folder `filepath`; ArtifactError where they are missing or damaged."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: "NanoClip") -> None:
        """Write all files to a new folder, then swap it for the old one."""
        with replace_folder(self._filepath) as temporary:
            data.save(temporary)

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

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
