"""Many scans with one model: one outcome per case, goes on after a failure, skips what is done."""

import math
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from medzsad.cases import CaseRunner, model_record
from medzsad.config import RunConfig
from medzsad.errors import ConfigError, ExitCode
from medzsad.inspection import package_versions
from medzsad.methods.base import Detector
from medzsad.output.lock import only_run
from medzsad.output.paths import clean_leftovers
from medzsad.output.report import write_reports
from medzsad.output.schema import CaseRecord, RunManifest
from medzsad.pipeline import load_detector, read_limits, settled
from medzsad.progress import Observer, Silent
from medzsad.scan.archive import temporary_unpack_dir
from medzsad.scan.discover import discover
from medzsad.scan.names import shown_name
from medzsad.scan.records import Candidate, Candidates
from medzsad.version import __version__
from medzsad.volume.records import Outcome

# From this many voxels on (float32: 256 MiB) a scan has the memory to itself: the next one is read, and this one
# written, when nothing else is going on.
_LARGE = 2**26


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
    """How a run ended: its records in order, how many of them were done before, and a remark on other files."""

    out: Path
    records: tuple[CaseRecord, ...]
    skipped: int
    remark: str = ""

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
        lines.append(f"{len(self.records)} cases{done}: {total}.")
        return "\n".join([*lines, *filter(None, [self.remark]), f"{self.out / 'report.html'}"])


def plan_run(order: RunOrder) -> Iterator[str]:
    """One line per case on what `run_cases` would do; nothing is scored or written."""
    with _found(order) as candidates:
        runner = _runner(order)
        for candidate in candidates:
            if candidate.code is not None:
                yield f"refuse  {candidate.name}  {candidate.code}: {candidate.reason}"
            elif runner.is_done(candidate):
                yield f"skip    {candidate.name}  done before"
            else:
                yield f"score   {candidate.name}  {candidate.label}"


def run_cases(order: RunOrder, observer: Observer | None = None) -> RunSummary:
    """Scores every case and writes its files, then the reports.

    A case that is refused or fails costs no other case anything. Cases whose key (input, options, weights) is done
    are taken over, so that a run that was interrupted goes on when it is started again. While a case is scored, the
    next one is read and the one before it written.

    Raises:
        ConfigError: Nothing was found, a path does not exist, or an option is wrong.
        WeightsError: The weights are missing or damaged.
        OutputError: The output folder cannot be written.
    """
    observer = observer or Silent()
    runner = _runner(order)
    with _found(order) as candidates, only_run(order.out):
        clean_leftovers(order.out)
        observer.started(len(candidates))
        ended = _ended(runner, candidates, observer)
        records = [record for record, _ in ended]
        write_reports(order.out, _manifest(runner.config, runner.detector), records)
        remark = candidates.remark
    return RunSummary(order.out, tuple(records), sum(taken_over for _, taken_over in ended), remark)


def _ended(runner: CaseRunner, candidates: list[Candidate], observer: Observer) -> list[tuple[CaseRecord, bool]]:
    """The record of each case in order, and whether it was taken over from an earlier run.

    One thread reads and writes, so that no more than one scan and one result wait beside the one that is scored.
    """
    ended: list[Future[tuple[CaseRecord, bool]]] = []

    def told(case: Future[tuple[CaseRecord, bool]]) -> None:
        record, _ = case.result()
        observer.case_ended(record.name, record.outcome, record.message)

    with ThreadPoolExecutor(1, "files") as files:
        coming = files.submit(runner.prepare, candidates[0])
        for candidate, following in zip(candidates, [*candidates[1:], None], strict=True):
            observer.case_started(candidate.name)
            prepared = coming.result()
            ahead = following is not None and _is_small(candidate) and _is_small(following)
            if following is not None and ahead:
                coming = files.submit(runner.prepare, following)
            scored = runner.score(prepared)
            if ended:
                ended[-1].result()  # no more than one result waits to be written
            ended.append(files.submit(runner.finish, prepared, scored))
            ended[-1].add_done_callback(told)
            if following is not None and not ahead:
                del prepared, scored
                ended[-1].result()
                coming = files.submit(runner.prepare, following)
    return [case.result() for case in ended]


def _is_small(candidate: Candidate) -> bool:
    return math.prod(candidate.shape or (_LARGE,)) < _LARGE


@contextmanager
def _found(order: RunOrder) -> Iterator[Candidates]:
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
            remark = f" {candidates.remark}" if candidates.remark else ""
            raise ConfigError(f"No DICOM, NIfTI, NRRD, MHA or picture was found in {places}. Check the path.{remark}")
        yield candidates


def _runner(order: RunOrder) -> CaseRunner:
    detector = _load(order.config)
    return CaseRunner(order.out, settled(order.config, detector), order.overwrite, detector)


def _load(config: RunConfig) -> Detector:
    return load_detector(config.weights, clip_weights=config.clip_weights, samples=config.samples, device=config.device)


def _manifest(config: RunConfig, detector: Detector) -> RunManifest:
    return RunManifest(
        medzsad_version=__version__,
        model=model_record(detector, config.class_name),
        device=str(next(p.device for p in detector.parameters())),
        precision=config.precision,
        config=config.model_dump(mode="json"),
        versions=package_versions(),
    )
