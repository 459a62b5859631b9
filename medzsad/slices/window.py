"""Which values of a scan become black and white: CT presets in Hounsfield units, percentiles for everything else."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from medzsad.errors import ConfigError
from medzsad.scan.records import Scan

# Name -> (center, width) in HU, the usual presets of reading stations.
CT_WINDOWS: dict[str, tuple[float, float]] = {
    "abdomen": (60.0, 400.0),
    "bone": (480.0, 2500.0),
    "brain": (40.0, 80.0),
    "liver": (60.0, 160.0),
    "lung": (-600.0, 1500.0),
    "mediastinum": (50.0, 350.0),
    "soft-tissue": (40.0, 400.0),
    "stroke": (40.0, 40.0),
    "subdural": (75.0, 215.0),
}
DEFAULT_CT_WINDOW, HEAD_CT_WINDOW = "soft-tissue", "brain"
_HEAD_PARTS = frozenset({"HEAD", "BRAIN", "SKULL"})

# Air and lung lie below, soft tissue above (HU).
_CT_TISSUE_HU = -300.0
_SAMPLE_VOXELS = 8_000_000
_LONG_SIDE = 64
# Bone and brain on CT (HU), and the least shares of them in a head; of brain where skull and air were removed.
_BONE_HU, _BRAIN_HU, _STRIPPED_HU = 300.0, (0.0, 80.0), -200.0
_BONE_SHARE, _BRAIN_SHARE, _STRIPPED_SHARE = 0.10, 0.45, 0.85


@dataclass(frozen=True, slots=True)
class Window:
    """What was applied to a scan.

    Attributes:
        name: Preset, "percentiles", "8-bit" or "given".
        low: Value that becomes 0, in units of the scan.
        high: Value that becomes 1.
        tissue_level: Values above it count as tissue, in units of the scan.
        source: Why this window, in words.
    """

    name: str
    low: float
    high: float
    tissue_level: float
    source: str

    def record(self) -> dict[str, Any]:
        """The window as plain values for the report."""
        return asdict(self)


def resolve_window(scan: Scan, choice: str = "auto") -> Window:
    """The window for a scan.

    Args:
        scan: The whole scan; percentiles are never taken from a single slice.
        choice: "auto", a name of CT_WINDOWS, "percentiles", or "LOW,HIGH" in units of the scan.

    Raises:
        ConfigError: The choice is neither, or LOW is not below HIGH.
    """
    modality = scan.modality.upper()
    sample = _sample(scan.voxels)
    tissue = _CT_TISSUE_HU if modality == "CT" else _tissue_level(sample)
    # Who asks for such values on a CT whose values all lie below tissue knows that they are not Hounsfield units.
    asked_tissue = _tissue_level(sample) if modality == "CT" and scan.voxels.max() <= tissue else tissue
    if "," in choice:
        low, high = _given_limits(choice)
        return Window("given", low, high, asked_tissue, "given by the user")
    if choice in CT_WINDOWS:
        return _preset(choice, tissue, "named by the user")
    if choice == "percentiles":
        return _percentiles(sample, asked_tissue, "asked for by the user", scan)
    if choice != "auto":
        raise ConfigError(
            f"Unknown window '{choice}'. Use auto, percentiles, LOW,HIGH, or one of {', '.join(CT_WINDOWS)}."
        )
    if modality == "CT":
        return _ct_window(scan, sample, tissue)
    if modality == "PICTURE" and sample.min() >= 0.0 and 1.0 < sample.max() <= 255.0:
        return Window("8-bit", 0.0, 255.0, -1.0, "range of 8-bit pictures")
    return _percentiles(sample, tissue, f"default for modality '{modality or 'unknown'}'", scan)


def _ct_window(scan: Scan, sample: NDArray[np.float32], tissue: float) -> Window:
    """In the window of soft tissue gray and white matter look the same, and blood is hardly brighter."""
    if scan.body_part in _HEAD_PARTS:
        return _preset(HEAD_CT_WINDOW, tissue, f"the file says that a CT of the {scan.body_part.lower()} was made")
    if not scan.body_part and looks_like_head(sample):
        return _preset(
            HEAD_CT_WINDOW, tissue, "the CT looks like one of a head by its shares of bone and brain; see --window"
        )
    return _preset(DEFAULT_CT_WINDOW, tissue, "default for CT")


def looks_like_head(values_hu: NDArray[np.float32]) -> bool:
    """Whether the voxels of a CT are those of a head, whole or with everything but the brain removed.

    Of what is denser than air a tenth is bone in a head, a third of that in a trunk; of a brain alone, nearly all
    lies between 0 and 80 HU.
    """
    low = float(values_hu.min())
    stripped = low > _STRIPPED_HU
    tissue = values_hu[values_hu > (low if stripped else _CT_TISSUE_HU)]
    if not tissue.size:
        return False
    brain = float(np.mean((tissue >= _BRAIN_HU[0]) & (tissue <= _BRAIN_HU[1])))
    if stripped:
        return brain >= _STRIPPED_SHARE
    return brain >= _BRAIN_SHARE and float(np.mean(tissue > _BONE_HU)) >= _BONE_SHARE


def looks_like_hounsfield(scan: Scan) -> bool:
    """Whether a scan of unknown modality holds values as CT does: whole numbers with air near -1000."""
    sample = _sample(scan.voxels)
    air = float(np.mean((sample <= -900) & (sample >= -2100)))
    return not scan.modality and air > 0.02 and bool(np.all(sample == np.round(sample)))


def _sample(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    # A stride along each long axis: cheap, and no slice of a thin stack is left out.
    long_axes = sum(side >= _LONG_SIDE for side in voxels.shape) or 1
    step = max(1, math.ceil((voxels.size / _SAMPLE_VOXELS) ** (1 / long_axes)))
    return voxels[tuple(slice(None, None, step if side >= _LONG_SIDE else 1) for side in voxels.shape)].ravel()


def _preset(name: str, tissue: float, source: str) -> Window:
    center, width = CT_WINDOWS[name]
    return Window(name, center - width / 2, center + width / 2, tissue, source)


def _given_limits(choice: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in choice.split(","))
    except ValueError:
        raise ConfigError(f"Window '{choice}' must be two numbers, LOW,HIGH, e.g. -160,240.") from None
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ConfigError(f"Window '{choice}': LOW must be below HIGH.")
    return low, high


def _tissue_level(sample: NDArray[np.float32]) -> float:
    # Halfway between background and Otsu's cut: dark tissue (fluid on FLAIR) still counts, noise in air does not.
    low, high = np.percentile(sample, [0.1, 99.9])
    if low >= high:
        return float(low)
    cut = threshold_otsu(np.clip(sample, low, high))
    return float(low + 0.5 * (cut - low))


def _percentiles(sample: NDArray[np.float32], tissue: float, source: str, scan: Scan) -> Window:
    low = float(np.percentile(sample, 0.5))
    foreground = sample[sample > tissue]
    high = float(np.percentile(foreground if foreground.size else sample, 99.5))
    if low >= high:
        low, high = float(scan.voxels.min()), float(scan.voxels.max())
    return Window("percentiles", low, high, tissue, f"0.5 % of the volume to 99.5 % of its foreground, {source}")
