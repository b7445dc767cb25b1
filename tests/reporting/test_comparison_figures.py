"""The comparison's figure draws the table's numbers."""

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from glasshead.reporting.training_figures import RESOLVED, UNRESOLVED, comparison_figure


def test_it_draws_every_interval_and_greys_what_is_unresolved():
    table = pd.DataFrame(
        {
            "augmentation": ["none", "baseline", "mixup"],
            "accuracy": [0.8, 0.9, 0.91],
            "low": [0.7, 0.85, 0.86],
            "high": [0.9, 0.95, 0.96],
            "difference": [-0.1, None, 0.01],
            "difference_low": [-0.15, None, -0.02],
            "difference_high": [-0.05, None, 0.04],
            "verdict": ["lower", None, "unresolved"],
        }
    )
    left, right = comparison_figure(table, "augmentation", "baseline").axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["none", "baseline", "mixup"]
    spans = [line.get_xdata() for line in left.lines if len(line.get_xdata()) == 2]
    np.testing.assert_allclose(spans, table[["low", "high"]])
    drawn = [line for line in right.lines if line.get_linewidth() == 2]
    assert [to_hex(line.get_color()) for line in (drawn[0], drawn[2])] == [
        to_hex(RESOLVED).lower(),
        to_hex(UNRESOLVED),
    ]
    assert np.isnan(drawn[1].get_xdata()).all()
