"""How many processor threads the model may use, so that runs side by side do not wait for each other."""

import getpass
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from medzsad.errors import LockedError, OutputError
from medzsad.files import lock

_MOST_RUNS = 16


@contextmanager
def cpu_threads(wanted: int | None, places: Path | None = None) -> Iterator[int]:
    """The number of processor threads that torch uses inside the block.

    Without a wish it is what OMP_NUM_THREADS says, else all cores divided by the number of runs of this user that
    are going on this computer, this one included. Runs that started earlier keep what they have.

    Args:
        wanted: Number of threads, or None.
        places: Folder in which runs say that they are going; None takes one in the temporary folder.
    """
    before = torch.get_num_threads()
    with ExitStack() as held:
        others = _others(held, places or _places())
        if wanted is not None:
            chosen = wanted
        elif os.environ.get("OMP_NUM_THREADS"):
            chosen = before
        else:
            chosen = max(1, before // (1 + others))
        held.enter_context(given_threads(chosen))
        yield chosen


@contextmanager
def given_threads(wanted: int | None) -> Iterator[None]:
    """Torch uses `wanted` processor threads inside the block; as many as before without a wish."""
    before = torch.get_num_threads()
    if wanted is not None and wanted != before:
        torch.set_num_threads(wanted)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def _others(held: ExitStack, places: Path) -> int:
    """How many other runs are going; this one is held against the next ones until the stack closes."""
    others = 0
    mine = False
    try:
        for number in range(_MOST_RUNS):
            path = places / f"run-{number}.lock"
            if mine and not path.exists():
                break
            try:
                if mine:
                    with lock(path):
                        continue
                held.enter_context(lock(path))
                mine = True
            except LockedError:
                others += 1
    except OutputError:
        # A folder that cannot be written tells nothing about other runs; this one goes on as if alone.
        return 0
    return others


def _places() -> Path:
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = "user"
    return Path(tempfile.gettempdir()) / f"medzsad-runs-{user}"
