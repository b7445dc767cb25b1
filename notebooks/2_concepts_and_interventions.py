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
# # 2. Concepts and interventions
#
# The classifier of `kedro run` answers small questions first (does it have wheels? where does it live?) and decides by
# their answers alone. So a mistake has a cause that can be named, and mended by hand. This notebook takes one mistake
# apart.

# %%
import numpy as np
import pandas as pd
import torch

from glasshead.datasets.project import open_project
from glasshead.explainers.interventions import correct_subtasks
from glasshead.models.classifier import as_images

catalog = open_project()
examples = catalog.load("heads.examples")
mistake = examples.iloc[0]  # the wrong ones come first
mistake[["image_id", "label", "predicted", "confidence"]]

# %%
images = catalog.load("images")
row = int(images.ids().tolist().index(mistake["image_id"]))
images.pil(row).resize((160, 160))

# %% [markdown]
# ## What did it see?
#
# The concepts' answers, beside the true ones:

# %%
taxonomy, samples = catalog.load("taxonomy"), catalog.load("samples")
predictions = catalog.load("heads.predictions").set_index("image_id")
answers = []
for task in taxonomy["subtasks"]:
    columns = [f"concept/{task['name']}/{value}" for value in task["values"]]
    probabilities = predictions.loc[mistake["image_id"], columns].to_numpy(float)
    answers.append(
        {
            "concept": task["name"],
            "seen": task["values"][probabilities.argmax()],
            "probability": probabilities.max().round(2),
            "true": task["values"][samples[f"target/{task['name']}"][row]],
        }
    )
answers = pd.DataFrame(answers).set_index("concept")
answers

# %% [markdown]
# ## What did that add to the decision?
#
# The Shapley value of a concept is what it adds to the probability of the predicted class, averaged over all orders in
# which concepts could become known. They add up: with the base, which is what the classifier says knowing nothing, to
# the probability itself.

# %%
shapley = catalog.load("heads.shapley")
place = shapley["image_id"].tolist().index(mistake["image_id"])
values = pd.Series(shapley["values"][place], index=shapley["players"])

assert np.isclose(shapley["base"][place] + values.sum(), shapley["output"][place], atol=1e-4)
answers.assign(adds=values.round(3)).sort_values("adds", ascending=False)

# %% [markdown]
# ## Correct it by hand
#
# The meta-learner reads nothing but the concepts, so it can be told the truth about one after the other, those that
# add most to the wrong class first.

# %%
classifier = catalog.load("heads.classifier")
truth = torch.tensor([[samples[f"target/{task.name}"][row] for task in classifier.concepts]])
names = [task.name for task in classifier.concepts]
steps = []
with torch.no_grad():
    pixels = as_images(classifier.prepare([images.pil(row)]))
    seen = classifier.concept_probabilities(classifier.embed(pixels))
    corrected = torch.zeros_like(truth, dtype=torch.bool)
    for name in [None, *values.sort_values(ascending=False).index]:
        if name is not None:
            corrected[0, names.index(name)] = True
        concepts = correct_subtasks(classifier.concepts, seen, truth, corrected)
        logits = classifier.logits_from_concepts(concepts)
        chance = (logits / classifier.temperature).softmax(dim=1)[0]
        decided = classifier.classes[int(chance.argmax())]
        steps.append({"corrected": name, "decides": decided, "confidence": float(chance.max())})
steps = pd.DataFrame(steps)

assert steps["decides"].iloc[0] == mistake["predicted"]
steps.round(2)

# %% [markdown]
# ## Over the whole test split
#
# The same for all test images, the most uncertain concept first. A curve that does not rise says that the concepts'
# answers are not what the mistakes hang on.

# %%
interventions = pd.DataFrame(catalog.load("heads.interventions")).T
curve = interventions[interventions.index.str.match(r"intervention/uncertainty/\d")]

assert np.isclose(curve["value"].iloc[0], catalog.load("heads.metrics")["accuracy"]["value"])
curve[["value", "low", "high"]].astype(float).round(3)

# %% [markdown]
# And which single answers the decisions hang on: the fraction of test images whose class changes when one is set to
# surely (1) or surely not (0).

# %%
catalog.load("heads.flips").sort_values("fraction", ascending=False).head(8).round(3)
