"""The frozen tower of a training, and the prompts that it begins with."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch

from medzsad.clip.load import load_tower, tower_from_state
from medzsad.clip.spec import TowerSpec
from medzsad.clip.vision import patch_width
from medzsad.clip.weights import cache_dir, file_sha256, list_weights
from medzsad.errors import ConfigError, WeightsError
from medzsad.methods.bayes_pfl import BayesPFL
from medzsad.methods.load import load_detector, read_prompts, resolve_weights
from medzsad.methods.metadata import is_weights_file, read_metadata
from medzsad.training.config import TrainConfig

IMAGE_SIZE, LAYERS = 518, (6, 12, 18, 24)


@dataclass(frozen=True, slots=True)
class Tower:
    """A frozen CLIP tower and where it comes from.

    Attributes:
        clip: The tower.
        spec: What is asked of it.
        name: Of the tower.
        sha256: Of the file that holds it.
        model_config: Its open_clip model config if it is to be put into the weights file, else empty.
        licence: Of the weights that it was taken from, where known.
    """

    clip: open_clip.CLIP
    spec: TowerSpec
    name: str
    sha256: str
    model_config: dict[str, Any]
    licence: str


def open_tower(config: TrainConfig) -> Tower:
    """The tower that the configuration names.

    Raises:
        ConfigError: The layers or the image size are impossible.
        WeightsError: It is not there, is damaged, or does not fit the size and layers.
    """
    path = _weights_file(config.tower)
    if path is None:
        spec = _adjusted(TowerSpec(IMAGE_SIZE, LAYERS), config)
        clip, sha256 = load_tower(config.tower, spec)
        return Tower(clip, spec, Path(config.tower).name if _is_file(config) else config.tower, sha256, {}, "")
    metadata = read_metadata(path)
    spec = _adjusted(metadata.spec, config)
    if not metadata.clip_config:
        clip, sha256 = load_tower(metadata.clip_name, spec)
        return Tower(clip, spec, metadata.clip_name, sha256, {}, "")
    clip = load_detector(path).clip
    if spec != metadata.spec:
        clip = tower_from_state(metadata.clip_config, spec, dict(clip.state_dict()))
    return Tower(clip, spec, metadata.clip_name, file_sha256(path), dict(metadata.clip_config), metadata.licence)


def _is_file(config: TrainConfig) -> bool:
    return Path(config.tower).is_file()


def _weights_file(name: str) -> Path | None:
    """The weights file of this name or path; None if it names a tower alone."""
    path = Path(name)
    if path.is_file():
        return path if path.suffix == ".safetensors" and is_weights_file(path) else None
    if path.suffix in {".safetensors", ".pt", ".pth", ".bin"}:
        raise WeightsError(f"There is no file {name} with a CLIP tower.")
    known = any(entry.name == name and entry.kind != "clip" for entry in list_weights())
    return resolve_weights(name) if known or (cache_dir() / f"{name}.safetensors").is_file() else None


def _adjusted(spec: TowerSpec, config: TrainConfig) -> TowerSpec:
    return dataclasses.replace(
        spec, image_size=config.image_size or spec.image_size, layers=config.layers or spec.layers
    )


def first_prompts(config: TrainConfig, tower: Tower) -> BayesPFL:
    """The prompts before the first step; a function of the configuration and the tower.

    Raises:
        ConfigError: The prompts to go on from are of other sizes than the tower.
        WeightsError: They are missing or damaged.
    """
    width, patches, layers = tower.clip.visual.output_dim, patch_width(tower.clip), len(tower.spec.layers)
    if config.start != "fresh":
        prompts, metadata = read_prompts(resolve_weights(config.start))
        asked = {"width": width, "vision_width": patches, "layer_count": layers}
        given = {key: prompts.sizes[key] for key in asked}
        if given != asked:
            raise ConfigError(
                f"The prompts of {metadata.name} do not fit the tower {tower.name}: they have {given}, it has {asked}. "
                "Start fresh, or name their tower."
            )
        return prompts.requires_grad_(True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return BayesPFL(
            width=width,
            vision_width=patches,
            hidden=patches // 2,
            layer_count=layers,
            bank=config.bank,
            context_tokens=config.context_tokens,
            state_tokens=config.state_tokens,
            flows=config.flows,
        )
