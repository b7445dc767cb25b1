"""`cifar10`: CIFAR-10 through torchvision, every file checked against its MD5 before it is unpickled."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from glasshead.errors import SourceError
from glasshead.images.sources.base import Source, SourceParams, plain_record
from glasshead.images.table import Record

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10


class CIFAR10Params(SourceParams, frozen=True):
    """`folder` holds cifar-10-batches-py; if it does not, and `download` is true, it is downloaded (170 MB)."""

    folder: Path = Path("data/01_raw")
    download: bool = True

    def open(self, seed: int) -> Source:
        """Return CIFAR-10 in torchvision's order; raises SourceError if files are missing or damaged."""
        from torchvision.datasets import CIFAR10

        batches = self.folder / CIFAR10.base_folder
        if not batches.is_dir():
            if not self.download:
                raise SourceError(
                    f"CIFAR-10 is not in {self.folder}. Unpack {CIFAR10.filename} there, so that {batches} exists, "
                    "or set ingest.cifar10.download=true."
                )
            _download(self.folder)
        if damaged := _damaged(batches):
            raise SourceError(
                f"CIFAR-10 in {batches} is damaged: {'; '.join(damaged)}. Delete that folder and run again."
            )
        folder = str(self.folder)
        splits = {"train": CIFAR10(folder, train=True), "test": CIFAR10(folder, train=False)}
        total = sum(map(len, splits.values()))
        return Source(tuple(splits["train"].classes), _records(splits), total=total)


def _records(splits: dict[str, "CIFAR10"]) -> Iterator[Record]:
    for split, data in splits.items():
        for position, (pixels, target) in enumerate(zip(data.data, data.targets, strict=True)):
            buffer = io.BytesIO()
            # Without compression: splits depend on the hash of these bytes, and zlib's versions compress differently.
            Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
            image_id, label = f"{split}/{position:06d}", data.classes[target]
            yield plain_record(image_id, buffer.getvalue(), label, split)


def _download(folder: Path) -> None:
    """Download, check and unpack CIFAR-10 in a temporary folder, then move it into place; retry once on a wrong MD5."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import calculate_md5

    folder.mkdir(parents=True, exist_ok=True)
    problem = ""
    for _ in range(2):
        with tempfile.TemporaryDirectory(prefix=".cifar10-", dir=folder) as staging:
            archive = Path(staging, CIFAR10.filename)
            try:
                CIFAR10(staging, download=True)
                Path(staging, CIFAR10.base_folder).rename(folder / CIFAR10.base_folder)
                return
            except OSError as error:
                raise SourceError(
                    f"CIFAR-10 cannot be downloaded from {CIFAR10.url} ({error}). Without a network, unpack "
                    f"{CIFAR10.filename} into {folder} and run again, or choose another ingest.source."
                ) from error
            except RuntimeError:  # which torchvision raises for a wrong MD5
                problem = f"MD5 {calculate_md5(archive)} instead of {CIFAR10.tgz_md5}"
    raise SourceError(
        f"{CIFAR10.url} gave a wrong or incomplete archive twice: {problem}. It was deleted. Run again "
        f"later, or unpack another copy of {CIFAR10.filename} into {folder}."
    )


def _damaged(batches: Path) -> list[str]:
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import calculate_md5

    meta = CIFAR10.meta["filename"], CIFAR10.meta["md5"]
    problems = []
    for name, expected in [*CIFAR10.train_list, *CIFAR10.test_list, meta]:
        actual = calculate_md5(batches / name) if (batches / name).is_file() else "none"
        if actual != expected:
            problems.append(f"{name} has MD5 {actual}, expected {expected}")
    return problems
