"""Nodes of `pretrain`. Rows in the validation and calibration splits are not trained on."""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel

from glasshead.device import Device, choose_device
from glasshead.errors import SourceError
from glasshead.images.captions import FACTS, UNKNOWN, all_words, encode_facts, write_caption
from glasshead.images.scenes import CLASSES, ScenesParams
from glasshead.images.sources.params import IngestParams
from glasshead.images.sources.read import read_source
from glasshead.images.splits import assign_splits
from glasshead.images.table import ImageTable
from glasshead.models.nano_clip import NanoClip, NanoClipParams, build_processor
from glasshead.models.probe import fit_linear_probe
from glasshead.models.text import zero_shot_logits
from glasshead.reporting.nano_clip_model_card import nano_clip_model_card
from glasshead.seeds import seed_everything, stream_seed
from glasshead.training.contrastive import ContrastiveParams, Pairs, train_clip

logger = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]
# Fraction of each class for validation, and the same for calibration: the defaults of preprocess.
FRACTION = 0.1
PROBE_STRENGTHS = (0.01, 0.1, 1.0)


class PretrainParams(BaseModel, extra="forbid", frozen=True):
    """Data, model and training. `parquet`: a folder in Hugging Face's image layout, whose train split is added."""

    scenes: ScenesParams = ScenesParams(train=10000, test=1000)
    parquet: Path | None = None
    model: NanoClipParams = NanoClipParams()
    training: ContrastiveParams = ContrastiveParams()
    device: Device = "auto"


def collect_pairs(parameters: PretrainParams, seed: int) -> Arrays:
    """Return images (n, 3, s, s) uint8, facts (n, k), split (n,) and source (n,), without calibration rows.

    Scenes use a seed of their own, so that the model has not seen the scenes of `ingest`.

    Raises:
        SourceError: the photographs have other classes than those with captions.
    """
    wanted = {"scenes": IngestParams(source="scenes", scenes=parameters.scenes)}
    if parameters.parquet is not None:
        wanted["parquet"] = IngestParams.model_validate(
            {"source": "parquet", "parquet": {"path": parameters.parquet}}
        )
    sources = [
        _read(
            name,
            read_source(params, stream_seed(seed, "pretrain", name)).images,
            parameters.model.image_size,
        )
        for name, params in wanted.items()
    ]
    return {key: np.concatenate([pairs[key] for pairs in sources]) for key in sources[0]}


def _read(source: str, table: ImageTable, image_size: int) -> Arrays:
    if set(table.classes) - set(CLASSES):
        raise SourceError(
            f"`pretrain` writes captions for {', '.join(CLASSES)}, but {source} has {', '.join(table.classes)}. Give a "
            "folder with these classes as pretrain.parquet, or none."
        )
    frame = table.frame()
    splits = assign_splits(frame, FRACTION, FRACTION)
    rows = np.flatnonzero(splits != "calibration")
    processor = build_processor(image_size)
    chunks = [
        processor(
            [table.pil(int(row)) for row in chunk],
            do_rescale=False,
            do_normalize=False,
            return_tensors="np",
        )
        for chunk in np.array_split(rows, max(1, len(rows) // 1000))
    ]
    return {
        "images": np.concatenate([chunk["pixel_values"] for chunk in chunks]).astype(np.uint8),
        "facts": encode_facts(frame)[rows],
        "split": splits.to_numpy(str)[rows],
        "source": np.full(len(rows), source),
    }


def train_nano_clip(
    pairs: Arrays, parameters: PretrainParams, seed: int
) -> tuple[NanoClip, pd.DataFrame, dict[str, Any]]:
    """Return the model, its training history (mean train_loss for each epoch of 50 steps), and device and time."""
    seed_everything(seed)
    nano = NanoClip.build(parameters.model, all_words())
    model: torch.nn.Module = nano.model
    device = choose_device(parameters.device, "pretrain.device")
    train = np.flatnonzero(pairs["split"] == "train")
    data = Pairs(torch.from_numpy(pairs["images"][train]), torch.from_numpy(pairs["facts"][train]))
    started = time.perf_counter()
    steps = parameters.training.steps

    def report(step: int, loss: float) -> None:
        if (step + 1) % 100 == 0:
            elapsed = time.perf_counter() - started
            message = "pretrain: step %d of %d, loss %.3f, %.0f s"
            logger.info(message, step + 1, steps, loss, elapsed)

    losses = train_clip(
        model.to(device),
        data,
        lambda statements: nano.tokens([write_caption(row) for row in statements.tolist()]),
        nano.normalise,
        parameters.training,
        stream_seed(seed, "pretrain", "order"),
        report,
    )
    model.to("cpu")
    facts = {
        "device": device,
        "minutes": (time.perf_counter() - started) / 60,
        "train_images": len(train),
    }
    windows = [losses[start : start + 50] for start in range(0, len(losses), 50)]
    means = [float(np.mean(window)) for window in windows]
    history = pd.DataFrame({"epoch": np.arange(1, len(windows) + 1), "train_loss": means})
    return nano, history, facts


def measure_nano_clip(nano_clip: NanoClip, pairs: Arrays) -> dict[str, Any]:
    """Return zero-shot and linear-probe accuracy on each source's test split, and the number of images."""
    prompts = [
        write_caption([index] + [UNKNOWN] * (len(FACTS) - 1)) for index in range(len(CLASSES))
    ]
    with torch.inference_mode():
        texts = nano_clip.model.get_text_features(**nano_clip.tokens(prompts)).pooler_output
    measured = {}
    for source in np.unique(pairs["source"]):
        rows = {
            split: _embedded(nano_clip, pairs, source, split)
            for split in ("train", "validation", "test")
        }
        probe = fit_linear_probe(rows["train"], rows["validation"], PROBE_STRENGTHS)
        values, labels = rows["test"]
        zero_shot = zero_shot_logits(torch.from_numpy(values), texts, scale=1)
        measured[str(source)] = {
            "zero_shot_accuracy": float((zero_shot.argmax(dim=-1).numpy() == labels).mean()),
            "linear_probe_accuracy": float((probe.predict(values) == labels).mean()),
            "test_images": len(labels),
        }
    return measured


def _embedded(
    nano_clip: NanoClip, pairs: Arrays, source: str, split: str
) -> tuple[np.ndarray, np.ndarray]:
    rows = np.flatnonzero((pairs["source"] == source) & (pairs["split"] == split))
    with torch.inference_mode():
        embeddings = [
            nano_clip.model.get_image_features(
                pixel_values=nano_clip.normalise(
                    torch.from_numpy(pairs["images"][chunk]).float() / 255
                )
            ).pooler_output
            for chunk in np.array_split(rows, max(1, len(rows) // 500))
        ]
    return torch.cat(embeddings).numpy(), pairs["facts"][rows, 0]


def write_nano_clip_card(
    nano_clip: NanoClip,
    nano_clip_metrics: dict[str, Any],
    nano_clip_run: dict[str, Any],
    parameters: PretrainParams,
) -> str:
    """Return the model card in Markdown."""
    count = sum(parameter.numel() for parameter in nano_clip.model.parameters())
    return nano_clip_model_card(
        count, nano_clip_metrics, nano_clip_run, parameters.model_dump(mode="json")
    )
