"""The sample images are those that the project draws."""

from importlib import resources
from pathlib import Path

from glasshead.images.scenes import CLASSES, sample_images


def test_the_shipped_ones_are_drawn_by_the_command():
    folder = Path(str(resources.files("glasshead"))) / "assets" / "samples"
    shipped = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert shipped == sample_images()
    assert set(shipped) == {f"{name}.png" for name in CLASSES}
