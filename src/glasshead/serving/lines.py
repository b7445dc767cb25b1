"""Predictions as lines of JSON, CSV or text. Numbers have at most six decimals."""

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from glasshead.models.classifier import Classifier
from glasshead.serving.predictor import Prediction

DECIMALS = 6  # float32 logits carry no more


def json_line(prediction: Prediction, top: int, explained: bool = False) -> str:
    """Return a JSON object as assets/prediction.schema.json describes it, in ASCII; `explained` adds `explanation`."""
    if prediction.error is not None:
        return json.dumps({"image": prediction.image, "error": prediction.error})
    record: dict[str, Any] = {"image": prediction.image}
    if prediction.labels is not None:
        record["labels"] = prediction.labels
        record["probabilities"] = _all_rounded(prediction.probabilities)
    else:
        best = [{"class": name, "probability": _rounded(p)} for name, p in prediction.top(top)]
        record["class"] = best[0]["class"]
        record["confidence"] = best[0]["probability"]
        record["abstain"] = prediction.abstain
        record["reason"] = prediction.reason
        record["top"] = best
        record["concepts"] = {
            name: _all_rounded(values) for name, values in prediction.concepts.items()
        }
    if explained:
        record["explanation"] = prediction.explanation
    return json.dumps(record)


def csv_header(classifier: Classifier) -> str:
    """Return the names of the columns that `csv_line` fills for predictions of `classifier`."""
    classes = [f"probability/{name}" for name in classifier.classes]
    concepts = [
        f"concept/{name}/{value}" for name, values in classifier.concepts for value in values
    ]
    answer = (
        ["class", "confidence", "abstain", "reason"]
        if classifier.output == "softmax"
        else ["labels"]
    )
    return _csv(["image", *answer, *classes, *concepts, "explanation", "error"])


def csv_line(prediction: Prediction, classifier: Classifier) -> str:
    """Return one row; text is quoted, and cells without a value are empty."""
    classes = [_rounded(prediction.probabilities.get(name)) for name in classifier.classes]
    concepts = [
        _rounded(prediction.concepts.get(name, {}).get(value))
        for name, values in classifier.concepts
        for value in values
    ]
    answer: list[Any] = [
        prediction.predicted,
        _rounded(prediction.confidence),
        prediction.abstain,
        prediction.reason,
    ]
    if classifier.output == "sigmoid":
        answer = [None if prediction.labels is None else ", ".join(prediction.labels)]
    return _csv(
        [prediction.image, *answer, *classes, *concepts, prediction.explanation, prediction.error]
    )


def text_line(prediction: Prediction, top: int, explained: bool = False) -> str:
    """Return image, class, confidence and the next classes, separated by tabs; unprintable characters are escaped."""
    if prediction.error is not None:
        return _one_line(prediction.image, f"cannot be used: {prediction.error}")
    if prediction.labels is not None:
        probabilities = ", ".join(f"{name} {p:.3f}" for name, p in prediction.top(top))
        cells = [", ".join(prediction.labels) or "no label", probabilities]
    else:
        (name, confidence), *runners_up = prediction.top(top)
        best = f"{name} {confidence:.3f}"
        if prediction.reason:
            best += f" (abstains: {prediction.reason})"
        cells = [best, ", ".join(f"{other} {p:.3f}" for other, p in runners_up)]
    return _one_line(
        prediction.image, *cells, *([prediction.explanation or "no finite map"] * explained)
    )


def _one_line(*cells: str) -> str:
    return "\t".join("".join(map(_printable, cell)) for cell in cells if cell)


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _all_rounded(probabilities: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _rounded(probability) for name, probability in probabilities.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)


def _csv(cells: list[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC, lineterminator="").writerow(cells)
    return buffer.getvalue()
