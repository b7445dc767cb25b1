"""A frozen text encoder: prompts to vectors in the space of a backbone's `projected` image output.

CLIP: Radford et al. 2021, arXiv:2103.00020. SigLIP: Zhai et al. 2023, arXiv:2303.15343; its text tower was trained on
prompts padded to their full length, without an attention mask, and reads the last position.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from glasshead.errors import BackboneError, ParameterError
from glasshead.models.backbone import BackboneParams, Kind, kind_of, resolve_backbone, weights_hash
from glasshead.models.towers import from_pretrained, read_config, refuse_gaps

# Increase it when the numbers that `TextEncoder` returns for one prompt and one set of weights change.
TEXT_CODE_VERSION = 1

BATCH = 256  # prompts in one pass
VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model")
TOKENIZER_FILES = (
    *VOCABULARIES,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)


def has_text_tower(backbone: BackboneParams) -> bool:
    """Whether `backbone` is a whole CLIP or SigLIP model; raises as `resolve_backbone`."""
    folder = resolve_backbone(backbone)
    return kind_of(folder) in ("clip", "siglip") and hasattr(read_config(folder), "text_config")


def load_text_encoder(backbone: BackboneParams) -> "TextEncoder":
    """Return the frozen text encoder of `backbone`, in evaluation mode, float32, on the CPU.

    Raises:
        BackboneError: as `resolve_backbone`; the backbone has no text tower or no tokenizer; or they cannot be loaded.
    """
    from transformers import CLIPTextModelWithProjection, SiglipTextModel

    folder = resolve_backbone(backbone)
    if not has_text_tower(backbone):
        raise BackboneError(
            f"The backbone in {folder} has no text tower. Set `backbone.name` to a whole CLIP or SigLIP model."
        )
    tokenizer = _load_tokenizer(folder)
    kind, whole = kind_of(folder), read_config(folder)
    config = whole.text_config
    if kind == "clip":
        config.projection_dim = whole.projection_dim  # as for images
    model = CLIPTextModelWithProjection if kind == "clip" else SiglipTextModel
    text, missing = from_pretrained(model, folder, config)
    refuse_gaps(folder, missing)
    return TextEncoder(text, tokenizer, kind, _key(folder)).eval()


def _load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    # Without a vocabulary, AutoTokenizer would return an empty CLIP tokenizer.
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise BackboneError(
            f"The backbone folder {folder} has no tokenizer ({' or '.join(VOCABULARIES)}). Write it with "
            "`tokenizer.save_pretrained(folder)`."
        )
    try:
        return AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # on damaged files it raises almost anything
        raise BackboneError(f"The tokenizer in {folder} cannot be loaded: {error}") from error


def _key(folder: Path) -> str:
    tokenizer = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in TOKENIZER_FILES
        if (folder / name).is_file()
    }
    described = {
        "weights": weights_hash(folder),
        "tokenizer": tokenizer,
        "output": "text",
        "code": TEXT_CODE_VERSION,
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:32]


class TextEncoder(nn.Module):
    """A module from prompts to vectors in the projected space, not L2-normalised; parameters are frozen.

    Attributes:
        key: hex digest of what determines a vector besides the prompt: weights, tokenizer, code.
        dimension: d, the same as that of the projected image output.
        length: the most tokens that a prompt may have, start and end included.
    """

    def __init__(self, text: nn.Module, tokenizer: Any, kind: Kind, key: str) -> None:
        super().__init__()
        self.text: Any = text.requires_grad_(False)
        self.tokenizer = tokenizer
        self.kind = kind
        self.key = key
        config: Any = text.config
        self.dimension: int = config.projection_dim if kind == "clip" else config.projection_size
        self.length: int = config.max_position_embeddings

    @torch.no_grad()
    def forward(self, prompts: list[str]) -> Float32[Tensor, "n d"]:
        """Return a vector for each prompt; ParameterError for a prompt with too many tokens."""
        batches = (prompts[start : start + BATCH] for start in range(0, len(prompts), BATCH))
        none = torch.empty(0, self.dimension, device=self.text.device)
        return torch.cat([none, *(self._encode(batch) for batch in batches)])

    def _encode(self, prompts: list[str]) -> Tensor:
        tokens = self.tokenizer(prompts, return_token_type_ids=False)
        for prompt, ids in zip(prompts, tokens["input_ids"], strict=True):
            if len(ids) > self.length:
                raise ParameterError(
                    f"The prompt {prompt!r} has {len(ids)} tokens; the text tower reads {self.length} at most. "
                    "Shorten it."
                )
        if self.kind == "clip":
            padded = self.tokenizer.pad(tokens, return_tensors="pt").to(self.text.device)
            return self.text(**padded).text_embeds
        padded = self.tokenizer.pad(
            tokens, padding="max_length", max_length=self.length, return_tensors="pt"
        )
        return self.text(input_ids=padded["input_ids"].to(self.text.device)).pooler_output


def zero_shot_logits(
    images: Float[Tensor, "n d"], texts: Float[Tensor, "k d"], scale: float
) -> Float[Tensor, "n k"]:
    """Return `scale` times the cosine of each image and each text; OpenAI's models have learnt a scale of 100.

    Radford et al. 2021, arXiv:2103.00020, figure 3. SigLIP's bias is left out: it changes no ranking.
    """
    images, texts = (nn.functional.normalize(vectors, dim=-1) for vectors in (images, texts))
    return scale * images @ texts.T
