"""How fast parameters learn, and when a stage of a training ends (METHODS A.5)."""

from dataclasses import asdict, dataclass, replace
from math import cos, isfinite, pi
from typing import Any, Literal

import torch

from medzsad.methods.base import PromptModel
from medzsad.methods.objective import Stage


def make_optimizer(model: PromptModel, stage: Stage) -> torch.optim.Adam:
    """A fresh Adam for a stage, without weight decay."""
    return torch.optim.Adam(stage.groups(model), betas=stage.betas)


def rate_share(stage: Stage, step: int, total: int) -> float:
    """The share of its full rate at which a stage takes step `step` of `total`, counted from 0."""
    return warm_up_cosine(step, total) if stage.schedule == "warm_up_cosine" else 1.0


def warm_up_cosine(step: int, total: int, warm_up: float = 0.1) -> float:
    """A share that rises linearly from 0 over the first `warm_up` of the steps, then falls along half a cosine to 0."""
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
        action: "continue" in the same stage, "switch" to the next one with the next epoch, or "stop".
        restore: The best weights of the stage are to be loaded before the next; false if no epoch gave any.
    """

    improved: bool
    action: Literal["continue", "switch", "stop"]
    restore: bool = False


@dataclass(frozen=True, slots=True)
class PatienceRule:
    """When a stage gives way to the next, and when training ends; a state that each epoch's criterion moves on.

    An epoch whose criterion is below the best of its stage, or undefined, fails. The counter of failures is compared
    with 3 before it is incremented, so the fourth failure in a row ends the stage. Bests of different stages are
    different measures: a stage begins without a best, so that its first defined criterion always improves.

    Attributes:
        epochs: Epochs at most, of all stages together.
        stages: Number of stages.
        stage: Stage of the next epoch, counted from 1.
        epoch: Epochs done.
        failures: Failures in a row.
        best: Best criterion of the stage; None before there is one.
        best_epoch: Epoch that reached it last, counted from 0.
        patience: Failures that are let pass.
    """

    epochs: int
    stages: int = 1
    stage: int = 1
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
        if self.stage == self.stages:
            return now, Verdict(False, "stop")
        fresh = PatienceRule(
            epochs=self.epochs,
            stages=self.stages,
            stage=self.stage + 1,
            epoch=self.epoch + 1,
            patience=self.patience,
        )
        return fresh, Verdict(False, "switch", restore=self.best is not None)

    def to_dict(self) -> dict[str, Any]:
        """The state as numbers that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> "PatienceRule":
        """The state that `to_dict` gave."""
        return cls(**state)
