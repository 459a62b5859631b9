"""`medzsad.detect`: one scan, from a path or from memory, to a result that can be saved as a run would."""

import hashlib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from medzsad.config import RunConfig, make_config
from medzsad.errors import ConfigError, LockedError, RefusedError
from medzsad.methods.ensemble import Model
from medzsad.output.case import write_case
from medzsad.output.collect import write_manifest
from medzsad.output.facts import CaseFacts
from medzsad.output.lock import CaseLocks
from medzsad.output.paths import case_paths
from medzsad.output.schema import RunManifest
from medzsad.run.case import digest_and_key, run_manifest, told_model
from medzsad.run.key import key_of
from medzsad.run.pipeline import detect_scan, load_model, settled
from medzsad.run.threads import given_threads
from medzsad.scan.archive import temporary_unpack_dir
from medzsad.scan.arrays import scan_of_array
from medzsad.scan.labels import check_no_labels
from medzsad.scan.limits import read_limits
from medzsad.scan.names import shown_name
from medzsad.scan.nifti import scan_of_image
from medzsad.scan.reader import checked_scan, read_scan
from medzsad.scan.records import Candidate, Scan
from medzsad.scan.sources import FolderSource
from medzsad.volume.records import CaseResult

ScanLike: TypeAlias = "Scan | Path | str | NDArray[np.generic] | nib.spatialimages.SpatialImage"
# They choose cases, or how many are run; `detect` scores one scan.
_OF_RUNS = {
    "all_frames": "choose a frame with frame=..., or use `medzsad run --all-frames`",
    "together": "leave it out, or use `medzsad run --together`",
    "workers": "leave it out, or use `medzsad run --workers`",
}


@dataclass(frozen=True, slots=True)
class SavableResult(CaseResult):
    """The result for one scan, with what its files tell about how it was made."""

    facts: CaseFacts | None = field(default=None, repr=False)
    manifest: RunManifest | None = field(default=None, repr=False)

    def save(self, folder: Path | str) -> Path:
        """The folder of the case inside `folder`, after its files were written with the bytes that a run writes.

        A result of the same name is replaced. `medzsad report FOLDER` then makes the reports.

        Raises:
            OutputError: The folder cannot be written, or holds something else of that name.
            LockedError: A run is writing the same case.
        """
        out = Path(folder)
        if self.facts is None or self.manifest is None:
            raise ConfigError("Only results of medzsad.detect can be saved.")
        with CaseLocks(out) as locks:
            if not locks.acquire(self.name):
                raise LockedError(f"A run is writing case {self.name} into {out}. Wait, or choose another folder.")
            write_manifest(out, self.manifest)
            write_case(self, out, self.facts)
        return case_paths(out, self.name).directory


def detect(
    scan: ScanLike,
    *,
    affine: ArrayLike | None = None,
    name: str = "scan",
    detector: Model | None = None,
    **options: Any,
) -> SavableResult:
    """The result for one scan: score and mask in its own grid, and the lesions.

    Args:
        scan: The path of one series (a folder or archive) or one file; an array (i, j, k), or (i, j, k, 3) in color; a
            nibabel image; or a Scan.
        affine: For an array: (4, 4), voxel index to position in millimeters, RAS+ (as nibabel gives it). Without one
            nothing is told in millimeters.
        name: For an array or an image in memory: name of the case.
        detector: From `load_detector`; loaded from the options if left out.
        **options: Keys of `medzsad.config.RunConfig`, the same as the flags of `medzsad run`, such as modality="CT".

    Raises:
        ConfigError: An option is unknown or out of range, or the path holds more than one series.
        RefusedError: The scan cannot be scored reliably; its `code` says why.
        WeightsError: The weights are missing or damaged.

    Example:
        >>> result = medzsad.detect("examples/scans/head_with_lesion")  # doctest: +SKIP
        >>> [lesion.centroid_lps_mm for lesion in result.lesions]  # doctest: +SKIP
        >>> medzsad.detect(voxels, affine=affine, modality="CT").save("results")  # doctest: +SKIP
    """
    config = make_config(options)
    _check_options(options, detector is not None)
    if affine is not None and not isinstance(scan, np.ndarray):
        raise ConfigError("An affine goes with an array; scans of other kinds bring their own.")
    if detector is None:
        detector = load_model(config)
    config = settled(config, detector)
    with given_threads(config.threads):
        found = _in_memory(scan, affine, name)
        if found is not None:
            found = checked_scan(found, found.name)
            if found.source.kind != "dicom" and not config.allow_labels:  # as `read_scan` does
                check_no_labels(found.voxels, found.name)
            candidate = _candidate_of(found)
            content = _content_of(found)
            return _savable(found, candidate, (content, key_of(candidate, content, config, detector)), detector, config)
        with temporary_unpack_dir() as unpack_dir:
            candidate = _only_candidate(_path(scan), config, unpack_dir)
            keys = digest_and_key(candidate, detector, config)
            found = read_scan(candidate, read_limits(config))
        return _savable(found, candidate, keys, detector, config)


def _savable(
    scan: Scan, candidate: Candidate, keys: tuple[str, str], detector: Model, config: RunConfig
) -> SavableResult:
    result = detect_scan(scan, detector, config)
    return SavableResult(
        **{part.name: getattr(result, part.name) for part in fields(CaseResult)},
        facts=CaseFacts(candidate, *keys, config, told_model(detector, config)),
        manifest=run_manifest(detector, config),
    )


def _check_options(options: dict[str, Any], has_detector: bool) -> None:
    for key, advice in _OF_RUNS.items():
        if options.get(key):
            raise ConfigError(f"detect() scores one scan, so {key} would do nothing; {advice}.")
    unused = sorted({"weights", "clip_weights", "guide_weights", "samples", "device"} & set(options))
    if has_detector and unused:
        raise ConfigError(
            f"The detector is given, so {', '.join(unused)} would do nothing; give them to load_detector."
        )


def _in_memory(scan: ScanLike, affine: ArrayLike | None, name: str) -> Scan | None:
    """The scan of what is in memory; None for a path, or for an image that is still to be read from its file."""
    if isinstance(scan, Scan):
        return scan
    if isinstance(scan, np.ndarray):
        return scan_of_array(scan, affine, name)
    if isinstance(scan, Path | str) or _file_of(scan) is not None:
        return None
    return scan_of_image(scan, name)


def _path(scan: ScanLike) -> Path:
    return Path(scan if isinstance(scan, Path | str) else str(_file_of(scan)))


def _file_of(image: Any) -> str | None:
    if not isinstance(image, nib.spatialimages.SpatialImage):
        raise ConfigError(f"detect() takes a path, an array, a nibabel image or a Scan, not a {type(image).__name__}.")
    # An image that nobody has changed is read as its file would be.
    name = image.get_filename()
    return str(name) if name and nib.is_proxy(image.dataobj) else None


def _candidate_of(scan: Scan) -> Candidate:
    source = scan.source
    return Candidate(
        name=scan.name,
        kind=source.kind,
        files=source.files,
        label=scan.name,
        series_uid=source.series_uid,
        modality=scan.modality,
        frame=source.frame,
    )


def _content_of(scan: Scan) -> str:
    digest = hashlib.sha256(repr((scan.shape, scan.voxels.dtype.str, scan.affine_ras.tolist())).encode())
    digest.update(np.ascontiguousarray(scan.voxels).data)
    return digest.hexdigest()


def _only_candidate(path: Path, config: RunConfig, unpack_dir: Path) -> Candidate:
    found = FolderSource.as_asked([path], config, unpack_dir).candidates(read_limits(config))
    if len(found) != 1:
        names = ", ".join(candidate.name for candidate in found) or "none"
        raise ConfigError(
            f"{shown_name(path)} holds {len(found)} series or files ({names}). Name one with series=..., "
            "or use `medzsad run`."
        )
    if found[0].code is not None:
        raise RefusedError(found[0].code, found[0].reason)
    return found[0]
