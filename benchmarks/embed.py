"""Embedding from encoded images: the local engine against the loop that users write with transformers or timm.

Every round starts with an empty cache, and both use all threads. The loop has its best batch size, by the best of
three tries of each after a warm-up. nano-clip reads scenes at 32 pixels (PNG). ViT-B/32, of random weights, reads
photographs' usual size (JPEG, 256 pixels), and imagenet-lite0 JPEG of 500 pixels. The peer of int8 is our own float32.
That of fraction-of-matmul-peak is a limit: the operations a second of the fastest matrix product that this machine
shows, so 1 is the most there could be.
"""

import io
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from glasshead.embedding.local import embed_images
from glasshead.embedding.store import EmbeddingStore
from glasshead.images.scenes import CLASSES, ScenesParams, generate_scenes
from glasshead.images.table import ImageTable
from glasshead.models.backbone import BackboneParams, resolve_backbone
from glasshead.models.clip import load_encoder
from peak import matmul_peak
from report import Result, pending, write_results

ROUNDS, TRIES = 5, 3
BATCHES = {
    "nano-clip": (32, 64, 256),
    "vit-b-32": (4, 8, 16, 32),
    "imagenet-lite0": (4, 8, 16, 32),
}
IMAGES = {"nano-clip": 6000, "vit-b-32": 128, "imagenet-lite0": 256}
SIDES = {"nano-clip": 32, "vit-b-32": 256, "imagenet-lite0": 500}

Loop = Callable[[list[Image.Image]], torch.Tensor]  # pictures to vectors


def draw_images(count: int, side: int) -> ImageTable:
    """Return scenes; above 32 pixels, enlarged and as JPEG."""
    scenes = generate_scenes(ScenesParams(train=count, test=1), seed=0)
    records = [record for record in scenes if record["given_split"] == "train"]
    for record in records if side != 32 else []:
        data = io.BytesIO()
        picture = Image.open(io.BytesIO(record["image"])).resize((side, side))
        picture.save(data, "JPEG", quality=90)
        record["image"] = data.getvalue()
    return ImageTable.from_records(records, CLASSES, ("colour", "habitat", "size"))


def save_vit_b_32(folder: Path) -> Path:
    """Save a CLIP of random weights whose image tower is that of openai/clip-vit-base-patch32."""
    torch.manual_seed(0)
    config = CLIPConfig(text_config={"num_hidden_layers": 1, "vocab_size": 100})
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    return folder


def with_transformers(folder: Path) -> Loop:
    """Return the processing and encoding of CLIP's model card."""
    model = CLIPModel.from_pretrained(folder).eval()
    processor = CLIPImageProcessor.from_pretrained(folder)

    def encode(pictures: list[Image.Image]) -> torch.Tensor:
        inputs = processor(images=pictures, return_tensors="pt")
        return model.get_image_features(**inputs).pooler_output

    return encode


def with_timm(folder: Path) -> Loop:
    """Return the processing and encoding of timm's model cards."""
    model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))

    def encode(pictures: list[Image.Image]) -> torch.Tensor:
        return model(torch.stack([transform(picture) for picture in pictures]))

    return encode


def naive(images: ImageTable, encode: Loop, batch: int) -> np.ndarray:
    """Decode, process and encode batch by batch."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            pictures = [images.pil(row) for row in range(start, min(start + batch, len(images)))]
            parts.append(encode(pictures).numpy())
    return np.concatenate(parts)


def seconds(action: Callable[[], object]) -> float:
    """Return the wall-clock time of one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def compare(
    name: str,
    folder: Path,
    library: str,
    precisions: tuple[str, ...],
) -> list[Result]:
    """Return the cases of one backbone, which `library` can load."""
    images = draw_images(IMAGES[name], SIDES[name])
    encoder = load_encoder(BackboneParams(name=str(folder)))
    loop = {"transformers": with_transformers, "timm": with_timm}[library](folder)
    sizes = BATCHES[name]

    def ours(precision: str, batch: int | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        with tempfile.TemporaryDirectory() as root:
            store = EmbeddingStore(Path(root))
            found, summary = embed_images(
                images, encoder, store, batch_size=batch, shard_rows=4096, device="cpu", precision=precision
            )  # fmt: skip
            return found.values[:], summary

    reference = naive(images, loop, sizes[0])
    agreement = {precision: _cosine(ours(precision)[0], reference) for precision in precisions}
    tried = {
        size: min(seconds(lambda size=size: naive(images, loop, size)) for _ in range(TRIES))
        for size in sizes
    }
    batch = min(tried, key=tried.__getitem__)
    times: dict[str, list[float]] = {name: [] for name in (*precisions, "peer")}
    fractions = []
    for _ in range(ROUNDS):
        for precision in precisions:
            peak = matmul_peak("cpu") / 1e9  # measured beside the run that it is compared with
            started = time.perf_counter()
            _, summary = ours(precision)
            times[precision].append(time.perf_counter() - started)
            if precision == "float32":
                fractions.append((summary["embed/gflops_per_second"], peak))
        times["peer"].append(seconds(lambda: naive(images, loop, batch)))
    device = f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"

    def result(precision: str) -> Result:
        peer = times["float32"] if precision == "int8" else times["peer"]
        rounds = list(zip(times[precision], peer, strict=True))
        against = "our float32" if precision == "int8" else f"{library}, batch {batch}"
        return {
            "case": f"{name}/{precision}",
            "ours": round(statistics.median(len(images) / mine for mine, _ in rounds), 1),
            "peer": round(statistics.median(len(images) / other for _, other in rounds), 1),
            "ratio": round(statistics.median(other / mine for mine, other in rounds), 3),
            "unit": "images/s",
            "device": device,
            "note": f"peer: {against}; least cosine to {library} {agreement[precision]:.6f}",
        }

    fraction: Result = {
        "case": f"{name}/fraction-of-matmul-peak",
        "ours": round(statistics.median(rate for rate, _ in fractions), 1),
        "peer": round(statistics.median(peak for _, peak in fractions), 1),
        "ratio": round(statistics.median(rate / peak for rate, peak in fractions), 3),
        "unit": "GFLOP/s",
        "device": device,
        "note": "decoding included; peer: the best float32 matrix product, 1024³, all threads",
    }
    return [*map(result, precisions), fraction]


def _cosine(ours: np.ndarray, reference: np.ndarray) -> float:
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(reference, axis=1)
    return float(((ours * reference).sum(axis=1) / norms).min())


def main() -> None:
    """Run all backbones, or those that the command line names, and write the results; other rows stay."""
    wanted = sys.argv[1:] or list(IMAGES)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        cases: dict[str, tuple[Callable[[], Path], str, tuple[str, ...]]] = {
            "nano-clip": (
                lambda: resolve_backbone(BackboneParams(name="nano-clip")),
                "transformers",
                ("float32", "int8"),
            ),
            "vit-b-32": (
                lambda: save_vit_b_32(Path(folder)), "transformers", ("float32", "int8"),
            ),
            "imagenet-lite0": (
                lambda: resolve_backbone(BackboneParams(name="imagenet-lite0")),
                "timm",
                ("float32",),
            ),
        }  # fmt: skip
        for name, (backbone, library, precisions) in cases.items():
            if name in wanted:
                results += compare(name, backbone(), library, precisions)
            else:
                rows = (*precisions, "fraction-of-matmul-peak")
                results += [pending(f"{name}/{row}", "images/s") for row in rows]
    write_results("embed", results)


if __name__ == "__main__":
    main()
