"""Many scans with one model: one outcome per case, goes on after a failure, skips what is done."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from medzsad.config import RunConfig
from medzsad.errors import ConfigError
from medzsad.methods.detector import Detector
from medzsad.output.collect import rebuild_reports
from medzsad.progress import Observer, Silent
from medzsad.run.executor import CaseWork, Executor, ReadAhead, with_detector
from medzsad.run.processes import Processes
from medzsad.run.summary import RunSummary
from medzsad.run.threads import cpu_threads
from medzsad.scan.archive import temporary_unpack_dir
from medzsad.scan.discover import discover
from medzsad.scan.limits import read_limits
from medzsad.scan.names import shown_name
from medzsad.scan.records import Candidates


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


def plan_run(order: RunOrder, detector: Detector | None = None) -> Iterator[str]:
    """One line per case on what `run_cases` would do; nothing is scored or written.

    Args:
        order: What the run would be asked to do.
        detector: One that is loaded already; by default it is loaded as the options say.

    Raises:
        ConfigError: As `run_cases`.
    """
    _check_places(order)
    runner = with_detector(CaseWork(order.out, order.config, order.overwrite), detector).runner
    with _found(order) as candidates:
        for candidate in candidates:
            if candidate.code is not None:
                yield f"refuse  {candidate.name}  {candidate.code}: {candidate.reason}"
            elif candidate.fault is not None:
                yield f"fail    {candidate.name}  a fault of medzsad, please report it"
            elif runner.is_done(candidate):
                yield f"skip    {candidate.name}  done before"
            else:
                yield f"score   {candidate.name}  {candidate.label}"


def run_cases(
    order: RunOrder,
    observer: Observer | None = None,
    *,
    detector: Detector | None = None,
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
    _check_places(order)
    workers = order.config.workers
    executor = executor or (ReadAhead() if workers == 1 else Processes(workers))
    observer = observer or Silent()
    work = with_detector(CaseWork(order.out, order.config, order.overwrite), detector)
    with cpu_threads(order.config.threads):
        if executor.in_process:
            _ = work.runner  # a run with missing weights ends before any folder is searched
        with _found(order) as candidates:
            observer.started("reading", len(candidates), "cases")
            ends = list(executor.run(work, candidates, observer))
            remark = candidates.remark
    records = tuple(end.record for end in ends)
    rebuild_reports(order.out, records, check_files=False)
    return RunSummary(order.out, records, sum(end.taken_over for end in ends), remark=remark)


def _check_places(order: RunOrder) -> None:
    """Raises ConfigError where results would be written among the scans, or scans lie among results."""
    out = order.out.resolve()
    for path in order.paths:
        scans = path.resolve()
        if out.is_relative_to(scans):
            where = "is" if out == scans else "lies inside"
            raise ConfigError(
                f"The output folder {order.out} {where} {path}, which holds the scans, so results would be written "
                "among them. Choose a folder elsewhere with -o."
            )
        if scans.is_relative_to(out):
            raise ConfigError(
                f"The scans {path} lie inside the output folder {order.out}, so results would be written around them. "
                "Choose another folder with -o."
            )


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
