"""The Kedro dataset of a training's checkpoints."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

if TYPE_CHECKING:  # torch takes seconds to import
    from glasshead.training.checkpoint import CheckpointFolder


class CheckpointsDataset(AbstractDataset[Any, "CheckpointFolder"]):
    """Hands out the checkpoints in the folder `filepath`; the training loop writes them, epoch by epoch."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> "CheckpointFolder":
        """Return the folder; nothing is read or created yet."""
        from glasshead.training.checkpoint import CheckpointFolder

        return CheckpointFolder(self._filepath)

    def save(self, data: Any) -> NoReturn:
        """Raise DatasetError: nothing but the training loop writes checkpoints."""
        raise DatasetError(
            f"The checkpoints in {self._filepath} are written while training, not saved."
        )

    def _exists(self) -> bool:
        return self._filepath.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
