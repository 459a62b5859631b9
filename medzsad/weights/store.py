"""Weights files: written with a digest of their content, read, checked, and their models built."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import open_clip
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from medzsad.errors import ConfigError, WeightsError
from medzsad.files import file_sha256, partial_name, replace_atomic
from medzsad.methods.base import Method, PromptModel
from medzsad.methods.registry import find_method
from medzsad.weights.card import FORMAT_VERSION, HEADER_KEY, WeightsCard, read_card
from medzsad.weights.manifest import cache_dir, find_release, list_releases, weights_path

_log = logging.getLogger(__name__)
_TABLE = "token_embedding"
DEFAULT_WEIGHTS = "medzsad-mini"


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """What a weights file holds, its digest checked.

    Attributes:
        card: With the digest of the file.
        method: Of the card.
        model: Frozen.
        clip: Tensors of the tower inside the file; empty where there is none.
    """

    card: WeightsCard
    method: Method
    model: PromptModel
    clip: dict[str, Tensor]


def resolve_weights(weights: str | Path) -> Path:
    """The file of weights given by name or path.

    Raises:
        WeightsError: There is none; the message says how to get it.
    """
    if Path(weights).is_file():
        return Path(weights)
    if isinstance(weights, Path) or Path(weights).suffix == ".safetensors":
        raise WeightsError(f"There is no weights file {weights}.")
    imported = cache_dir() / f"{weights}.safetensors"
    if imported.is_file():
        return imported
    release = find_release(weights)
    if release.kind == "clip":
        raise WeightsError(f"{weights} is a CLIP tower without prompts; give it as --clip-weights.")
    path = weights_path(weights)
    if not path.is_file():
        hint = (
            "The installation of medzsad is incomplete."
            if release.kind == "embedded"
            else f"Get them with `medzsad weights fetch {weights}`."
        )
        raise WeightsError(f"The weights {weights} are not on this computer. {hint}")
    return path


def read_weights(path: Path) -> StoredWeights:
    """What the weights file `path` holds.

    Raises:
        WeightsError: The file is missing or damaged, of a method that is not known here, or its tensors are not those
            of its method.
    """
    card = read_card(path)
    method = _method_of(card)
    sha256 = file_sha256(path)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path.name} is damaged: {error}. Fetch or make it again.") from error
    _check_digest(path, card, tensors, sha256)
    model = _build_model(path, method, card, _part(tensors, "prompts."))
    inside = {"clip_sha256": sha256} if card.clip_config else {}
    return StoredWeights(card.model_copy(update={"sha256": sha256, **inside}), method, model, _part(tensors, "clip."))


def _method_of(card: WeightsCard) -> Method:
    try:
        return find_method(card.method)
    except ConfigError as error:
        raise WeightsError(f"The weights {card.name} are of another method. {error}") from None


def content_sha256(card: WeightsCard, tensors: dict[str, Tensor]) -> str:
    """The digest of a description and of all tensors: names, types, shapes and numbers."""
    digest = hashlib.sha256(card.model_copy(update={"content_sha256": ""}).to_json().encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_digest(path: Path, card: WeightsCard, tensors: dict[str, Tensor], sha256: str) -> None:
    if card.content_sha256:
        intact = content_sha256(card, tensors) == card.content_sha256
    else:
        # Files of version 1 hold no digest; that of the embedded file is known all the same, wherever a copy lies.
        size = path.stat().st_size
        copies = [
            one for one in list_releases() if (one.kind, one.name, one.size_bytes) == ("embedded", card.name, size)
        ]
        intact = all(sha256 == one.sha256 for one in copies)
    if not intact:
        raise WeightsError(
            f"{path.name} is damaged: its content does not have the digest that was stored with it. "
            "Fetch, import or train it again; weights that come with medzsad are restored by installing it again."
        )


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _build_model(path: Path, method: Method, card: WeightsCard, state: dict[str, Tensor]) -> PromptModel:
    if bad := [name for name, value in state.items() if not bool(value.isfinite().all())]:
        raise WeightsError(f"{path.name} is damaged: {bad[0]} holds numbers that are not finite.")
    try:
        with torch.device("meta"):
            model = method.model(**card.sizes)
        copies = {name: value.to(torch.float32, copy=True) for name, value in state.items()}
        model.load_state_dict(copies, assign=True)
    except (RuntimeError, TypeError) as error:
        raise WeightsError(f"{path.name} does not hold the prompts that it describes: {error}") from error
    return model.eval().requires_grad_(False)


def rewrite_card(source: Path, target: Path, changes: Mapping[str, object]) -> WeightsCard:
    """The description as stored in `target`: that of `source` with some fields changed, beside the same tensors.

    Args:
        source: A weights file.
        target: Where to; may be `source`.
        changes: New values by name of the field.

    Raises:
        WeightsError: The source is missing or damaged.
        OutputError: The target cannot be written.
    """
    read_weights(source)  # checks the digest
    changed = read_card(source).model_copy(update={**changes, "format_version": FORMAT_VERSION})
    return _write(target, load_file(source), changed)


def tower_state(weights: StoredWeights) -> dict[str, Tensor]:
    """The state dict of the tower inside a weights file, with all rows of the token table.

    Rows that the file leaves out are zero.

    Raises:
        WeightsError: The rows do not fit the tower's vocabulary.
    """
    state, card = dict(weights.clip), weights.card
    try:
        ids, rows = state.pop(f"{_TABLE}.ids"), state.pop(f"{_TABLE}.rows")
        table = torch.zeros(card.clip_config["text_cfg"].get("vocab_size", 49408), rows.shape[1])
        table[ids] = rows.float()
    except (KeyError, IndexError) as error:
        raise WeightsError(f"The weights {card.name} are damaged: token table, {error}.") from error
    return state | {f"{_TABLE}.weight": table}


def save_weights(
    path: Path, model: PromptModel, card: WeightsCard, clip: open_clip.CLIP | None = None, *, half: bool = False
) -> WeightsCard:
    """The description as stored, after the weights file is written, whole or not at all.

    Args:
        path: Where to.
        model: The trained module; its sizes go into the description.
        card: The rest of the description. With `clip`, its `clip_config` must be the tower's model config.
        clip: Tower to put into the file; only the rows of its token table that are not zero are stored.
        half: Whether to store float16.

    Raises:
        WeightsError: A tower was given without its config, or a config without the tower.
        OutputError: The file cannot be written.
    """
    if (clip is None) == bool(card.clip_config):
        raise WeightsError("Weights with a tower need its clip_config, weights without one must not have it.")
    dtype = torch.float16 if half else torch.float32
    tensors = {f"prompts.{name}": value.to(dtype) for name, value in model.inference_state().items()}
    if clip is not None:
        state = dict(clip.state_dict())
        table = state.pop(f"{_TABLE}.weight")
        ids = table.abs().sum(dim=1).nonzero().squeeze(1)
        tensors |= {f"clip.{name}": value.to(dtype) for name, value in state.items()}
        tensors |= {f"clip.{_TABLE}.ids": ids, f"clip.{_TABLE}.rows": table[ids].to(dtype)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    return _write(path, tensors, card.model_copy(update={"sizes": dict(model.sizes)}))


def _write(path: Path, tensors: dict[str, Tensor], described: WeightsCard) -> WeightsCard:
    described = described.model_copy(update={"content_sha256": content_sha256(described, tensors)})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(path)
    save_file(tensors, partial, metadata={HEADER_KEY: described.to_json()})
    partial.chmod(0o644)
    replace_atomic(partial, path)
    return described
