"""Embedding on one GPU: the local engine against the loop that users write with transformers, from images in memory.

Ours gets uint8 pixels at the input size, the loop the same images as PIL, as its processor asks for; neither decodes
files. Weights are random, which changes no time. The loop runs in float32, as `from_pretrained` loads it, and with the
best of the batch sizes tried after a warm-up; ours writes its store too, in shards of 8,192 images. The peer of
fraction-of-matmul-peak is a limit, the fastest matrix product. Without a GPU, the cases are marked as not yet measured.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from glasshead.embedding.hashes import PixelImages
from glasshead.embedding.local import embed_images
from glasshead.embedding.store import EmbeddingStore
from glasshead.models.backbone import BackboneParams
from glasshead.models.clip import load_encoder
from peak import matmul_peak
from report import Result, pending, write_results

ROUNDS = 3
BATCHES = (32, 128, 512)
MODELS: dict[str, tuple[int, int, dict[str, int]]] = {  # images for ours, for the loop, and the image tower
    "vit-b-32": (65_536, 2048, {}),
    "vit-l-14": (8192, 1024, {
        "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
        "num_attention_heads": 16, "patch_size": 14,
    }),
}  # fmt: skip


def save_clip(folder: Path, vision: dict[str, int]) -> None:
    """Save a CLIP of random weights whose image tower has the shape of OpenAI's."""
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={"num_hidden_layers": 1, "vocab_size": 100}, vision_config=vision
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)


def naive(pictures: list[Image.Image], model: Any, processor: Any, batch: int) -> torch.Tensor:
    """Process and encode batch by batch, as the model cards show it."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(pictures), batch):
            inputs = processor(images=pictures[start : start + batch], return_tensors="pt")
            parts.append(model.get_image_features(**inputs.to("cuda")).pooler_output.cpu())
    return torch.cat(parts)


def compare(name: str, folder: Path) -> list[Result]:
    """Return the cases of one backbone on the GPU."""
    count, few, vision = MODELS[name]
    save_clip(folder, vision)
    pixels = torch.randint(0, 256, (count, 3, 224, 224), dtype=torch.uint8)
    images = PixelImages(pixels)
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in pixels[:few]]
    encoder = load_encoder(BackboneParams(name=str(folder)))
    model = CLIPModel.from_pretrained(folder).eval().to("cuda")
    processor = CLIPImageProcessor.from_pretrained(folder)

    def ours() -> tuple[torch.Tensor, float, dict[str, Any]]:
        with tempfile.TemporaryDirectory() as root:
            started = time.perf_counter()
            found, summary = embed_images(
                images, encoder, EmbeddingStore(Path(root)), shard_rows=8192, device="cuda"
            )
            return torch.from_numpy(found.values[:few]), time.perf_counter() - started, summary

    def loop(batch: int) -> float:
        started = time.perf_counter()
        naive(pictures, model, processor, batch)
        return time.perf_counter() - started

    near = torch.cosine_similarity(ours()[0], naive(pictures, model, processor, 128)).min()
    batch = min(BATCHES, key=loop)
    rounds = [(ours()[1:], loop(batch)) for _ in range(ROUNDS)]
    rates = [(count / seconds, few / other) for (seconds, _), other in rounds]
    speeds = [summary["embed/gflops_per_second"] for (_, summary), _ in rounds]
    speed, peak = statistics.median(speeds), matmul_peak("cuda") / 1e9
    device = f"cuda ({torch.cuda.get_device_name()})"
    return [
        {
            "case": f"{name}/bfloat16",
            "ours": round(statistics.median(mine for mine, _ in rates), 1),
            "peer": round(statistics.median(other for _, other in rates), 1),
            "ratio": round(statistics.median(mine / other for mine, other in rates), 3),
            "unit": "images/s",
            "device": device,
            "note": f"from pixels; peer: transformers, from PIL, float32, batch {batch}; least cosine to it {near:.6f}",
        },
        {
            "case": f"{name}/fraction-of-matmul-peak",
            "ours": round(speed, 1),
            "peer": round(peak, 1),
            "ratio": round(speed / peak, 3),
            "unit": "GFLOP/s",
            "device": device,
            "note": "from uint8 pixels in memory; peer: the best bfloat16 matrix product, 8192³",
        },
    ]


def main() -> None:
    """Measure both backbones, or say that there is no GPU to measure on."""
    if not torch.cuda.is_available():
        cases = [(f"{name}/bfloat16", "images/s") for name in MODELS]
        cases += [(f"{name}/fraction-of-matmul-peak", "GFLOP/s") for name in MODELS]
        write_results("embed_gpu", [pending(case, unit) for case, unit in cases])
        return
    results = []
    for name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            results += compare(name, Path(folder))
    write_results("embed_gpu", results)


if __name__ == "__main__":
    main()
