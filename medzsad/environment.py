"""What this computer has: versions of packages, graphics cards, decoders of compressed DICOM; all without torch."""

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version

from medzsad.version import __version__

_PACKAGES = (
    "torch",
    "open_clip_torch",
    "monai",
    "highdicom",
    "pydicom",
    "nibabel",
    "SimpleITK",
    "numpy",
)

# Compressed transfer syntaxes that hospitals use (PS3.5 Annex A.4).
_SYNTAXES = {
    "RLE Lossless": "1.2.840.10008.1.2.5",
    "JPEG Baseline": "1.2.840.10008.1.2.4.50",
    "JPEG Extended, 8 bits": "1.2.840.10008.1.2.4.51",
    "JPEG Extended, 12 bits": "1.2.840.10008.1.2.4.51",
    "JPEG Lossless": "1.2.840.10008.1.2.4.57",
    "JPEG Lossless SV1": "1.2.840.10008.1.2.4.70",
    "JPEG-LS Lossless": "1.2.840.10008.1.2.4.80",
    "JPEG-LS Near-lossless": "1.2.840.10008.1.2.4.81",
    "JPEG 2000 Lossless": "1.2.840.10008.1.2.4.90",
    "JPEG 2000": "1.2.840.10008.1.2.4.91",
}
# pydicom calls these decoders available for JPEG Extended, but they refuse samples of 12 bits when they meet them.
_NOT_FOR_12_BITS = {"gdcm", "pillow"}
_DRIVER_SECONDS = 10


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    versions = {"medzsad": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def nvidia_cards() -> list[str]:
    """Names of the graphics cards that NVIDIA's driver lists; empty without the driver.

    The installed torch may still be unable to use them: `torch_devices` tells.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_DRIVER_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]


def torch_devices() -> dict[str, str]:
    """Devices that the installed torch can use, by the name that --device takes. Imports torch, which takes seconds."""
    import torch

    devices = {"cpu": f"{torch.get_num_threads()} threads"}
    devices |= {f"cuda:{index}": torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())}
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU"
    return devices


def decodable_syntaxes() -> dict[str, bool]:
    """Whether a decoder is installed, for each compressed transfer syntax."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    plugins = {name: set(get_decoder(UID(uid)).available_plugins) for name, uid in _SYNTAXES.items()}
    plugins["JPEG Extended, 12 bits"] -= _NOT_FOR_12_BITS
    return {name: bool(found) for name, found in plugins.items()}
