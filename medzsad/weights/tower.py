"""CLIP towers on this computer: found in caches, loaded, and taken out of weights files. Never from the network."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
from huggingface_hub import try_to_load_from_cache
from open_clip.pretrained import get_pretrained_cfg

from medzsad.clip.spec import TowerSpec
from medzsad.clip.states import read_tower_state
from medzsad.clip.tower import Tower, infer_model_config, tower_from_state
from medzsad.errors import WeightsError
from medzsad.files import file_sha256
from medzsad.weights.card import is_weights_file
from medzsad.weights.manifest import cache_dir, list_releases, weights_path
from medzsad.weights.store import read_weights, resolve_weights, tower_state

_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class OpenedTower:
    """A frozen CLIP tower and where it comes from.

    Attributes:
        tower: Ready to use.
        name: Of the tower.
        sha256: Of the file that holds it.
        model_config: Its open_clip model config if it is to be put into weights files, else empty.
        license: Of the weights that it was taken from, where known.
    """

    tower: Tower
    name: str
    sha256: str
    model_config: dict[str, Any]
    license: str


def open_tower(
    name: str,
    spec: TowerSpec,
    *,
    image_size: int | None = None,
    layers: tuple[int, ...] | None = None,
    window: int | None = None,
) -> OpenedTower:
    """The tower that a training names.

    Args:
        name: Weights that bring a tower, by name or file; an open_clip name; or the file of a tower.
        spec: What the method asks of it. Weights that were made with the same attention bring their own image size and
            layers. The embedded tower, which is not a stack of alike blocks, is read as it is: of the spec, only
            `patch_post` counts, because its local features are what the method would take from a second stream.
        image_size: Side of the input in pixels; None takes that of the weights, else of the spec.
        layers: Vision blocks that are read; None takes those of the weights, else of the spec.
        window: Side of the square of patches that a patch sees in the second stream; None takes that of the spec, which
            the embedded tower leaves out.

    Raises:
        ConfigError: The layers, the image size or the window are impossible.
        WeightsError: It is not there, is damaged, or does not fit the size and layers.
    """
    path = _weights_file(name)
    if path is None:
        spec = _adjusted(spec, image_size, layers, window)
        clip, sha256 = load_tower(name, spec)
        return OpenedTower(Tower(clip, spec), Path(name).name if Path(name).is_file() else name, sha256, {}, "")
    found = read_weights(path)
    card = found.card
    if card.clip_config.get("vision_cfg", {}).get("kind") == "hybrid":
        # It is no stack of alike blocks: its features are what it was trained to give, whatever stream a method reads.
        spec = dataclasses.replace(card.spec, patch_post=spec.patch_post)
    elif dataclasses.replace(card.spec, image_size=spec.image_size, layers=spec.layers) == spec:
        spec = card.spec
    spec = _adjusted(spec, image_size, layers, window)
    if not card.clip_config:
        clip, sha256 = load_tower(card.clip_name, spec)
        return OpenedTower(Tower(clip, spec), card.clip_name, sha256, {}, "")
    clip = tower_from_state(card.clip_config, spec, tower_state(found))
    # Whoever has medzsad has its embedded tower: what is learned on it need not bring it again.
    inside = {} if path == _embedded_file(name) else dict(card.clip_config)
    return OpenedTower(Tower(clip, spec), card.clip_name, card.sha256, inside, card.license)


def _embedded_file(name: Path | str) -> Path | None:
    """The file that comes with the package for weights of this name, whatever the cache holds; None if none does."""
    known = any(release.name == name and release.kind == "embedded" for release in list_releases())
    return weights_path(str(name)) if known else None


def _weights_file(name: str) -> Path | None:
    """The weights file of this name or path; None if it names a tower alone."""
    path = Path(name)
    if path.is_file():
        return path if path.suffix == ".safetensors" and is_weights_file(path) else None
    if path.suffix in {".safetensors", ".pt", ".pth", ".bin"}:
        raise WeightsError(f"The file {name}, which should hold a CLIP tower, does not exist.")
    known = any(release.name == name and release.kind != "clip" for release in list_releases())
    return resolve_weights(name) if known or (cache_dir() / f"{name}.safetensors").is_file() else None


def _adjusted(spec: TowerSpec, image_size: int | None, layers: tuple[int, ...] | None, window: int | None) -> TowerSpec:
    return dataclasses.replace(
        spec,
        image_size=image_size or spec.image_size,
        layers=layers or spec.layers,
        window=spec.window if window is None else window,
    )


def load_tower(
    weights: Path | str, spec: TowerSpec, model_config: dict[str, Any] | None = None
) -> tuple[open_clip.CLIP, str]:
    """A CLIP tower in float32, frozen, and the sha256 of its file.

    Args:
        weights: A file (OpenAI's TorchScript archive, an open_clip state dict, safetensors), the name of an open_clip
            model (`ViT-L-14-336`) or model and tag (`ViT-L-14-336/openai`), looked up in the caches of medzsad, CLIP
            and Hugging Face; or the name of embedded weights, whose tower is meant.
        spec: What the method asks of the tower; its activation and position resize apply, whatever the file says.
        model_config: As for `build_tower`; None infers the sizes from the weights.

    Raises:
        WeightsError: There is no such file, no CLIP tower in it, or one that does not fit.
    """
    embedded = _embedded_file(weights)
    if embedded is not None:
        found = read_weights(embedded)
        return tower_from_state(found.card.clip_config, spec, tower_state(found)), found.card.sha256
    path = find_tower(weights)
    state = read_tower_state(path)
    return tower_from_state(model_config or infer_model_config(state), spec, state), file_sha256(path)


def find_tower(weights: Path | str) -> Path:
    """The file of a CLIP tower.

    Args:
        weights: A file, or MODEL or MODEL/TAG of open_clip, looked up in the caches; the tag is `openai` if left out.

    Raises:
        WeightsError: It is nowhere; the message says how to get it.
    """
    if Path(weights).is_file():
        return Path(weights)
    if isinstance(weights, Path):
        raise WeightsError(f"The file {weights}, which should hold a CLIP tower, does not exist.")
    model, _, tag = weights.partition("/")
    config = get_pretrained_cfg(model, tag or "openai")
    for path in _cached_towers(model, tag or "openai", config):
        if path.is_file():
            return path
    known = {entry.name for entry in list_releases() if entry.kind == "clip"}
    if model in known:
        raise WeightsError(
            f"The CLIP tower {model} is not on this computer. Get it with `medzsad weights fetch {model}`, "
            "or name its file with --clip-weights."
        )
    raise WeightsError(
        f"There is no CLIP tower {weights!r} in the caches of this computer. Name its file with --clip-weights; "
        "open_clip models are written MODEL/TAG, such as ViT-L-14-336/openai."
    )


def _cached_towers(model: str, tag: str, config: dict[str, Any]) -> list[Path]:
    found = [cache_dir() / entry.file for entry in list_releases() if (entry.name, entry.open_clip) == (model, tag)]
    if url := config.get("url"):
        name = str(url).rsplit("/", maxsplit=1)[-1]
        found += [cache_dir() / name, Path.home() / ".cache" / "clip" / name]
    if hub := config.get("hf_hub"):
        repository, _, file = str(hub).rpartition("/")
        for name in (file,) if file else _HUB_FILES:
            cached = try_to_load_from_cache(repository, name)
            if isinstance(cached, str):
                found.append(Path(cached))
    return found
