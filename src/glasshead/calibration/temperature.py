"""Temperature scaling: one scalar T > 0 that divides raw logits. Guo et al. 2017, arXiv:1706.04599."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from glasshead.errors import CalibrationError

Output = Literal["softmax", "sigmoid"]  # one class, or several labels, for each image
FINAL = "final"  # the key of the classes' temperature; the other keys are concepts
GRADIENT_TOLERANCE = 1e-6  # nats per unit of log T


@dataclass(frozen=True)
class TemperatureFit:
    """A fitted temperature, with the calibration NLL (nats, over `n` rows) before scaling (T = 1) and after."""

    temperature: float
    nll_before: float
    nll_after: float
    n: int


def probabilities_at(
    logits: Float[np.ndarray, "n k"], temperature: float
) -> Float[np.ndarray, "n k"]:
    """Return softmax(logits / T) in float64."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    odds = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities: np.ndarray = odds / odds.sum(axis=1, keepdims=True)
    return probabilities


def fit_temperature(
    logits: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]
) -> TemperatureFit:
    """Return the T > 0 that minimises the NLL of softmax(logits / T), by L-BFGS in float64.

    Takes LOGITS, not probabilities. Raises CalibrationError if no finite T > 0 minimises the NLL (every row is
    classified correctly, or the logits are no better than chance), if the search does not converge, or if it makes the
    NLL worse.
    """
    from glasshead.calibration.metrics import nll  # scipy, not needed to predict

    logits = np.asarray(logits, dtype=np.float64)
    _check_optimum_exists(logits, labels)
    temperature, slope = _minimise(logits, labels)
    if not (np.isfinite(temperature) and temperature > 0):
        raise CalibrationError(f"the search for T ended at {temperature}, which is not above 0")
    if not slope <= GRADIENT_TOLERANCE:
        raise CalibrationError(
            f"the search for T did not converge: slope {slope:.2g} at T = {temperature:.4g}"
        )
    before, after = (nll(logits / t, labels).terms.mean() for t in (1.0, temperature))
    if after > before + 1e-9:
        raise CalibrationError(
            f"T = {temperature:.4g} makes the calibration NLL worse: {before:.6g} -> {after:.6g}"
        )
    return TemperatureFit(temperature, float(before), float(after), len(labels))


def _check_optimum_exists(logits: np.ndarray, labels: np.ndarray) -> None:
    """Raise CalibrationError unless the NLL, which is convex in 1 / T, has its minimum at a finite 1 / T > 0."""
    if not len(labels):
        raise CalibrationError("there are no calibration rows")
    if not np.isfinite(logits).all():
        raise CalibrationError("the logits hold NaN or infinity")
    own = logits[np.arange(len(labels)), labels]
    if (own - logits.mean(axis=1)).mean() <= 0:
        raise CalibrationError(
            f"on {len(labels)} calibration rows the logits are no better than chance, "
            "so the NLL falls as T grows without end. Train longer, or check the labels"
        )
    if (own >= logits.max(axis=1)).all():
        raise CalibrationError(
            f"all {len(labels)} calibration rows are classified right, so the NLL falls as T goes to 0. "
            "Raise preprocess.calibration_fraction and run the preprocess pipeline again"
        )


def _minimise(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return (T, |d NLL / d log T| there)."""
    import torch
    from torch.nn.functional import cross_entropy

    # Logits are divided by their mean range within a row, so that the search does not depend on their scale.
    scale = float(np.ptp(logits, axis=1).mean())
    scaled, targets = torch.from_numpy(logits / scale), torch.from_numpy(labels.astype(np.int64))
    log_t = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [log_t],
        max_iter=200,
        tolerance_grad=1e-9,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = cross_entropy(scaled * torch.exp(-log_t), targets)
        loss.backward()
        return loss

    optimiser.step(closure)
    closure()
    assert log_t.grad is not None
    return scale * float(log_t.detach().exp()), abs(float(log_t.grad))
