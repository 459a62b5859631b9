"""Where and with which arithmetic the model runs."""

import logging
from contextlib import AbstractContextManager, nullcontext

import torch

from medzsad.config import Precision
from medzsad.errors import ConfigError

_log = logging.getLogger(__name__)


def resolve_device(name: str) -> torch.device:
    """The torch device for `name`; "auto" takes CUDA where there is one, else the CPU.

    A CUDA device that is asked for and absent is replaced by the CPU, with a warning in the log.

    Raises:
        ConfigError: The name is not a device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"Unknown device '{name}'. Use auto, cpu, cuda, cuda:N or mps.") from None
    if device.type not in {"cpu", "cuda", "mps"}:
        raise ConfigError(f"Device '{name}' is not supported. Use auto, cpu, cuda, cuda:N or mps.")
    if not _present(device):
        _log.warning("Device '%s' is not available here; running on the CPU instead.", name)
        return torch.device("cpu")
    return device


def _present(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return True


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context in which the model is called: bfloat16 matrix products, or plain float32."""
    if precision == "float32" and device.type == "cuda":
        # cuDNN's convolutions would round to TF32 otherwise, and float32 is the reference.
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
