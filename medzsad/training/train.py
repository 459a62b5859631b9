"""From a configuration to a weights file: prepare, train, finish; continued after an interruption."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from medzsad.datasets.pictures import strict_pillow
from medzsad.drawing.contact_sheet import contact_sheet
from medzsad.drawing.training_plots import training_plots
from medzsad.errors import ConfigError
from medzsad.files import write_bytes_atomic, write_text_atomic
from medzsad.methods.registry import find_method
from medzsad.progress import Observer, Silent
from medzsad.scoring.device import resolve_device
from medzsad.training.collect import collect
from medzsad.training.config import TrainConfig
from medzsad.training.distributed import World, joined_world
from medzsad.training.features import Change
from medzsad.training.finish import WEIGHTS_FILE, write_weights
from medzsad.training.held_out import sheet_rows
from medzsad.training.loop import Loop, Paused, Stopper, Training, begin
from medzsad.training.prepare import prepare
from medzsad.training.provenance import with_unknown_words
from medzsad.training.start import class_words_unknown, first_model, trained_method
from medzsad.training.state import TrainState, save_state
from medzsad.training.tensorboard import Board, open_board


def train(config: TrainConfig, out: Path, observer: Observer | None = None) -> Path | None:
    """The weights file OUT/weights.safetensors; None if the training was paused by `max_minutes`.

    OUT also gets state.pt to go on from, history.json, curves.png and contact_sheet.png. Started by torchrun it shares
    the work among the processes, see `medzsad.training.distributed`. A method that learns nothing by steps makes its
    weights in one pass, see `medzsad.training.collect`.

    Raises:
        ConfigError: The data have errors, or OUT holds a training with other options or data.
        WeightsError: The tower is missing, damaged or does not fit.
        KeyboardInterrupt: A signal asked to stop; the state is saved.
    """
    with strict_pillow(), joined_world(resolve_device(config.device)) as world:
        teller = observer if observer is not None and world.first else Silent()
        method = find_method(config.method)
        if method.memory is not None:
            return collect(config, method, out, world, teller)
        if config.batch < world.size * config.accumulate:
            raise ConfigError(
                f"A batch of {config.batch} cannot be cut into {world.size} x {config.accumulate} parts. "
                "Raise batch, or lower accumulate or the number of processes."
            )
        stop = Stopper(config.max_minutes)
        training = _training(config, out, world, teller)
        state = begin(training)
        path = out / WEIGHTS_FILE
        if state.done and state.written and path.is_file():
            return path
        board = open_board(out / "board" if config.tensorboard and world.first else None)
        try:
            with stop.listening():
                _epochs(Loop(training, state, teller, stop), teller, board)
        except Paused:
            if stop.signaled:
                raise KeyboardInterrupt from None
            return None
        finally:
            board.close()
        if world.first:
            teller.note("Choosing the threshold.")
            _finish(training, state, path)
        world.share(None)  # nobody leaves before the file is there
        return path


def _epochs(loop: Loop, observer: Observer, board: Board) -> None:
    training, state = loop.training, loop.state
    if (state.history or state.step) and training.world.first:
        observer.note(f"Going on in epoch {state.rule.epoch + 1}, step {state.step + 1}.")
    observer.started("training", training.config.epochs * training.epoch_steps, "steps")
    while not state.done:
        stage = state.rule.stage
        record = loop.run_epoch()
        if training.world.first:
            _show(training, state, record, board, stage)


def _training(config: TrainConfig, out: Path, world: World, observer: Observer) -> Training:
    trained = trained_method(config)
    prepared = prepare(
        config,
        trained.method,
        trained.options,
        out,
        world=world,
        change=Change(config.seed, config.augment, config.mosaic, config.object_noise),
        observer=observer,
    )
    model = first_model(config, trained, prepared.tower)
    records = (*prepared.train.records, *prepared.held.records)
    if unknown := class_words_unknown(model, prepared.tower, [record.class_name for record in records]):
        observer.note(f"The tower has no embedding for: {', '.join(unknown)}. To the prompts these words are the same.")
    shared = {field.name: getattr(prepared, field.name) for field in dataclasses.fields(prepared)}
    shared["card"] = with_unknown_words(prepared.card, unknown)
    return Training(**shared, objective=trained.objective, model=model.to(world.device))


def _show(training: Training, state: TrainState, record: dict[str, Any], board: Board, stage: int) -> None:
    """Writes history, curves, contact sheet and the log of an epoch."""
    out = training.out
    write_text_atomic(out / "history.json", json.dumps(state.history, indent=1) + "\n")
    write_bytes_atomic(out / "curves.png", training_plots(state.history))
    shown = training.held if training.held.records else training.train
    rows = sheet_rows(training.detector(stage), training.config.seed, shown)
    write_bytes_atomic(out / "contact_sheet.png", contact_sheet(rows))
    numbers = {f"{kind}/{name}": value for kind in ("losses", "rates") for name, value in record[kind].items()}
    numbers |= {f"validation/{name}": value for name, value in record["validation"].items() if value is not None}
    board.scalars(numbers, record["step"])
    board.image("validation", out / "contact_sheet.png", record["step"])


def _finish(training: Training, state: TrainState, path: Path) -> None:
    """Writes the model that is kept, with its threshold."""
    if not state.best:
        raise ConfigError(
            "No epoch could be validated: there must be held-out defects with masks, and normal images. "
            "Change hold_out or the data."
        )
    stage, model = max(state.best), training.model
    model.load_state_dict(state.best[stage])
    used_with = training.objective.used_with(training.stage(stage))
    card = training.card.model_copy(update={"options": used_with.model_dump(mode="json")})
    write_weights(training, model, card, state.history, path)
    state.written = True
    state.model = {name: value.cpu() for name, value in model.state_dict().items()}
    save_state(training.out, state, training.identity)
