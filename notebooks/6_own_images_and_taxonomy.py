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
# # 6. Your own images and taxonomy
#
# A folder of images and a few questions about them are all that a classifier needs. This notebook makes such a folder
# out of images of the last `kedro run`, spoils one file, asks questions of its own, and shows what the project makes
# of it before anything is trained. With your folder, only the paths change.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from glasshead.datasets.project import open_project
from glasshead.errors import TaxonomyError
from glasshead.images.sources.params import IngestParams
from glasshead.images.sources.read import read_source
from glasshead.images.taxonomy import add_targets, parse_taxonomy

catalog = open_project()
images, samples = catalog.load("images"), catalog.load("samples")
temporary = TemporaryDirectory()
folder = Path(temporary.name)
for row, label in samples.groupby("label").head(5)["label"].items():
    (folder / label).mkdir(exist_ok=True)
    (folder / label / f"{row}.png").write_bytes(images.encoded(row))
(folder / label / "broken.png").write_bytes(b"<html>not an image</html>")

# %% [markdown]
# ## Images
#
# One folder for each class. Every file is decoded once; what cannot be is put aside, with the reason, and more than
# `ingest.max_bad_fraction` of such files stop the run. Here all of them are let pass.

# %%
parameters = IngestParams(source="image_folder", image_folder={"path": folder}, max_bad_fraction=1)
own = read_source(parameters, seed=0)
assert len(own.quarantine) == 1
own.quarantine

# %%
frame = own.images.frame()
frame.groupby("label").size()

# %% [markdown]
# An image is known by its bytes, not by its name: these are the images of the run, so their embeddings lie in the
# store already, and `embed` would encode none of them again.

# %%
assert set(frame["content_hash"]) <= set(samples["content_hash"])

# %% [markdown]
# ## Questions
#
# A taxonomy is a file `conf/base/taxonomies/<name>.yml`. A question is answered by the class, by a column of the data,
# or by the pixels. This one forgets a class, and says so before anything is embedded:

# %%
first, *rest = own.images.classes
questions = {
    "subtasks": {
        "is_first": {"map": {"yes": [first], "no": rest[1:]}},
        "brightness": {"function": "brightness"},
    }
}
try:
    parse_taxonomy("mine", {"mine": questions}, own.images.classes)
except TaxonomyError as error:
    message = str(error)
assert rest[0] in message
print(message)

# %%
questions["subtasks"]["is_first"]["map"]["no"] = rest
taxonomy = parse_taxonomy("mine", {"mine": questions}, own.images.classes)
targets = add_targets(frame, own.images, taxonomy)
targets[["label", "target/is_first", "target/brightness"]].head()

# %% [markdown]
# The answers from the pixels are those that the run found for the same images, where its taxonomy asks the same
# question:

# %%
if "target/brightness" in samples:
    known = samples.drop_duplicates("content_hash").set_index("content_hash")["target/brightness"]
    assert (targets["target/brightness"] == known[targets["content_hash"]].to_numpy()).all()
assert (targets.groupby("label")["target/is_first"].nunique() == 1).all()
temporary.cleanup()
pd.crosstab(targets["label"], targets["target/brightness"])

# %% [markdown]
# ## All of it
#
# With the taxonomy in its file, the whole way is one command:
#
# ```bash
# kedro run --params=ingest.source=image_folder,ingest.image_folder.path=DIR,preprocess.taxonomy=NAME
# ```
#
# [docs/how-to/own-images.md](../docs/how-to/own-images.md) and
# [docs/how-to/own-taxonomy.md](../docs/how-to/own-taxonomy.md) say more.
