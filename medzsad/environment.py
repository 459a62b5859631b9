"""What this computer has: versions of packages and graphics cards, found without torch."""

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version

from medzsad.version import __version__

_PACKAGES = (
    "torch",
    "open_clip_torch",
    "timm",
    "monai",
    "highdicom",
    "pydicom",
    "nibabel",
    "SimpleITK",
    "numpy",
)

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
