import numpy as np
import pandas as pd

from glasshead.calibration.table import read_heads


def test_heads_follow_the_columns_and_index_their_labels():
    table = pd.DataFrame(
        {
            "image_id": ["a", "b"],
            "label": ["cat/tabby", "car"],
            "logit/car": np.float32([1, 2]),
            "logit/cat/tabby": np.float32([3, 4]),
            "concept_logit/legs/none": [5.0, 6.0],
            "concept_logit/legs/four": [7.0, 8.0],
            "concept_logit/legs long/no": [0.0, 0.0],
            "concept_logit/legs long/yes": [1.0, 1.0],
            "target/legs": [1, 0],
            "target/legs long": [0, 1],
        }
    )
    heads = read_heads(table)
    assert list(heads) == ["final", "legs", "legs long"]
    assert heads["final"].classes == ("car", "cat/tabby")
    np.testing.assert_array_equal(heads["final"].labels, [1, 0])
    np.testing.assert_array_equal(heads["final"].logits, [[1, 3], [2, 4]])
    assert heads["legs"].classes == ("none", "four")
    np.testing.assert_array_equal(heads["legs"].logits, [[5, 7], [6, 8]])
    np.testing.assert_array_equal(heads["legs"].labels, [1, 0])


def test_a_classifier_without_concepts_has_one_head():
    table = pd.DataFrame({"label": ["x"], "logit/x": [0.0], "logit/y": [1.0]})
    assert list(read_heads(table)) == ["final"]
