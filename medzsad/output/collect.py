"""All cases of an output folder, from the case.json of each: so runs over parts of the scans are joined."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from medzsad.errors import ConfigError, OutputError
from medzsad.files import write_text_atomic
from medzsad.output.case import load_case
from medzsad.output.lock import case_of, clean_leftovers, is_locked, leftovers, reports_lock
from medzsad.output.paths import case_paths
from medzsad.output.report import write_reports
from medzsad.output.schema import CaseRecord, IncompleteCase, RunManifest, json_text
from medzsad.scan.records import REPORT_FILES

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Collected:
    """The cases of a folder by name: those with a whole record, and the others with what is wrong with them."""

    cases: tuple[CaseRecord, ...]
    incomplete: tuple[IncompleteCase, ...]


def write_manifest(out_dir: Path, manifest: RunManifest) -> None:
    """Stores what a run is made with as OUT/manifest.json, and clears away what killed runs have left.

    Raises:
        OutputError: The folder cannot be written.
    """
    with reports_lock(out_dir):
        clean_leftovers(out_dir)
        write_text_atomic(out_dir / MANIFEST, json_text(manifest))


def read_manifest(out_dir: Path) -> RunManifest:
    """What the latest run into `out_dir` was made with.

    Raises:
        ConfigError: The folder holds no manifest, or a damaged one.
    """
    path = out_dir / MANIFEST
    try:
        return RunManifest.model_validate(json.loads(path.read_bytes()))
    except OSError:
        raise ConfigError(
            f"{out_dir} holds no {MANIFEST}, which `medzsad run` writes when it starts. Name the folder that was "
            "given to it with -o."
        ) from None
    except (ValueError, ValidationError):
        raise ConfigError(
            f"{path} is damaged or of another version of medzsad. Start the run again; finished cases are kept."
        ) from None


def collect_cases(out_dir: Path, known: Iterable[CaseRecord] = (), check_files: bool = True) -> Collected:
    """All cases in `out_dir`, sorted by name.

    Args:
        out_dir: Output folder of one or more runs.
        known: Records that were just made and need no reading.
        check_files: Whether the files of the other cases are read and their digests compared.
    """
    cases = {record.name: record for record in known}
    incomplete = {
        case_of(path): "A process is writing it now."
        if is_locked(out_dir, case_of(path))
        else "A run was stopped while writing it; start the run again."
        for path in leftovers(out_dir)
        if path.is_dir() and not path.is_symlink()
    }
    for folder in sorted(path for path in out_dir.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if folder.name in cases or not _is_of_a_case(folder):
            continue
        incomplete.pop(folder.name, None)
        try:
            cases[folder.name] = load_case(out_dir, folder.name, check_files)
        except OutputError as error:
            incomplete[folder.name] = f"The result is damaged: {error}. Start the run again."
    return Collected(
        tuple(record for _, record in sorted(cases.items())),
        tuple(IncompleteCase(name=name, problem=problem) for name, problem in sorted(incomplete.items())),
    )


def rebuild_reports(out_dir: Path, known: Iterable[CaseRecord] = (), check_files: bool = True) -> Collected:
    """The cases in `out_dir`, after report.json, report.csv and report.html were written from them.

    Args:
        out_dir: Output folder of one or more runs.
        known: Records that were just made and need no reading.
        check_files: Whether the files of the other cases are read and their digests compared.

    Raises:
        ConfigError: The folder holds no manifest of a run.
        OutputError: A report could not be written.
    """
    manifest = read_manifest(out_dir)
    with reports_lock(out_dir):
        found = collect_cases(out_dir, known, check_files)
        write_reports(out_dir, manifest, found.cases, found.incomplete)
    return found


def _is_of_a_case(folder: Path) -> bool:
    paths = case_paths(folder.parent, folder.name)
    return any(path.is_file() for path in (paths.record, paths.mask, paths.score)) and folder.name not in REPORT_FILES
