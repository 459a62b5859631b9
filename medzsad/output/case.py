"""One result to its folder: files written, read back, compared, recorded with their digests, then put in place."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from medzsad.drawing.panels import plane_name
from medzsad.errors import OutputError
from medzsad.files import file_sha256
from medzsad.output.facts import CaseFacts
from medzsad.output.paths import CasePaths, case_paths, partial_paths, replace_directory
from medzsad.output.schema import (
    CaseRecord,
    DecisionRecord,
    InputRecord,
    LesionRecord,
    ModelReference,
    SliceRecord,
    json_text,
)
from medzsad.output.writers import WRITERS, Writer, applies, scored
from medzsad.scan.records import Scan
from medzsad.version import __version__
from medzsad.volume.records import CaseResult, Lesion, Outcome


def write_case(result: CaseResult, out_dir: Path, facts: CaseFacts, writers: Sequence[Writer] = WRITERS) -> CaseRecord:
    """The record of the case, after all its files stand in OUT/<case>.

    A case with a result gets the files of all writers and its record; a refused or failed one the record alone, and
    error.txt if a bug was the reason. Files are made in a hidden folder, read back and compared, and the folder is
    renamed last. What stood under the name before is replaced.

    Args:
        result: How the case ended.
        out_dir: Output folder of the run; made if absent.
        facts: What the case was made of.
        writers: What to write of a result.

    Raises:
        OutputError: A file could not be written, does not read back as written, or the result contradicts itself.
    """
    final = case_paths(out_dir, result.name)
    partial = partial_paths(out_dir, result.name)
    try:
        _start_anew(partial.directory)
        files = _write_files(partial, result, facts, writers)
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
    has_scan = result.scan is not None
    return CaseRecord(
        medzsad_version=__version__,
        name=result.name,
        key=facts.key,
        outcome=result.outcome,
        code=None if result.code is None else str(result.code),
        message=result.message,
        input=_input_record(facts, result.scan, result.slice_axis),
        window=result.window,
        threshold=result.threshold if has_scan else None,
        threshold_provenance=result.threshold_provenance if has_scan else "",
        decision=None
        if result.decision is None
        else DecisionRecord.model_validate(result.decision, from_attributes=True),
        max_score=None if result.score is None else float(result.score.max()),
        model=ModelReference(name=facts.model.name, sha256=facts.model.sha256),
        seed=facts.config.seed,
        lesions=tuple(_lesion_record(lesion, facts.config.with_uids) for lesion in result.lesions),
        slices=tuple(SliceRecord.model_validate(entry, from_attributes=True) for entry in result.slices),
        notes=result.notes,
        warnings=result.warnings,
        files=files or {},
    )


def read_case(out_dir: Path, name: str) -> CaseRecord | None:
    """The record of a finished case, or None if it is absent, damaged, of another version or lacks a file."""
    try:
        return load_case(out_dir, name)
    except OutputError:
        return None


def load_case(out_dir: Path, name: str, check_files: bool = True) -> CaseRecord:
    """The record of a finished case; its files are there with the recorded sha256.

    Args:
        out_dir: Output folder of the run.
        name: Of the case.
        check_files: Whether to read the files; their names are compared in any case.

    Raises:
        OutputError: The case is absent, damaged, of another version or lacks a file.
    """
    paths = case_paths(out_dir, name)
    try:
        values = json.loads(paths.record.read_bytes())
    except OSError:
        raise OutputError("there is no readable case.json") from None
    except ValueError:
        raise OutputError("case.json is not complete JSON") from None
    try:
        record = CaseRecord.model_validate(values)
    except ValidationError:
        raise OutputError("case.json is damaged or of another version of medzsad") from None
    if record.name != name:
        raise OutputError("case.json names another case")
    if record.outcome in (Outcome.LESION, Outcome.NO_LESION) and not {paths.mask.name, paths.score.name} <= set(
        record.files
    ):
        raise OutputError("case.json lists no mask or no score")
    for file, digest in record.files.items():
        _check_file(paths.directory, file, digest if check_files else None)
    return record


def _check_file(folder: Path, file: str, digest: str | None) -> None:
    if Path(file).name != file or not (folder / file).is_file():
        raise OutputError(f"{Path(file).name} is missing")
    try:
        whole = digest is None or file_sha256(folder / file) == digest
    except OSError:
        whole = False
    if not whole:
        raise OutputError(f"{file} is damaged: its sha256 is not the recorded one")


def _write_files(paths: CasePaths, result: CaseResult, facts: CaseFacts, writers: Sequence[Writer]) -> dict[str, str]:
    if result.outcome in (Outcome.REFUSED, Outcome.FAILED):
        if not result.trace:
            return {}
        paths.error.write_text(result.trace, encoding="utf-8", newline="\n")
        return {paths.error.name: file_sha256(paths.error)}
    scan, mask, _ = scored(result)
    if bool(mask.any()) != (result.outcome is Outcome.LESION) or bool(result.lesions) != bool(mask.any()):
        raise OutputError(
            f"Case {result.name} contradicts itself: outcome {result.outcome}, {len(result.lesions)} lesions, "
            f"{int(mask.sum())} voxels in the mask."
        )
    files: list[Path] = []
    for writer in writers:
        if applies(writer, scan):
            files += writer.write(result, paths.directory, facts)
            writer.verify(result, paths.directory)
    return {path.name: file_sha256(path) for path in files}


def _lesion_record(lesion: Lesion, with_uids: bool) -> LesionRecord:
    record = LesionRecord.model_validate(lesion, from_attributes=True)
    return record if with_uids else record.model_copy(update={"sop_instance_uids": ()})


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
        description=candidate.description,
    )
    if scan is None:
        return found
    grid = {"modality": scan.modality or found.modality, "shape": scan.shape, "slice_axis": slice_axis}
    if scan.has_physical_space:
        grid |= {
            "spacing_mm": scan.spacing_mm,
            "affine_ras": scan.affine_ras.tolist(),
            "plane": plane_name(scan.affine_ras, slice_axis),
        }
    return InputRecord.model_validate({**found.model_dump(), **grid})


def _start_anew(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True)
