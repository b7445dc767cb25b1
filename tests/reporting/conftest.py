"""Explained images for the figures: four, two of them wrong, with planted maps and evidence."""

import numpy as np
import pandas as pd
import pytest

from glasshead.explainers.measures import Measure

ROWS = 4


def measure(value: float | None, n: int = 4, better: str = "higher") -> Measure:
    return Measure(value=value, low=value, high=value, better=better, n=n)


@pytest.fixture
def explained() -> dict[str, object]:
    """Return what all figures of explained images take; lime explained but the last image, and occlusion fails."""
    draw = np.random.default_rng(0)
    examples = pd.DataFrame(
        {
            "image_id": [f"test/{row}" for row in range(ROWS)],
            "label": ["cat", "dog", "cat", "$ship_"],
            "predicted": ["dog", "$ship_", "cat", "$ship_"],
            "confidence": [0.61, 0.52, 0.93, 0.84],
            "correct": [False, False, True, True],
            "shown": [True, True, True, False],
            "measured": [True, False, True, True],
        }
    )
    arrays = {"methods": np.array(["saliency", "occlusion", "lime", "random"])}
    for name in ("saliency", "occlusion", "random"):
        arrays[name] = draw.normal(size=(ROWS, 8, 8)).astype(np.float32)
        arrays[f"{name}/rows"] = np.arange(ROWS)
    arrays["saliency"] = np.abs(arrays["saliency"])
    arrays |= {"lime": np.full((1, 8, 8), -1, np.float32), "lime/rows": np.array([3])}
    arrays["lime"][0, 0, 0] = 0
    return {
        "examples": examples,
        "example_images": {"pixels": draw.integers(0, 255, (ROWS, 3, 8, 8), dtype=np.uint8)},
        "attributions": arrays,
        "explanations": {
            "saliency": {"insertion_auc": measure(0.4), "randomisation": measure(0.1)},
            "occlusion": {"insertion_auc": measure(0.9), "randomisation": measure(0.95)},
        },
    }


@pytest.fixture
def concepts() -> dict[str, np.ndarray]:
    """Return Shapley values of two subtasks for the explained images, in another order."""
    return {
        "image_id": np.array(["test/3", "test/2", "test/1", "test/0"]),
        "players": np.array(["legs", "wheels"]),
        "values": np.array([[0.2, 0.2], [0.4, 0.1], [-0.4, 0.1], [0.3, -0.1]]),
        "concepts": np.array([[0, 1, 0, 1.0]] * 3 + [[0.2, 0.8, 0.9, 0.1]]),
        "concept_value": np.array(["two", "four", "no", "yes"]),
        "concept_player": np.array([0, 0, 1, 1]),
        "unit": np.array("logit"),
    }
