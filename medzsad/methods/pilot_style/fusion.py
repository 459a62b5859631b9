"""Phrases and a pool of prompts, put together for each image (METHODS H)."""

from torch import Tensor
from torch.nn.functional import normalize

from medzsad.methods.prompts import TEMPERATURE


def anchors(g: Tensor, bank: Tensor) -> Tensor:
    """(b, D) unit mixtures of phrases, each weighted by how near it is to an image.

    Args:
        g: (b, D) image features, of any length.
        bank: (m, D) unit features of phrases.
    """
    near = (normalize(g, dim=-1) @ bank.T / TEMPERATURE).softmax(dim=-1)
    return normalize(near @ bank, dim=-1)


def pool_weights(g: Tensor, keys: Tensor, normal_anchor: Tensor | None) -> Tensor:
    """(b, K) weights of the prompts of a pool, each row summing to 1.

    Args:
        g: (b, D) image features, of any length.
        keys: (K, D), one per prompt.
        normal_anchor: (b, D) unit; what of an image lies along it does not count. None compares the whole image.
    """
    query = normalize(g, dim=-1)
    if normal_anchor is not None:
        query = normalize(without(query, normal_anchor), dim=-1)
    return (query @ normalize(keys, dim=-1).T / TEMPERATURE).softmax(dim=-1)


def balance(weights: Tensor) -> Tensor:
    """How far the mean weights of a batch (b, K) are from all prompts being used alike: KL divergence, 0 at best."""
    mean = weights.mean(dim=0)
    return (mean * (mean * len(mean)).clamp(min=1e-12).log()).sum()


def without(x: Tensor, direction: Tensor) -> Tensor:
    """What of x (..., D) does not lie along unit directions (..., D)."""
    return x - (x * direction).sum(dim=-1, keepdim=True) * direction


def fused(learned: Tensor, anchor: Tensor, share: float = 0.3, project: bool = True) -> Tensor:
    """(b, 2, D) unit text features: anchors, and beside them a bounded share of what was learned.

    Args:
        learned: (b, 2, D).
        anchor: (b, 2, D) unit.
        share: Length of what is added.
        project: Whether only the part counts that stands upright on the anchor.
    """
    rest = without(learned, anchor) if project else learned
    return normalize(anchor + share * normalize(rest, dim=-1), dim=-1)
