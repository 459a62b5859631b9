"""Weights of the authors of Bayes-PFL, translated into ours (METHODS A.7)."""

import pickle
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from medzsad.clip.spec import TowerSpec
from medzsad.clip.weights import WeightsEntry, file_sha256, find_entry, list_weights
from medzsad.errors import WeightsError
from medzsad.methods.bayes_pfl import BayesPFL
from medzsad.methods.load import save_weights
from medzsad.methods.metadata import WeightsMetadata

# Theirs to ours; the encoders' Sequential has the same indices in both.
_RENAMES = (
    (r"prompt_context", "prompt_context"),
    (r"prompt_state_(normal|abnormal)", r"prompt_\1"),
    (r"temperature_(pixel|image)", r"log_scale_\1"),
    (r"context_encoder\.weight_mean\.module\.(.+)", r"context_flow.encoder.mean.\1"),
    (r"context_encoder\.weight_log_variance\.module\.(.+)", r"context_flow.encoder.spread.\1"),
    (r"state_encoder\.weight_mean\.module\.(.+)", r"state_encoder.mean.\1"),
    (r"state_encoder\.weight_log_variance\.module\.(.+)", r"state_encoder.spread.\1"),
    (r"PFL_context\.amor_([uw])\.(weight|bias)", r"context_flow.\1.\2"),
    (r"PFL_context\.amor_b\.(weight|bias)", r"context_flow.beta.\1"),
    (r"PFL_(normal|abnormal)\.amor_([uw])", r"\1_flow.\2"),
    (r"PFL_(normal|abnormal)\.amor_b", r"\1_flow.beta"),
    (r"PFL_(normal|abnormal)\.state", r"\1_flow.state"),
    (r"fuse\.fuse_modules\.(weight|bias)", r"summary.reduce.\1"),
    (r"fuse\.compress\.(weight|bias)", r"summary.weigh.\1"),
    (r"fuse\.post_process\.(weight|bias)", r"summary.expand.\1"),
    (r"RCA\.q_proj_pre\.(weight|bias)", r"refinement.query.\1"),
    (r"RCA\.linear_proj\.(\d+)\.weight", r"refinement.patches.\1.weight"),
    (r"class_mapping\.(weight|bias)", r"text_head.\1"),
    (r"image_mapping\.(weight|bias)", r"image_head.\1"),
)
# The decoders' and p_mu's output takes no part in any score or loss.
_IGNORED = re.compile(r"((context|state)_decoder\.|PFL_(context|normal|abnormal)\.p_mu\.).+")
_ALIAS = re.compile(r"PFL_(context|normal|abnormal)\.(encoder|decoder)\.(.+)")


# The file does not say which of the 24 blocks were read; the authors' program reads these.
PUBLISHED_SPEC = TowerSpec(image_size=518, layers=(6, 12, 18, 24))
_CLIP_NAME = "ViT-L-14-336"
_THRESHOLD = (
    "0.5, the decision boundary of the pair softmax; not calibrated. The authors publish no threshold for one scan."
)
_OTHERS = (
    ({"prompt_learner"}, "weights of AnomalyCLIP, CoPS, Crane or FAPrompt"),
    ({"trainable_linearlayer"}, "weights of APRIL-GAN"),
    ({"seg_adapters", "det_adapters"}, "weights of MVFA"),
    ({"state_dict"}, "a checkpoint of open_clip"),
    ({"visual.proj"}, "the weights of a CLIP tower"),
    ({"visual.conv1.weight"}, "the weights of a CLIP tower"),
)


@dataclass(frozen=True, slots=True)
class Translation:
    """The authors' state dict, translated.

    Attributes:
        sizes: Arguments of `BayesPFL`.
        state: Its state dict, float32.
        aliases: Keys that repeat others.
        ignored: Keys that no score depends on.
    """

    sizes: dict[str, int]
    state: dict[str, Tensor]
    aliases: tuple[str, ...]
    ignored: tuple[str, ...]


def translate(official: dict[str, Tensor]) -> Translation:
    """The authors' state dict under our names, with every key accounted for.

    Raises:
        WeightsError: A key is missing or unknown, a shape is wrong, or entries that should be the same differ.
    """
    state: dict[str, Tensor] = {}
    aliases, ignored, unknown = [], [], []
    for key, value in official.items():
        if original := _alias_of(key):
            _check_alias(official, key, original)
            aliases.append(key)
        elif _IGNORED.fullmatch(key):
            ignored.append(key)
        elif name := _renamed(key):
            state[name] = value.detach().float()
        else:
            unknown.append(key)
    if unknown:
        raise WeightsError(f"Not weights of Bayes-PFL: {len(unknown)} unknown entries, such as {_some(unknown)}.")
    sizes = _sizes(state)
    for name in [name for name in state if re.fullmatch(r"(normal|abnormal)_flow\..+", name)]:
        state[name] = _flat(state[name], name, sizes)
    _check_shapes(state, sizes)
    return Translation(sizes, state, tuple(aliases), tuple(ignored))


def _renamed(key: str) -> str | None:
    for pattern, name in _RENAMES:
        if match := re.fullmatch(pattern, key):
            return match.expand(name)
    return None


def _alias_of(key: str) -> str | None:
    if match := _ALIAS.fullmatch(key):
        owner = "context" if match[1] == "context" else "state"
        return f"{owner}_{match[2]}.{match[3]}"
    return None


def _check_alias(official: dict[str, Tensor], key: str, original: str) -> None:
    if original not in official:
        raise WeightsError(f"Not weights of Bayes-PFL: {key} repeats {original}, which is missing.")
    if not torch.equal(official[key], official[original]):
        raise WeightsError(f"The weights contradict themselves: {key} differs from {original}.")


def _some(keys: list[str]) -> str:
    return ", ".join(sorted(keys)[:3])


def _sizes(state: dict[str, Tensor]) -> dict[str, int]:
    needed = {
        "prompt_context": 3,
        "prompt_normal": 3,
        "summary.reduce.weight": 2,
        "context_flow.beta.weight": 2,
        "refinement.patches.0.weight": 2,
    }
    for name, dims in needed.items():
        if name not in state:
            raise WeightsError(f"Not weights of Bayes-PFL: nothing that becomes {name} is in the file.")
        if state[name].ndim != dims:
            raise WeightsError(f"Weights that become {name} have shape {tuple(state[name].shape)}.")
    bank, context_tokens, width = state["prompt_context"].shape
    return {
        "width": width,
        "vision_width": state["refinement.patches.0.weight"].shape[1],
        "hidden": state["summary.reduce.weight"].shape[0],
        "layer_count": sum(name.startswith("refinement.patches.") for name in state),
        "bank": bank,
        "context_tokens": context_tokens,
        "state_tokens": state["prompt_normal"].shape[1],
        "flows": state["context_flow.beta.weight"].shape[0],
    }


def _flat(value: Tensor, name: str, sizes: dict[str, int]) -> Tensor:
    """The authors' (1, K, D, 1), (1, K, 1, D), (1, K, 1, 1) and (1, D) without the axes of length 1."""
    field = name.split(".")[1]
    shape = {"state": (sizes["width"],), "beta": (sizes["flows"],)}.get(field, (sizes["flows"], sizes["width"]))
    if value.numel() != torch.Size(shape).numel():
        raise WeightsError(f"Weights that become {name} have shape {tuple(value.shape)}, {shape} is expected.")
    return value.reshape(shape)


def _check_shapes(state: dict[str, Tensor], sizes: dict[str, int]) -> None:
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in BayesPFL(**sizes).state_dict().items()}
    missing = sorted(set(expected) - set(state))
    if missing:
        raise WeightsError(f"Not complete weights of Bayes-PFL: nothing becomes {_some(missing)}.")
    for name, shape in expected.items():
        if tuple(state[name].shape) != shape:
            raise WeightsError(f"Weights that become {name} have shape {tuple(state[name].shape)}, expected {shape}.")


def read_official(path: Path) -> dict[str, Tensor]:
    """The state dict inside the authors' file {"MyModel": state dict}.

    Raises:
        WeightsError: There is no such file, it is damaged, or it is of another method.
    """
    if not path.is_file():
        raise WeightsError(f"There is no file {path}.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise WeightsError(f"{path.name} is not a readable file of PyTorch weights: {reason}") from error
    if isinstance(content, dict) and isinstance(content.get("MyModel"), dict):
        state = content["MyModel"]
        if all(isinstance(value, Tensor) for value in state.values()):
            return {str(name): value for name, value in state.items()}
    raise WeightsError(f"{path.name} holds no weights of Bayes-PFL {{'MyModel': ...}}, but {_description(content)}.")


def _description(content: object) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    keys = {str(key) for key in content}
    for marks, what in _OTHERS:
        if marks <= keys:
            return f"{what} ({', '.join(sorted(marks))})"
    return f"entries such as {_some(list(keys))}" if keys else "nothing"


def official_stage(path: Path) -> int:
    """The training stage that the authors' program reads from a file's path: 2 unless the name says otherwise."""
    match = re.search(r"([12])\.pth$", path.name)
    return int(match[1]) if match and "epoch_post" in str(path) else 2


def import_bayes_pfl(
    path: Path, out: Path, name: str = "", *, stage: int | None = None, spec: TowerSpec = PUBLISHED_SPEC
) -> WeightsMetadata:
    """Translates the authors' file `path` into the weights file `out` and returns its description.

    Args:
        path: `train_visa.pth`, `train_mvtec.pth`, or a file of the same structure.
        out: Where the safetensors file goes; the CLIP tower stays outside of it.
        name: Name of the weights; empty takes that of the published weights, or the file's own name.
        stage: 1 or 2; None follows the authors' rule.
        spec: What the prompts ask of their tower, which the file does not say.

    Raises:
        WeightsError: It is another file, or bears the name of published weights without being them. Nothing is
            written.
    """
    translation = translate(read_official(path))
    if translation.sizes["layer_count"] != len(spec.layers):
        raise WeightsError(
            f"{path.name} reads {translation.sizes['layer_count']} layers of the tower, the spec names {spec.layers}."
        )
    sha256 = file_sha256(path)
    entry = _published(path, name, sha256)
    prompts = BayesPFL(**translation.sizes)
    prompts.load_state_dict(translation.state)
    metadata = WeightsMetadata(
        name=name or (entry.name if entry else path.stem),
        spec=spec,
        sizes=translation.sizes,
        clip_name=_CLIP_NAME,
        clip_sha256=find_entry(_CLIP_NAME).sha256,
        stage=stage or official_stage(path),
        threshold=0.5,
        threshold_provenance=_THRESHOLD,
        licence=entry.licence if entry else "unknown",
        source=entry.source if entry else f"unknown: imported from {path.name}, no published file has its sha256",
        source_sha256=sha256,
        trained_on=entry.trained_on if entry else "unknown",
        description=entry.description if entry else "Bayes-PFL prompts of unknown origin.",
    )
    save_weights(out, prompts, metadata)
    return metadata


def _published(path: Path, name: str, sha256: str) -> WeightsEntry | None:
    entries = [entry for entry in list_weights() if entry.original]
    for entry in entries:
        if entry.sha256 == sha256:
            return entry
    for entry in entries:
        if entry.original == path.name or entry.name == name:
            raise WeightsError(
                f"{path.name} has sha256 {sha256}, the published weights {entry.name} have {entry.sha256}. Fetch them "
                f"again, or rename the file and give another name to import it as weights of unknown origin."
            )
    return None
