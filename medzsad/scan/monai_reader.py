"""Scans as a MONAI image reader.

Apart from the rest of `scan`, because importing any part of MONAI imports all of it, torch included.
"""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.utils import SpaceKeys
from numpy.typing import NDArray

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.discover import discover
from medzsad.scan.names import shown_name
from medzsad.scan.reader import read_scan
from medzsad.scan.records import ReadLimits, Scan


class ScanReader(ImageReader):  # type: ignore[misc]
    """Reads anything that `discover` finds eligible, as a reader for `monai.transforms.LoadImage`."""

    def __init__(self, limits: ReadLimits | None = None, unpack_dir: Path | None = None) -> None:
        self.limits = limits or ReadLimits()
        self.unpack_dir = unpack_dir

    def verify_suffix(self, filename: Sequence[PathLike[str]] | PathLike[str]) -> bool:
        """True: formats are told apart by content."""
        return True

    def read(self, data: Sequence[PathLike[str]] | PathLike[str] | str, **_: Any) -> Scan:
        """The only scan under the given path or paths.

        Raises:
            RefusedError: There is none, there are several, or it cannot be scored.
        """
        paths = [Path(data)] if isinstance(data, str | PathLike) else [Path(one) for one in data]
        candidates = discover(paths, limits=self.limits, unpack_dir=self.unpack_dir)
        if len(candidates) != 1:
            raise RefusedError(
                ReasonCode.SERIES_4D if candidates else ReasonCode.NOT_AN_IMAGE,
                f"{shown_name(paths[0].name)} holds {len(candidates)} scans, one is needed."
                " Choose one with discover().",
            )
        return read_scan(candidates[0], self.limits)

    def get_data(self, img: Scan) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """The voxels and their MONAI meta data; the affine is the one into RAS+."""
        meta = {
            "affine": img.affine_ras.copy(),
            "original_affine": img.affine_ras.copy(),
            "space": SpaceKeys.RAS,
            "spatial_shape": np.asarray(img.shape),
            "original_channel_dim": -1 if img.voxels.ndim == 4 else float("nan"),
            "filename_or_obj": str(img.source.files[0]) if img.source.files else img.name,
        }
        return img.voxels, meta
