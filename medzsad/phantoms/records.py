"""What a phantom is: voxels with an affine, the mask of what is abnormal in them, and its lesions one by one."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medzsad.scan.records import Scan, Source


@dataclass(frozen=True, slots=True)
class PhantomLesion:
    """One lesion of a phantom, measured on the final grid.

    Attributes:
        kind: Such as "tumor with edema", "infarct" or "subdural".
        volume_mm3: Volume of its voxels in the mask.
        contrast: Absolute difference between the median of the lesion and the median of what surrounds it, over the
            spread (half of the range from the 16th to the 84th percentile) of the gray values of the brain.
        centroid_ras_mm: Center of gravity of its voxels, RAS+.
    """

    kind: str
    volume_mm3: float
    contrast: float
    centroid_ras_mm: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class PhantomVolume:
    """A generated scan whose truth is known.

    Attributes:
        name: Case name, from the seed and the family.
        voxels: (i, j, k) float32; HU for CT, units without a meaning for MR.
        affine_ras: (4, 4) float64, voxel index (i, j, k) to position in millimeters, RAS+.
        modality: "MR" or "CT".
        mask: (i, j, k) bool, the visible abnormal tissue; empty for a healthy head.
        family: "t1", "t2", "pd", "flair", "t1c", "dwi" or "ct".
        lesions: The lesions; together they are the mask, and no voxel belongs to two of them.
        plane: "axial", "coronal" or "sagittal": how the slices lie.
        acquisition_axis: Array axis along which the slices follow each other.
    """

    name: str
    voxels: NDArray[np.float32] = field(repr=False)
    affine_ras: NDArray[np.float64] = field(repr=False)
    modality: Literal["MR", "CT"]
    mask: NDArray[np.bool_] = field(repr=False)
    family: str
    lesions: tuple[PhantomLesion, ...]
    plane: str
    acquisition_axis: int

    def scan(self) -> Scan:
        """The same voxels as a Scan, as `medzsad.detect` takes it; the truth stays here."""
        return Scan(
            name=self.name,
            voxels=self.voxels,
            affine_ras=self.affine_ras,
            modality=self.modality,
            acquisition_axis=self.acquisition_axis,
            source=Source(kind="array"),
        )
