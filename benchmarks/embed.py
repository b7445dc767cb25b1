"""Embedding from encoded images: the local engine against the loop that users write with transformers.

Case nano-clip/float32: 1,536 scenes at 32×32, every round with an empty cache, both on all threads. Each has its
best batch size of 32, 64 and 256, chosen in a first round. Writes benchmarks/results/embed.json.
"""

import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import CLIPModel, CLIPProcessor

from glasshead.embedding.local import embed_images
from glasshead.embedding.store import EmbeddingStore
from glasshead.images.scenes import CLASSES, ScenesParams, generate_scenes
from glasshead.images.table import ImageTable
from glasshead.models.clip import BackboneParams, load_encoder, resolve_backbone

ROUNDS = 5
BATCH_SIZES = (32, 64, 256)
RESULTS = Path(__file__).parent / "results" / "embed.json"


def seconds(action: Callable[[], object]) -> float:
    """Return the wall-clock time of one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def naive(images: ImageTable, model: CLIPModel, processor: CLIPProcessor, batch: int) -> None:
    """Decode, process and encode batch by batch, as the model cards show it."""
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            pictures = [images.pil(row) for row in range(start, min(start + batch, len(images)))]
            inputs = processor(images=pictures, return_tensors="pt")
            model.get_image_features(**inputs).pooler_output.numpy()


def main() -> None:
    """Alternate the two and write the medians and the median of the ratios."""
    params = ScenesParams(train=1536, test=1)
    records = [
        record for record in generate_scenes(params, seed=0) if record["given_split"] == "train"
    ]
    images = ImageTable.from_records(records, CLASSES, ("colour", "habitat", "size"))
    folder = resolve_backbone(BackboneParams())
    encoder = load_encoder(BackboneParams())
    model, processor = (
        CLIPModel.from_pretrained(folder).eval(),
        CLIPProcessor.from_pretrained(folder),
    )

    def ours(batch: int) -> None:
        with tempfile.TemporaryDirectory() as store:
            embed_images(
                images,
                encoder,
                EmbeddingStore(Path(store)),
                batch_size=batch,
                shard_rows=4096,
                device="cpu",
            )

    def theirs(batch: int) -> None:
        naive(images, model, processor, batch)

    own = min(BATCH_SIZES, key=lambda size: seconds(lambda: ours(size)))
    batch = min(BATCH_SIZES, key=lambda size: seconds(lambda: theirs(size)))
    pairs = [(seconds(lambda: ours(own)), seconds(lambda: theirs(batch))) for _ in range(ROUNDS)]
    result = {
        "case": "nano-clip/float32",
        "ours": round(statistics.median(len(images) / first for first, _ in pairs), 1),
        "peer": round(statistics.median(len(images) / second for _, second in pairs), 1),
        "ratio": round(statistics.median(second / first for first, second in pairs), 3),
        "unit": "images/s",
        "device": f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)",
        "note": f"median of {ROUNDS} alternating rounds; batch size ours {own}, peer {batch}",
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([result], indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
