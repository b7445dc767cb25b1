"""How embedding scales: memory and time of a long run against a short one, and opening a large store.

Each run is a process of its own, whose peak resident memory (VmHWM) counts. Images are noise of 32×32 pixels as
PNG, the encoder a CLIP of one small layer. The peer of `memory` and `time` is our own run of a tenth of the images:
ratios near 1 say that neither grows with their number. That of `store` is reading the same values by `numpy.load`.
"""

import io
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from glasshead.embedding.local import embed_images
from glasshead.embedding.store import EmbeddingStore
from glasshead.images.sources.base import plain_record
from glasshead.images.table import ImageTable, Record
from glasshead.models.backbone import BackboneParams
from glasshead.models.clip import load_encoder
from report import Result, write_results

COUNTS = (100_000, 1_000_000)
STORE_ROWS, STORE_DIMENSION, SHARD = 1_000_000, 512, 8192


def noise(count: int) -> Iterator[Record]:
    """Yield images of noise, no two alike."""
    rng = np.random.default_rng(0)
    for row in range(count):
        pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        pixels[0, 0] = row & 255, row >> 8 & 255, row >> 16
        data = io.BytesIO()
        Image.fromarray(pixels).resize((32, 32), Image.Resampling.NEAREST).save(
            data, "PNG", compress_level=1
        )
        yield plain_record(f"train/{row:07d}", data.getvalue(), "ab"[row % 2], "train")


def save_tiny_clip(folder: Path) -> None:
    """Save a CLIP image tower that costs next to nothing."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = CLIPVisionConfig(
        image_size=32, patch_size=16, projection_dim=16, num_attention_heads=2, **sizes
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    crop = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=crop).save_pretrained(folder)


def embed(folder: Path, count: int) -> dict[str, float]:
    """Embed `count` images; return seconds and peak memory in MB."""
    images = ImageTable.open(folder / f"{count}.arrow")
    encoder = load_encoder(BackboneParams(name=str(folder / "clip")))
    started = time.perf_counter()
    embed_images(images, encoder, EmbeddingStore(folder / f"store-{count}"), device="cpu")
    return {"seconds": time.perf_counter() - started, "peak": peak_memory()}


def open_store(folder: Path) -> dict[str, float]:
    """Open a store, find one image in it by its hash and read its row; return milliseconds, and memory in MB."""
    wanted = np.load(folder / "wanted.npy")
    before, started = memory(), time.perf_counter()
    values = EmbeddingStore(folder / "large").rows("key", wanted)[:]
    milliseconds = 1000 * (time.perf_counter() - started)
    assert np.isfinite(values).all()
    return {"milliseconds": milliseconds, "memory": memory() - before}


def read_all(folder: Path) -> dict[str, float]:
    """Do what a user without a store does: load one array of all embeddings."""
    before, started = memory(), time.perf_counter()
    values = np.load(folder / "large.npy")
    milliseconds = 1000 * (time.perf_counter() - started)
    assert np.isfinite(values[:1]).all()
    return {"milliseconds": milliseconds, "memory": memory() - before}


def write_large(folder: Path) -> None:
    """Write the same random embeddings as a store and as one array."""
    rng = np.random.default_rng(0)
    store, parts = EmbeddingStore(folder / "large"), []
    for start in range(0, STORE_ROWS, SHARD):
        n = min(SHARD, STORE_ROWS - start)
        parts.append(rng.standard_normal((n, STORE_DIMENSION), dtype=np.float32))
        hashes = rng.integers(0, 256, (n, 32), dtype=np.uint8)
        store.append("key", hashes, parts[-1])
        if not start:
            np.save(folder / "wanted.npy", hashes[:1])
    np.save(folder / "large.npy", np.concatenate(parts))


def memory() -> float:
    """Return this process's resident memory in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak_memory() -> float:
    """Return this process's peak resident memory in MB; ru_maxrss would hold its parent's from before it began."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def in_process(step: str, folder: Path, *arguments: object) -> dict[str, float]:
    """Return what a step of this script found in a process of its own."""
    command = [sys.executable, __file__, step, str(folder), *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(case: str, ours: float, peer: float, unit: str, note: str) -> Result:
    """Return a result whose ratio says how much less ours takes."""
    return {
        "case": case,
        "ours": round(ours, 3),
        "peer": round(peer, 3),
        "ratio": round(peer / max(ours, 1e-3), 3),
        "unit": unit,
        "device": f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)",
        "note": note,
    }


def main() -> None:
    """Run every step in a process of its own and write the results."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_tiny_clip(folder / "clip")
        for count in COUNTS:
            ImageTable.from_records(noise(count), ("a", "b")).write(folder / f"{count}.arrow")
        short, long = (in_process("embed", folder, count) for count in COUNTS)
        in_process("write_large", folder)
        ours, theirs = in_process("open_store", folder), in_process("read_all", folder)
    each = [
        1e6 * found["seconds"] / n for found, n in zip((long, short), COUNTS[::-1], strict=True)
    ]
    sizes = f"{COUNTS[1]:,} images; peer: {COUNTS[0]:,}"
    store = f"one row of {STORE_ROWS:,} × {STORE_DIMENSION} found and read; peer: numpy.load of all"
    write_results(
        "embed_scale",
        [
            row("memory/peak", long["peak"], short["peak"], "MB", sizes),
            row("time/image", each[0], each[1], "µs", sizes),
            row("store/open", ours["milliseconds"], theirs["milliseconds"], "ms", store),
            row("store/memory", ours["memory"], theirs["memory"], "MB", store),
        ],
    )


STEPS = {"open_store": open_store, "read_all": read_all}

if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            main()
        case ["embed", folder, count]:
            sys.stdout.write(json.dumps(embed(Path(folder), int(count))) + "\n")
        case ["write_large", folder]:
            write_large(Path(folder))
            sys.stdout.write("{}\n")
        case [step, folder]:
            sys.stdout.write(json.dumps(STEPS[step](Path(folder))) + "\n")
