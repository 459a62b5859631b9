"""One run at a time per output folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medzsad.errors import OutputError
from medzsad.scan.records import RESULTS_MARK


@contextmanager
def only_run(out_dir: Path) -> Iterator[None]:
    """Holds the output folder for this process; the system lets go of it however the process ends.

    Raises:
        OutputError: Another run writes into the folder, or the folder cannot be written.
    """
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        lock = (out_dir / RESULTS_MARK).open("ab")
    except OSError as error:
        raise OutputError(
            f"The output folder {out_dir} cannot be written: {error.strerror or error}. Choose another with -o."
        ) from error
    with lock:
        if not _acquire(lock.fileno()):
            raise OutputError(f"Another run is writing into {out_dir}. Wait for it, or choose another folder with -o.")
        yield


def _acquire(descriptor: int) -> bool:
    if os.name == "nt":
        # Windows has no advisory locks of this kind; two runs there are the user's to keep apart.
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
