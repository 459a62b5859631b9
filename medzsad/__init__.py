"""Zero-shot anomaly detection for medical scans: `detect` gives the lesions of one scan, `load_detector` the model.

Research use, not a medical device.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from medzsad.version import __version__

if TYPE_CHECKING:
    from medzsad.methods.base import Method
    from medzsad.run.detect import detect
    from medzsad.run.pipeline import load_detector
    from medzsad.run.site_calibration import calibrate_site
    from medzsad.scan.discover import discover
    from medzsad.scan.reader import read_scan
    from medzsad.scan.records import Scan
    from medzsad.volume.records import CaseResult, Lesion

__all__ = [
    "CaseResult",
    "Lesion",
    "Method",
    "Scan",
    "__version__",
    "calibrate_site",
    "detect",
    "discover",
    "load_detector",
    "read_scan",
]

_HOME = {
    "CaseResult": "medzsad.volume.records",
    "Lesion": "medzsad.volume.records",
    "Method": "medzsad.methods.base",
    "Scan": "medzsad.scan.records",
    "calibrate_site": "medzsad.run.site_calibration",
    "detect": "medzsad.run.detect",
    "discover": "medzsad.scan.discover",
    "load_detector": "medzsad.run.pipeline",
    "read_scan": "medzsad.scan.reader",
}


def __getattr__(name: str) -> Any:
    # Public names are imported when first used, so that `medzsad --help` does not wait for torch.
    if name not in _HOME:
        raise AttributeError(f"module 'medzsad' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)
