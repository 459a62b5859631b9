"""Distributions of prompts: a Gaussian of learned mean and variance, pushed through planar flows."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

_LOG_DETERMINANT_EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class FlowSample:
    """Samples of a flow, with what its KL divergence needs.

    Attributes:
        start: (..., D) sample of the Gaussian, z_0.
        end: (..., D) after the flows, z_K.
        log_determinant: (...) summed over the flows.
        mean: (..., D) of the Gaussian, with 1 where it is shared by samples.
        log_variance: (..., D), as `mean`.
    """

    start: Tensor
    end: Tensor
    log_determinant: Tensor
    mean: Tensor
    log_variance: Tensor


def planar_flow(start: Tensor, u: Tensor, w: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """The samples after K planar steps z + u tanh(w·z + beta), and the log-determinant.

    Args:
        start: (..., D).
        u: (..., K, D), broadcast against `start`.
        w: (..., K, D).
        beta: (..., K).

    Returns:
        (..., D) and (...). The steps are not forced to be invertible, as with the authors.
    """
    z = start
    log_determinant = start.new_zeros(start.shape[:-1])
    for step in range(u.shape[-2]):
        u_k, w_k = u[..., step, :], w[..., step, :]
        t = torch.tanh((w_k * z).sum(dim=-1) + beta[..., step])
        z = z + u_k * t.unsqueeze(-1)
        slope = 1 + (1 - t**2) * (w_k * u_k).sum(dim=-1)
        log_determinant = log_determinant + torch.log(slope.abs() + _LOG_DETERMINANT_EPSILON)
    return z, log_determinant


def mlp(width: int, hidden: int) -> nn.Sequential:
    """Three linear layers with softplus between them, width -> hidden -> hidden -> width."""
    return nn.Sequential(
        nn.Linear(width, hidden), nn.Softplus(), nn.Linear(hidden, hidden), nn.Softplus(), nn.Linear(hidden, width)
    )


class GaussianEncoder(nn.Module):
    """Mean and log-variance of a Gaussian."""

    def __init__(self, *, width: int, hidden: int) -> None:
        super().__init__()
        self.mean = mlp(width, hidden)
        self.spread = mlp(width, hidden)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(..., D) mean and log-variance; the exponential of half the network's output is the variance."""
        return self.mean(x), 0.5 * self.spread(x)


class ImageFlow(nn.Module):
    """The distribution that depends on the image: encoder and flow steps are computed from its class token."""

    def __init__(self, *, width: int, hidden: int, flows: int) -> None:
        super().__init__()
        self.flows = flows
        self.encoder = GaussianEncoder(width=width, hidden=hidden)
        self.u = nn.Linear(width, flows * width)
        self.w = nn.Linear(width, flows * width)
        self.beta = nn.Linear(width, flows)

    def forward(self, cls: Tensor, noise: Tensor) -> FlowSample:
        """R samples per image from cls (b, D) and noise (b, R, D)."""
        mean, log_variance = (x.float().unsqueeze(1) for x in self.encoder(cls))  # (b, 1, D)
        start = mean + torch.exp(0.5 * log_variance) * noise
        u, w = (linear(cls).float().unflatten(-1, (self.flows, -1)).unsqueeze(1) for linear in (self.u, self.w))
        end, log_determinant = planar_flow(start, u, w, self.beta(cls).float().unsqueeze(1))
        return FlowSample(start, end, log_determinant, mean, log_variance)


class StateFlow(nn.Module):
    """A distribution that does not depend on the image; its encoder is shared and therefore passed in."""

    def __init__(self, *, width: int, flows: int) -> None:
        super().__init__()
        self.state = nn.Parameter(torch.randn(width))
        self.u = nn.Parameter(torch.randn(flows, width))
        self.w = nn.Parameter(torch.randn(flows, width))
        self.beta = nn.Parameter(torch.randn(flows))

    def forward(self, encoder: GaussianEncoder, noise: Tensor) -> FlowSample:
        """R samples from noise (R, D)."""
        mean, log_variance = (x.float().unsqueeze(0) for x in encoder(self.state))  # (1, D)
        start = mean + torch.exp(0.5 * log_variance) * noise
        end, log_determinant = planar_flow(start, self.u, self.w, self.beta)
        return FlowSample(start, end, log_determinant, mean, log_variance)
