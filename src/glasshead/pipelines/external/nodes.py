"""Nodes of `external`: read the classifier, try its contract, and compute its logits."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from glasshead import __version__
from glasshead.audit.preflight import LIKELY_MISTAKE, try_contracts
from glasshead.device import choose_device
from glasshead.errors import ModelError
from glasshead.images.fitting import fitting_digest, rows_to_fit
from glasshead.images.table import ImageTable
from glasshead.models.contract import complete, groups_of
from glasshead.models.external import ExternalClassifier
from glasshead.models.inference import predict_logits
from glasshead.models.output_table import read_outputs
from glasshead.models.outside_kinds import load_outside
from glasshead.pipelines.external.params import ExternalParams
from glasshead.seeds import generator

logger = logging.getLogger(__name__)


def read_external(
    images: ImageTable, samples: pd.DataFrame, parameters: ExternalParams
) -> ExternalClassifier:
    """Return the classifier that `parameters` name, uncalibrated, for the classes of `images`.

    Raises ModelError: its file or contract cannot be used, or its classes are not those of the images.
    """
    images.check_rows(samples)
    outside = load_outside(parameters.model)
    said, read = parameters.contract, outside.read
    if outside.access == "table" and said.classes is None:
        _, columns = read_outputs(Path(str(parameters.model.path)), images.ids())
        read = read | {"classes": list(columns)}
    contract = complete(said, read)
    groups = groups_of(contract, said.mapping, images.classes)
    provenance = {
        "data": images.digest(),
        "fitting_rows": fitting_digest(rows_to_fit(samples)),
        "source": parameters.model.model_dump(mode="json", exclude_none=True),
        "sha256": outside.digest,
        "glasshead": __version__,
    }
    classifier = ExternalClassifier(
        images.classes,
        provenance,
        contract=contract,
        groups=groups,
        network=outside.network,
        built=outside.built,
        access=outside.access,
    )
    logger.info(
        "Read a classifier of %d classes; its access level is %s",
        len(contract.classes),
        outside.access,
    )
    return classifier.eval()


def check_contract(
    uncalibrated: ExternalClassifier,
    images: ImageTable,
    samples: pd.DataFrame,
    parameters: ExternalParams,
    seed: int,
) -> dict[str, Any]:
    """Return `{"checks": […]}`: for each likely mistake of the contract whether changing it would help, and how much.

    The images are drawn from all but the test split. See `try_contracts` for the entries.
    """
    known = np.flatnonzero(samples["split"] != "test")
    drawn = generator(seed, "external", "preflight").permutation(known)
    rows = np.sort(drawn[: parameters.preflight_images])
    labels = samples["class_index"].to_numpy()[rows]
    if uncalibrated.access == "table":
        logits = _table_logits(uncalibrated, images, parameters)[rows]
        checks = try_contracts(uncalibrated, labels, logits, None, "cpu")
    else:
        device = choose_device(parameters.device, "external.device")
        pictures = [images.pil(int(row)) for row in rows]
        checks = try_contracts(uncalibrated, labels, None, pictures, device)
    for check in checks:
        if check["verdict"] == LIKELY_MISTAKE:
            logger.warning("%s: %s", check["name"], check["advice"])
    return {"images": len(rows), "checks": checks}


def predict_external(
    uncalibrated: ExternalClassifier,
    images: ImageTable,
    samples: pd.DataFrame,
    preflight: dict[str, Any],
    parameters: ExternalParams,
) -> pd.DataFrame:
    """Return raw logits of all rows as columns `logit/<class>`, with image_id, split and label.

    It waits for `preflight`, so that mistakes of the contract are named before anything long runs.

    Raises ModelError if an output is not a finite number.
    """
    if uncalibrated.access == "table":
        values = _table_logits(uncalibrated, images, parameters)
        columns = [f"logit/{name}" for name in uncalibrated.classes]
        table = pd.DataFrame(values, columns=columns, index=samples.index)
        logits = pd.concat([samples[["image_id", "split", "label"]], table], axis=1)
    else:
        logits = predict_logits(uncalibrated, images, samples, parameters)
    values = logits.filter(regex="^logit/").to_numpy()
    if len(broken := np.flatnonzero(~np.isfinite(values).all(axis=1))):
        raise ModelError(
            f"The classifier returns NaN or infinity for {len(broken)} of {len(values)} images, such as "
            f"{logits['image_id'].iloc[broken[0]]}. Look at this image, and at external.contract.mean, std and range."
        )
    return logits


def predict_most_frequent(images: ImageTable, samples: pd.DataFrame) -> pd.DataFrame:
    """Return a baseline that always predicts the most frequent class of the calibration rows, for test rows.

    The columns are `image_id` and `majority`. A classifier from outside needs no train rows, so none are counted.
    """
    images.check_rows(samples)
    calibration = samples.loc[samples["split"] == "calibration", "label"]
    test = samples.loc[samples["split"] == "test", "image_id"]
    return pd.DataFrame({"image_id": test.to_numpy(), "majority": calibration.mode().iloc[0]})


def _table_logits(
    classifier: ExternalClassifier, images: ImageTable, parameters: ExternalParams
) -> np.ndarray:
    """Return the logits of all images from the table of the network's outputs."""
    path = Path(str(parameters.model.path))
    outputs, columns = read_outputs(path, images.ids())
    if absent := [name for name in classifier.contract.classes if name not in columns]:
        raise ModelError(f"external.contract.classes: {path} has no column of {absent[0]!r}.")
    ordered = outputs[:, [columns.index(name) for name in classifier.contract.classes]]
    logits = classifier.contract.as_logits(torch.from_numpy(ordered))
    return classifier.grouped(logits).numpy()
