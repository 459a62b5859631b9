"""Reading state dicts of CLIP towers from the file formats in use."""

import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from medzsad.errors import WeightsError

# Numbers that OpenAI's archives carry as if they were weights, and what only other losses need.
_NO_WEIGHTS = {"input_resolution", "context_length", "vocab_size", "attn_mask", "logit_bias"}
_TEXT_PARTS = ("transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection")


def read_tower_state(path: Path) -> dict[str, Tensor]:
    """The state dict in `path` under OpenAI's names, on the CPU, in the stored precision.

    Args:
        path: safetensors, OpenAI's TorchScript archive, or a state dict of open_clip, also as the `state_dict` of a
            training checkpoint. Never unpickles anything but tensors.

    Raises:
        WeightsError: The file is missing, damaged or holds something else.
    """
    try:
        content = _read(path)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError, SafetensorError) as error:
        raise WeightsError(f"{path.name} could not be read as weights: {_sentence(error)}") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path.name} holds no state dict of a CLIP tower.")
    state = {_plain_name(str(name)): value.detach() for name, value in content.items()}
    return {name: value for name, value in state.items() if name not in _NO_WEIGHTS}


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    if _is_torchscript(path):
        with warnings.catch_warnings():
            # OpenAI's files are TorchScript archives, which only the deprecated torch.jit can open.
            warnings.filterwarnings("ignore", message=r".*torch\.jit\.load", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message=r".*torch\.jit\.load", category=FutureWarning)
            load: Callable[..., nn.Module] = torch.jit.load
            return load(str(path), map_location="cpu").state_dict()
    return torch.load(path, map_location="cpu", weights_only=True)


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _plain_name(name: str) -> str:
    name = name.removeprefix("module.")
    text = name.removeprefix("text.")
    return text if text.startswith(_TEXT_PARTS) else name


def _sentence(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
