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
# # 4. Which explanation to believe
#
# Many methods draw a map of what a classifier looks at, and the maps differ. `kedro run` measures each of them beside
# three baselines that never look at the classifier. This notebook puts three questions to the methods, and lets those
# go that fail one.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from glasshead.datasets.project import open_project
from glasshead.explainers.attribution import explanation_of

BASELINES = ["centre_gaussian", "edge_detector", "random"]
catalog = open_project()
explanations = catalog.load("heads.explanations")
attributions = catalog.load("heads.attributions")
methods = attributions["methods"].tolist()


def column(measure: str, part: str = "value") -> pd.Series:
    """Return a number of each method, missing where it was not measured."""
    found = {name: explanations[name].get(measure, {}).get(part) for name in methods}
    return pd.Series(found, dtype=float)


measures = ["randomisation", "pointing_game", "deletion_auc", "insertion_auc", "seconds_per_image"]
pd.DataFrame({measure: column(measure) for measure in measures}).round(3)

# %% [markdown]
# ## 1. Does it look at the classifier at all?
#
# The maps are drawn again with shuffled weights. A map that stays the same (a correlation of 1) explains the image,
# not the classifier. An edge detector must fail, as it never asks the classifier anything.

# %%
randomisation = column("randomisation")
assert np.isclose(randomisation["edge_detector"], 1)
asks = [name for name in methods if name not in BASELINES and not randomisation[name] > 0.5]
asks

# %% [markdown]
# ## 2. Does it point at the object?
#
# The fraction of images in which the highest pixel of the map lies on the object, whose mask is known here. Objects
# stand near the middle, so a bump in the centre of every image is what must be beaten.
#
# The number again, from the maps and masks themselves:

# %%
examples = catalog.load("heads.examples")
masks = catalog.load("heads.example_images")["masks"]
rows = np.intersect1d(attributions["saliency/rows"], np.flatnonzero(examples["measured"]))
maps = explanation_of(attributions, "saliency", rows).maps
known = masks[rows].any(axis=(1, 2))
hits = [
    mask.flat[values.argmax()] for values, mask in zip(maps[known], masks[rows][known], strict=True)
]

assert np.isclose(np.mean(hits), column("pointing_game")["saliency"])
pointing = pd.DataFrame({part: column("pointing_game", part) for part in ("value", "low", "high")})
pointing.sort_values("value", ascending=False).round(2)

# %% [markdown]
# ## 3. Does the decision hang on the pixels it names?
#
# Grey out the highest pixels first, and the logit should fall fast (a small `deletion_auc`); put them back first, and
# it should rise fast (a large `insertion_auc`). Random pixels are what must be beaten.

# %%
insertion = column("insertion_auc")
carries = insertion[asks][insertion[asks] > insertion["random"]]
carries.sort_values(ascending=False).round(3)

# %% [markdown]
# ## What is left
#
# With few images the intervals are wide: read the table, not the order of its rows. `kedro run
# --pipelines=explain_full` measures all methods on 256 images.

# %%
left = carries.sort_values(ascending=False).index[:3]
shown = [*left, "centre_gaussian"]
image = max(
    range(len(examples)), key=lambda row: sum(row in attributions[f"{name}/rows"] for name in shown)
)
pixels = catalog.load("heads.example_images")["pixels"][image]
figure, panels = plt.subplots(1, len(shown) + 1, figsize=(3 * len(shown) + 3, 3))
panels[0].imshow(pixels.transpose(1, 2, 0))
panels[0].set_title(examples["predicted"][image])
for axes, name in zip(panels[1:], shown, strict=True):
    if image in attributions[f"{name}/rows"]:
        axes.imshow(explanation_of(attributions, name, np.array([image])).maps[0])
    axes.set_title(name)
for axes in panels:
    axes.axis("off")
