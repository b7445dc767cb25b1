# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1. A first tour
#
# `kedro run` has drawn images, embedded them, trained and calibrated a classifier, and measured it on a test split
# that nothing before has seen. This notebook asks what it left the first two questions: is the classifier right, and
# does it know when it is not?

# %%
import numpy as np
import pandas as pd
from IPython.display import Image

from glasshead.datasets.project import open_project

catalog = open_project()
metrics = pd.DataFrame(catalog.load("heads.metrics")).T
metrics.round(3)

# %% [markdown]
# ## Is it right?
#
# Every number has a 95 % bootstrap interval over test images. Alone it says little: always guessing the most frequent
# class is the least to beat, and a linear probe on the same embeddings is what one would build without concepts.

# %%
metrics.loc[
    ["accuracy", "accuracy_linear_probe", "accuracy_random_concepts", "accuracy_majority"]
].round(3)

# %% [markdown]
# The same accuracy, from the predictions themselves:

# %%
predictions = catalog.load("heads.predictions")
test = predictions[predictions["split"] == "test"]
right = test["label"] == test["predicted"]

assert np.isclose(right.mean(), metrics.loc["accuracy", "value"])
f"{right.sum()} of {len(test)} right"

# %% [markdown]
# ## Does it know?
#
# Of the images it is about 80 % sure of, about 80 % should be right. The expected calibration error is the mean
# distance from that, over 15 bins of confidence.

# %%
bins = np.digitize(test["confidence"], np.linspace(0, 1, 16)[1:-1])
reliability = (
    test.assign(right=right)
    .groupby(bins)
    .agg(images=("right", "size"), confidence=("confidence", "mean"), accuracy=("right", "mean"))
)
gaps = (reliability["accuracy"] - reliability["confidence"]).abs()
ece = (gaps * reliability["images"]).sum() / len(test)

assert np.isclose(ece, metrics.loc["ece", "value"])
reliability.round(2)

# %% [markdown]
# Is that much? Even a perfectly calibrated classifier shows some error on so few images: in 95 of 100 test splits it
# would stay below `ece_consistency_95`.

# %%
metrics.loc[["ece", "ece_uncalibrated", "ece_consistency_95", "temperature"]].round(3)

# %%
Image(catalog.load("heads.reliability_figure"))

# %% [markdown]
# ## Where is it wrong?

# %%
catalog.load("heads.class_recall").sort_values("recall").head(3).round(2)

# %%
Image(catalog.load("heads.confused_pairs_figure"))

# %% [markdown]
# Next: what the classifier saw in the images it got wrong, in `2_concepts_and_interventions`.
