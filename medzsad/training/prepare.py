"""What every training begins with: its data, checked, the frozen tower, and what the weights will depend on."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from medzsad.clip.tower import Tower
from medzsad.datasets.check import check_data, data_text, without_bad
from medzsad.datasets.layouts import read_data
from medzsad.datasets.records import DataSet, Record, data_sha256, few_sound, hold_out
from medzsad.errors import ConfigError
from medzsad.files import file_sha256
from medzsad.methods.base import Method
from medzsad.progress import Observer
from medzsad.scoring.device import autocast, resolve_precision
from medzsad.training.config import TrainConfig, result_keys
from medzsad.training.distributed import World
from medzsad.training.features import Change, FeatureSource
from medzsad.training.provenance import data_provenance, first_card
from medzsad.weights.card import WeightsCard
from medzsad.weights.store import resolve_weights
from medzsad.weights.tower import OpenedTower, open_tower


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Data and tower of a training.

    Attributes:
        config: Options.
        method: What is trained.
        tower: Frozen, its arithmetic set.
        model_config: Of the tower if it is to be put into the weights file, else empty.
        card: Of the tower and the model, as far as it is known before the training.
        train: Features to train on.
        held: Features to validate on.
        world: The processes.
        identity: What the weights depend on.
        out: Folder of results.
    """

    config: TrainConfig
    method: Method
    tower: Tower
    model_config: dict[str, Any]
    card: WeightsCard
    train: FeatureSource
    held: FeatureSource
    world: World
    identity: dict[str, Any]
    out: Path


def prepare(
    config: TrainConfig,
    method: Method,
    options: BaseModel,
    out: Path,
    *,
    world: World,
    change: Change | None,
    observer: Observer,
) -> Prepared:
    """Data and tower of a training, checked.

    Args:
        config: Options.
        method: What is trained.
        options: Those of the method.
        out: Folder of results.
        world: The processes.
        change: How training images are changed; None takes them as they are.
        observer: Is told how many images there are.

    Raises:
        ConfigError: The data have errors, or lack what is needed.
        WeightsError: The tower is missing, damaged or does not fit.
    """
    data = _usable_data(config)
    records, held = _parts(config, data)
    observer.note(f"{len(records)} images to train on, {len(held.records)} to validate on, all checked.")
    opened = open_tower(
        config.tower, method.spec, image_size=config.image_size, layers=config.layers, window=config.window
    )
    precision = resolve_precision(config.precision, world.device)
    opened.tower.clip.to(world.device)
    tower = dataclasses.replace(opened.tower, arithmetic=partial(autocast, world.device, precision))
    sha256 = data_sha256(data.root, data.records)
    identity = _named_files(config, opened) | {
        "options": options.model_dump(mode="json"),
        "precision": precision,
        "processes": world.size,
        "data_sha256": sha256,
        **_legacy_identity(config, held),
    }
    features = partial(
        FeatureSource,
        tower,
        tower_sha256=opened.sha256,
        device=world.device,
        precision=precision,
        folder=(config.cache.folder or out / "features") if config.cache.variants else None,
        workers=config.workers,
    )
    return Prepared(
        config=config,
        method=method,
        tower=tower,
        model_config=opened.model_config,
        card=first_card(config, method, opened, identity, data_provenance(data.layout, sha256, records, held.records)),
        train=features(records, data.root, change=change),
        held=features(held.records, held.root),
        world=world,
        identity=identity,
        out=out,
    )


def checked_data(config: TrainConfig) -> DataSet:
    """The auxiliary images with everything that is wrong with them; every file has been decoded.

    Raises:
        ConfigError: Nothing is there, or it is of no known layout.
    """
    data = config.data
    return check_data(read_data(data.root, data.layout, split=data.split, classes=data.classes))


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


def _parts(config: TrainConfig, data: DataSet) -> tuple[list[Record], DataSet]:
    """Records to train on, and those that choose the epoch or tell how good the weights are."""
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
    if config.keep == "best" and (config.hold_out or config.legacy_validation):
        needed.append(("held out", list(held.records)))
    for what, part in needed:
        if not any(record.label and record.mask is not None for record in part):
            raise ConfigError(
                f"No image with a defect mask is {what}: {len(part)} images. Add images, or change hold_out."
            )
    return records, held
