"""Which parameters learn how fast and for how long (METHODS A.5)."""

from dataclasses import asdict, dataclass, replace
from math import cos, isfinite, pi
from typing import Any, Literal

import torch
from torch import nn

from medzsad.methods.bayes_pfl import BayesPFL

BETAS = (0.5, 0.999)
_RATES = {"prompts": 1e-3, "temperatures": 1e-2, "flows": 1e-3, "networks": 1e-4}
_HEAD_RATE = 1e-4
_HEADS = ("text_head.", "image_head.", "summary.")


def parameter_groups(prompts: BayesPFL, stage: int) -> list[dict[str, Any]]:
    """Groups for an optimizer, with "name", "params", "lr" and "base_lr", the rate at the top of the schedule.

    Stage 1 holds every parameter, in the groups "prompts" and "flows" (1e-3), "temperatures" (1e-2) and "networks"
    (1e-4), though those of stage 2 get no gradient there; stage 2 holds "heads" (1e-4): text head, image head and
    patch summary.
    """
    named: dict[str, list[nn.Parameter]] = {}
    for name, parameter in prompts.named_parameters():
        if stage == 1:
            named.setdefault(_group_of(name), []).append(parameter)
        elif name.startswith(_HEADS):
            named.setdefault("heads", []).append(parameter)
    rates = _RATES if stage == 1 else {"heads": _HEAD_RATE}
    return [{"name": name, "params": named[name], "lr": rate, "base_lr": rate} for name, rate in rates.items()]


def _group_of(name: str) -> str:
    if name.startswith("log_scale_"):
        return "temperatures"
    if name.startswith("prompt_"):
        return "prompts"
    if name.startswith(("context_flow.", "normal_flow.", "abnormal_flow.")) and ".encoder." not in name:
        return "flows"
    return "networks"


def make_optimizer(prompts: BayesPFL, stage: int) -> torch.optim.Adam:
    """A fresh Adam for a stage: betas (0.5, 0.999), no weight decay."""
    return torch.optim.Adam(parameter_groups(prompts, stage), betas=BETAS)


def rate_share(step: int, total: int, warm_up: float = 0.1) -> float:
    """The share of its full rate at which stage 1 takes step `step` of `total`, counted from 0.

    It rises linearly from 0 over the first `warm_up` of the steps, then falls along half a cosine to 0 at `total`.
    Stage 2 has a constant rate.
    """
    rising = int(warm_up * total)
    if step < rising:
        return step / rising
    done = (step - rising) / max(1, total - rising)
    return 0.5 * (1 + cos(pi * min(1.0, done)))


def set_rates(optimizer: torch.optim.Optimizer, share: float) -> dict[str, float]:
    """The rates by group name, after setting each to `share` of its base rate."""
    for group in optimizer.param_groups:
        group["lr"] = share * group["base_lr"]
    return {str(group["name"]): float(group["lr"]) for group in optimizer.param_groups}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from an epoch.

    Attributes:
        improved: The criterion matched or improved the best of its stage; the weights are the best so far.
        action: "continue" in the same stage, "switch" to stage 2 with the next epoch, or "stop".
        restore: The best weights of stage 1 are to be loaded before stage 2; false if no epoch gave any.
    """

    improved: bool
    action: Literal["continue", "switch", "stop"]
    restore: bool = False


@dataclass(frozen=True, slots=True)
class PatienceRule:
    """When stage 1 gives way to stage 2, and when training ends; a state that each epoch's criterion moves on.

    An epoch whose criterion is below the best of its stage, or undefined, fails. The counter of failures is compared
    with 3 before it is incremented, so the fourth failure in a row ends the stage. Bests of different stages are
    different measures: a stage begins without a best, so that its first defined criterion always improves.

    Attributes:
        epochs: Epochs at most, of both stages together.
        stage: Stage of the next epoch.
        epoch: Epochs done.
        failures: Failures in a row.
        best: Best criterion of the stage; None before there is one.
        best_epoch: Epoch that reached it last, counted from 0.
        patience: Failures that are let pass.
    """

    epochs: int
    stage: Literal[1, 2] = 1
    epoch: int = 0
    failures: int = 0
    best: float | None = None
    best_epoch: int | None = None
    patience: int = 3

    def after(self, criterion: float | None) -> tuple["PatienceRule", Verdict]:
        """The state after an epoch, and what to do next."""
        last = self.epoch + 1 >= self.epochs
        if criterion is not None and isfinite(criterion) and (self.best is None or criterion >= self.best):
            now = replace(self, epoch=self.epoch + 1, failures=0, best=criterion, best_epoch=self.epoch)
            return now, Verdict(True, "stop" if last else "continue")
        now = replace(self, epoch=self.epoch + 1, failures=self.failures + 1)
        if last:
            return now, Verdict(False, "stop")
        if self.failures < self.patience:
            return now, Verdict(False, "continue")
        if self.stage == 2:
            return now, Verdict(False, "stop")
        fresh = PatienceRule(epochs=self.epochs, stage=2, epoch=self.epoch + 1, patience=self.patience)
        return fresh, Verdict(False, "switch", restore=self.best is not None)

    def to_dict(self) -> dict[str, Any]:
        """The state as numbers that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> "PatienceRule":
        """The state that `to_dict` gave."""
        return cls(**state)
