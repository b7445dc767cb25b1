"""Nodes of `export`."""

import io
import logging
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, UInt8
from pydantic import BaseModel, Field, PositiveInt

from glasshead.calibration import metrics as measures
from glasshead.calibration.bootstrap import Statistic, bootstrap_intervals, mean_of
from glasshead.calibration.params import Fraction
from glasshead.calibration.table import LABEL
from glasshead.calibration.temperature import Output
from glasshead.device import torch_threads
from glasshead.errors import GateError, SplitError
from glasshead.images.pixels import PixelSource
from glasshead.images.table import ImageTable, check_predictions
from glasshead.models.classifier import Classifier
from glasshead.seeds import generator
from glasshead.serving import export
from glasshead.serving.export import FromPixels, in_batches, run_onnx, run_torch

logger = logging.getLogger(__name__)

Metrics = dict[str, dict[str, Any]]
GATED = ("onnx", "program")  # these must agree with the classifier; int8 is too coarse


class LatencyParams(BaseModel, extra="forbid", frozen=True):
    """Batch sizes, repetitions for each, and threads."""

    batches: tuple[PositiveInt, ...] = (1, 64)
    repeats: PositiveInt = 100
    threads: PositiveInt = 1


class ExportParams(BaseModel, extra="forbid", frozen=True):
    """ONNX's opset, the required agreement with the classifier, and how agreement is measured.

    Attributes:
        opset: the version of ONNX's operators; a runtime must support it.
        images: test images sampled at random, on which exports are compared.
        minimum_agreement: the least fraction of these images for which ONNX and the program must predict the
            classifier's class.
        maximum_difference: the largest difference allowed in any probability.
        n_bins: bins of ECE.
        n_resamples: resamples of the bootstrap.
    """

    opset: int = Field(default=18, ge=18, le=23)
    images: PositiveInt = 1000
    minimum_agreement: Fraction = 0.999
    maximum_difference: Fraction = 1e-4
    n_bins: PositiveInt = 15
    n_resamples: PositiveInt = 1000
    latency: LatencyParams = LatencyParams()


def export_onnx(classifier: Classifier, parameters: ExportParams) -> bytes:
    """Return the classifier as an ONNX model; raises ExportError if the classifier cannot be exported."""
    return export.onnx_bytes(export.export_graph(classifier), classifier, parameters.opset)


def quantise_onnx(onnx: bytes) -> bytes:
    """Return the ONNX model with its matrix products in dynamic int8."""
    return export.quantised(onnx)


def export_program(
    classifier: Classifier,
    images: ImageTable,
    samples: pd.DataFrame,
    parameters: ExportParams,
    seed: int,
) -> tuple[bytes, dict[str, float]]:
    """Return the classifier as a torch.export program, and how it differs from the classifier.

    The comparison runs before the program is saved, as loading a saved program can run code pickled in it.
    """
    data = export.program_bytes(export.export_graph(classifier))
    pixels, _ = _test_pixels(classifier, images, samples, parameters, seed)
    again = torch.export.load(io.BytesIO(data)).module()
    with torch_threads(1):
        expected, read_back = (
            in_batches(run_torch(module), pixels) for module in (FromPixels(classifier), again)
        )
    return data, _compare(expected, read_back, classifier.output) | {"bytes": len(data)}


def measure_exports(
    classifier: Classifier,
    onnx: bytes,
    onnx_int8: bytes,
    program_parity: dict[str, float],
    images: ImageTable,
    samples: pd.DataFrame,
    predictions: pd.DataFrame,
    parameters: ExportParams,
    seed: int,
) -> Metrics:
    """Return each export's largest difference from the classifier's probabilities, and its agreement on classes.

    For the classifier and its int8 version there are also accuracy, ECE and NLL with 95 % intervals, and the cost of
    int8: the fall of accuracy and the rise of NLL (nats), paired by image. For a sigmoid output, each pair of an image
    and a label counts as one row.
    """
    check_predictions(images, samples, predictions)
    pixels, rows = _test_pixels(classifier, images, samples, parameters, seed)
    labels = _true_labels(classifier, predictions.iloc[rows])
    with torch_threads(1):
        own = in_batches(run_torch(FromPixels(classifier)), pixels)
    plain, small = (in_batches(run_onnx(model), pixels) for model in (onnx, onnx_int8))
    quality = {
        f"{name}/{measure}": statistic
        for name, probabilities in (("classifier", own), ("onnx_int8", small))
        for measure, statistic in _quality(probabilities, labels, parameters.n_bins).items()
    }
    quality |= {
        "onnx_int8/accuracy_cost": _difference(
            quality["classifier/accuracy"], quality["onnx_int8/accuracy"]
        ),
        "onnx_int8/nll_cost": _difference(quality["onnx_int8/nll"], quality["classifier/nll"]),
    }
    metrics: Metrics = {
        "classifier": {},
        "onnx": _compare(own, plain, classifier.output)
        | {"bytes": len(onnx), "opset": parameters.opset},
        "onnx_int8": _compare(own, small, classifier.output) | {"bytes": len(onnx_int8)},
        "program": dict(program_parity),
    }
    for name, estimate in bootstrap_intervals(quality, parameters.n_resamples, seed).items():
        export_name, measure = name.split("/")
        metrics[export_name][measure] = asdict(estimate)
    return metrics


def measure_latency(
    classifier: Classifier, onnx: bytes, onnx_int8: bytes, parameters: ExportParams
) -> pd.DataFrame:
    """Return wall-clock milliseconds of a batch on the CPU, median and 99th percentile, by runtime and batch size.

    Runtimes take turns, so that other load on the machine affects all of them alike.
    """
    wanted = parameters.latency
    runs = {
        "pytorch": run_torch(FromPixels(classifier)),
        "onnx": run_onnx(onnx, wanted.threads),
        "onnx_int8": run_onnx(onnx_int8, wanted.threads),
    }
    draw = np.random.default_rng(0)
    side = classifier.input_size
    rows = []
    with torch_threads(wanted.threads):
        for batch in wanted.batches:
            pixels = draw.integers(0, 256, (batch, 3, side, side), dtype=np.uint8)
            seconds: dict[str, list[float]] = {name: [] for name in runs}
            for turn in range(wanted.repeats + 1):
                for name, run in runs.items():
                    started = time.perf_counter()
                    run(pixels)
                    if turn:  # the first turn is a warm-up and is not counted
                        seconds[name].append(time.perf_counter() - started)
            rows += [
                _latency(name, batch, wanted.threads, timings) for name, timings in seconds.items()
            ]
    return pd.DataFrame(rows)


def check_parity(export_metrics: Metrics, parameters: ExportParams, *saved: object) -> None:
    """Raise GateError if an export differs from the classifier. `saved` lists datasets that are saved first."""
    for name in GATED:
        parity = export_metrics[name]
        logger.info(
            "%s: the class of %.2f %% of %d images, probabilities within %.1g",
            name, 100 * parity["agreement"], parity["n"], parity["largest_difference"],
        )  # fmt: skip
        if (
            parity["agreement"] < parameters.minimum_agreement
            or parity["largest_difference"] > parameters.maximum_difference
        ):
            raise GateError(
                f"The export {name} differs from the classifier: it predicts the same class for a fraction of "
                f"{parity['agreement']:.4f} of {parity['n']} test images (export.minimum_agreement = "
                f"{parameters.minimum_agreement:g}), and its probabilities differ by up to "
                f"{parity['largest_difference']:.3g} (export.maximum_difference = {parameters.maximum_difference:g}). "
                "Everything was saved, but do not use this export. Another export.opset may help."
            )


def _test_pixels(
    classifier: Classifier,
    images: ImageTable,
    samples: pd.DataFrame,
    parameters: ExportParams,
    seed: int,
) -> tuple[UInt8[np.ndarray, "n 3 h w"], Int[np.ndarray, " n"]]:
    """Return randomly sampled test images, and their row indices.

    Raises ArtifactError if `samples` were not made of `images`, SplitError without test rows.
    """
    images.check_rows(samples)
    test = np.flatnonzero(samples["split"] == "test")
    if not len(test):
        raise SplitError(
            "The test split is empty, so exports cannot be compared. Run the preprocess pipeline again with a "
            "larger preprocess.test_fraction."
        )
    count = min(parameters.images, len(test))
    rows = np.sort(generator(seed, "export").choice(test, count, replace=False))
    take = PixelSource(images, rows, classifier.prepare)
    return take(torch.arange(count)).numpy(), rows


def _true_labels(classifier: Classifier, predictions: pd.DataFrame) -> Int[np.ndarray, "n ..."]:
    """Return class indices (n,); for a sigmoid output, which labels each image has, (n, k)."""
    if classifier.output == "sigmoid":
        return predictions[[LABEL + name for name in classifier.classes]].to_numpy(int)
    return pd.Index(classifier.classes).get_indexer(pd.Index(predictions["label"]))


def _compare(
    expected: Float[np.ndarray, "n k"], exported: Float[np.ndarray, "n k"], output: Output
) -> dict[str, float]:
    first, second = (
        probabilities.argmax(axis=1) if output == "softmax" else probabilities >= 0.5
        for probabilities in (expected, exported)
    )
    return {
        "largest_difference": float(np.abs(expected - exported).max()),
        "agreement": float((first == second).mean()),
        "n": len(expected),
    }


def _quality(
    probabilities: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n ..."], n_bins: int
) -> dict[str, Statistic]:
    if labels.ndim == 2:
        yes, labels = probabilities.ravel(), labels.ravel()
        probabilities = np.stack([1 - yes, yes], axis=1)
    smallest = np.finfo(np.float32).tiny
    logits = np.log(np.maximum(probabilities.astype(np.float64), smallest))
    return {
        "accuracy": measures.accuracy(probabilities, labels),
        "ece": measures.ece(probabilities, labels, n_bins),
        "nll": measures.nll(logits, labels),
    }


def _difference(first: Statistic, second: Statistic) -> Statistic:
    """Return the difference of two means over the same rows, paired by row, as a statistic."""
    return mean_of((first.terms - second.terms)[:, 0])


def _latency(name: str, batch: int, threads: int, seconds: list[float]) -> dict[str, Any]:
    p50, p99 = (1000 * float(np.percentile(seconds, fraction)) for fraction in (50, 99))
    return {
        "runtime": name,
        "batch": batch,
        "threads": threads,
        "repeats": len(seconds),
        "p50_ms": p50,
        "p99_ms": p99,
        "images_per_second": 1000 * batch / p50,
    }
