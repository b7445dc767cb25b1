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
# # 3. From scratch against transfer
#
# Is a network that was trained before on other images worth it? `kedro run --pipelines=cnn` trains one from scratch,
# `kedro run --pipelines=transfer` fine-tunes one, on the same images and splits. This notebook compares the two, after
# both commands.

# %%
import numpy as np
import pandas as pd
from IPython.display import Image

from glasshead.calibration.bootstrap import bootstrap_intervals, mean_of
from glasshead.datasets.project import open_project

NAMES = ["cnn", "transfer"]
catalog = open_project()
metrics = {name: catalog.load(f"{name}.metrics") for name in NAMES}
measures = ["accuracy", "nll", "ece", "ece_consistency_95", "temperature"]
pd.DataFrame(
    {name: {each: metrics[name][each]["value"] for each in measures} for name in NAMES}
).round(3)

# %% [markdown]
# ## Is the difference real?
#
# Two intervals that overlap do not answer that: both networks saw the same test images, and most of what moves one
# accuracy from test split to test split moves the other too. So the difference is taken image by image.

# %%
test = {}
for name in NAMES:
    predictions = catalog.load(f"{name}.predictions")
    test[name] = predictions[predictions["split"] == "test"].reset_index(drop=True)
assert test["cnn"]["image_id"].equals(test["transfer"]["image_id"])

right = pd.DataFrame({name: test[name]["label"] == test[name]["predicted"] for name in NAMES})
pd.crosstab(right["cnn"], right["transfer"])

# %%
gain = right["transfer"].astype(float) - right["cnn"].astype(float)
estimate = bootstrap_intervals({"gain": mean_of(gain.to_numpy())}, n_resamples=1000, seed=0)["gain"]

assert np.isclose(
    estimate.value, metrics["transfer"]["accuracy"]["value"] - metrics["cnn"]["accuracy"]["value"]
)
verdict = "unresolved" if estimate.low <= 0 <= estimate.high else "resolved on these images"
f"transfer is better by {estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f}): {verdict}"

# %% [markdown]
# That is the answer for these two networks. Another seed trains others: `kedro run --pipelines=transfer_comparison`
# repeats each way of fine-tuning with three seeds.
#
# ## What did it cost?
#
# Seconds of training on the machine that ran it. The parent, which a run without ImageNet's weights trains itself,
# counts once, however often it is used.

# %%
seconds = {name: catalog.load(f"{name}.training_history")["seconds"].iloc[-1] for name in NAMES}
parent = catalog.load("transfer.parent_training_history")
seconds["the parent"] = parent["seconds"].iloc[-1] if len(parent) else 0.0
pd.Series(seconds).round(1)

# %%
Image(catalog.load("cnn.training_history_figure"))

# %%
Image(catalog.load("transfer.training_history_figure"))

# %% [markdown]
# ## Do they make the same mistakes?
#
# Where one is right and the other wrong, an ensemble has something to gain: `kedro run --pipelines=ensemble`.

# %%
either = right.any(axis=1).mean()
assert either >= right.mean().max()
f"one of the two is right on {either:.3f} of the test images"
