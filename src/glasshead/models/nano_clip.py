"""`nano-clip`: a CLIPModel for 32×32 images, small enough to ship, with a tokenizer of whole words."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from jaxtyping import Float
from pydantic import BaseModel, PositiveInt, model_validator
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    PreTrainedTokenizerFast,
)

from glasshead.models.backbone import quiet_transformers

SPECIAL = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<start>", "eos_token": "<end>"}
CONTEXT = 16  # tokens of the longest caption, start and end included
TEXT_HEADS = 2
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.25, 0.27)


class NanoClipParams(BaseModel, extra="forbid", frozen=True):
    """Shape of the two towers. The image tower takes nearly all the parameters."""

    image_size: PositiveInt = 32
    patch_size: PositiveInt = 4
    width: PositiveInt = 128
    layers: PositiveInt = 4
    heads: PositiveInt = 2
    text_width: PositiveInt = 64
    text_layers: PositiveInt = 1
    projection: PositiveInt = 128

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.image_size % self.patch_size:
            raise ValueError("`image_size` must be a multiple of `patch_size`.")
        if self.width % self.heads or self.text_width % TEXT_HEADS:
            raise ValueError(
                f"`width` must be a multiple of `heads`, `text_width` a multiple of {TEXT_HEADS}."
            )
        return self


def build_tokenizer(captions: Iterable[str]) -> PreTrainedTokenizerFast:
    """Return a lower-casing tokenizer with one token for each word of `captions`; other words become <unk>."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = sorted({word for caption in captions for word in caption.lower().split()})
    vocabulary = {word: index for index, word in enumerate([*SPECIAL.values(), *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL["unk_token"]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(SPECIAL[name], vocabulary[SPECIAL[name]]) for name in ("bos_token", "eos_token")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=ends
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=CONTEXT, **SPECIAL)


def build_processor(image_size: int) -> CLIPImageProcessor:
    """Return the image processor: bicubic resize of the shorter edge, centre crop, normalisation."""
    crop = {"height": image_size, "width": image_size}
    return CLIPImageProcessor(
        size={"shortest_edge": image_size},
        crop_size=crop,
        image_mean=list(MEAN),
        image_std=list(STD),
    )


def build_model(params: NanoClipParams, tokenizer: PreTrainedTokenizerFast) -> CLIPModel:
    """Return a randomly initialised CLIPModel; seed torch before."""
    vision = CLIPVisionConfig(
        hidden_size=params.width,
        intermediate_size=4 * params.width,
        num_hidden_layers=params.layers,
        num_attention_heads=params.heads,
        image_size=params.image_size,
        patch_size=params.patch_size,
        hidden_act="gelu",
        projection_dim=params.projection,
    )
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=params.text_width,
        intermediate_size=4 * params.text_width,
        num_hidden_layers=params.text_layers,
        num_attention_heads=TEXT_HEADS,
        max_position_embeddings=CONTEXT,
        hidden_act="gelu",
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        projection_dim=params.projection,
    )
    return CLIPModel(
        CLIPConfig(
            text_config=text.to_dict(),
            vision_config=vision.to_dict(),
            projection_dim=params.projection,
        )
    )


@dataclass(frozen=True)
class NanoClip:
    """Model, tokenizer and image processor, saved in the layout of a hub repository."""

    model: CLIPModel
    tokenizer: PreTrainedTokenizerFast
    processor: CLIPImageProcessor

    @classmethod
    def build(cls, params: NanoClipParams, captions: Iterable[str]) -> Self:
        """Return a randomly initialised model with a tokenizer for `captions`; seed torch before."""
        tokenizer = build_tokenizer(captions)
        return cls(build_model(params, tokenizer), tokenizer, build_processor(params.image_size))

    def save(self, folder: Path) -> None:
        """Write config, float32 safetensors, tokenizer and processor into `folder`."""
        with quiet_transformers():
            for saved in (self.model, self.tokenizer, self.processor):
                saved.save_pretrained(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return what `save` wrote."""
        with quiet_transformers():
            model = CLIPModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        return cls(
            model.eval(),
            PreTrainedTokenizerFast.from_pretrained(folder),
            CLIPImageProcessor.from_pretrained(folder),
        )

    def normalise(self, images: Float[torch.Tensor, "b 3 h w"]) -> Float[torch.Tensor, "b 3 h w"]:
        """Bring images in [0, 1] to the scale the model reads."""
        mean, std = (
            torch.tensor(statistic, device=images.device).view(1, 3, 1, 1)
            for statistic in (MEAN, STD)
        )
        return (images - mean) / std

    def tokens(self, captions: list[str]) -> dict[str, torch.Tensor]:
        """Return the text tower's inputs."""
        return dict(
            self.tokenizer(captions, padding=True, return_tensors="pt", return_token_type_ids=False)
        )
