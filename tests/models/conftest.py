"""Tiny, randomly initialised backbones of each kind, saved by the library that would load them, and pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.models._hub import save_for_hf
from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

from glasshead.images.captions import all_words
from glasshead.models.nano_clip import NanoClip, NanoClipParams

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    params = NanoClipParams(
        width=16, patch_size=8, layers=2, heads=2, text_width=12, text_layers=2, projection=8
    )
    NanoClip.build(params, all_words()).save(folder)
    return folder


@pytest.fixture(scope="session")
def siglip_folder(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("siglip")
    torch.manual_seed(0)
    tokenizer = NanoClip.load(clip_folder).tokenizer
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 16, "pad_token_id": 0} | SIZES
    text |= {"projection_size": 16, "bos_token_id": 2, "eos_token_id": 3}
    vision = {"image_size": 32, "patch_size": 8} | SIZES
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def save_resnet(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that saves a timm CLIP ResNet of 1/16 of its width, for images of 64 × 64."""

    def save(name: str = "resnet50_clip.openai", **changes: object) -> Path:
        folder = tmp_path_factory.mktemp("resnet")
        torch.manual_seed(0)
        shape = {"img_size": 64, "width_factor": 0.0625, "num_classes": 6} | changes
        model = timm.create_model(name, pretrained=False, **shape)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # else every block begins as the identity
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
        save_for_hf(model, folder, safe_serialization=True)
        return folder

    return save


@pytest.fixture(scope="session")
def resnet_folder(save_resnet: Callable[..., Path]) -> Path:
    return save_resnet()


@pytest.fixture
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sizes = [(32, 32), (64, 64), (40, 100), (300, 200), (20, 24), (65, 64)]
    noise = [rng.integers(0, 256, (h // 4, w // 4, 3), dtype=np.uint8) for w, h in sizes]
    return [Image.fromarray(n).resize(s, 3) for n, s in zip(noise, sizes, strict=True)]
