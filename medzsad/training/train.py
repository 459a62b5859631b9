"""From a configuration to a weights file: check, train, calibrate, write; continued after an interruption."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medzsad.datasets.check import check_data, data_text, without_bad
from medzsad.datasets.layouts import read_data
from medzsad.datasets.pictures import strict_pillow
from medzsad.datasets.records import DataSet, Record, data_sha256, few_sound, hold_out
from medzsad.drawing.contact_sheet import contact_sheet
from medzsad.drawing.training_plots import training_plots
from medzsad.errors import ConfigError
from medzsad.files import file_sha256, write_bytes_atomic, write_text_atomic
from medzsad.methods.base import Method
from medzsad.methods.detector import Detector
from medzsad.progress import Observer, Silent
from medzsad.scoring.device import autocast, resolve_device, resolve_precision
from medzsad.slices.transforms import clip_normalize
from medzsad.training.calibrate import calibrate
from medzsad.training.config import TrainConfig, result_keys
from medzsad.training.distributed import World, joined_world
from medzsad.training.features import Change, FeatureSource
from medzsad.training.held_out import sheet_rows
from medzsad.training.loop import Loop, Paused, Stopper, Training, begin
from medzsad.training.provenance import data_provenance, finished_card, first_card
from medzsad.training.start import class_words_unknown, first_model, trained_method
from medzsad.training.state import TrainState, save_state
from medzsad.training.tensorboard import Board, open_board
from medzsad.weights.store import resolve_weights, save_weights
from medzsad.weights.tower import OpenedTower, open_tower

WEIGHTS_FILE = "weights.safetensors"
_BATCH = 8


def checked_data(config: TrainConfig) -> DataSet:
    """The auxiliary images with everything that is wrong with them; every file has been decoded.

    Raises:
        ConfigError: Nothing is there, or it is of no known layout.
    """
    data = config.data
    return check_data(read_data(data.root, data.layout, split=data.split, classes=data.classes))


def train(config: TrainConfig, out: Path, observer: Observer | None = None) -> Path | None:
    """The weights file OUT/weights.safetensors; None if the training was paused by `max_minutes`.

    OUT also gets state.pt to go on from, history.json, curves.png and contact_sheet.png. Started by torchrun it shares
    the work among the processes, see `medzsad.training.distributed`.

    Raises:
        ConfigError: The data have errors, or OUT holds a training with other options or data.
        WeightsError: The tower is missing, damaged or does not fit.
        KeyboardInterrupt: A signal asked to stop; the state is saved.
    """
    with strict_pillow(), joined_world(resolve_device(config.device)) as world:
        if config.batch < world.size * config.accumulate:
            raise ConfigError(
                f"A batch of {config.batch} cannot be cut into {world.size} x {config.accumulate} parts. "
                "Raise batch, or lower accumulate or the number of processes."
            )
        teller = observer if observer is not None and world.first else Silent()
        stop = Stopper(config.max_minutes)
        training, model_config = _prepared(config, out, world, teller)
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
            _finish(training, state, model_config, path)
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


def _prepared(config: TrainConfig, out: Path, world: World, observer: Observer) -> tuple[Training, dict[str, Any]]:
    trained = trained_method(config)
    data = _usable_data(config)
    records, held = _parts(config, data, observer)
    opened = _opened_tower(config, trained.method)
    precision = resolve_precision(config.precision, world.device)
    change = Change(config.seed, config.augment, config.mosaic, config.object_noise)
    opened.tower.clip.to(world.device)
    tower = dataclasses.replace(opened.tower, arithmetic=partial(autocast, world.device, precision))
    sha256 = data_sha256(data.root, data.records)
    identity = _named_files(config, opened) | _legacy_identity(config, held)
    identity |= {"options": trained.options.model_dump(mode="json"), "precision": precision}
    identity |= {"processes": world.size, "data_sha256": sha256}
    features = partial(
        FeatureSource,
        tower,
        tower_sha256=opened.sha256,
        device=world.device,
        precision=precision,
        folder=(config.cache.folder or out / "features") if config.cache.variants else None,
        workers=config.workers,
    )
    model = first_model(config, trained, tower)
    provenance = data_provenance(data.layout, sha256, records, held.records)
    if unknown := class_words_unknown(model, tower, [record.class_name for record in (*records, *held.records)]):
        provenance["unknown_words"] = unknown
        observer.note(f"The tower has no embedding for: {', '.join(unknown)}. To the prompts these words are the same.")
    training = Training(
        config=config,
        method=trained.method,
        objective=trained.objective,
        tower=tower,
        model=model.to(world.device),
        card=first_card(config, trained.method, opened, identity, provenance),
        train=features(records, data.root, change=change),
        held=features(held.records, held.root),
        world=world,
        identity=identity,
        out=out,
    )
    return training, opened.model_config


def _opened_tower(config: TrainConfig, method: Method) -> OpenedTower:
    return open_tower(
        config.tower, method.spec, image_size=config.image_size, layers=config.layers, window=config.window
    )


def _named_files(config: TrainConfig, opened: OpenedTower) -> dict[str, Any]:
    """The options that the weights depend on, with names and digests of weights in place of where they lie."""
    named = {"tower": opened.name, "tower_sha256": opened.sha256}
    if config.start != "fresh":
        named |= {"start": Path(config.start).name, "start_sha256": file_sha256(resolve_weights(config.start))}
    return result_keys(config) | named


def _legacy_identity(config: TrainConfig, held: DataSet) -> dict[str, str]:
    if config.legacy_validation is None:
        return {}
    return {"legacy_validation_sha256": data_sha256(held.root, held.records)}


def _usable_data(config: TrainConfig) -> DataSet:
    data = checked_data(config)
    if config.skip_bad:
        data = without_bad(data)
    if any(problem.severity == "error" for problem in data.problems):
        raise ConfigError(
            "The training data have errors. Mend them, or leave the images out with skip_bad: true.\n" + data_text(data)
        )
    return data


def _parts(config: TrainConfig, data: DataSet, observer: Observer) -> tuple[list[Record], DataSet]:
    """Records to train on, and those that choose the epoch."""
    records, kept_back = hold_out(data.records, config.hold_out, config.seed)
    held = DataSet(data.root, data.layout, tuple(kept_back), ())
    if (legacy := config.legacy_validation) is not None:
        held = read_data(legacy.root, legacy.layout, split="test", classes=legacy.classes)
    needed = []
    if config.data.shots is not None:
        records = few_sound(records, config.data.shots, config.seed)
    if not config.object_noise:
        needed.append(("to train on", records))
    elif all(record.label for record in records):
        raise ConfigError("object_noise makes defects on sound images, and none is to train on. Add some.")
    if config.keep == "best":
        needed.append(("held out", list(held.records)))
    for what, part in needed:
        if not any(record.label and record.mask is not None for record in part):
            raise ConfigError(
                f"No image with a defect mask is {what}: {len(part)} images. Add images, or change hold_out."
            )
    observer.note(f"{len(records)} images to train on, {len(held.records)} to validate on, all checked.")
    return records, held


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


def _finish(training: Training, state: TrainState, model_config: dict[str, Any], path: Path) -> None:
    """Writes the model that is kept, with its threshold."""
    config, tower, model = training.config, training.tower, training.model
    if not state.best:
        raise ConfigError(
            "No epoch could be validated: there must be held-out defects with masks, and normal images. "
            "Change hold_out or the data."
        )
    stage = max(state.best)
    model.load_state_dict(state.best[stage])
    model.eval().requires_grad_(False)
    card = training.card.model_copy(
        update={"options": training.objective.used_with(training.stage(stage)).model_dump(mode="json")}
    )
    # Scores are calibrated in float32, the reference.
    detector = Detector(dataclasses.replace(tower, arithmetic=nullcontext), model, training.method, card).eval()
    # Test images of another benchmark choose no threshold.
    sound = () if config.legacy_validation else _sound(training.held)
    found = calibrate(
        detector, sound, false_pixels=config.false_pixels, phantoms=config.phantoms, class_name=config.class_name
    )
    save_weights(path, model, finished_card(card, state.history, found), tower.clip if model_config else None)
    state.written = True
    state.model = {name: value.cpu() for name, value in model.state_dict().items()}
    save_state(training.out, state, training.identity)


def _sound(source: FeatureSource) -> Iterator[tuple[Tensor, Sequence[str]]]:
    places = [place for place, record in enumerate(source.records) if not record.label]
    for start in range(0, len(places), _BATCH):
        chosen = places[start : start + _BATCH]
        images = torch.stack([clip_normalize(source.picture(place)[0] / 255) for place in chosen])
        yield images, [source.records[place].class_name for place in chosen]
