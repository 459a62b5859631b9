"""Cases in several processes, each with its own model. One that dies costs its case alone."""

import logging
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from medzsad.errors import MedzsadError, OutputError
from medzsad.output.case import case_record
from medzsad.output.collect import read_manifest
from medzsad.output.facts import CaseFacts
from medzsad.output.lock import CaseLocks
from medzsad.progress import Observer
from medzsad.run.case import Ended, failed_record
from medzsad.run.executor import CaseWork, tell
from medzsad.scan.records import Candidate
from medzsad.volume.records import CaseResult, Outcome

_READY = "ready"
_STOP_S = 10.0
Task = tuple[int, Candidate]


@dataclass(frozen=True, slots=True)
class Processes:
    """Runs cases in `count` new processes, among which the processor threads of this one are divided.

    Attributes:
        count: Number of processes.
        in_process: Whether the detector is loaded in this process.
    """

    count: int
    in_process: bool = False

    def run(self, work: CaseWork, cases: Sequence[Candidate], observer: Observer) -> Iterator[Ended]:
        """See `Executor.run`."""
        pool = _Pool(work, max(1, torch.get_num_threads() // self.count), observer)
        try:
            for _ in range(min(self.count, len(cases))):
                pool.start_worker()
            yield from _in_order(pool.ends(cases))
        finally:
            pool.stop()


def _in_order(ends: Iterator[tuple[int, Ended]]) -> Iterator[Ended]:
    kept: dict[int, Ended] = {}
    given = 0
    for index, end in ends:
        kept[index] = end
        while given in kept:
            yield kept.pop(given)
            given += 1


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    connection: Connection
    task: Task | None = None
    ready: bool = False


class _Pool:
    """The processes, and what each of them works on."""

    def __init__(self, work: CaseWork, threads: int, observer: Observer) -> None:
        self._work, self._threads, self._observer = work, threads, observer
        self._workers: list[_Worker] = []

    def start_worker(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        level = logging.getLogger("medzsad").getEffectiveLevel()
        process = context.Process(
            target=_serve, args=(theirs, self._work, self._threads, level), name="medzsad-worker", daemon=True
        )
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self._workers.append(_Worker(process, ours))

    def stop(self) -> None:
        """Ends all processes; those that wait for work end by themselves."""
        for worker in self._workers:
            worker.connection.close()
        for worker in self._workers:
            if worker.task is None:
                worker.process.join(_STOP_S)
            if worker.process.is_alive():
                worker.process.terminate()
                worker.process.join()
            worker.process.close()

    def ends(self, cases: Sequence[Candidate]) -> Iterator[tuple[int, Ended]]:
        """The end of each case with its place in `cases`, as they come."""
        waiting = deque(enumerate(cases))
        busy: deque[Task] = deque()  # other runs work on these; what is left of them is done last
        left = len(cases)
        while left:
            by_connection = {worker.connection: worker for worker in self._workers}
            for connection in wait(list(by_connection)):
                worker = by_connection[connection]  # type: ignore[index]
                task, answer = worker.task, self._answer(worker)
                if isinstance(answer, Ended) and task is not None:
                    tell(self._observer, answer)
                    left -= 1
                    yield task[0], answer
                elif answer is None and task is not None:
                    busy.append(task)
                self._give_work(worker, waiting, busy)
            if left and not self._workers:
                self.start_worker()

    def _give_work(self, worker: _Worker, waiting: deque[Task], busy: deque[Task]) -> None:
        if worker not in self._workers:
            if waiting or busy:
                self.start_worker()
            return
        if not (waiting or busy):
            return
        last = not waiting
        worker.task = busy.popleft() if last else waiting.popleft()
        self._observer.step(worker.task[1].name)
        with suppress(OSError):  # it died since its last answer, which the next look will show
            worker.connection.send((worker.task[1], last))

    def _answer(self, worker: _Worker) -> Ended | str | None:
        """What a process says: that it is ready, how its case ended, or None if another run works on the case.

        Raises:
            MedzsadError: It would happen to every case.
        """
        try:
            answer = worker.connection.recv()
        except (EOFError, OSError):
            answer = self._death(worker)
        worker.task, worker.ready = None, True
        if isinstance(answer, MedzsadError):
            raise answer
        return answer  # type: ignore[no-any-return]

    def _death(self, worker: _Worker) -> Ended | None:
        """The end of the case at which a process died, if it had one; the process is no longer one of the pool."""
        worker.process.join()
        cause = _cause(worker.process.exitcode)
        self._workers.remove(worker)
        worker.connection.close()
        if worker.task is None:
            if worker.ready:
                return None  # it had nothing to do
            raise OutputError(
                f"A worker process {cause} before it could score anything. Run with --workers 1 to see why."
            )
        candidate = worker.task[1]
        message = (
            f"The process that worked on this case {cause}. If memory ran out, run again with fewer --workers; "
            "finished cases are kept."
        )
        facts = CaseFacts(candidate, "", "", self._work.config, read_manifest(self._work.out).model)
        failure = CaseResult(candidate.name, Outcome.FAILED, message=message)
        with CaseLocks(self._work.out) as locks:
            if locks.acquire(candidate.name):
                return Ended(failed_record(failure, self._work.out, facts))
        return Ended(case_record(failure, facts))  # another run has taken the case up already


def _cause(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"was ended by the system ({signal.Signals(-exit_code).name})"
    return f"ended unexpectedly (exit code {exit_code})"


def _serve(connection: Connection, work: CaseWork, threads: int, log_level: int) -> None:
    """The life of a worker process: cases come, ends go, until the other side closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    logging.basicConfig(format="%(message)s")
    logging.getLogger("medzsad").setLevel(log_level)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # for libraries that are loaded from here on
    torch.set_num_threads(threads)
    try:
        runner = work.begin()
    except MedzsadError as error:
        connection.send(error)
        return
    try:
        connection.send(_READY)
    except OSError:  # all cases were done before this process was ready
        return
    with runner.locks:
        while True:
            try:
                candidate, last = connection.recv()
            except (EOFError, OSError):
                return
            try:
                answer: Ended | MedzsadError | None = runner.run(candidate, last)
            except MedzsadError as error:
                answer = error
            connection.send(answer)
