"""The epochs of a training: steps, validation, switch of stages (METHODS A.5)."""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medzsad.errors import ScoringError
from medzsad.methods.base import PromptModel
from medzsad.methods.detector import Detector
from medzsad.methods.objective import GuidedObjective, Objective, Stage
from medzsad.progress import Observer
from medzsad.training.features import FeatureBatch
from medzsad.training.guidance import GuideGradients
from medzsad.training.held_out import validation_scores
from medzsad.training.optimization import PatienceRule, make_optimizer, rate_share, set_rates
from medzsad.training.prepare import Prepared
from medzsad.training.progress_text import epoch_text, losses_text
from medzsad.training.randomness import generator_for
from medzsad.training.state import TrainState, load_state, save_state
from medzsad.training.validation import validation_metrics

_ORDER, _NOISE, _CHOICE = 2, 3, 4  # first numbers of the random streams; 1 is that of the augmentation


class Paused(Exception):
    """The training was asked to stop; its state is saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training(Prepared):
    """What does not change while a model trains, but for the numbers in `model`.

    Attributes:
        objective: Of the method, with the options of the configuration.
        model: Trained in place.
    """

    objective: Objective
    model: PromptModel

    @property
    def epoch_steps(self) -> int:
        """Steps of an epoch; the last one may be of a smaller batch."""
        return -(-len(self.train.records) // self.config.batch)

    def stage(self, number: int) -> Stage:
        """The stage of a number counted from 1."""
        return self.objective.stages[number - 1]

    def detector(self, number: int) -> Detector:
        """Scores validation images with the model as it is, used as after the stage of this number."""
        options = self.objective.used_with(self.stage(number)).model_dump(mode="json")
        card = self.card.model_copy(update={"options": options, "samples": self.config.validation_samples})
        return Detector(self.tower, self.model, self.method, card).eval()


class Stopper:
    """Knows when to stop: after a signal, or when the time is over.

    Args:
        minutes: Time; None for no limit.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self._end = None if minutes is None else time.monotonic() + 60 * minutes
        self.signaled = False

    def __call__(self) -> bool:
        """Whether to stop at the next step."""
        return self.signaled or (self._end is not None and time.monotonic() >= self._end)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """A context in which SIGINT and SIGTERM stop at the next step; a second one interrupts at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._heard) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _heard(self, number: int, frame: object) -> None:
        if self.signaled:
            raise KeyboardInterrupt
        self.signaled = True


def begin(training: Training) -> TrainState:
    """The state saved in the folder, or that before the first step; the same in every process.

    Raises:
        ConfigError: The saved one is of a training with other options or data.
    """
    config = training.config
    state = load_state(training.out, training.identity) if training.world.first else None
    state = training.world.share(state)
    if state is None:
        stages = len(training.objective.stages)
        rule = PatienceRule(epochs=config.epochs, stages=stages, patience=config.patience - 1)
        state = TrainState(rule=rule, model=_copy(training.model))
    training.model.load_state_dict(state.model)
    return state


class Loop:
    """Trains until the last epoch is over.

    Args:
        training: What is trained on what.
        state: Where it stands; moved on in place.
        observer: Is told.
        stop: Whether to pause, asked before every step.
    """

    def __init__(self, training: Training, state: TrainState, observer: Observer, stop: Stopper) -> None:
        self.training, self.state = training, state
        self._observer, self._stop = observer, stop
        self._saved = self._ticked = time.monotonic()
        self._optimizer = self._new_optimizer()
        if state.optimizer is not None:
            self._optimizer.load_state_dict(state.optimizer)

    def _new_optimizer(self) -> torch.optim.Adam:
        return make_optimizer(self.training.model, self.training.stage(self.state.rule.stage))

    def run_epoch(self) -> dict[str, Any]:
        """The record of the epoch that is finished; goes on within it.

        Raises:
            Paused: It was asked to stop; the state is saved.
            ScoringError: A loss is not finite.
        """
        training, state = self.training, self.state
        epoch = state.rule.epoch
        order = torch.randperm(
            len(training.train.records), generator=generator_for(training.config.seed, _ORDER, epoch)
        ).tolist()
        steps = [order[start : start + training.config.batch] for start in range(0, len(order), training.config.batch)]
        cuts = [training.world.parts(len(places), training.config.accumulate) for places in steps]
        plan = [
            [places[i] for i in part]
            for places, parts in zip(steps[state.step :], cuts[state.step :], strict=True)
            for part in parts
            if part
        ]
        variants = training.config.cache.variants
        batches = training.train.batches(plan, epoch % variants if variants else epoch)
        for step in range(state.step, len(steps)):
            self._pause_if_asked()
            self._train_step(step, len(steps[step]), [part for part in cuts[step] if part], batches)
        if training.config.keep == "last":
            return self._close_epoch({}, {})
        detector = training.detector(state.rule.stage)
        seed = training.config.seed
        scores = validation_scores(detector, seed, training.held, training.world, self._pause_if_asked)
        return self._close_epoch(*validation_metrics(scores))

    def _train_step(
        self, step: int, count: int, parts: Sequence[Sequence[int]], batches: Iterator[FeatureBatch]
    ) -> None:
        training, state = self.training, self.state
        config, model, epoch = training.config, training.model, state.rule.epoch
        stage = training.stage(state.rule.stage)
        total = config.epochs * training.epoch_steps
        done = epoch * training.epoch_steps + step
        set_rates(self._optimizer, rate_share(stage, done, total))
        source = generator_for(config.seed, _NOISE, epoch, step)
        draws = {
            name: torch.randn(shape if name in model.shared_draws else (count, *shape), generator=source)
            for name, shape in model.draw_shapes(1).items()
        }
        model.train().zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        objective = training.objective
        guide = self._guide()
        for part in parts:
            own = {name: draw if name in model.shared_draws else draw[list(part)] for name, draw in draws.items()}
            batch, share = next(batches), len(part) / count
            losses = self._losses(batch, own, stage, generator_for(config.seed, _CHOICE, epoch, step))
            losses = {name: value if name in stage.summed else share * value for name, value in losses.items()}
            if guide is not None and isinstance(objective, GuidedObjective):
                guide.add(share * objective.guide_loss(model, training.tower, batch.features))
            torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
            for name, value in losses.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach()
        found = self._summed(sums, stage)
        if not all(torch.isfinite(torch.tensor(list(found.values())))):
            raise ScoringError(
                f"A loss of step {step + 1}, epoch {epoch + 1} is not finite: {found}. Train with "
                "precision: float32, or look for damaged images."
            )
        training.world.sum_gradients(self._learned())
        if guide is not None:
            guide.apply(training.world.sum)
        self._optimizer.step()
        if isinstance(objective, GuidedObjective):
            objective.after_step(model, training.tower, done + 1)
        state.step = step + 1
        for name, number in found.items():
            state.sums[name] = state.sums.get(name, 0.0) + number
        self._observer.step(losses_text(found), done + 1)
        if time.monotonic() - self._saved >= config.save_seconds:
            self.save()

    def _learned(self) -> list[nn.Parameter]:
        return [parameter for group in self._optimizer.param_groups for parameter in group["params"]]

    def _guide(self) -> GuideGradients | None:
        objective = self.training.objective
        if not isinstance(objective, GuidedObjective) or not objective.guidance:
            return None
        return GuideGradients(self._learned(), objective.guidance)

    def _losses(
        self, batch: FeatureBatch, draws: dict[str, Tensor], stage: Stage, source: torch.Generator
    ) -> dict[str, Tensor]:
        training = self.training
        draws = {name: draw.to(training.world.device) for name, draw in draws.items()}
        return training.objective.losses(
            training.model, training.tower, batch.features, batch.class_names, batch.truth, draws, stage, source
        )

    def _summed(self, sums: dict[str, Tensor], stage: Stage) -> dict[str, float]:
        names = stage.parts  # a process without a part of the batch has no sums of its own
        zero = torch.zeros((), device=self.training.world.device)
        values = self.training.world.sum(torch.stack([sums.get(name, zero).float() for name in names]))
        return dict(zip(names, values.tolist(), strict=True))

    def _close_epoch(
        self, mean: dict[str, float | None], by_class: dict[str, dict[str, float | None]]
    ) -> dict[str, Any]:
        training, state = self.training, self.state
        stage, epoch = state.rule.stage, state.rule.epoch
        # Every epoch counts as the best so far where the last one is to be kept.
        criterion = float(epoch) if training.config.keep == "last" else mean[training.stage(stage).criterion]
        rule, verdict = state.rule.after(criterion)
        self._tick()
        record = {
            "epoch": epoch,
            "stage": stage,
            "step": (epoch + 1) * training.epoch_steps,
            "losses": {name: value / state.step for name, value in state.sums.items()},
            "rates": {group["name"]: float(group["lr"]) for group in self._optimizer.param_groups},
            "validation": mean,
            "by_class": by_class,
            "criterion": criterion if mean else None,
            "improved": verdict.improved,
            "seconds": state.seconds,
        }
        state.history.append(record)
        if verdict.improved:
            state.best[stage] = _copy(training.model)
        state.rule, state.step, state.sums, state.seconds = rule, 0, {}, 0.0
        state.done = verdict.action == "stop"
        if verdict.action == "switch":
            if verdict.restore:
                training.model.load_state_dict(state.best[stage])
            self._optimizer = self._new_optimizer()
        self.save()
        self._observer.note(epoch_text(record))
        return record

    def _pause_if_asked(self) -> None:
        if self.training.world.size > 1 and self.state.step < self.training.epoch_steps:
            asked = self.training.world.any(self._stop())
        else:
            # Processes validate different numbers of images, so they cannot agree here.
            asked = self.training.world.size == 1 and self._stop()
        if asked:
            self.save()
            raise Paused

    def _tick(self) -> None:
        now = time.monotonic()
        self.state.seconds += now - self._ticked
        self._ticked = now

    def save(self) -> None:
        """Saves the state; only the first process writes."""
        self._tick()
        self.state.model = _copy(self.training.model)
        self.state.optimizer = self._optimizer.state_dict()
        if self.training.world.first:
            save_state(self.training.out, self.state, self.training.identity)
        self._saved = time.monotonic()


def _copy(model: PromptModel) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
