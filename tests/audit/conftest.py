from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

CLASSES = np.array(["bird", "cat", "dog", "ship"])


@pytest.fixture(scope="session")
def answers() -> Callable[..., pd.DataFrame]:
    """Return what makes test predictions of a classifier that is right as often as it says it is."""

    def make(n: int = 1200, seed: int = 0) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        labels = rng.integers(len(CLASSES), size=n)
        confidence = 1 - 0.5 * rng.random(n) ** 2
        other = rng.integers(1, len(CLASSES), n) * (rng.random(n) > confidence)
        return pd.DataFrame(
            {
                "image_id": [f"test/{row:05d}" for row in range(n)],
                "label": CLASSES[labels],
                "predicted": CLASSES[(labels + other) % len(CLASSES)],
                "confidence": confidence,
            }
        )

    return make
