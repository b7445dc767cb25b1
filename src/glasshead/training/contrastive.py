"""Contrastive image–caption training in which a caption may fit several images (CLIP with multiple positives).

Radford et al. 2021 (arXiv:2103.00020) with the unified targets of Yang et al. 2022 (UniCL, arXiv:2204.03610): a
caption is a positive of every image it describes.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from pydantic import BaseModel, Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from glasshead.errors import TrainingError
from glasshead.training.augment import reflected_windows
from glasshead.training.optimisers import Muon, set_rates

UNKNOWN = -1  # an attribute that a row does not state


class ContrastiveParams(BaseModel, extra="forbid", frozen=True):
    """The recipe of the training; its length is in steps, not minutes, so that a seed always gives the same weights."""

    steps: PositiveInt = 1000
    batch_size: PositiveInt = 96
    learning_rate: PositiveFloat = 6e-4  # AdamW: embeddings, norms, biases, projections
    matrix_learning_rate: PositiveFloat = 6e-3  # Muon: the matrices of both towers' blocks
    weight_decay: float = Field(default=0.02, ge=0)
    warmup_fraction: float = Field(default=0.05, ge=0, le=1)
    # fraction of images whose statement says more than the class
    told_fraction: float = Field(default=0.3, ge=0, le=1)
    crop_padding: int = Field(default=3, ge=0)  # pixels of reflection around the random crop


@dataclass(frozen=True)
class Pairs:
    """Images with facts about them.

    `images` (n, 3, h, w) uint8; `facts` (n, k), the value index of each attribute, the class first, or UNKNOWN.
    """

    images: UInt8[Tensor, "n 3 h w"]
    facts: Int[Tensor, "n k"]


def draw_statements(
    facts: Int[Tensor, "b k"], told_fraction: float, generator: torch.Generator
) -> Int[Tensor, "c k"]:
    """Return distinct statements: each image's class and, for `told_fraction` of images, about half its other facts."""
    talkative = torch.rand(len(facts), 1, generator=generator) < told_fraction
    kept = talkative & (torch.rand(facts.shape, generator=generator) < 0.5)
    kept[:, 0] = True
    return torch.where(kept, facts, UNKNOWN).unique(dim=0)


def compatibility(
    facts: Int[Tensor, "b k"], statements: Int[Tensor, "c k"]
) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c"]]:
    """Return two matrices: `positive` is 1 where all of the statement is true, `negative` where some of it is false.

    Elsewhere they are 0; both are 0 where part of the statement is unknown and none of it is false.
    """
    said = statements[None] != UNKNOWN
    known = facts[:, None] != UNKNOWN
    equal = facts[:, None] == statements[None]
    positive = (~said | (known & equal)).all(dim=-1)
    negative = (said & known & ~equal).any(dim=-1)
    return positive.float(), negative.float()


def contrastive_loss(
    similarity: Float[Tensor, "b c"], positive: Float[Tensor, "b c"], negative: Float[Tensor, "b c"]
) -> Float[Tensor, ""]:
    """Return the mean of image-to-caption and caption-to-image cross-entropy with uniform targets over positives."""
    logits = similarity.masked_fill(positive + negative == 0, -torch.inf)
    return (_soft_cross_entropy(logits, positive) + _soft_cross_entropy(logits.T, positive.T)) / 2


def _soft_cross_entropy(logits: Tensor, positive: Tensor) -> Tensor:
    targets = positive / positive.sum(dim=1, keepdim=True).clamp(min=1)
    log_probabilities = logits.log_softmax(dim=1).masked_fill(positive == 0, 0.0)
    return -(targets * log_probabilities).sum(dim=1).mean()


def augment(
    images: UInt8[Tensor, "b 3 h w"], padding: int, generator: torch.Generator
) -> Float[Tensor, "b 3 h w"]:
    """Return images in [0, 1], mirrored at random and cropped at random from a reflecting border."""
    top, left = torch.randint(-padding, padding + 1, (2, len(images)), generator=generator)
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return reflected_windows(images, top, left, mirrored).float() / 255


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield index batches forever, each epoch in a new order, without incomplete batches."""
    size = min(size, count)
    while True:
        order = torch.randperm(count, generator=generator)
        yield from order[: count - count % size].split(size)


def train_clip(
    model: Any,
    pairs: Pairs,
    tokens: Callable[[Int[Tensor, "c k"]], dict[str, Tensor]],
    normalise: Callable[[Tensor], Tensor],
    params: ContrastiveParams,
    seed: int,
    on_step: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train `model` (a transformers CLIPModel) in place; return the loss of every step.

    `tokens` turns statements into the text tower's inputs; `normalise` maps images in [0, 1] to the model's scale.
    The training runs on the model's device. Random numbers come from a CPU generator, so that all devices see the same
    order.

    Raises TrainingError if a loss is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    optimisers = _optimisers(model, params)
    batches = _batches(len(pairs.images), params.batch_size, generator)
    losses: list[float] = []
    model.train()
    for step in range(params.steps):
        rows = next(batches)
        facts = pairs.facts[rows]
        statements = draw_statements(facts, params.told_fraction, generator)
        positive, negative = (matrix.to(device) for matrix in compatibility(facts, statements))
        pixels = normalise(augment(pairs.images[rows], params.crop_padding, generator)).to(device)
        images = F.normalize(model.get_image_features(pixel_values=pixels).pooler_output, dim=-1)
        texts = model.get_text_features(
            **{k: v.to(device) for k, v in tokens(statements).items()}
        ).pooler_output
        scale = model.logit_scale.exp().clamp(max=100)
        loss = contrastive_loss(scale * images @ F.normalize(texts, dim=-1).T, positive, negative)
        set_rates(optimisers, _rate_factor(step, params))
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise TrainingError(
                f"The loss is {losses[-1]} at step {step + 1}. Lower `learning_rate` and `matrix_learning_rate`."
            )
        if on_step:
            on_step(step, losses[-1])
    model.eval()
    return losses


def _optimisers(model: nn.Module, params: ContrastiveParams) -> list[torch.optim.Optimizer]:
    matrices = [p for name, p in model.named_parameters() if ".layers." in name and p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    optimisers = [
        Muon(matrices, params.matrix_learning_rate, params.weight_decay),
        torch.optim.AdamW(
            rest, params.learning_rate, weight_decay=params.weight_decay, betas=(0.9, 0.98)
        ),
    ]
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return optimisers


def _rate_factor(step: int, params: ContrastiveParams) -> float:
    """Return the factor on the peak learning rates: linear warm-up, then linear decay to zero."""
    warmup = max(1, round(params.steps * params.warmup_fraction))
    return min((step + 1) / warmup, (params.steps - step) / max(1, params.steps - warmup))
