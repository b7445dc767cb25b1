"""One optimisation step within the precision and memory of the device, its measurements, and averaged weights."""

import copy
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from glasshead.device import halve_batch
from glasshead.errors import ParameterError, TrainingError
from glasshead.training.history import History
from glasshead.training.params import TrainingParams, choose_precision


class Stepper:
    """Steps of `model` on `device` that minimise cross-entropy, weighted by `class_weights` if given.

    If a batch does not fit into memory, that batch and all later ones are halved, down to single images. Gradients of
    the parts are added up, but batch norms see the parts one by one.

    Attributes:
        autocast: the context of a forward pass.
        scaler: the gradient scaler; enabled only with float16.
        micro_batch: the largest number of images known to fit at once; 0 is no limit.
    """

    def __init__(
        self,
        model: nn.Module,
        params: TrainingParams,
        device: str,
        class_weights: Float[Tensor, " k"] | None,
    ) -> None:
        dtype = choose_precision(params.precision, device)
        self.model = model
        self.forward: Callable[[Tensor], Tensor] = _compiled(model) if params.compile else model
        self.device, self.clip_norm = device, params.clip_norm
        self.class_weights, self.smoothing = class_weights, params.label_smoothing
        self.autocast = torch.autocast(device, dtype, enabled=dtype != torch.float32)
        self.scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
        self.micro_batch = 0

    def __call__(
        self,
        images: Float[Tensor, "b 3 h w"],
        targets: Float[Tensor, "b k"],
        optimisers: list[torch.optim.Optimizer],
        seed: int,
    ) -> Float[Tensor, " 3"]:
        """Take a step whose randomness, such as dropout, depends on `seed`; return loss, accuracy and gradient norm.

        For the accuracy, the right class is the one with the largest target; the norm is taken before clipping. The
        numbers stay on the device, so that nothing waits for it.

        Raises:
            TrainingError: a single image does not fit into memory.
            ParameterError: the model cannot be compiled on this machine.
        """
        loss_and_accuracy = None
        while loss_and_accuracy is None:
            torch.manual_seed(seed)
            for optimiser in optimisers:
                optimiser.zero_grad()
            try:
                loss_and_accuracy = self._accumulate(images, targets)
            except torch.OutOfMemoryError as error:
                self.micro_batch = halve_batch(
                    min(self.micro_batch or len(images), len(images)),
                    self.device,
                    error,
                    TrainingError,
                    "Use a smaller model or smaller images.",
                )
        return torch.stack([*loss_and_accuracy, self._update(optimisers)])

    def has_skipped(self, norm: float) -> bool:
        """Whether a step with this gradient norm was skipped because float16 overflowed, as it does at times.

        If the scale is below 1, overflow is not the reason.
        """
        return self.scaler.is_enabled() and not math.isfinite(norm) and self.scaler.get_scale() >= 1

    def _accumulate(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        losses, right = [], []
        pieces = math.ceil(len(images) / (self.micro_batch or len(images)))
        for chunk, wanted in zip(
            images.tensor_split(pieces), targets.tensor_split(pieces), strict=True
        ):
            with self.autocast:
                logits = self.forward(chunk)
            # The mean is over rows, not over their weights, so that the parts of a batch add up to the whole.
            loss = F.cross_entropy(
                logits.float(),
                wanted,
                weight=self.class_weights,
                label_smoothing=self.smoothing,  # Szegedy et al. 2016, arXiv:1512.00567
            )
            loss = loss * (len(chunk) / len(images))
            self.scaler.scale(loss).backward()
            losses.append(loss.detach())
            right.append((logits.argmax(dim=1) == wanted.argmax(dim=1)).sum())
        return torch.stack(losses).sum(), torch.stack(right).sum() / len(images)

    def _update(self, optimisers: list[torch.optim.Optimizer]) -> Tensor:
        for optimiser in optimisers:
            self.scaler.unscale_(optimiser)
        trained = [value for value in self.model.parameters() if value.grad is not None]
        norm = get_total_norm([value.grad for value in trained if value.grad is not None])
        if self.clip_norm is not None:
            clip_grads_with_norm_(trained, self.clip_norm, norm)
        for optimiser in optimisers:
            self.scaler.step(optimiser)
        self.scaler.update()
        return norm


def _compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return `model`, which is compiled at its first call; ParameterError if that fails."""
    compiled = torch.compile(model)
    from torch._dynamo.exc import TorchDynamoException  # torch.compile has imported it

    def forward(images: Tensor) -> Tensor:
        try:
            logits: Tensor = compiled(images)
        except TorchDynamoException as error:
            raise ParameterError(
                f"`compile` is true, but torch.compile fails on this machine: {str(error).splitlines()[0]}. It needs "
                "a C++ compiler: install g++, or name one in the variable CXX. Or set `compile` to false."
            ) from error
        return logits

    return forward


# steps whose numbers stay on the device until they are read; reading waits for the device
UNREAD = {"cpu": 1, "cuda": 32}


class Meter:
    """Holds the measurements of a `Stepper` until they are read."""

    def __init__(self, stepper: Stepper) -> None:
        self._stepper = stepper
        self._unread: list[tuple[float, Tensor]] = []

    def __len__(self) -> int:
        return len(self._unread)

    @property
    def is_full(self) -> bool:
        """Whether the measurements should be read before the next step."""
        return len(self) >= UNREAD[self._stepper.device]

    def note(self, learning_rate: float, measured: Float[Tensor, " 3"]) -> None:
        """Take loss, accuracy and gradient norm of a step."""
        self._unread.append((learning_rate, measured))

    def read(self, history: History) -> str:
        """Move steps into `history` until one is not finite; return that step in words, or an empty text."""
        if not self._unread:
            return ""
        rates, measured = zip(*self._unread, strict=True)
        self._unread = []
        for rate, (loss, accuracy, norm) in zip(rates, torch.stack(measured).tolist(), strict=True):
            skipped = self._stepper.has_skipped(norm)
            if not math.isfinite(loss) or not (math.isfinite(norm) or skipped):
                return f"loss {loss} and gradient norm {norm} in step {len(history.steps) + 1}"
            history.add_step(loss, accuracy, rate, None if skipped else norm)
        return ""


class WeightAverage:
    """A second model whose weights follow those of the first: average ← decay · average + (1 - decay) · weights.

    After n steps the decay is at most (1 + n) / (10 + n), so that the random start is forgotten (as in TensorFlow's
    ExponentialMovingAverage with `num_updates`). Buffers, such as batch norm statistics, are copied.

    Attributes:
        module: the averaged model, in evaluation mode.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay
        self._averages: list[Tensor] = list(self.module.parameters())

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Follow `model` after its `step`-th step, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        weights: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(self._averages, weights, 1 - decay)

    @torch.no_grad()
    def copy_buffers(self, model: nn.Module) -> None:
        """Take over the buffers of `model`."""
        for own, other in zip(self.module.buffers(), model.buffers(), strict=True):
            own.copy_(other)
