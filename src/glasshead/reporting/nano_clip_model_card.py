"""The model card of nano-clip, written from the measurements of its training run."""

import json
from typing import Any

from glasshead.reporting.page import markdown

SOURCES = {
    "scenes": "scenes (this project's procedural images)",
    "parquet": "photographs from a parquet folder (of the shipped weights: CIFAR-10-JPEG, that is CIFAR-10, "
    "Krizhevsky 2009, re-encoded as JPEG)",
}
DEVICES = {"cpu": "a CPU (float32)", "cuda": "one GPU"}


def nano_clip_model_card(
    parameters: int, metrics: dict[str, Any], run: dict[str, Any], recipe: dict[str, Any]
) -> str:
    """Return Markdown with Hugging Face metadata: data, recipe, device, time, accuracy on each test split."""
    return markdown(
        "nano_clip_model_card.md",
        parameters=parameters,
        measured=[{"source": SOURCES[source], **metrics[source]} for source in metrics],
        run=run,
        device=DEVICES[run["device"]],
        recipe=json.dumps({key: recipe[key] for key in ("model", "training", "scenes")}, indent=2),
    )
