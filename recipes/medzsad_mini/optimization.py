"""Optimizers and rates of the first phase of medzsad-mini."""

import torch
from torch import Tensor, nn

from recipes.medzsad_mini.config import MiniConfig
from recipes.medzsad_mini.muon import Muon

# Temperatures at the rate that METHODS A.5 gives them.
_SCALE_RATE = 1e-2
_BETAS = (0.9, 0.98)


def make_optimizers(model: nn.Module, config: MiniConfig) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the vision transformer, AdamW for the rest; every group keeps its `peak` rate."""
    groups: dict[str, list[nn.Parameter]] = {"matrices": [], "stem": [], "scales": [], "others": []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[_group(name, parameter)].append(parameter)
    muon = Muon(groups["matrices"], config.learning_rate, config.weight_decay)
    rates = {"stem": config.stem_learning_rate, "scales": _SCALE_RATE, "others": config.other_learning_rate}
    rest = [{"params": groups[name], "lr": rate} for name, rate in rates.items()]
    optimizers: list[torch.optim.Optimizer] = [muon, torch.optim.AdamW(rest, weight_decay=0.0, betas=_BETAS)]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def _group(name: str, parameter: Tensor) -> str:
    if name.endswith("_scale"):
        return "scales"
    if name.startswith("clip.visual.stem."):
        return "stem"
    return "matrices" if name.startswith("clip.visual.transformer.") and parameter.ndim == 2 else "others"


def set_rates(optimizers: list[torch.optim.Optimizer], config: MiniConfig, step: int) -> None:
    """Rates of a step: they rise, stay, and fall to zero at the end."""
    falling = config.cool_down * config.steps
    share = min(1.0, (step + 1) / config.warm_up)
    if falling:
        share = min(share, (config.steps - step) / falling)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share


def train_step(
    model: nn.Module,
    shadow: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    loss: Tensor,
    config: MiniConfig,
    step: int,
) -> None:
    """One step of all optimizers, and of the running average `shadow`."""
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), config.clip_gradient)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    decay = min(config.average, (step + 1) / (step + 10))
    with torch.no_grad():
        torch._foreach_lerp_(list(shadow.parameters()), list(model.parameters()), 1 - decay)
