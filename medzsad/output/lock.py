"""Who works on what in an output folder: a lock for each case, and one for what stands beside the cases.

The locks of cases lie in OUT/.medzsad-locks and stay there, empty, when a run ends: deleting one would let two
processes hold two files of the same name. The system releases them however a process ends.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

from medzsad.errors import LockedError, OutputError
from medzsad.files import PARTIAL, lock
from medzsad.output.paths import OLD, case_paths, remove
from medzsad.scan.records import RESULTS_MARK

LOCKS = ".medzsad-locks"
_PATIENCE_S = 60.0


@contextmanager
def only_run(out_dir: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Holds what stands beside the cases of an output folder, which is marked as one of medzsad.

    Raises:
        LockedError: Another run writes into the folder.
        OutputError: The folder cannot be written.
    """
    with ExitStack() as held:
        try:
            held.enter_context(lock(out_dir / RESULTS_MARK, wait_s))
        except LockedError:
            raise LockedError(
                f"Another run is writing into {out_dir}. Wait for it, or choose another folder with -o."
            ) from None
        except OutputError as error:
            raise OutputError(f"The output folder is not usable: {error} Choose another with -o.") from None
        yield


@contextmanager
def reports_lock(out_dir: Path) -> Iterator[None]:
    """`only_run` for the moment in which reports are written; waits for another run that writes them."""
    with only_run(out_dir, _PATIENCE_S):
        yield


class CaseLocks:
    """The cases of an output folder that this process works on; all of them are free after the `with` block."""

    def __init__(self, out_dir: Path) -> None:
        self._out_dir = out_dir
        self._held: dict[str, ExitStack] = {}
        self._stopped = Event()

    def __enter__(self) -> Self:
        """Nothing is held yet."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Frees every case."""
        for name in tuple(self._held):
            self.release(name)

    def acquire(self, name: str, wait_s: float = 0.0) -> bool:
        """Whether the case is now this process's alone; what a killed process has left of it is deleted then.

        Raises:
            OutputError: The folder cannot be written.
        """
        stack = ExitStack()
        try:
            stack.enter_context(lock(_lock_path(self._out_dir, name), wait_s))
        except LockedError:
            return False
        self._held[name] = stack
        for leftover in _leftovers_of(self._out_dir, name):
            _removed(leftover)
        return True

    def wait(self, name: str, look_s: float) -> None:
        """Returns when the case is this process's alone; looks every `look_s` seconds.

        Raises:
            LockedError: `stop` was called meanwhile.
            OutputError: The folder cannot be written.
        """
        while not self.acquire(name, look_s):
            if self._stopped.is_set():
                raise LockedError(f"Another run works on case {name}, and this one was stopped while it waited.")

    def stop(self) -> None:
        """Ends all waiting, for a run that is being stopped."""
        self._stopped.set()

    def release(self, name: str) -> None:
        """Lets other processes have the case."""
        self._held.pop(name).close()


def clean_leftovers(out_dir: Path) -> tuple[str, ...]:
    """Names of what killed runs had left behind in `out_dir`, now deleted.

    Half-written results and old ones that were moved aside go; what a living process works on stays, and so does
    everything else. The caller holds `only_run` or `reports_lock`.

    Raises:
        OutputError: The file system refuses.
    """
    gone = []
    for path in leftovers(out_dir):
        if path.is_dir() and not path.is_symlink():
            with ExitStack() as held:
                try:
                    held.enter_context(lock(_lock_path(out_dir, case_of(path))))
                except LockedError:
                    continue
                _removed(path)
        else:
            _removed(path)  # a report or a link: beside the cases, so the caller's
        gone.append(path.name)
    return tuple(gone)


def leftovers(out_dir: Path) -> list[Path]:
    """Half-written results, and old ones that were moved aside, of processes that live or were killed."""
    if not out_dir.is_dir():
        return []
    return sorted(path for path in out_dir.iterdir() if path.name.startswith((PARTIAL, OLD)))


def case_of(leftover: Path) -> str:
    """The name of the case to which a folder of `leftovers` belongs."""
    return leftover.name.removeprefix(PARTIAL).removeprefix(OLD)


def is_locked(out_dir: Path, name: str) -> bool:
    """Whether a living process works on the case."""
    try:
        with lock(_lock_path(out_dir, name)):
            return False
    except LockedError:
        return True


def _lock_path(out_dir: Path, name: str) -> Path:
    return out_dir / LOCKS / f"{case_paths(out_dir, name).directory.name}.lock"


def _leftovers_of(out_dir: Path, name: str) -> tuple[Path, ...]:
    both = (out_dir / f"{PARTIAL}{name}", out_dir / f"{OLD}{name}")
    return tuple(path for path in both if path.is_symlink() or path.exists())


def _removed(path: Path) -> None:
    try:
        remove(path)
    except OSError as error:
        raise OutputError(
            f"{error.filename} is left from a run that was stopped and cannot be deleted: {error.strerror}. "
            "Delete it by hand, or choose another output folder."
        ) from error
