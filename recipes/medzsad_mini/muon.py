"""Muon in float32: torch's own always computes in bfloat16, which takes minutes a step where a processor lacks it."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

# Coefficients of the quintic iteration, and how often it is done (Jordan et al., Muon, 2024).
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_MOMENTUM = 0.95
# Steps then have the size that AdamW's have (Liu et al., Muon is Scalable for LLM Training, 2025, eq. 4).
_ADAMW_SIZE = 0.2


class Muon(torch.optim.Optimizer):
    """Momentum whose steps are made orthogonal; for matrices alone, with rates as for AdamW.

    Args:
        matrices: The parameters, of two dimensions.
        rate: Step size; `rate * weight_decay` of every weight goes with each step.
        weight_decay: See `rate`.
    """

    def __init__(self, matrices: Iterable[nn.Parameter], rate: float, weight_decay: float) -> None:
        super().__init__(matrices, {"lr": rate, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step with the gradients that the parameters hold."""
        for group in self.param_groups:
            for matrix in group["params"]:
                state = self.state[matrix]
                mean = state.setdefault("momentum_buffer", torch.zeros_like(matrix))
                mean.lerp_(matrix.grad, 1 - _MOMENTUM)
                direction = orthogonal(matrix.grad.lerp(mean, _MOMENTUM))
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(direction, alpha=-group["lr"] * _ADAMW_SIZE * math.sqrt(max(matrix.shape)))


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix of the same shape with the singular vectors of `matrix` and singular values of about 1."""
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    found = wide / wide.norm().clamp(min=1e-7)
    linear, cubic, quintic = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        square = found @ found.T
        found = linear * found + (cubic * square + quintic * square @ square) @ found
    result: Tensor = found.T if matrix.shape[0] > matrix.shape[1] else found
    return result
