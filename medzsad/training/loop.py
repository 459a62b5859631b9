"""The epochs of a training: steps, validation, switch of stages (METHODS A.5)."""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from medzsad.config import Precision
from medzsad.errors import ScoringError
from medzsad.methods.bayes_pfl import BayesPFL
from medzsad.methods.noise import Noise
from medzsad.progress import Observer
from medzsad.scoring.device import autocast
from medzsad.training.config import TrainConfig
from medzsad.training.distributed import World
from medzsad.training.features import Batch, FeatureSource
from medzsad.training.held_out import Scorer, validation_scores
from medzsad.training.objective import ObjectiveOptions, bayes_pfl_losses
from medzsad.training.optimization import PatienceRule, make_optimizer, rate_share, set_rates
from medzsad.training.progress_text import epoch_text, losses_text
from medzsad.training.randomness import generator_for
from medzsad.training.state import TrainState, load_state, save_state
from medzsad.training.tower import Tower
from medzsad.training.validation import validation_metrics

_ORDER, _NOISE, _PAIR = 2, 3, 4  # first numbers of the random streams; 1 is that of the augmentation


class Paused(Exception):
    """The training was asked to stop; its state is saved."""


@dataclass(frozen=True, slots=True)
class Training:
    """What does not change while a model trains, but for the numbers in `prompts`.

    Attributes:
        config: Options.
        tower: Frozen.
        prompts: Trained in place.
        train: Features to train on.
        held: Features to validate on.
        world: The processes.
        precision: Arithmetic of tower and text side.
        identity: What the weights depend on.
        out: Folder of results.
    """

    config: TrainConfig
    tower: Tower
    prompts: BayesPFL
    train: FeatureSource
    held: FeatureSource
    world: World
    precision: Precision
    identity: dict[str, Any]
    out: Path

    @property
    def epoch_steps(self) -> int:
        """Steps of an epoch; the last one may be of a smaller batch."""
        return -(-len(self.train.records) // self.config.batch)

    def scorer(self) -> Scorer:
        """Scores validation images with the prompts as they are."""
        config = self.config
        return Scorer(
            self.tower.clip,
            self.prompts,
            samples=config.validation_samples,
            seed=config.seed,
            precision=self.precision,
        )


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
        rule = PatienceRule(epochs=config.epochs, patience=config.patience - 1)
        state = TrainState(rule=rule, prompts=_copy(training.prompts))
    training.prompts.load_state_dict(state.prompts)
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
        return make_optimizer(self.training.prompts, self.state.rule.stage)

    def run_epoch(self) -> dict[str, Any]:
        """The record of the epoch that is finished; goes on within it.

        Raises:
            Paused: It was asked to stop; the state is saved.
            ScoringError: A loss is not finite.
        """
        training, state = self.training, self.state
        epoch, stage = state.rule.epoch, state.rule.stage
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
        scores = validation_scores(training.scorer(), training.held, stage, training.world, self._pause_if_asked)
        return self._close_epoch(*validation_metrics(scores))

    def _train_step(self, step: int, count: int, parts: Sequence[Sequence[int]], batches: Iterator[Batch]) -> None:
        training, state = self.training, self.state
        config, prompts, stage, epoch = training.config, training.prompts, state.rule.stage, state.rule.epoch
        total = config.epochs * training.epoch_steps
        done = epoch * training.epoch_steps + step
        set_rates(self._optimizer, rate_share(done, total) if stage == 1 else 1.0)
        width = prompts.sizes["width"]
        source = generator_for(config.seed, _NOISE, epoch, step)
        noise = Noise(*(torch.randn(*shape, width, generator=source) for shape in ((count, 1), (1,), (1,))))
        pair = int(torch.randint(prompts.sizes["bank"], (), generator=generator_for(config.seed, _PAIR, epoch, step)))
        prompts.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for part in parts:
            own = Noise(noise.context[list(part)], noise.normal, noise.abnormal)
            losses = self._losses(next(batches), own, pair, stage)
            share = len(part) / count
            (share * torch.stack(list(losses.values())).sum()).backward()  # type: ignore[no-untyped-call]
            for name, value in losses.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + share * value.detach()
        found = self._summed(sums, stage)
        if not all(torch.isfinite(torch.tensor(list(found.values())))):
            raise ScoringError(
                f"A loss of step {step + 1}, epoch {epoch + 1} is no finite number: {found}. Train with "
                "precision: float32, or look for damaged images."
            )
        training.world.sum_gradients([p for group in self._optimizer.param_groups for p in group["params"]])
        self._optimizer.step()
        state.step = step + 1
        for name, number in found.items():
            state.sums[name] = state.sums.get(name, 0.0) + number
        self._observer.step(losses_text(found), done + 1)
        if time.monotonic() - self._saved >= config.save_seconds:
            self.save()

    def _losses(self, batch: Batch, noise: Noise, pair: int, stage: Literal[1, 2]) -> dict[str, Tensor]:
        training = self.training
        with torch.set_grad_enabled(stage == 1):  # stage 2 learns nothing of the text side but its last mapping
            sample = training.prompts.sample_prompts(batch.features, noise)
            with autocast(training.world.device, training.precision):
                text = training.prompts.encode_prompts(training.tower.clip, sample, batch.class_names)
        options = ObjectiveOptions(legacy_kl=training.config.legacy_kl)
        return bayes_pfl_losses(training.prompts, text, sample, batch.features, batch.truth, pair, stage, options)

    def _summed(self, sums: dict[str, Tensor], stage: int) -> dict[str, float]:
        names = ["classification"]
        if stage == 1:
            names += ["focal", "dice", "kl_context", "kl_normal", "kl_abnormal", "orthogonal"]
        zero = torch.zeros((), device=self.training.world.device)
        values = self.training.world.sum(torch.stack([sums.get(name, zero).float() for name in names]))
        return dict(zip(names, values.tolist(), strict=True))

    def _close_epoch(
        self, mean: dict[str, float | None], by_class: dict[str, dict[str, float | None]]
    ) -> dict[str, Any]:
        training, state = self.training, self.state
        stage, epoch = state.rule.stage, state.rule.epoch
        criterion = mean["pixel_ap" if stage == 1 else "image_ap"]
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
            "criterion": criterion,
            "improved": verdict.improved,
            "seconds": state.seconds,
        }
        state.history.append(record)
        if verdict.improved:
            state.best[stage] = _copy(training.prompts)
        state.rule, state.step, state.sums, state.seconds = rule, 0, {}, 0.0
        state.done = verdict.action == "stop"
        if verdict.action == "switch":
            if verdict.restore:
                training.prompts.load_state_dict(state.best[1])
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
        self.state.prompts = _copy(self.training.prompts)
        self.state.optimizer = self._optimizer.state_dict()
        if self.training.world.first:
            save_state(self.training.out, self.state, self.training.identity)
        self._saved = time.monotonic()


def _copy(prompts: BayesPFL) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in prompts.state_dict().items()}
