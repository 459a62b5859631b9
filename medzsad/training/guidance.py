"""Gradients that a second loss guides, so that what is learned from made-up defects stays general (METHODS I)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def guided(task: Tensor, guide: Tensor, strength: float) -> Tensor:
    """The gradient of a task without `strength` times its part that goes against the guide's.

    Where both agree, or either is zero, it is that of the task.

    Args:
        task: Gradient of a parameter.
        guide: Of the same parameter and shape, for the guide's loss.
        strength: 0 leaves the task alone, 1 removes the conflict, more turns it around.
    """
    product = (task * guide).sum()
    size = (guide * guide).sum()
    conflict = torch.where((product < 0) & (size > 0), product / size.clamp(min=torch.finfo(size.dtype).tiny), 0.0)
    return task - strength * conflict * guide


class GuideGradients:
    """Collects the gradients of a guide's loss beside those that the parameters hold, part by part of a batch.

    Args:
        parameters: What is learned.
        strength: See `guided`.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], strength: float) -> None:
        self._parameters, self._strength = list(parameters), strength
        self._sums = [torch.zeros_like(parameter) for parameter in self._parameters]

    def add(self, loss: Tensor) -> None:
        """Adds the gradients of a loss; the graph that it shares with the task's stays."""
        found = torch.autograd.grad(loss, self._parameters, retain_graph=True, allow_unused=True)
        for total, gradient in zip(self._sums, found, strict=True):
            if gradient is not None:
                total += gradient

    def apply(self, summed: Callable[[Tensor], Tensor]) -> None:
        """Puts guided gradients in the place of those that the parameters hold.

        Args:
            summed: Gives the sum of a tensor over all processes.
        """
        for parameter, guide in zip(self._parameters, self._sums, strict=True):
            whole = summed(guide)
            if parameter.grad is not None:
                parameter.grad = guided(parameter.grad, whole, self._strength)
