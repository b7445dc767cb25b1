"""`scenes`: a procedural image set with CIFAR-10's class names, object masks, attributes and optional planted defects.

Every image depends only on (seed, split, index), so a smaller set is the beginning of a larger one. Class, colour,
habitat, size and place are independent of each other: only the object's shape shows its class.

`python -m glasshead.images.scenes FOLDER` draws the sample images that come with the project.
"""

import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw
from pydantic import BaseModel, Field, PositiveInt

from glasshead.images.shapes import DRAWINGS, Part
from glasshead.images.sources.base import Source, SourceParams
from glasshead.images.table import Record
from glasshead.seeds import generator

CLASSES = tuple(DRAWINGS)
SAMPLE_SEED = 7  # not the default run's seed, so that no sample image is among that run's images

# RGB in [0, 1], by the names that captions use; each object's colour is jittered around these values.
COLOURS = {
    "red": (0.82, 0.14, 0.13),
    "orange": (0.93, 0.52, 0.12),
    "yellow": (0.91, 0.83, 0.2),
    "green": (0.2, 0.6, 0.22),
    "blue": (0.17, 0.33, 0.8),
    "purple": (0.53, 0.23, 0.65),
    "white": (0.93, 0.93, 0.91),
    "grey": (0.5, 0.5, 0.52),
    "brown": (0.46, 0.29, 0.15),
}

# Each habitat: colour of the upper part, of the lower part, and the horizon's usual height (fraction from the top).
HABITATS = {
    "sky": ((0.42, 0.63, 0.9), (0.74, 0.84, 0.95), 0.9),
    "road": ((0.7, 0.76, 0.8), (0.36, 0.36, 0.38), 0.45),
    "water": ((0.68, 0.8, 0.9), (0.12, 0.36, 0.52), 0.4),
    "field": ((0.6, 0.77, 0.92), (0.42, 0.58, 0.2), 0.4),
    "forest": ((0.13, 0.27, 0.13), (0.27, 0.24, 0.14), 0.7),
    "room": ((0.8, 0.72, 0.6), (0.5, 0.34, 0.22), 0.65),
}

Split = Literal["train", "test"]
Rate = Field(default=0.0, ge=0.0, le=1.0)


class Shortcut(BaseModel, extra="forbid", frozen=True):
    """A small bright mark in a corner of images of one class, at a rate per split."""

    class_name: Literal[CLASSES] = "truck"  # type: ignore[valid-type]  # the classes are known at import alone
    train_rate: float = Rate
    test_rate: float = Rate


class Defects(BaseModel, extra="forbid", frozen=True):
    """Planted defects, off by default; the ground-truth table lists each affected row."""

    shortcut: Shortcut = Shortcut()
    label_noise: float = Rate  # fraction of train rows with another class's label
    near_duplicates: float = Rate  # fraction of test rows that are altered copies of train rows
    corrupt: float = Rate  # fraction of all rows whose bytes are cut short


class CleanScenesParams(BaseModel, extra="forbid", frozen=True):
    """The number, the size and the difficulty of scenes."""

    train: PositiveInt = 4800
    test: PositiveInt = 1200
    size: int = Field(default=32, ge=16, le=512)  # pixels, square
    # largest standard deviation of the sensor noise, for pixels in [0, 1]
    noise: float = Field(default=0.035, ge=0.0, le=0.5)
    occluder_rate: float = Field(default=0.35, ge=0.0, le=1.0)


class ScenesParams(SourceParams, CleanScenesParams, frozen=True):
    """The parameters of scenes and of the defects that are planted in them."""

    defects: Defects = Defects()

    def open(self, seed: int) -> Source:
        """Return the scenes as a source of images."""
        attributes = ("colour", "habitat", "size")
        return Source(CLASSES, generate_scenes(self, seed), attributes, self.train + self.test)

    def known_classes(self) -> tuple[str, ...]:
        """Return the names of the drawn classes."""
        return CLASSES


@dataclass(frozen=True)
class Scene:
    """One drawn image: `pixels` (h, w, 3) and `mask` (h, w) of the visible object, both uint8, mask 0 or 255."""

    pixels: np.ndarray
    mask: np.ndarray
    attributes: dict[str, str]


def draw_scene(
    class_name: str, size: int, rng: np.random.Generator, noise: float, occluder_rate: float
) -> Scene:
    """Draw one scene of `class_name` on a `size`² canvas, antialiased by supersampling."""
    factor = max(2, 128 // size)
    large = size * factor
    colour_name, habitat = str(rng.choice(list(COLOURS))), str(rng.choice(list(HABITATS)))
    canvas = _background(habitat, large, rng)
    mask = Image.new("L", (large, large))
    # half the width of the object's unit frame, as a fraction of the image
    extent = float(rng.choice([0.36, 0.42, 0.48]))
    _draw_object(
        canvas,
        mask,
        DRAWINGS[class_name](rng),
        COLOURS[colour_name],
        extent * rng.uniform(0.92, 1.08),
        rng,
    )
    if rng.random() < occluder_rate:
        _occlude(canvas, mask, rng)
    pixels = np.asarray(canvas.reduce(factor), dtype=np.float32) / 255
    visible = np.where(np.asarray(mask.reduce(factor)) >= 128, 255, 0).astype(np.uint8)
    attributes = {
        "colour": colour_name,
        "habitat": habitat,
        "size": "small" if extent < 0.4 else "medium" if extent < 0.45 else "large",
    }
    return Scene(_expose(pixels, noise, rng), visible, attributes)


def generate_scenes(params: ScenesParams, seed: int) -> Iterator[Record]:
    """Yield the records of the train split, then of the test split; classes in turn, so that they are balanced."""
    for split, count in (("train", params.train), ("test", params.test)):
        for index in range(count):
            yield make_record(params, seed, split, index)  # type: ignore[arg-type]


def make_record(params: ScenesParams, seed: int, split: Split, index: int) -> Record:
    """Return one record; it depends on `params`, `seed`, `split` and `index` alone."""
    image_id, label = f"{split}/{index:06d}", CLASSES[index % len(CLASSES)]
    scene = scene_at(params, seed, split, index)
    chance = generator(seed, "defects", split, index)
    draws = dict(zip(("duplicate", "noise", "shortcut", "corrupt"), chance.random(4), strict=True))
    planted = params.defects
    defects: list[tuple[str, str]] = []
    if split == "test" and draws["duplicate"] < planted.near_duplicates:
        source = int(chance.integers(params.train))
        label = CLASSES[source % len(CLASSES)]
        scene = _altered(scene_at(params, seed, "train", source), chance)
        defects.append(("near_duplicate", f"train/{source:06d}"))
    rate = planted.shortcut.train_rate if split == "train" else planted.shortcut.test_rate
    if label == planted.shortcut.class_name and draws["shortcut"] < rate:
        scene, box = _marked(scene, chance)
        defects.append(("shortcut", box))
    if split == "train" and draws["noise"] < planted.label_noise:
        defects.append(("label_noise", label))
        step = int(chance.integers(1, len(CLASSES)))
        label = CLASSES[(CLASSES.index(label) + step) % len(CLASSES)]
    data = _png(scene.pixels)
    if draws["corrupt"] < planted.corrupt:
        cut = int(len(data) * chance.uniform(0.1, 0.9))
        data = data[:cut]
        defects.append(("corrupt", f"cut to {cut} bytes"))
    return Record(
        image_id=image_id,
        image=data,
        label=label,
        given_split=split,
        mask=_png(scene.mask),
        attributes=scene.attributes,
        defects=defects,
    )


def sample_images() -> dict[str, bytes]:
    """Return the PNG of one scene of each class, by file name."""
    records = (make_record(ScenesParams(), SAMPLE_SEED, "test", i) for i in range(len(CLASSES)))
    return {f"{record['label']}.png": record["image"] for record in records}


def scene_at(params: CleanScenesParams, seed: int, split: Split, index: int) -> Scene:
    """Return the scene of one record, before defects are planted."""
    class_name = CLASSES[index % len(CLASSES)]
    rng = generator(seed, "scenes", split, index)
    return draw_scene(class_name, params.size, rng, params.noise, params.occluder_rate)


def _background(habitat: str, large: int, rng: np.random.Generator) -> Image.Image:
    """Two graded colours that meet at a horizon, with soft clutter on top."""
    upper, lower, horizon = HABITATS[habitat]
    line = np.clip(horizon + rng.uniform(-0.2, 0.2), 0.1, 1.0)
    rows = np.linspace(0, 1, large)[:, None]
    tint = rng.uniform(-0.1, 0.1, size=(2, 3))
    sky = np.clip(np.array(upper) + tint[0], 0, 1) * (0.85 + 0.3 * rows)
    ground = np.clip(np.array(lower) + tint[1], 0, 1) * (0.75 + 0.4 * rows)
    column = np.where(rows < line, sky, ground)
    clutter = rng.normal(0, rng.uniform(8, 34), size=(7, 7)).astype(np.float32)
    smooth = np.asarray(Image.fromarray(clutter).resize((large, large), Image.Resampling.BICUBIC))
    shaded = 255 * np.repeat(column[:, None], large, axis=1) + smooth[..., None]
    return Image.fromarray(np.clip(shaded, 0, 255).astype(np.uint8))


def _draw_object(
    canvas: Image.Image,
    mask: Image.Image,
    parts: list[Part],
    colour: tuple[float, float, float],
    extent: float,
    rng: np.random.Generator,
) -> None:
    """Paint `parts`, mirrored, turned and placed at random but wholly inside, on `canvas` and `mask`."""
    angle, mirror = np.deg2rad(rng.normal(0, 14)), rng.choice([-1.0, 1.0])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    # y grows downwards in images.
    stretch = np.array([mirror * rng.uniform(0.9, 1.1), -1.0]) * extent
    outlines = [(part.points @ turn) * stretch for part in parts]
    everything = np.concatenate(outlines)
    low, high = everything.min(axis=0), everything.max(axis=0)
    slack = np.maximum(0.98 - (high - low), 0.0)
    offset = 0.01 - low + slack * rng.beta(0.8, 0.8, size=2)
    own = np.clip(np.array(colour) + rng.normal(0, 0.06, size=3), 0, 1)
    paint, cut = ImageDraw.Draw(canvas), ImageDraw.Draw(mask)
    for part, outline in zip(parts, outlines, strict=True):
        shade = own * part.shade if isinstance(part.shade, float) else np.array(part.shade)
        corners = [tuple(point) for point in (outline + offset) * canvas.width]
        paint.polygon(corners, fill=tuple(int(v) for v in np.clip(255 * shade, 0, 255)))
        cut.polygon(corners, fill=255)


def _occlude(canvas: Image.Image, mask: Image.Image, rng: np.random.Generator) -> None:
    """Draw an ellipse or a bar at a random place in front of the object, and remove it from the object's mask."""
    large = canvas.width
    x, y = rng.uniform(0.1, 0.9, size=2) * large
    if rng.random() < 0.5:
        rx, ry = rng.uniform(0.05, 0.14, size=2) * large
    else:
        rx, ry = rng.uniform(0.02, 0.05) * large, rng.uniform(0.3, 0.7) * large
    fill = tuple(int(v) for v in rng.uniform(0, 255, size=3))
    box = (x - rx, y - ry, x + rx, y + ry)
    ImageDraw.Draw(canvas).ellipse(box, fill=fill)
    ImageDraw.Draw(mask).ellipse(box, fill=0)


def _expose(pixels: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Light the scene from one side, set brightness and contrast, add sensor noise; returns uint8."""
    size = pixels.shape[0]
    axis = np.linspace(-1, 1, size)
    slope = rng.uniform(-0.25, 0.25, size=2)
    light = 1 + slope[0] * axis[:, None] + slope[1] * axis[None, :]
    exposed = (
        (pixels * light[..., None] - 0.5) * rng.uniform(0.65, 1.15) + 0.5 + rng.uniform(-0.12, 0.12)
    )
    grain = rng.normal(0, rng.uniform(0.2, 1.0) * noise, size=pixels.shape)
    return np.clip(255 * (exposed + grain) + 0.5, 0, 255).astype(np.uint8)


def _altered(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return a near-duplicate: the same picture with another exposure and other noise."""
    shifted = scene.pixels * rng.uniform(0.92, 1.08) + rng.normal(0, 4, size=scene.pixels.shape)
    return replace(scene, pixels=np.clip(shifted, 0, 255).astype(np.uint8))


def _marked(scene: Scene, rng: np.random.Generator) -> tuple[Scene, str]:
    """Return the scene with a magenta square near a corner, and the square as "x,y,width,height" in pixels."""
    size = scene.pixels.shape[0]
    side = max(2, round(size * 3 / 32))
    x, y = (int(v) for v in rng.integers(1, max(2, size // 10) + 1, size=2))
    pixels, mask = scene.pixels.copy(), scene.mask.copy()
    pixels[y : y + side, x : x + side] = (255, 0, 220)
    mask[y : y + side, x : x + side] = 0
    return replace(scene, pixels=pixels, mask=mask), f"{x},{y},{side},{side}"


def _png(array: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """Return an uncompressed PNG: its bytes, and the splits that follow from them, do not depend on zlib's version."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


if __name__ == "__main__":
    for name, data in sample_images().items():
        Path(sys.argv[1], name).write_bytes(data)
