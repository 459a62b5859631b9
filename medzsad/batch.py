"""Many scans with one model: one outcome per case, goes on after a failure, skips what is done."""

import logging
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from medzsad.config import RunConfig, result_options
from medzsad.errors import ConfigError, ExitCode, MedzsadError, OutputError, RefusedError
from medzsad.inspection import package_versions
from medzsad.methods.base import Detector
from medzsad.output.case import CaseFacts, case_record, read_case, write_case
from medzsad.output.lock import only_run
from medzsad.output.paths import clean_leftovers
from medzsad.output.report import write_reports
from medzsad.output.schema import CaseRecord, ModelRecord, RunManifest
from medzsad.pipeline import detect_scan, load_detector, read_limits
from medzsad.progress import Observer, Silent
from medzsad.resume import case_key, content_digest
from medzsad.scan.archive import temporary_unpack_dir
from medzsad.scan.discover import discover
from medzsad.scan.names import shown_name
from medzsad.scan.reader import read_scan
from medzsad.scan.records import Candidate
from medzsad.version import __version__
from medzsad.volume.records import CaseResult, Outcome

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What a run is asked to do.

    Attributes:
        paths: Folders, files and archives.
        out: Folder for the results.
        config: The checked options.
        overwrite: Redo cases that are done.
    """

    paths: tuple[Path, ...]
    out: Path
    config: RunConfig
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run ended: its records in order, and how many of them were done before."""

    out: Path
    records: tuple[CaseRecord, ...]
    skipped: int

    @property
    def exit_code(self) -> ExitCode:
        """1 if a case failed, else 3 if one was refused, else 0."""
        outcomes = {record.outcome for record in self.records}
        if Outcome.FAILED in outcomes:
            return ExitCode.FAILED
        return ExitCode.REFUSED if Outcome.REFUSED in outcomes else ExitCode.OK

    def text(self) -> str:
        """A few lines for the end of the run: counts, what was refused or failed and why, where the report is."""
        counts = Counter(str(record.outcome) for record in self.records)
        lines = [f"{record.name}: {record.outcome}: {record.message}" for record in self.records if record.message]
        total = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome])
        done = f" ({self.skipped} done before)" if self.skipped else ""
        return "\n".join([*lines, f"{len(self.records)} cases{done}: {total}.", f"{self.out / 'report.html'}"])


def plan_run(order: RunOrder) -> Iterator[str]:
    """One line per case on what `run_cases` would do; nothing is scored or written."""
    with _found(order) as candidates:
        detector = _load(order.config)
        for candidate in candidates:
            if candidate.code is not None:
                yield f"refuse  {candidate.name}  {candidate.code}: {candidate.reason}"
            elif _is_done(order, candidate, detector):
                yield f"skip    {candidate.name}  done before"
            else:
                yield f"score   {candidate.name}  {candidate.label}"


def run_cases(order: RunOrder, observer: Observer | None = None) -> RunSummary:
    """Scores every case and writes its files, then the reports.

    A case that is refused or fails costs no other case anything. Cases whose key (input, options, weights) is done
    are taken over, so that a run that was interrupted goes on when it is started again.

    Raises:
        ConfigError: Nothing was found, a path does not exist, or an option is wrong.
        WeightsError: The weights are missing or damaged.
        OutputError: The output folder cannot be written.
    """
    observer = observer or Silent()
    detector = _load(order.config)
    records: list[CaseRecord] = []
    skipped = 0
    with _found(order) as candidates, only_run(order.out):
        clean_leftovers(order.out)
        observer.started(len(candidates))
        for candidate in candidates:
            observer.case_started(candidate.name)
            record, taken_over = _case_record(order, candidate, detector)
            skipped += taken_over
            records.append(record)
            observer.case_ended(record.name, record.outcome, record.message)
        write_reports(order.out, _manifest(order.config, detector), records)
    return RunSummary(order.out, tuple(records), skipped)


@contextmanager
def _found(order: RunOrder) -> Iterator[list[Candidate]]:
    config = order.config
    with temporary_unpack_dir() as unpack_dir:
        candidates = discover(
            order.paths,
            limits=read_limits(config),
            series=config.series,
            frame=config.frame,
            all_frames=config.all_frames,
            unpack_dir=unpack_dir,
        )
        if not candidates:
            places = ", ".join(shown_name(path) for path in order.paths)
            raise ConfigError(f"No DICOM, NIfTI, NRRD, MHA or picture was found in {places}. Check the path.")
        yield candidates


def _load(config: RunConfig) -> Detector:
    return load_detector(config.weights, clip_weights=config.clip_weights, samples=config.samples, device=config.device)


def _digest_and_key(order: RunOrder, candidate: Candidate, detector: Detector) -> tuple[str, str]:
    try:
        content = content_digest(candidate)
    except RefusedError:
        # A file that cannot be read has no key; the case is looked at anew in the next run.
        return "", ""
    weights = {"prompts": detector.info.sha256, "clip": detector.info.clip_sha256}
    return content, case_key(candidate, content, result_options(order.config), weights)


def _stored_result(order: RunOrder, candidate: Candidate) -> CaseRecord | None:
    # Only results are taken over: a refusal costs little to repeat and may have been the machine's.
    record = None if order.overwrite else read_case(order.out, candidate.name)
    return record if record is not None and record.outcome in (Outcome.LESION, Outcome.NO_LESION) else None


def _is_done(order: RunOrder, candidate: Candidate, detector: Detector) -> bool:
    stored = _stored_result(order, candidate)
    return stored is not None and stored.key == _digest_and_key(order, candidate, detector)[1]


def _case_record(order: RunOrder, candidate: Candidate, detector: Detector) -> tuple[CaseRecord, bool]:
    """The record of a case, and whether it was taken over from an earlier run."""
    content, key = _digest_and_key(order, candidate, detector)
    stored = _stored_result(order, candidate)
    if stored is not None and stored.key == key:
        return stored, True
    model = model_record(detector, order.config.class_name)
    facts = CaseFacts(candidate, content, key, order.config, model)
    if stored is not None and content and stored.input.content_sha256 not in ("", content):
        message = (
            f"{order.out / candidate.name} holds the result of another scan of the same name, which was kept. "
            "Choose another folder with -o, or replace it with --overwrite."
        )
        return case_record(CaseResult(candidate.name, Outcome.FAILED, message=message), facts), False
    return _run_case(order, facts, detector), False


def _run_case(order: RunOrder, facts: CaseFacts, detector: Detector) -> CaseRecord:
    result = _result(order, facts.candidate, detector)
    try:
        return write_case(result, order.out, facts)
    except OutputError as error:
        message = str(error)
    except Exception as error:  # noqa: BLE001  (one of the two places that keep a case from taking the others along)
        message = _unexpected(error)
    return case_record(CaseResult(facts.candidate.name, Outcome.FAILED, message=message), facts)


def _result(order: RunOrder, candidate: Candidate, detector: Detector) -> CaseResult:
    name = candidate.name
    if candidate.code is not None:
        return CaseResult(name, Outcome.REFUSED, code=candidate.code, message=candidate.reason)
    try:
        return detect_scan(read_scan(candidate, read_limits(order.config)), detector, order.config)
    except RefusedError as refusal:
        return CaseResult(name, Outcome.REFUSED, code=refusal.code, message=str(refusal))
    except ConfigError:
        # The same for every case: the run as a whole is wrong.
        raise
    except MedzsadError as error:
        return CaseResult(name, Outcome.FAILED, message=str(error))
    except Exception as error:  # noqa: BLE001  (see _run_case)
        return CaseResult(name, Outcome.FAILED, message=_unexpected(error))


def _unexpected(error: Exception) -> str:
    # The text of a foreign exception may quote header values, so only its type and places are told, with -v too.
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames]
    _log.debug("%s at\n  %s", type(error).__name__, "\n  ".join(places))
    return (
        f"Unexpected {type(error).__name__} at {places[-1] if places else 'an unknown place'}. "
        "Run again with -v for all places, and please report it."
    )


def model_record(detector: Detector, class_name: str | None = None) -> ModelRecord:
    """What reports say about a detector.

    Args:
        detector: Whose weights are meant.
        class_name: Word in the prompts; None takes the one stored with the weights.
    """
    info = detector.info
    return ModelRecord(
        name=info.name,
        method=info.method,
        stage=info.stage,
        sha256=info.sha256,
        clip_name=info.clip_name,
        clip_sha256=info.clip_sha256,
        samples=info.samples,
        class_name=class_name or info.class_name,
        threshold=info.threshold,
        threshold_provenance=info.threshold_provenance,
        licence=info.licence,
        source=info.source,
        description=info.description,
    )


def _manifest(config: RunConfig, detector: Detector) -> RunManifest:
    return RunManifest(
        medzsad_version=__version__,
        model=model_record(detector, config.class_name),
        device=str(next(p.device for p in detector.parameters())),
        precision=config.precision,
        config=config.model_dump(mode="json"),
        versions=package_versions(),
    )
