"""Many scans with one model: one outcome per case, goes on after a failure, skips what is done."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from medzsad.config import RunConfig
from medzsad.errors import ConfigError, RefusedError
from medzsad.methods.ensemble import Model
from medzsad.output.collect import rebuild_reports
from medzsad.progress import Observer, Silent
from medzsad.run.case import CaseRunner
from medzsad.run.executor import CaseWork, Executor, ReadAhead, with_detector
from medzsad.run.processes import Processes
from medzsad.run.summary import RunSummary
from medzsad.run.threads import cpu_threads
from medzsad.scan.archive import temporary_unpack_dir
from medzsad.scan.limits import read_limits
from medzsad.scan.names import shown_name
from medzsad.scan.records import Candidate, Candidates
from medzsad.scan.sources import FolderSource, ScanSource
from medzsad.scan.together import with_groups


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What a run is asked to do.

    Attributes:
        paths: Folders, files and archives; () with a source.
        out: Folder for the results.
        config: The checked options.
        overwrite: Redo cases that are done.
        source: Where the scans come from, in place of paths. It chooses among its scans itself, so `series`, `frame`
            and `all_frames` of the options are for paths. `workers` needs one that can be pickled.
    """

    paths: tuple[Path, ...]
    out: Path
    config: RunConfig
    overwrite: bool = False
    source: ScanSource | None = None


def plan_run(order: RunOrder, detector: Model | None = None) -> Iterator[str]:
    """One line per case on what `run_cases` would do; nothing is scored or written.

    Args:
        order: What the run would be asked to do.
        detector: One that is loaded already; by default it is loaded as the options say.

    Raises:
        ConfigError: As `run_cases`.
    """
    _check_order(order)
    with temporary_unpack_dir() as folder:
        work = with_detector(_work(order, folder), detector)
        runner = work.runner
        for candidate in _found(order, work.source):
            yield _planned(candidate, runner)


def _planned(candidate: Candidate, runner: CaseRunner) -> str:
    try:
        done = candidate.eligible and runner.is_done(candidate)
    except RefusedError as refusal:
        candidate = replace(candidate, code=refusal.code, reason=str(refusal))
    if candidate.code is not None:
        return f"refuse  {candidate.name}  {candidate.code}: {candidate.reason}"
    if candidate.fault is not None:
        return f"fail    {candidate.name}  a fault of medzsad, please report it"
    return f"skip    {candidate.name}  done before" if done else f"score   {candidate.name}  {candidate.label}"


def run_cases(
    order: RunOrder,
    observer: Observer | None = None,
    *,
    detector: Model | None = None,
    executor: Executor | None = None,
) -> RunSummary:
    """Scores every case and writes its files, then the reports of all cases in the folder.

    A refused or failed case does not affect the others. Cases whose key (input, options, weights) is done are taken
    over, so that a run that was interrupted goes on when it is started again. Several runs may write into one folder:
    a case that another one works on is looked at again after all others, and waited for.

    Args:
        order: What to do.
        observer: Receives the progress events.
        detector: One that is loaded already; by default it is loaded as the options say.
        executor: How to run the cases; by default as `workers` of the options says.

    Raises:
        ConfigError: Nothing was found, a path does not exist, the output folder lies among the scans, or an option is
            wrong.
        WeightsError: The weights are missing or damaged.
        OutputError: The output folder cannot be written.
    """
    _check_order(order)
    workers = order.config.workers
    executor = executor or (ReadAhead() if workers == 1 else Processes(workers))
    observer = observer or Silent()
    with cpu_threads(order.config.threads), temporary_unpack_dir() as folder:
        work = with_detector(_work(order, folder), detector)
        if executor.in_process:
            _ = work.runner  # a run with missing weights ends before any folder is searched
        candidates = _found(order, work.source)
        observer.started("reading", len(candidates), "cases")
        ends = list(executor.run(work, candidates, observer))
    records = tuple(end.record for end in ends)
    rebuild_reports(order.out, records, check_files=False)
    return RunSummary(order.out, records, sum(end.taken_over for end in ends), remark=candidates.remark)


def _work(order: RunOrder, folder: Path) -> CaseWork:
    """What to do with every case; `folder` holds what is unpacked or fetched, and is gone after the run."""
    source = order.source or FolderSource.as_asked(order.paths, order.config, folder)
    return CaseWork(order.out, order.config, order.overwrite, source, folder)


def _check_order(order: RunOrder) -> None:
    """Raises ConfigError where results would be written among the scans, or what to do contradicts itself."""
    config = order.config
    if order.source is not None:
        if order.paths:
            raise ConfigError("A run takes its scans from paths or from a source, not from both.")
        if config.series or config.frame is not None or config.all_frames:
            raise ConfigError("A source chooses among its scans itself, so series, frame and all_frames are for paths.")
    out = order.out.resolve()
    for path in order.paths:
        scans = path.resolve()
        if out.is_relative_to(scans):
            where = "is the folder of the scans" if out == scans else f"lies inside {path}, the folder of the scans"
            raise ConfigError(
                f"The output folder {order.out} {where}, so results would be written among them. "
                "Choose another folder with -o."
            )
        if scans.is_relative_to(out):
            raise ConfigError(
                f"The scans {path} lie inside the output folder {order.out}, so results would be written around them. "
                "Choose another folder with -o."
            )


def _found(order: RunOrder, source: ScanSource) -> Candidates:
    candidates = source.candidates(read_limits(order.config))
    if candidates:
        grouped = with_groups(candidates) if order.config.together else candidates
        return Candidates(grouped, candidates.not_understood)
    remark = f" {candidates.remark}" if candidates.remark else ""
    if order.source is not None:
        raise ConfigError(f"The source holds no scan. Check what it was asked for.{remark}")
    places = ", ".join(shown_name(path) for path in order.paths)
    raise ConfigError(f"No DICOM, NIfTI, NRRD, MHA or picture was found in {places}. Check the path.{remark}")
