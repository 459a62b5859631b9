"""One result to its folder: files written, read back, compared, recorded with their digests, then put in place."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from medzsad.config import RunConfig
from medzsad.errors import OutputError
from medzsad.files import file_sha256
from medzsad.output.montage import montage_image
from medzsad.output.nifti import write_mask, write_score
from medzsad.output.panels import plane_name
from medzsad.output.paths import (
    CasePaths,
    case_paths,
    partial_paths,
    replace_directory,
)
from medzsad.output.schema import (
    CaseRecord,
    InputRecord,
    LesionRecord,
    ModelRecord,
    ModelReference,
    SliceRecord,
    json_text,
)
from medzsad.output.verify import verify_mask, verify_score
from medzsad.scan.records import Candidate, Scan
from medzsad.volume.records import CaseResult, Outcome


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What a case was made of, whatever its result.

    Attributes:
        candidate: What was found.
        content_sha256: Digest of the input's bytes; "" if they could not be read.
        key: Identifies input, options and weights; a case with an equal key is done.
        config: The resolved options of the run.
        model: Which model spoke.
    """

    candidate: Candidate
    content_sha256: str
    key: str
    config: RunConfig
    model: ModelRecord


def write_case(result: CaseResult, out_dir: Path, facts: CaseFacts) -> CaseRecord:
    """The record of the case, after all its files stand in OUT/<case>.

    A case with a result gets mask, score, picture and record; a refused or failed one the record alone. Files are
    made in a hidden folder, read back and compared, and the folder is renamed last. What stood under the name
    before is replaced.

    Args:
        result: How the case ended.
        out_dir: Output folder of the run; made if absent.
        facts: What the case was made of.

    Raises:
        OutputError: A file could not be written, does not read back as written, or the result contradicts itself.
    """
    final = case_paths(out_dir, result.name)
    partial = partial_paths(out_dir, result.name)
    try:
        _start_anew(partial.directory)
        files = _write_volumes(partial, result, facts.config, facts.model)
        record = case_record(result, facts, files)
        partial.record.write_text(json_text(record), encoding="utf-8", newline="\n")
        replace_directory(partial.directory, final.directory)
    except OSError as error:
        raise OutputError(
            f"The result of case {result.name} could not be written to {out_dir}: {error.strerror or error}. "
            "Check the space left and the permissions."
        ) from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in error.errors())
        raise OutputError(f"The record of case {result.name} is not valid: {wrong}. Please report it.") from None
    finally:
        shutil.rmtree(partial.directory, ignore_errors=True)
    return record


def case_record(result: CaseResult, facts: CaseFacts, files: dict[str, str] | None = None) -> CaseRecord:
    """The record of a case as case.json holds it; `files` are the names of the written files with their sha256."""
    scored = result.scan is not None
    return CaseRecord(
        name=result.name,
        key=facts.key,
        outcome=result.outcome,
        code=None if result.code is None else str(result.code),
        message=result.message,
        input=_input_record(facts, result.scan, result.slice_axis),
        window=result.window,
        threshold=result.threshold if scored else None,
        threshold_provenance=result.threshold_provenance if scored else "",
        model=ModelReference(name=facts.model.name, sha256=facts.model.sha256),
        seed=facts.config.seed,
        lesions=tuple(LesionRecord.model_validate(lesion, from_attributes=True) for lesion in result.lesions),
        slices=tuple(SliceRecord.model_validate(entry, from_attributes=True) for entry in result.slices),
        notes=result.notes,
        files=files or {},
    )


def read_case(out_dir: Path, name: str) -> CaseRecord | None:
    """The record of a finished case, or None if it is absent, damaged, of another version or lacks a file.

    Every file that the record names must be there with the recorded sha256.
    """
    paths = case_paths(out_dir, name)
    try:
        values = json.loads(paths.record.read_bytes())
        record = CaseRecord.model_validate(values)
        intact = all(
            Path(file).name == file and file_sha256(paths.directory / file) == digest
            for file, digest in record.files.items()
        )
    except (OSError, ValueError, ValidationError):
        return None
    has_result = record.outcome in (Outcome.LESION, Outcome.NO_LESION)
    whole = not has_result or {paths.mask.name, paths.score.name} <= set(record.files)
    return record if record.name == name and intact and whole else None


def _write_volumes(paths: CasePaths, result: CaseResult, config: RunConfig, model: ModelRecord) -> dict[str, str]:
    if result.outcome in (Outcome.REFUSED, Outcome.FAILED):
        return {}
    if result.scan is None or result.mask is None or result.score is None:
        raise OutputError(f"Case {result.name} ended as {result.outcome} but brings no scan, mask or score.")
    if bool(result.mask.any()) != (result.outcome is Outcome.LESION) or bool(result.lesions) != bool(result.mask.any()):
        raise OutputError(
            f"Case {result.name} contradicts itself: outcome {result.outcome}, {len(result.lesions)} lesions, "
            f"{int(result.mask.sum())} voxels in the mask."
        )
    write_mask(paths.mask, result.mask, result.scan)
    verify_mask(paths.mask, result.mask, result.scan)
    write_score(paths.score, result.score, result.scan, config.score_dtype)
    verify_score(paths.score, result.score, result.scan)
    montage_image(result, model_name=model.name).save(paths.montage, format="PNG", compress_level=2)
    return {path.name: file_sha256(path) for path in (paths.mask, paths.score, paths.montage)}


def _input_record(facts: CaseFacts, scan: Scan | None, slice_axis: int) -> InputRecord:
    candidate = facts.candidate
    uid = candidate.series_uid or (scan.source.series_uid if scan else None)
    found = InputRecord(
        kind=candidate.kind,
        label=candidate.label,
        content_sha256=facts.content_sha256,
        series_uid_sha256_10=hashlib.sha256(uid.encode()).hexdigest()[:10] if uid else None,
        frame=candidate.frame,
        modality=candidate.modality,
    )
    if scan is None:
        return found
    grid = {
        "modality": scan.modality or found.modality,
        "shape": scan.shape,
        "spacing_mm": scan.spacing_mm,
        "affine_ras": scan.affine_ras.tolist(),
        "slice_axis": slice_axis,
        "plane": plane_name(scan.affine_ras, slice_axis),
    }
    return InputRecord.model_validate({**found.model_dump(), **grid})


def _start_anew(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True)
