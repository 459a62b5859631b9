"""What a training begins with: the method with its options, the tower, the model before the first step."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from medzsad.clip.text import unknown_words
from medzsad.clip.tower import Tower
from medzsad.errors import ConfigError
from medzsad.methods.base import Method, PromptModel
from medzsad.methods.detector import checked_options
from medzsad.methods.objective import Objective
from medzsad.methods.registry import find_method
from medzsad.training.config import TrainConfig
from medzsad.weights.store import read_weights, resolve_weights


@dataclass(frozen=True, slots=True)
class Trained:
    """A method to be trained.

    Attributes:
        method: The method.
        options: Its train options, checked.
        objective: Made of them.
    """

    method: Method
    options: Any
    objective: Objective


def trained_method(config: TrainConfig) -> Trained:
    """The method that a configuration names.

    Raises:
        ConfigError: There is no such method, it cannot be trained by steps, or an option is wrong.
    """
    method = find_method(config.method)
    if method.train_options is None or method.objective is None:
        raise ConfigError(f"{method.title} cannot be trained with medzsad; import its authors' weights.")
    options = checked_options(method.train_options, config.options, f"options of {method.title}")
    objective = method.objective(options)
    if config.hold_out == 0 and config.legacy_validation is None and config.keep == "best":
        raise ConfigError("hold_out is 0, so nothing is left to choose the epoch on. Usual is 0.15; or set keep: last.")
    if config.keep == "last" and len(objective.stages) > 1:
        raise ConfigError(
            f"keep: last does not go with {method.title}, whose {len(objective.stages)} stages follow each other by "
            "their validation. Use keep: best."
        )
    return Trained(method, options, objective)


def first_model(config: TrainConfig, trained: Trained, tower: Tower) -> PromptModel:
    """The model before the first step; a function of the configuration and the tower.

    Raises:
        ConfigError: The weights to go on from are of another method or of other sizes than the tower.
        WeightsError: They are missing, damaged, or were learned on another tower.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if config.start == "fresh":
            model = trained.method.model(**trained.method.model.sizes_for(tower, trained.options))
            with torch.no_grad():
                model.start_from(tower, trained.options)
        else:
            model = _stored_model(config.start, trained, tower)
        model.check_tower(tower)
        model.prepare_training()
    return model.requires_grad_(True)


def class_words_unknown(model: PromptModel, tower: Tower, class_names: Iterable[str]) -> list[str]:
    """The words for classes that the tower has no embedding for, in alphabetical order."""
    return sorted({word for name in set(class_names) for word in unknown_words(tower.clip, model.words_for(name))})


def _stored_model(name: str, trained: Trained, tower: Tower) -> PromptModel:
    found = read_weights(resolve_weights(name))
    if found.card.method != trained.method.name:
        raise ConfigError(
            f"The weights {found.card.name} are of the method {found.card.method}, not {trained.method.name}. "
            "Start fresh, or name weights of this method."
        )
    model = found.model
    layers = len(tower.spec.layers)
    if not tower.fits(model.tower_widths) or model.layer_count not in {None, layers}:
        raise ConfigError(
            f"The prompts of {found.card.name} do not fit the tower: they are for widths and layers "
            f"{(model.tower_widths, model.layer_count)}, it has {(tower.widths, layers)}. Start fresh, or name their "
            "tower."
        )
    return model
