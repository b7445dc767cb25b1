"""Parametrised outlines of the ten CIFAR-10 classes, drawn from polygons in a unit frame.

A drawing is a list of parts, back to front. Each part is a polygon `(n, 2)` with x to the right and y up, roughly in
[-1, 1], and the shade it is painted with: a factor on the object's own colour, or a fixed RGB colour in [0, 1].
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Shade = float | tuple[float, float, float]

TYRE: Shade = (0.08, 0.08, 0.09)
GLASS: Shade = (0.62, 0.74, 0.82)
BEAK: Shade = (0.93, 0.66, 0.16)
EYE: Shade = (0.05, 0.05, 0.05)


class Part(NamedTuple):
    """One polygon `(n, 2)` in the unit frame and its shade."""

    points: np.ndarray
    shade: Shade


def _polygon(shade: Shade, *points: tuple[float, float]) -> Part:
    return Part(np.array(points, dtype=float), shade)


def _ellipse(shade: Shade, x: float, y: float, rx: float, ry: float, tilt: float = 0.0) -> Part:
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    u, v = rx * np.cos(angle), ry * np.sin(angle)
    c, s = np.cos(tilt), np.sin(tilt)
    return Part(np.stack([x + c * u - s * v, y + s * u + c * v], axis=1), shade)


def _limb(shade: Shade, start: tuple[float, float], end: tuple[float, float], width: float) -> Part:
    a, b = np.array(start), np.array(end)
    along = (b - a) / (np.linalg.norm(b - a) + 1e-9)
    side = width / 2 * np.array([-along[1], along[0]])
    return Part(np.stack([a + side, b + side, b - side, a - side]), shade)


def _airplane(rng: np.random.Generator) -> list[Part]:
    girth, sweep, span = rng.uniform(0.13, 0.2), rng.uniform(0.1, 0.5), rng.uniform(0.6, 0.95)
    return [
        _polygon(0.75, (0.2, 0), (0.2 - sweep, span), (-0.05 - sweep, span), (-0.15, 0)),
        _ellipse(1.0, 0, 0, 0.95, girth),
        _polygon(0.85, (0.25, 0), (0.2 - sweep, -span), (-0.1 - sweep, -span), (-0.15, 0)),
        _polygon(0.7, (-0.6, 0), (-0.95, rng.uniform(0.35, 0.5)), (-0.95, 0)),
        _ellipse(GLASS, 0.7, 0.06, 0.13, 0.07),
    ]


def _wheels(radius: float, *centres: float) -> list[Part]:
    tyres = [_ellipse(TYRE, x, -0.42, radius, radius) for x in centres]
    return tyres + [_ellipse((0.6, 0.6, 0.62), x, -0.42, radius / 2, radius / 2) for x in centres]


def _automobile(rng: np.random.Generator) -> list[Part]:
    roof, hood = rng.uniform(0.3, 0.5), rng.uniform(0.5, 0.65)
    return [
        _polygon(1.0, (-0.95, -0.4), (-0.95, -0.02), (0.9, -0.05), (0.97, -0.4)),
        _polygon(0.9, (-0.6, -0.03), (-0.4, roof), (0.25, roof), (hood, -0.04)),
        _polygon(GLASS, (-0.48, 0.0), (-0.34, roof - 0.08), (-0.08, roof - 0.08), (-0.08, 0.0)),
        _polygon(GLASS, (0.0, 0.0), (0.0, roof - 0.08), (0.2, roof - 0.08), (hood - 0.16, 0.0)),
        *_wheels(rng.uniform(0.17, 0.22), -0.55, 0.55),
    ]


def _truck(rng: np.random.Generator) -> list[Part]:
    height, cab = rng.uniform(0.4, 0.65), rng.uniform(0.1, 0.3)
    return [
        _polygon(1.0, (-0.97, -0.35), (-0.97, height), (0.35, height), (0.35, -0.35)),
        _polygon(0.8, (0.4, -0.4), (0.4, cab), (0.72, cab), (0.95, -0.1), (0.95, -0.4)),
        _polygon(GLASS, (0.5, -0.05), (0.5, cab - 0.07), (0.69, cab - 0.07), (0.82, -0.05)),
        _polygon(0.55, (-0.97, -0.32), (-0.97, -0.42), (0.9, -0.42), (0.9, -0.32)),
        *_wheels(rng.uniform(0.14, 0.18), -0.75, -0.4, 0.65),
    ]


def _ship(rng: np.random.Generator) -> list[Part]:
    deck, mast = rng.uniform(-0.15, 0.0), rng.uniform(0.5, 0.9)
    funnel = rng.uniform(-0.3, 0.1)
    return [
        _limb(0.5, (0.35, deck), (0.35, mast), 0.07),
        _polygon(0.7, (funnel, deck), (funnel, 0.6), (funnel + 0.2, 0.6), (funnel + 0.2, deck)),
        _polygon((0.9, 0.9, 0.88), (-0.5, deck), (-0.5, 0.28), (0.45, 0.28), (0.5, deck)),
        *[
            _polygon(GLASS, (x, 0.08), (x, 0.2), (x + 0.13, 0.2), (x + 0.13, 0.08))
            for x in (-0.4, -0.1, 0.2)
        ],
        _polygon(1.0, (-0.97, deck), (-0.7, -0.5), (0.62, -0.5), (0.97, deck + 0.1)),
    ]


def _bird(rng: np.random.Generator) -> list[Part]:
    lift, tail = rng.uniform(-0.3, 0.7), rng.uniform(0.7, 0.97)
    return [
        _limb(BEAK, (-0.02, -0.25), (-0.02, -0.7), 0.05),
        _limb(BEAK, (0.14, -0.25), (0.16, -0.7), 0.05),
        _polygon(0.7, (-0.3, 0.1), (-tail, 0.25), (-tail, -0.08), (-0.3, -0.12)),
        _ellipse(1.0, 0, 0, 0.55, 0.32, 0.25),
        _ellipse(1.05, 0.52, 0.34, 0.23, 0.21),
        _polygon(BEAK, (0.7, 0.42), (0.98, 0.3), (0.7, 0.24)),
        _polygon(0.62, (0.2, 0.12), (-0.45, lift), (-0.35, -0.02)),
        _ellipse(EYE, 0.58, 0.4, 0.05, 0.05),
    ]


def _frog(rng: np.random.Generator) -> list[Part]:
    squat, spread = rng.uniform(0.36, 0.48), rng.uniform(0.75, 0.95)
    eyes = [_ellipse(1.1, x, squat + 0.16, 0.17, 0.17) for x in (-0.3, 0.3)]
    pupils = [_ellipse(EYE, x, squat + 0.18, 0.07, 0.07) for x in (-0.3, 0.3)]
    legs = [
        leg
        for side in (-1, 1)
        for leg in (
            _ellipse(0.75, side * 0.6, -0.3, 0.34, 0.22, side * 0.6),
            _limb(0.8, (side * 0.5, -0.5), (side * spread, -0.56), 0.14),
            _limb(0.9, (side * 0.25, -0.1), (side * 0.3, -0.6), 0.13),
        )
    ]
    mouth = _polygon(0.4, (-0.34, 0.1), (0.34, 0.1), (0.0, 0.03))
    return [*legs, _ellipse(1.0, 0, 0, 0.6, squat), *eyes, *pupils, mouth]


def _four_legs(rng: np.random.Generator, length: float, width: float, body: float) -> list[Part]:
    """Four legs below a body of half-length `body`, each swung a little."""
    hips = (-body + 0.08, -body + 0.26, body - 0.24, body - 0.06)
    swing = rng.uniform(-0.12, 0.12, size=4)
    shades = (0.65, 0.9, 0.65, 0.9)
    return [
        _limb(shade, (x, -0.05), (x + s, -0.05 - length), width)
        for x, s, shade in zip(hips, swing, shades, strict=True)
    ]


def _cat(rng: np.random.Generator) -> list[Part]:
    tail = rng.uniform(0.4, 0.85)
    return [
        _limb(0.85, (-0.5, 0.1), (-0.72, tail), 0.1),
        _limb(0.85, (-0.72, tail - 0.04), (-0.52, tail + 0.14), 0.1),
        *_four_legs(rng, rng.uniform(0.4, 0.5), 0.13, 0.52),
        _ellipse(1.0, 0, 0, 0.6, 0.25),
        _polygon(0.9, (0.34, 0.42), (0.36, 0.78), (0.56, 0.5)),
        _polygon(0.9, (0.62, 0.5), (0.82, 0.78), (0.84, 0.42)),
        _ellipse(1.08, 0.59, 0.32, 0.28, 0.25),
        _ellipse((0.5, 0.75, 0.2), 0.5, 0.37, 0.05, 0.06),
        _ellipse((0.5, 0.75, 0.2), 0.69, 0.37, 0.05, 0.06),
    ]


def _dog(rng: np.random.Generator) -> list[Part]:
    tail, snout = rng.uniform(0.25, 0.5), rng.uniform(0.88, 1.0)
    return [
        _limb(0.85, (-0.52, 0.1), (-0.85, tail), 0.11),
        *_four_legs(rng, rng.uniform(0.5, 0.62), 0.15, 0.52),
        _ellipse(1.0, 0, 0, 0.6, 0.27),
        _limb(1.0, (0.4, 0.1), (0.55, 0.4), 0.26),
        _ellipse(1.08, 0.56, 0.42, 0.24, 0.2),
        _polygon(1.0, (0.62, 0.48), (snout, 0.38), (snout, 0.24), (0.6, 0.26)),
        _ellipse(EYE, snout - 0.02, 0.35, 0.06, 0.05),
        _ellipse(0.5, 0.42, 0.33, 0.1, 0.24, 0.2),
        _ellipse(EYE, 0.62, 0.49, 0.04, 0.04),
    ]


def _deer(rng: np.random.Generator) -> list[Part]:
    antler, neck = rng.uniform(0.28, 0.4), rng.uniform(0.45, 0.6)
    head = (0.62, neck + 0.05)
    tines = [
        tine
        for lean in (-0.25, 0.12)
        for tine in (
            _limb(0.55, (0.56, neck + 0.12), (0.56 + lean, neck + 0.12 + antler), 0.06),
            _limb(
                0.55,
                (0.56 + lean / 2, neck + 0.12 + antler / 2),
                (0.6 + lean, neck + 0.2 + antler / 2),
                0.05,
            ),
        )
    ]
    return [
        *_four_legs(rng, rng.uniform(0.7, 0.85), 0.09, 0.5),
        _ellipse(1.0, 0, 0, 0.58, 0.24),
        _ellipse((0.95, 0.93, 0.88), -0.55, 0.08, 0.09, 0.11),
        _limb(1.0, (0.4, 0.05), (0.58, neck), 0.18),
        *tines,
        _ellipse(1.05, *head, 0.22, 0.12, -0.35),
    ]


def _horse(rng: np.random.Generator) -> list[Part]:
    neck = rng.uniform(0.5, 0.62)
    return [
        _limb(0.4, (-0.55, 0.12), (-0.82, -0.45), 0.14),
        *_four_legs(rng, rng.uniform(0.68, 0.82), 0.13, 0.54),
        _ellipse(1.0, 0, 0, 0.64, 0.29),
        _limb(1.0, (0.42, 0.05), (0.66, neck), 0.28),
        _limb(0.4, (0.28, 0.22), (0.52, neck + 0.1), 0.14),
        _limb(1.05, (0.6, neck + 0.02), (0.95, neck - 0.24), 0.2),
        _polygon(0.9, (0.54, neck + 0.06), (0.58, neck + 0.26), (0.68, neck + 0.08)),
    ]


DRAWINGS: dict[str, Callable[[np.random.Generator], list[Part]]] = {
    "airplane": _airplane,
    "automobile": _automobile,
    "bird": _bird,
    "cat": _cat,
    "deer": _deer,
    "dog": _dog,
    "frog": _frog,
    "horse": _horse,
    "ship": _ship,
    "truck": _truck,
}
