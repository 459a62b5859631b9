"""A folder for unpacked or fetched scans that no end of the process leaves behind, for it holds data of patients."""

import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import psutil
from filelock import FileLock, Timeout

# medzsad-<process>-<random>, with a file that the process keeps locked.
_PREFIX = "medzsad-"
_NAME = re.compile(r"medzsad-(\d{1,10})-\w+")
_LOCK = ".in-use"
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))

_open_folders: set[Path] = set()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder in the one for temporary files that is gone when the block ends, or the process by SIGTERM or SIGHUP.

    What a killed process has left is removed at the next start, by its name and its lock. The signals end the process
    as they would without the block; where a program handles them itself, or the block is entered in another thread
    than the main one, they are left alone.
    """
    _remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    lock = FileLock(folder / _LOCK)
    lock.acquire()
    _open_folders.add(folder)
    try:
        with _cleaned_on_signals():
            inner = folder / "files"
            inner.mkdir()
            yield inner
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)
        _open_folders.discard(folder)


@contextmanager
def _cleaned_on_signals() -> Iterator[None]:
    """Lets the signals that end the process by default remove its folders first."""
    owner = os.getpid()

    def clean_and_end(number: int, _: FrameType | None) -> None:
        if os.getpid() == owner:  # a forked child must not take its parent's folder away
            for folder in 3 * tuple(_open_folders):  # again, for another thread may be writing there
                shutil.rmtree(folder, ignore_errors=True)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        os._exit(128 + number)  # the first process of a container is not ended by the line above

    in_main = threading.current_thread() is threading.main_thread()
    ours = [number for number in _SIGNALS if in_main and signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, clean_and_end)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is clean_and_end:
                signal.signal(number, signal.SIG_DFL)


def _remove_leftovers() -> None:
    """Removes the folders of this user's processes that are gone."""
    with suppress(OSError):
        for folder in Path(tempfile.gettempdir()).iterdir():
            match = _NAME.fullmatch(folder.name)
            if match is not None and _is_ours(folder) and _is_gone(int(match[1]), folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    """Whether it is a folder that this user made for this purpose, and no link."""
    with suppress(OSError):
        owner = folder.lstat().st_uid
        mine = not hasattr(os, "getuid") or owner == os.getuid()
        return mine and folder.is_dir() and not folder.is_symlink() and (folder / _LOCK).is_file()
    return False


def _is_gone(process: int, folder: Path) -> bool:
    """Whether the process that made the folder has ended: its number is free or was given again, and so is the lock.

    The lock alone tells of a process in another container that shares the folder for temporary files.
    """
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        if psutil.Process(process).create_time() <= folder.stat().st_ctime:
            return False
    try:
        with FileLock(folder / _LOCK, timeout=0):
            return True
    except (Timeout, OSError):
        return False
