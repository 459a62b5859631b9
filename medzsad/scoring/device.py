"""Where and with which arithmetic the model runs."""

import logging
from contextlib import AbstractContextManager, nullcontext

import psutil
import torch

from medzsad.config import Precision, PrecisionChoice
from medzsad.errors import ConfigError

# What a further slice needs, with room to spare: 290 were measured on ViT-L-14-336 at 518 pixels, from the peaks of one
# slice and of eight (benchmarks/throughput.py --batch).
_BYTES_PER_PIXEL = 1000
# More slices at once than this are no faster.
_MOST_ON_CPU, _MOST_ON_CUDA = 8, 32

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


def resolve_precision(choice: PrecisionChoice, device: torch.device) -> Precision:
    """float32 or bfloat16; "auto" takes bfloat16 where the device multiplies it in hardware."""
    if choice != "auto":
        return choice
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    # AMX comes with AVX512-BF16.
    if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported():
        return "bfloat16"
    return "float32"


def batch_that_fits(image_size: int, device: torch.device) -> int:
    """How many slices to score at once: as many as pay, and no more than a quarter of the free memory holds."""
    if device.type == "cuda":
        free, most = torch.cuda.mem_get_info(device)[0], _MOST_ON_CUDA
    else:
        free, most = psutil.virtual_memory().available, _MOST_ON_CPU
    return int(max(1, min(most, free // 4 // (_BYTES_PER_PIXEL * image_size**2))))


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context in which the model is called: bfloat16 matrix products, or plain float32."""
    if precision == "float32" and device.type == "cuda":
        # cuDNN's convolutions would round to TF32 otherwise, and float32 is the reference.
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
