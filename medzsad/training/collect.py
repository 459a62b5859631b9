"""Weights of a method that learns nothing by steps: one pass over the auxiliary images makes its model."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medzsad.clip.vision import ImageFeatures
from medzsad.errors import ConfigError
from medzsad.files import write_text_atomic
from medzsad.methods.base import Method
from medzsad.methods.detector import Detector, checked_options
from medzsad.methods.objective import Truth
from medzsad.progress import Observer
from medzsad.training.config import TrainConfig
from medzsad.training.distributed import World
from medzsad.training.finish import WEIGHTS_FILE, write_weights
from medzsad.training.held_out import validation_scores
from medzsad.training.prepare import Prepared, prepare
from medzsad.training.progress_text import metrics_text
from medzsad.training.state import changes_text, load_state
from medzsad.training.validation import validation_metrics
from medzsad.weights.card import read_card

# Options of a training by steps, which one pass over the images as they are cannot follow.
_OF_STEPS = (
    "start", "accumulate", "epochs", "patience", "keep", "validation_samples", "augment", "mosaic", "object_noise",
    "save_seconds", "max_minutes", "tensorboard", "legacy_validation", "samples",
)  # fmt: skip


def collect(config: TrainConfig, method: Method, out: Path, world: World, observer: Observer) -> Path:
    """The weights file OUT/weights.safetensors, made by `method.memory`; OUT also gets history.json.

    An interrupted pass begins again, with features that were kept. Of several processes the first works alone.

    Raises:
        ConfigError: An option would do nothing, the data have errors or lack a kind of images, or OUT holds other
            weights.
        WeightsError: The tower is missing, damaged or does not fit.
    """
    path = out / WEIGHTS_FILE
    options = _options(config, method)
    if world.first:
        alone = World(0, 1, world.device)
        prepared = prepare(config, method, options, out, world=alone, change=None, observer=observer)
        if not _is_finished(prepared, path):
            _collect(prepared, options, path, observer)
    world.share(None)  # nobody leaves before the file is there
    return path


def _options(config: TrainConfig, method: Method) -> Any:
    """How the weights are used; a ConfigError names options of the training that would do nothing."""
    idle = [name for name in _OF_STEPS if getattr(config, name) != TrainConfig.model_fields[name].get_default()]
    idle += ["cache.variants above 1"] if config.cache.variants > 1 else []
    if idle:
        raise ConfigError(
            f"{method.title} learns nothing by steps: it remembers each image once, as it is. These options would do "
            f"nothing, leave them out: {', '.join(idle)}."
        )
    return checked_options(method.options, config.options, f"options of {method.title}")


def _is_finished(prepared: Prepared, path: Path) -> bool:
    """Whether the folder holds these very weights; a ConfigError says what differs if it holds others."""
    out = prepared.out
    if path.is_file():
        if changes := changes_text(read_card(path).provenance.get("config", {}), prepared.identity):
            raise ConfigError(
                f"{out} holds other weights, made with other options or data: {changes}. "
                "Restore these, or give another folder with -o."
            )
        return True
    load_state(out, prepared.identity)  # complains of a training by steps that was begun here
    return False


def _collect(prepared: Prepared, options: Any, path: Path, observer: Observer) -> None:
    method, begun = prepared.method, time.monotonic()
    assert method.memory is not None
    model = method.memory(_batches(prepared, observer)).to(prepared.world.device).eval()
    card = prepared.card.model_copy(update={"options": options.model_dump(mode="json")})
    validation, by_class = _validated(prepared, Detector(prepared.tower, model, method, card).eval())
    record = {
        "epoch": 0,
        "stage": 1,
        "step": 0,
        "losses": {},
        "rates": {},
        "validation": validation,
        "by_class": by_class,
        "criterion": None,
        "improved": True,
        "seconds": time.monotonic() - begun,
    }
    sizes = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in model.sizes.items())
    observer.note(f"Remembered: {sizes}." + (f" Held out: {metrics_text(validation)}." if validation else ""))
    prepared.out.mkdir(parents=True, exist_ok=True)
    write_text_atomic(prepared.out / "history.json", json.dumps([record], indent=1) + "\n")
    observer.note("Choosing the threshold.")
    write_weights(prepared, model, card, [record], path)


def _batches(prepared: Prepared, observer: Observer) -> Iterator[tuple[ImageFeatures, Truth]]:
    places = list(range(len(prepared.train.records)))
    size = prepared.config.batch
    plan = [places[start : start + size] for start in range(0, len(places), size)]
    observer.started("remembering", len(places), "images")
    done = 0
    for chosen, batch in zip(plan, prepared.train.batches(plan), strict=True):
        yield batch.features, batch.truth
        done += len(chosen)
        observer.step("remembering", done)


def _validated(prepared: Prepared, detector: Detector) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics of the held-out images, mean and by class; empty where none are held out."""
    if not prepared.held.records:
        return {}, {}
    seed = prepared.config.seed
    return validation_metrics(validation_scores(detector, seed, prepared.held, prepared.world, lambda: None))
