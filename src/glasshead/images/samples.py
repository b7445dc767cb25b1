"""The sample images that come with the project; `python -m glasshead.images.samples FOLDER` draws them."""

import sys
from pathlib import Path

from glasshead.images.scenes import CLASSES, ScenesParams, make_record

SEED = 7  # not the default run's, so that no sample is among its images


def sample_images() -> dict[str, bytes]:
    """Return one scene of each class as a PNG, by file name."""
    params = ScenesParams()
    return {
        f"{name}.png": make_record(params, SEED, "test", index)["image"]
        for index, name in enumerate(CLASSES)
    }


if __name__ == "__main__":
    for name, data in sample_images().items():
        Path(sys.argv[1], name).write_bytes(data)
