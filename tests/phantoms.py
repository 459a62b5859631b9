"""Head-like phantoms with a known lesion, in memory and as files; nothing in them stems from a patient.

All sides and all spacings are unequal and the lesion lies off center, so that no swap or flip of axes can hide.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medzsad.scan.records import Scan, Source

SECRET_NAME = "Phantom^Secret"
SECRET_ID = "SECRET-4711"
BODY_CENTER_RAS_MM = np.array([7.0, -11.0, 23.0])


@dataclass(frozen=True, slots=True)
class Phantom:
    """A scan with the exact mask of its lesion, (i, j, k) bool in the same grid."""

    scan: Scan
    lesion_mask: NDArray[np.bool_] = field(repr=False)

    @property
    def lesion_centroid_ras_mm(self) -> NDArray[np.float64]:
        """Center of gravity of the lesion mask, RAS+, millimeters."""
        index = np.argwhere(self.lesion_mask).mean(axis=0)
        return np.asarray(self.scan.affine_ras[:3, :3] @ index + self.scan.affine_ras[:3, 3])


def all_axcodes() -> list[str]:
    """The 48 axis orders, such as "LPS": the direction to which each voxel index grows."""
    pairs = ("RL", "AP", "SI")
    return ["".join(codes) for order in permutations(pairs) for codes in product(*order)]


def phantom_scan(
    shape: tuple[int, int, int] = (56, 64, 14),
    spacing_mm: tuple[float, float, float] = (1.5, 1.25, 4.0),
    *,
    lesion_center_fraction: tuple[float, float, float] = (0.66, 0.37, 0.56),
    lesion_radius_mm: tuple[float, float, float] = (11.0, 8.0, 9.0),
    axcodes: str = "LPS",
    oblique_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0),
    lesion: bool = True,
    modality: str = "MR",
    name: str = "phantom",
    seed: int = 0,
) -> Phantom:
    """A phantom in memory.

    Args:
        shape: Voxel counts along left, posterior and superior, before the axes are reordered.
        spacing_mm: Spacing along left, posterior and superior.
        lesion_center_fraction: Center of the lesion as a fraction of each of these sides.
        lesion_radius_mm: Half axes of the lesion.
        axcodes: Direction to which each voxel index grows, one of `all_axcodes()`.
        oblique_degrees: Rotation of the grid about the x, y and z axis.
        lesion: Whether there is a lesion; without it the mask is empty.
        modality: Modality of the scan.
        name: Case name.
        seed: Seed of the texture.

    Returns:
        The scan (values 0 to about 1000) and the mask of its lesion.
    """
    spacing = np.asarray(spacing_mm)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    middle_mm = (np.asarray(shape) - 1) / 2 * spacing
    from_middle_mm = index * spacing - middle_mm
    radius = np.linalg.norm(from_middle_mm / (0.88 * middle_mm + 0.1 * spacing), axis=-1)
    texture = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), (2.0, 2.4, 0.7))
    texture *= 35.0 / max(float(texture.std()), 1e-9)
    voxels = np.where(radius < 1.0, 300.0 + texture, 0.0)
    voxels[(radius >= 0.9) & (radius < 1.0)] = 650.0
    center_mm = np.asarray(lesion_center_fraction) * 2 * middle_mm
    distance = np.linalg.norm((index * spacing - center_mm) / np.asarray(lesion_radius_mm), axis=-1)
    mask = (distance < 1.0) if lesion else np.zeros(shape, bool)
    voxels[mask] = 950.0

    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = BODY_CENTER_RAS_MM - affine[:3, :3] @ (middle_mm / spacing)
    change = ornt_transform(io_orientation(affine), axcodes2ornt(tuple(axcodes)))
    affine = affine @ nib.orientations.inv_ornt_aff(change, shape)
    voxels = np.ascontiguousarray(nib.orientations.apply_orientation(voxels, change), np.float32)
    mask = np.ascontiguousarray(nib.orientations.apply_orientation(mask, change))
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", oblique_degrees, degrees=True).as_matrix()
    scan = Scan(
        name=name,
        voxels=voxels,
        affine_ras=turn @ affine,
        modality=modality,
        acquisition_axis=None,
        source=Source(kind="array"),
    )
    return Phantom(scan=scan, lesion_mask=mask)


def write_nifti(path: Path, phantom: Phantom | None = None, *, sform: int = 1, qform: int = 1) -> Phantom:
    """Writes the phantom as NIfTI and hands it back."""
    phantom = phantom or phantom_scan()
    image = nib.Nifti1Image(phantom.scan.voxels, phantom.scan.affine_ras)
    image.set_sform(phantom.scan.affine_ras, code=sform)
    image.set_qform(phantom.scan.affine_ras, code=qform)
    nib.save(image, path)
    return phantom


def write_dicom_series(
    folder: Path,
    phantom: Phantom | None = None,
    *,
    tilt_degrees: float = 0.0,
    drop_slice: int | Sequence[int] | None = None,
    duplicate_slice: int | None = None,
    shuffle: bool = True,
    transfer_syntax: str = ExplicitVRLittleEndian,
    monochrome1: bool = False,
    rescale: tuple[float, float] = (1.0, 0.0),
    multiframe: bool = False,
    image_type: Sequence[str] = ("ORIGINAL", "PRIMARY", "AXIAL"),
    series_number: int = 7,
    uid_seed: str = "phantom",
) -> Phantom:
    """Writes the phantom as one DICOM series and hands the phantom back.

    Args:
        folder: Where the files go; made if absent. File names say nothing about the order if `shuffle`.
        phantom: What is written; its index k becomes the slice.
        tilt_degrees: Gantry tilt: slices are shifted along their columns, and so is what they show.
        drop_slice: Index k (or several) that is left out.
        duplicate_slice: Index k that is written twice, with other pixel values.
        shuffle: Whether InstanceNumber and file names run in random order.
        transfer_syntax: Transfer syntax; compressed ones are encoded by pydicom (lossless ones only).
        monochrome1: Whether stored values are inverted with PhotometricInterpretation MONOCHROME1.
        rescale: RescaleSlope and RescaleIntercept; stored value = (value - intercept) / slope.
        multiframe: Whether one enhanced multi-frame file is written instead of one file per slice.
        image_type: Value of ImageType.
        series_number: Value of SeriesNumber.
        uid_seed: What all UIDs are derived from.
    """
    phantom = phantom or phantom_scan()
    folder.mkdir(parents=True, exist_ok=True)
    slices, positions = _slices_and_positions(phantom, tilt_degrees)
    dropped = () if drop_slice is None else (drop_slice,) if isinstance(drop_slice, int) else tuple(drop_slice)
    kept = [k for k in range(len(slices)) if k not in dropped]
    stored = [_stored(slices[k], rescale, monochrome1) for k in kept]
    where = [positions[k] for k in kept]
    if duplicate_slice is not None:
        stored.append(_stored(slices[duplicate_slice] * np.float32(0.9), rescale, monochrome1))
        where.append(positions[duplicate_slice])
    base = _base_dataset(phantom, rescale, monochrome1, image_type, series_number, uid_seed)
    if multiframe:
        _write_multiframe(folder / "enhanced.dcm", base, phantom, stored, where, transfer_syntax)
        return phantom
    order = np.arange(len(stored))
    if shuffle:
        order = np.random.default_rng(5).permutation(len(stored))
    for number, n in enumerate(order, start=1):
        dataset = _copy(base)
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[uid_seed, "slice", str(n)])
        dataset.InstanceNumber = number
        dataset.ImagePositionPatient = _decimals(where[n])
        dataset.ImageOrientationPatient = _orientation(phantom)
        dataset.PixelSpacing = _pixel_spacing(phantom)
        dataset.SliceThickness = _decimals([phantom.scan.spacing_mm[2]])[0]
        _save(folder / f"{number:04d}.dcm", dataset, stored[n], transfer_syntax)
    return phantom


def one_slice_dataset(pixels: NDArray[np.uint8], modality: str = "US", uid_seed: str = "single") -> Dataset:
    """A DICOM dataset of one picture without geometry: (rows, columns) gray or (rows, columns, 3) RGB, 8 bits."""
    phantom = phantom_scan(modality=modality)
    dataset = _base_dataset(phantom, (1.0, 0.0), False, ("ORIGINAL", "PRIMARY"), 1, uid_seed)
    del dataset.FrameOfReferenceUID, dataset.RescaleSlope, dataset.RescaleIntercept
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[uid_seed, "one"])
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    if pixels.ndim == 3:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.PixelData = pixels.tobytes()
    dataset.file_meta = _file_meta(dataset, ExplicitVRLittleEndian)
    return dataset


def _slices_and_positions(
    phantom: Phantom, tilt_degrees: float
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float64]]]:
    voxels, affine = phantom.scan.voxels, phantom.scan.affine_ras
    spacing = phantom.scan.spacing_mm
    to_lps = np.diag([-1.0, -1.0, 1.0])
    column_direction = affine[:3, 1] / spacing[1]
    slices, positions = [], []
    for k in range(voxels.shape[2]):
        shift_mm = float(np.tan(np.radians(tilt_degrees)) * spacing[2] * k)
        image = voxels[:, :, k].T  # (rows, columns)
        if shift_mm:
            image = ndimage.shift(image, (-shift_mm / spacing[1], 0.0), order=1)
        slices.append(np.ascontiguousarray(image, np.float32))
        positions.append(to_lps @ (affine[:3, 3] + affine[:3, 2] * k + column_direction * shift_mm))
    return slices, positions


def _stored(image: NDArray[np.float32], rescale: tuple[float, float], monochrome1: bool) -> NDArray[np.uint16]:
    slope, intercept = rescale
    values = np.clip(np.rint((image - intercept) / slope), 0, 4095).astype(np.uint16)
    return np.asarray(4095 - values, np.uint16) if monochrome1 else values


def _base_dataset(
    phantom: Phantom,
    rescale: tuple[float, float],
    monochrome1: bool,
    image_type: Sequence[str],
    series_number: int,
    uid_seed: str,
) -> Dataset:
    dataset = Dataset()
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = SECRET_NAME, SECRET_ID, "19010203"
    dataset.PatientSex = "O"
    dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber = "20010203", "010203", "SECRET-ACC"
    dataset.ReferringPhysicianName, dataset.StudyID = "Doctor^Secret", "1"
    dataset.SOPClassUID = CTImageStorage if phantom.scan.modality == "CT" else MRImageStorage
    dataset.Modality, dataset.Manufacturer = phantom.scan.modality, "phantoms"
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=[uid_seed, "study"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[uid_seed, "series"])
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=[uid_seed, "frame of reference"])
    dataset.PositionReferenceIndicator, dataset.PatientPosition = "", "HFS"
    dataset.ImageType, dataset.SeriesNumber = list(image_type), series_number
    dataset.Columns, dataset.Rows = phantom.scan.shape[:2]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if monochrome1 else "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.RescaleSlope, dataset.RescaleIntercept = _decimals(rescale)
    return dataset


def _write_multiframe(
    path: Path,
    base: Dataset,
    phantom: Phantom,
    stored: list[NDArray[np.uint16]],
    positions: list[NDArray[np.float64]],
    transfer_syntax: str,
) -> None:
    dataset = _copy(base)
    dataset.SOPClassUID = EnhancedMRImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[str(dataset.SeriesInstanceUID), "enhanced"])
    dataset.InstanceNumber, dataset.NumberOfFrames = 1, len(stored)
    transform = Dataset()
    transform.RescaleSlope, transform.RescaleIntercept, transform.RescaleType = (
        dataset.RescaleSlope,
        dataset.RescaleIntercept,
        "US",
    )
    del dataset.RescaleSlope, dataset.RescaleIntercept
    orientation, measures, shared = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = _orientation(phantom)
    measures.PixelSpacing = _pixel_spacing(phantom)
    measures.SliceThickness = _decimals([phantom.scan.spacing_mm[2]])[0]
    shared.PlaneOrientationSequence = DicomSequence([orientation])
    shared.PixelMeasuresSequence = DicomSequence([measures])
    shared.PixelValueTransformationSequence = DicomSequence([transform])
    dataset.SharedFunctionalGroupsSequence = DicomSequence([shared])
    frames = []
    for n, position in enumerate(positions, start=1):
        plane, content, frame = Dataset(), Dataset(), Dataset()
        plane.ImagePositionPatient = _decimals(position)
        content.DimensionIndexValues, content.StackID, content.InStackPositionNumber = [1, n], "1", n
        frame.PlanePositionSequence = DicomSequence([plane])
        frame.FrameContentSequence = DicomSequence([content])
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence(frames)
    dataset.DimensionOrganizationSequence = DicomSequence([_with_uid(dataset)])
    dataset.DimensionIndexSequence = DicomSequence([_dimension(dataset, 0x00209056), _dimension(dataset, 0x00209057)])
    _save(path, dataset, np.stack(stored), transfer_syntax)


def _with_uid(dataset: Dataset) -> Dataset:
    item = Dataset()
    item.DimensionOrganizationUID = generate_uid(entropy_srcs=[str(dataset.SeriesInstanceUID), "dimensions"])
    return item


def _dimension(dataset: Dataset, pointer: int) -> Dataset:
    item = _with_uid(dataset)
    item.DimensionIndexPointer = pointer
    item.FunctionalGroupPointer = 0x00209111
    return item


def _save(path: Path, dataset: Dataset, pixels: NDArray[np.uint16], transfer_syntax: str) -> None:
    dataset.PixelData = np.ascontiguousarray(pixels).tobytes()
    dataset.file_meta = _file_meta(dataset, ExplicitVRLittleEndian)
    if transfer_syntax == "1.2.840.10008.1.2.1.99":  # deflated by the writer
        dataset.file_meta.TransferSyntaxUID = transfer_syntax
    elif transfer_syntax != ExplicitVRLittleEndian:
        dataset.compress(transfer_syntax, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)


def _file_meta(dataset: Dataset, transfer_syntax: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = transfer_syntax
    return meta


def _orientation(phantom: Phantom) -> list[str]:
    directions = np.diag([-1.0, -1.0, 1.0]) @ phantom.scan.affine_ras[:3, :2] / phantom.scan.spacing_mm[:2]
    return _decimals(directions.T.ravel())


def _pixel_spacing(phantom: Phantom) -> list[str]:
    return _decimals([phantom.scan.spacing_mm[1], phantom.scan.spacing_mm[0]])  # PS3.3 10.7.1.3: rows first


def _decimals(values: Sequence[float] | NDArray[np.float64]) -> list[str]:
    return [f"{float(value):.10g}"[:16] if abs(value) > 1e-4 else f"{float(value):.9f}" for value in values]


def _copy(dataset: Dataset) -> Dataset:
    copy = Dataset()
    copy.update(dataset)
    return copy


def renamed(phantom: Phantom, name: str) -> Phantom:
    """The same phantom under another case name."""
    return replace(phantom, scan=replace(phantom.scan, name=name))


def values_in_world(scan: Scan, like: Scan) -> NDArray[np.float32]:
    """The values of `scan` at the voxel centers of `like`, nearest neighbor; NaN outside of the grid."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in like.shape), indexing="ij"), axis=-1)
    change = np.linalg.inv(scan.affine_ras) @ like.affine_ras
    exact = index @ change[:3, :3].T + change[:3, 3]
    nearest = np.rint(exact).astype(int)
    inside = ((nearest >= 0) & (nearest < scan.shape)).all(axis=-1)
    values = np.full((*like.shape, *scan.voxels.shape[3:]), np.nan, np.float32)
    values[inside] = scan.voxels[tuple(nearest[inside].T)]
    return values
