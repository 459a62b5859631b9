"""Weights files: written, read, and made into detectors."""

import dataclasses
import logging
import tempfile
from pathlib import Path

import open_clip
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from medzsad.clip.load import load_tower, tower_from_state
from medzsad.clip.vision import patch_width
from medzsad.clip.weights import cache_dir, file_sha256, find_entry, weights_path
from medzsad.clip.weights import list_weights as list_weights
from medzsad.errors import ConfigError, WeightsError
from medzsad.methods.base import WeightsInfo
from medzsad.methods.bayes_pfl import BayesPFL
from medzsad.methods.bayes_pfl_detector import BayesPFLDetector
from medzsad.methods.metadata import HEADER_KEY, WeightsMetadata, read_metadata

_log = logging.getLogger(__name__)
_TABLE = "token_embedding"
DEFAULT_WEIGHTS = "medzsad-mini"


def load_detector(
    weights: str | Path = DEFAULT_WEIGHTS,
    *,
    clip_weights: Path | str | None = None,
    samples: int | None = None,
    stage: int | None = None,
    device: torch.device | str = "cpu",
) -> BayesPFLDetector:
    """A detector, ready to score, in float32 on `device`.

    Args:
        weights: Name of weights (`medzsad weights list`) or a weights file.
        clip_weights: File or open_clip name of the CLIP tower, for weights that do not bring their own.
        samples: Prompt samples per image; None takes the number stored with the weights.
        stage: 1 or 2, whose image head is used; None takes the stored one.
        device: Where it runs.

    Raises:
        ConfigError: `samples` or `stage` is impossible.
        WeightsError: The weights or the tower are missing, damaged or do not fit each other.
    """
    path = resolve_weights(weights)
    metadata = read_metadata(path)
    _check_choices(metadata, samples, stage)
    tensors = _read_tensors(path)
    prompts = _build_prompts(path, metadata, _part(tensors, "prompts."))
    sha256 = file_sha256(path)
    if metadata.clip_config:
        if clip_weights is not None:
            raise ConfigError(f"The weights {metadata.name} bring their own CLIP tower; leave out clip_weights.")
        state = _with_full_table(_part(tensors, "clip."), metadata)
        clip, clip_sha256 = tower_from_state(metadata.clip_config, metadata.spec, state), sha256
    else:
        clip, clip_sha256 = load_tower(clip_weights or metadata.clip_name, metadata.spec)
        _check_fit(clip, clip_sha256, metadata)
    info = weights_info(metadata, sha256, clip_sha256, samples or metadata.samples, stage or metadata.stage)
    return BayesPFLDetector(clip, prompts, metadata.spec, info).eval().requires_grad_(False).to(device)


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
    entry = find_entry(weights)
    if entry.kind == "clip":
        raise WeightsError(f"{weights} is a CLIP tower without prompts; give it as --clip-weights.")
    path = weights_path(weights)
    if not path.is_file():
        hint = (
            "The installation of medzsad is incomplete."
            if entry.kind == "embedded"
            else f"Get them with `medzsad weights fetch {weights}`."
        )
        raise WeightsError(f"The weights {weights} are not on this computer. {hint}")
    return path


def read_prompts(path: Path) -> tuple[BayesPFL, WeightsMetadata]:
    """The prompts of a weights file without its tower, checked.

    Raises:
        WeightsError: The file is missing, damaged, or its tensors are not those of its method.
    """
    metadata = read_metadata(path)
    return _build_prompts(path, metadata, _part(_read_tensors(path), "prompts.")), metadata


def _check_choices(metadata: WeightsMetadata, samples: int | None, stage: int | None) -> None:
    if metadata.method != "bayes_pfl":
        raise WeightsError(f"The weights are of the method {metadata.method!r}, which this medzsad does not know.")
    if samples is not None and samples < 1:
        raise ConfigError(f"At least one prompt sample is needed, got {samples}.")
    if stage not in {None, 1, 2}:
        raise ConfigError(f"The stage is 1 or 2, got {stage}.")


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path.name} is damaged: {error}") from error


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _build_prompts(path: Path, metadata: WeightsMetadata, state: dict[str, Tensor]) -> BayesPFL:
    bad = [name for name, value in state.items() if not bool(value.isfinite().all())]
    if bad:
        raise WeightsError(f"{path.name} is damaged: {bad[0]} holds numbers that are not finite.")
    try:
        with torch.device("meta"):
            prompts = BayesPFL(**metadata.sizes)
        copies = {name: value.to(torch.float32, copy=True) for name, value in state.items()}
        prompts.load_state_dict(copies, assign=True)
    except (RuntimeError, TypeError) as error:
        raise WeightsError(f"{path.name} does not hold the prompts that it describes: {error}") from error
    return prompts.eval().requires_grad_(False)


def _with_full_table(state: dict[str, Tensor], metadata: WeightsMetadata) -> dict[str, Tensor]:
    """The tower's state with the token table of all rows; those that the file leaves out are zero."""
    try:
        ids, rows = state.pop(f"{_TABLE}.ids"), state.pop(f"{_TABLE}.rows")
        text = metadata.clip_config["text_cfg"]
        table = torch.zeros(text.get("vocab_size", 49408), rows.shape[1])
        table[ids] = rows.float()
    except (KeyError, IndexError) as error:
        raise WeightsError(f"The weights {metadata.name} are damaged: token table, {error}.") from error
    return state | {f"{_TABLE}.weight": table}


def _check_fit(clip: open_clip.CLIP, clip_sha256: str, metadata: WeightsMetadata) -> None:
    found = (clip.visual.output_dim, clip.token_embedding.embedding_dim, patch_width(clip))
    width = metadata.sizes["width"]
    expected = (width, width, metadata.sizes["vision_width"])
    if found != expected:
        raise WeightsError(
            f"The weights {metadata.name} need the CLIP tower {metadata.clip_name} (joint, text and vision width "
            f"{expected}), the given tower has {found}. Name the right file with --clip-weights."
        )
    if metadata.clip_sha256 and clip_sha256 != metadata.clip_sha256:
        _log.warning(
            "The CLIP tower has sha256 %s; %s was made with %s. Scores are as published only if the numbers are the "
            "same.",
            clip_sha256[:12],
            metadata.name,
            metadata.clip_sha256[:12],
        )


def weights_info(metadata: WeightsMetadata, sha256: str, clip_sha256: str, samples: int, stage: int) -> WeightsInfo:
    """What a detector says about its weights: their description with the digests and choices that apply."""
    return WeightsInfo(
        name=metadata.name,
        method=metadata.method,
        stage=stage,
        sha256=sha256,
        clip_name=metadata.clip_name,
        clip_sha256=clip_sha256,
        threshold=metadata.threshold,
        threshold_provenance=metadata.threshold_provenance,
        licence=metadata.licence,
        source=metadata.source,
        class_name=metadata.class_name,
        samples=samples,
        description=metadata.description,
    )


def save_weights(
    path: Path,
    prompts: BayesPFL,
    metadata: WeightsMetadata,
    clip: open_clip.CLIP | None = None,
    *,
    half: bool = False,
) -> None:
    """Writes a weights file, whole or not at all.

    Args:
        path: Where to.
        prompts: The trained module; its sizes go into the metadata.
        metadata: The rest of the description. With `clip`, its `clip_config` must be the tower's model config.
        clip: Tower to put into the file; only the rows of its token table that are not zero are stored.
        half: Whether to store float16.

    Raises:
        WeightsError: A tower was given without its config, or a config without the tower.
    """
    if (clip is None) == bool(metadata.clip_config):
        raise WeightsError("Weights with a tower need its clip_config, weights without one must not have it.")
    dtype = torch.float16 if half else torch.float32
    tensors = {f"prompts.{name}": value.to(dtype) for name, value in prompts.state_dict().items()}
    if clip is not None:
        state = dict(clip.state_dict())
        table = state.pop(f"{_TABLE}.weight")
        ids = table.abs().sum(dim=1).nonzero().squeeze(1)
        tensors |= {f"clip.{name}": value.to(dtype) for name, value in state.items()}
        tensors |= {f"clip.{_TABLE}.ids": ids, f"clip.{_TABLE}.rows": table[ids].to(dtype)}
    described = dataclasses.replace(metadata, sizes=dict(prompts.sizes))
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
        partial = Path(folder) / path.name
        save_file(tensors, partial, metadata={HEADER_KEY: described.to_json()})
        partial.chmod(0o644)
        partial.replace(path)
