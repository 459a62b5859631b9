"""How the cases of a run are executed: here with reading ahead, or in several processes."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from medzsad.config import RunConfig
from medzsad.methods.ensemble import Model
from medzsad.output.collect import write_manifest
from medzsad.output.lock import CaseLocks
from medzsad.progress import Observer
from medzsad.run import pipeline
from medzsad.run.case import CaseRunner, Ended, run_manifest
from medzsad.run.pipeline import settled
from medzsad.run.rule import checked_site
from medzsad.scan.records import Candidate
from medzsad.scan.sources import LOCAL_FILES, ScanSource

Loader = Callable[[RunConfig], Model]


def load_by_config(config: RunConfig) -> Model:
    """The detector that the options name."""
    return pipeline.load_model(config)


@dataclass(frozen=True)
class CaseWork:
    """What is to be done with every case of a run. It can be sent to another process, which loads its own detector.

    Attributes:
        out: Folder for the results.
        config: The checked options.
        overwrite: Redo cases that are done.
        source: Opens the cases; it is sent along.
        into: Folder for the files of the cases that are being read; the sender removes it in the end.
        load: Gives the detector; called once per process. It must be importable by name to be sent.
    """

    out: Path
    config: RunConfig
    overwrite: bool = False
    source: ScanSource = LOCAL_FILES
    into: Path | None = None
    load: Loader = load_by_config
    _opened: list[CaseRunner] = field(default_factory=list, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": []}

    @property
    def runner(self) -> CaseRunner:
        """Runs single cases in this process.

        Raises:
            WeightsError: The weights are missing or damaged.
            ConfigError: The device is unknown, the weights have no embedding of the class name, or the level of
                sensitivity or the calibration does not fit them.
        """
        if not self._opened:
            detector = self.load(self.config)
            # A wrong word, level or calibration is the same for every case.
            detector.word(self.config.class_name)
            checked_site(detector, self.config)
            config = settled(self.config, detector)
            locks = CaseLocks(self.out)
            runner = CaseRunner(self.out, config, self.overwrite, detector, locks, self.source, self.into)
            self._opened.append(runner)
        return self._opened[0]

    def begin(self) -> CaseRunner:
        """The runner, after the folder holds what the run is made with.

        Raises:
            OutputError: The output folder cannot be written.
        """
        runner = self.runner
        write_manifest(self.out, run_manifest(runner.detector, runner.config))
        return runner


class Executor(Protocol):
    """A way to run cases."""

    @property
    def in_process(self) -> bool:
        """Whether the detector is loaded in this process."""
        ...

    def run(self, work: CaseWork, cases: Sequence[Candidate], observer: Observer) -> Iterator[Ended]:
        """The end of each case, in the order of `cases`; a case that another run works on is done last.

        Raises:
            ConfigError: The same would happen to every case.
            OutputError: The output folder cannot be written.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReadAhead:
    """Runs cases in this process: while one is scored, the next one is read and the one before it written.

    All reading and writing is done by one thread, so that the model shares its cores with one other at most.

    Attributes:
        large_voxels: From this many voxels on (float32: 256 MiB) a scan has the memory to itself: the next one is
            read, and this one written, when nothing else is going on.
        in_process: Whether the detector is loaded in this process.
    """

    large_voxels: int = 2**26
    in_process: bool = True

    def run(self, work: CaseWork, cases: Sequence[Candidate], observer: Observer) -> Iterator[Ended]:
        """See `Executor.run`."""
        runner = work.begin()
        with runner.locks, ThreadPoolExecutor(1, "files") as files:
            try:
                yield from self._in_order(runner, files, cases, observer)
            except BaseException:
                runner.locks.stop()  # the other thread may wait for another run, and this one for that thread
                raise

    def _in_order(
        self, runner: CaseRunner, files: ThreadPoolExecutor, cases: Sequence[Candidate], observer: Observer
    ) -> Iterator[Ended]:
        ends: dict[int, Future[Ended]] = {}
        given = 0
        left = list(enumerate(cases))
        for wait in (False, True):
            busy = []
            for index, end in self._one_pass(runner, files, left, observer, wait):
                if end is None:
                    busy.append((index, cases[index]))
                    continue
                ends[index] = end
                while given in ends and ends[given].done():
                    yield ends.pop(given).result()
                    given += 1
            left = busy
        for index in range(given, len(cases)):
            yield ends.pop(index).result()

    def _one_pass(
        self,
        runner: CaseRunner,
        files: ThreadPoolExecutor,
        cases: Sequence[tuple[int, Candidate]],
        observer: Observer,
        wait: bool,
    ) -> Iterator[tuple[int, Future[Ended] | None]]:
        """The coming end of each case; None for one that another run works on, which happens without `wait` only."""

        def told(end: Future[Ended]) -> None:
            if end.exception() is None:
                tell(observer, end.result())

        last: Future[Ended] | None = None
        coming = files.submit(runner.prepare, cases[0][1], wait) if cases else None
        for place, (index, candidate) in enumerate(cases):
            following = cases[place + 1][1] if place + 1 < len(cases) else None
            observer.step(candidate.name)
            assert coming is not None
            prepared = coming.result()
            # Who waits for a case holds no other one, or two runs could wait for each other forever.
            ahead = not wait and following is not None and self._is_small(candidate) and self._is_small(following)
            if following is not None and ahead:
                coming = files.submit(runner.prepare, following, wait)
            if prepared is None:
                yield index, None
            else:
                scored = runner.score(prepared)
                if last is not None:
                    last.result()  # no more than one result waits to be written
                last = files.submit(runner.finish, prepared, scored)
                last.add_done_callback(told)
                yield index, last
            if following is not None and not ahead:
                prepared = scored = None
                if last is not None:
                    last.result()
                coming = files.submit(runner.prepare, following, wait)

    def _is_small(self, candidate: Candidate) -> bool:
        held = candidate.parts or (candidate,)
        return sum(math.prod(one.shape or (self.large_voxels,)) for one in held) < self.large_voxels


def tell(observer: Observer, end: Ended) -> None:
    """Tells the observer how a case ended."""
    observer.ended(end.record.name, end.record.outcome, end.record.message)


def with_detector(work: CaseWork, detector: Model | None) -> CaseWork:
    """The work with a detector that is loaded already; as it is without one."""
    return work if detector is None else replace(work, load=_Given(detector))


@dataclass(frozen=True, slots=True)
class _Given:
    detector: Model

    def __call__(self, config: RunConfig) -> Model:
        return self.detector
