"""The model card of nano-clip, written from what its run measured."""

import json
from typing import Any

SOURCES = {
    "scenes": "scenes (this project's procedural images)",
    "parquet": "photographs from a parquet folder (of the shipped weights: CIFAR-10-JPEG, that is CIFAR-10, "
    "Krizhevsky 2009, re-encoded as JPEG)",
}


def nano_clip_model_card(
    parameters: int, metrics: dict[str, Any], run: dict[str, Any], recipe: dict[str, Any]
) -> str:
    """Return Markdown with Hugging Face metadata: data, recipe, device, time, accuracy on each test split."""
    rows = [
        f"| {SOURCES[source]} | {measured['zero_shot_accuracy']:.4f} | {measured['linear_probe_accuracy']:.4f} "
        f"| {measured['test_images']:,} |"
        for source, measured in metrics.items()
    ]
    shown = json.dumps({key: recipe[key] for key in ("model", "training", "scenes")}, indent=2)
    return "\n".join(
        [
            "---",
            "license: apache-2.0",
            "library_name: transformers",
            "pipeline_tag: zero-shot-image-classification",
            "---",
            "",
            "# nano-clip",
            "",
            f"A `CLIPModel` of {parameters / 1e6:.2f} M parameters for 32×32 images, trained by Glasshead's `pretrain` "
            "pipeline with contrastive image–caption pairs (CLIP, arXiv:2103.00020). It is meant for trying Glasshead "
            "offline and for its tests, not for use on images of other kinds.",
            "",
            "## Data",
            "",
            f"{run['train_images']:,} training images: "
            + "; ".join(SOURCES[source] for source in metrics)
            + ". Captions "
            "are made from the class and, for scenes, size, colour and habitat. Rows that the content-hash split gives "
            "to validation and calibration are left out. Test splits serve for the figures below alone.",
            "",
            "## Accuracy on the test splits",
            "",
            "| test split | zero-shot | linear probe | images |",
            "|---|---|---|---|",
            *rows,
            "",
            'Zero-shot: the nearest of ten captions "a photo of a <class>". Linear probe: logistic regression on the '
            "train split's embeddings, its strength chosen on validation.",
            "",
            "## Training",
            "",
            f"{run['minutes']:.0f} minutes on {DEVICES[run['device']]}. The recipe:",
            "",
            "```json",
            shown,
            "```",
            "",
        ]
    )


DEVICES = {"cpu": "a CPU (float32)", "cuda": "one GPU"}
