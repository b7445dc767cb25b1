"""The audit of a model in memory, without Kedro: the nodes of `external`, calibrate and evaluate, called in turn."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import pandas as pd
from pydantic import ValidationError

from glasshead import __version__
from glasshead.audit.findings import Finding
from glasshead.calibration.params import CalibrateParams, EvaluateParams
from glasshead.calibration.scaling import fit_temperatures, select_calibration
from glasshead.calibration.table import apply_temperatures
from glasshead.errors import ParameterError, wrong_values
from glasshead.images.params import PreprocessParams
from glasshead.images.sources.image_folder import ImageFolderParams
from glasshead.images.sources.params import IngestParams
from glasshead.images.sources.read import read_source
from glasshead.models.code_networks import as_network
from glasshead.models.contract import ContractParams, complete, groups_of
from glasshead.models.external import ExternalClassifier
from glasshead.pipelines.calibrate.nodes import fit_threshold
from glasshead.pipelines.evaluate.audit_nodes import find_faults, find_outside_faults
from glasshead.pipelines.evaluate.nodes import (
    Metrics,
    compute_metrics,
    find_confused_pairs,
    measure_reliability,
    select_test,
)
from glasshead.pipelines.external.nodes import (
    check_contract,
    predict_external,
    predict_most_frequent,
)
from glasshead.pipelines.external.params import ExternalParams
from glasshead.pipelines.preprocess.nodes import split_images


@dataclass(frozen=True)
class Audit:
    """What `audit_model` found.

    Attributes:
        classifier: the model with its contract, temperature and abstention threshold; it cannot be saved.
        preflight: as in preflight.json: likely mistakes of the contract.
        predictions: as predictions.parquet.
        metrics: as metrics.json, of the test rows.
        findings: as findings.json, the most severe first.
    """

    classifier: ExternalClassifier
    preflight: dict[str, Any]
    predictions: pd.DataFrame
    metrics: Metrics
    findings: list[Finding]


def audit_model(
    model: Any,
    images: str | PathLike[str],
    contract: Mapping[str, Any] | None = None,
    trained_on: str | None = None,
    seed: int = 42,
) -> Audit:
    """Calibrate and evaluate a model on a folder of images: see `glasshead.audit_model`."""
    try:
        said = ContractParams.model_validate(dict(contract or {}))
        preprocess = PreprocessParams(trained_on=trained_on)
    except ValidationError as error:
        raise ParameterError("\n".join(wrong_values(error, "contract"))) from error
    folder = ImageFolderParams(path=str(images))
    table = read_source(IngestParams(source="image_folder", image_folder=folder), seed).images
    samples = split_images(table, preprocess)
    network, read, access = as_network(model, "The model")
    whole = complete(said, read)
    classifier = ExternalClassifier(
        table.classes,
        {"data": table.digest(), "source": type(model).__name__, "glasshead": __version__},
        contract=whole,
        groups=groups_of(whole, said.mapping, table.classes),
        network=network,
        built={"kind": "memory"},
        access=access,
    ).eval()
    parameters, evaluate = ExternalParams(), EvaluateParams()
    preflight = check_contract(classifier, table, samples, parameters, seed)
    logits = predict_external(classifier, table, samples, preflight, parameters)
    calibration = select_calibration(logits)
    temperatures = fit_temperatures(calibration, CalibrateParams())
    abstention = fit_threshold(calibration, temperatures, CalibrateParams())
    predictions = apply_temperatures(logits, temperatures)
    test = select_test(table, samples, logits, predictions)
    baselines = predict_most_frequent(table, samples)
    metrics = compute_metrics(test, samples, temperatures, evaluate, seed, abstention, baselines)
    findings = find_faults(
        test,
        samples,
        metrics,
        find_confused_pairs(test, evaluate),
        measure_reliability(test, evaluate),
        find_outside_faults(predictions, preflight, preprocess),
    )
    calibrated = classifier.with_temperatures(temperatures).with_abstention(abstention)
    return Audit(calibrated, preflight, predictions, metrics, findings)
