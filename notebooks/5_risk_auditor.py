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
# # 5. The risk auditor
#
# Somebody has said of each image whether it has a risk, and nobody where. `kedro run --pipelines=risk` has learnt
# from these labels which places of an image carry the risk. This notebook asks whether to believe it: the score, the
# map, and what both rest on.

# %%
from functools import partial

import numpy as np
import pandas as pd
from IPython.display import Image

from glasshead.audit.shortcuts import Audited, look_at_marks
from glasshead.datasets.project import open_project
from glasshead.explainers.risk_maps import risk_attribution, risk_maps, risk_probabilities
from glasshead.images.fitting import table_rows

catalog = open_project()
scores = catalog.load("risk.predictions")
metrics = pd.DataFrame(catalog.load("risk.metrics")).T[["value", "low", "high", "n"]]
risk, *others = catalog.load("risk.maps")["risks"].tolist()
scores.groupby("split").agg(images=("image_id", "size"), with_risk=(f"label/{risk}", "sum"))

# %% [markdown]
# ## Does the score find the risk?
#
# AUROC is the fraction of pairs, one test image with the risk and one without, in which the first has the higher score.
# From the scores themselves:

# %%
test = catalog.load("risk.test_predictions")
has_risk = test[f"label/{risk}"] == 1
logits = test[f"logit/{risk}"].to_numpy()
pairs = logits[has_risk][:, None] - logits[~has_risk]
auroc = (pairs > 0).mean() + (pairs == 0).mean() / 2

assert np.isclose(auroc, metrics.loc[f"{risk}/auroc" if others else "auroc", "value"])
metrics.loc[["auroc", "auprc", "gap", "accuracy"]].round(3)

# %% [markdown]
# ## Is it calibrated?
#
# Of the images of which it is about 80 % sure, about 80 % should be as it says. One temperature was fitted on the
# calibration split; `ece_consistency_95` is what even a perfectly calibrated score would stay below on so few images.

# %%
metrics.filter(regex="ece|temperature", axis="index").round(3)

# %%
Image(catalog.load("risk.reliability_figure"))

# %% [markdown]
# ## Does the map point at it?
#
# The training has seen no mask. Here the maps are held against them, beside two that are easy to have: a Gaussian in
# the centre, which looks at nothing and is good where objects stand in the middle, and Grad-CAM of a usual classifier
# on the same features. IoU asks for the whole object, the pointing game for one place on it; a map can win one and
# lose the other.

# %%
rivals = {"": "risk map", "_grad_cam": "Grad-CAM", "_centre": "Gaussian in the centre"}
pd.DataFrame(
    {
        (measure, part): {
            label: metrics.loc[measure + rival, part] for rival, label in rivals.items()
        }
        for measure in ("iou", "pointing_game")
        for part in ("value", "low", "high")
    }
).round(2)

# %%
localisation = catalog.load("risk.localisation")
assert np.isclose(localisation["iou"].mean(), metrics.loc["iou", "value"])
assert localisation["iou"].mean() > localisation["iou_centre"].mean()
better = (localisation["iou"] > localisation["iou_centre"]).mean()
f"The map agrees better with the mask than the Gaussian does in {better:.0%} of the images."

# %% [markdown]
# The images with the highest scores. Red is what would be the risk if all of the image were like it; the scale is the
# same in all figures.

# %%
Image(catalog.load("risk.highest_figure"))

# %% [markdown]
# ## What do the checks say?
#
# A high AUROC says nothing about what the score rests on. The checks look for risk beside the object, for marks whose
# removal costs accuracy, and for attributes that predict the score. Each says so where it could not be made.


# %%
def read(findings: list[dict]) -> str:
    """Return the findings as text."""
    lines = [f"{each['check']} ({each['severity']}): {each['summary']}" for each in findings]
    return "\n".join(lines) or "Nothing found."


print(read(catalog.load("risk.findings")))

# %% [markdown]
# ## What if there is a shortcut?
#
# Silence is worth something only if the checks can speak. Here a bright square is put into a corner of test images with
# the risk, and a score is made that reads nothing but the square. It is as good as perfect on these images; its
# accuracy falls when the square is painted over, and does not when another corner is. The auditor's own stays.

# %%
MAGENTA = np.array([255, 0, 220], np.uint8)
auditor, images = catalog.load("risk.classifier"), catalog.load("images")
rows = test[has_risk].head(100)
pixels = auditor.prepare([images.pil(row) for row in table_rows(images, rows).tolist()]).numpy()
side = auditor.input_size // 8
marks = np.zeros((len(pixels), auditor.input_size, auditor.input_size), bool)
marks[:, 1 : 1 + side, 1 : 1 + side] = True
pixels[:, :, marks[0]] = MAGENTA[:, None]


def read_mark(pixels: np.ndarray) -> np.ndarray:
    """Return a probability that rests on the square alone."""
    return np.where((pixels[:, :, marks[0]] == MAGENTA[:, None]).all(axis=(1, 2)), 0.9, 0.1)


audited = partial(Audited, rows["image_id"].to_numpy(), pixels, has_risk=np.ones(len(rows), bool))
subjects = {
    "a reader of marks": audited(
        marks * 1.0, marks * 1.0, score=read_mark, attribute=lambda _: marks * 1.0
    ),
    "the auditor": audited(
        *risk_maps(auditor, pixels, 0),
        score=partial(risk_probabilities, auditor, risk_index=0),
        attribute=partial(risk_attribution, auditor, risk_index=0),
    ),
}
costs = {name: each.without(marks).estimates(200, 0) for name, each in subjects.items()}
parts = ["accuracy", "accuracy_hidden", "accuracy_hidden_elsewhere", "mass_on_place"]
pd.DataFrame({name: {part: found[part].value for part in parts} for name, found in costs.items()})

# %%
told = {name: look_at_marks(name, each, marks, 200, 0) for name, each in subjects.items()}
assert told["a reader of marks"]["severity"] == "high"
print(read([finding for finding in told.values() if finding]))

# %% [markdown]
# In a run, a mark is told of even where the auditor resists it, if a usual classifier on the same features rests on it:
# a later training may. [docs/how-to/audit-a-risk.md](../docs/how-to/audit-a-risk.md) has the command that plants one.

# %% [markdown]
# ## Which images should one look at?
#
# Those whose label the score finds least likely: wrong labels, objects half hidden, and what the auditor has not
# understood. `surprise` is in bits; a label of probability 1/2 has 1.

# %%
to_review = catalog.load("risk.to_review")
own = np.where(to_review["has_risk"], to_review["probability"], 1 - to_review["probability"])
assert np.allclose(to_review["surprise"], -np.log2(own), rtol=1e-3)
to_review.head(8).round(3)

# %%
Image(catalog.load("risk.to_review_figure"))

# %% [markdown]
# ## What it cannot do
#
# - It learns what separates images with the risk from those without it. What stands in all images with the risk, and
#   in no other, is the risk to it: the road under the cars as well as the cars.
# - Maps are as coarse as the features. They say where, not how many, and no exact outline.
# - Without masks nothing proves the maps, and the checks that need them are not made: look at the galleries.
# - Without a mark's place, a mask or an attribute, a shortcut is not looked for; a check sees only what it looks for.
# - The probability is calibrated for images like those of the calibration split.
#
# All of this on one page: `data/08_reporting/risk/report.html`. For a risk of your own, see
# [docs/how-to/audit-a-risk.md](../docs/how-to/audit-a-risk.md).
