"""Files that are written whole or not at all, their digests, and locks that a killed process cannot leave behind.

What is being written has a hidden name first (`.medzsad-partial-…`) and is renamed when it is complete and on disk. A
kill at any moment leaves the old file, the new one, or nothing under the final name; never a part of one.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from medzsad.errors import LockedError, OutputError

PARTIAL = ".medzsad-partial-"


def file_sha256(path: Path) -> str:
    """The sha256 (hex) of a file's bytes.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def partial_name(path: Path) -> Path:
    """A hidden name beside `path` that no other writer uses, for content that is not complete yet."""
    return path.with_name(f"{PARTIAL}{path.name}.{uuid4().hex[:8]}")


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Writes a file so that its name always leads to the old content or the whole new one, even after a kill.

    Raises:
        OutputError: The file system refuses.
    """
    partial = partial_name(path)
    try:
        partial.write_bytes(content)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path} could not be written: {error.strerror}.") from error
    replace_atomic(partial, path)


def write_text_atomic(path: Path, text: str) -> None:
    """`write_bytes_atomic` for text: UTF-8, with the line ends that `text` has.

    Raises:
        OutputError: The file system refuses.
    """
    write_bytes_atomic(path, text.encode("utf-8"))


def replace_atomic(partial: Path, path: Path) -> None:
    """Renames the complete file `partial` to `path` after its bytes are on disk; `partial` is gone in any case.

    For content that a library writes to a path of its own; see `partial_name`.

    Raises:
        OutputError: The file system refuses.
    """
    try:
        flush_to_disk(partial)
        partial.replace(path)
        flush_to_disk(path.parent)
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Returns when the bytes of a file, or the entries of a folder, are on disk.

    Raises:
        OSError: The file system refuses.
    """
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def lock(path: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Holds the file `path` for this process; the system releases it however the process ends.

    The file itself stays: deleting it would let two processes hold two files of the same name.

    Args:
        path: The lock file; made with its folder if absent.
        wait_s: How long to wait for another holder.

    Raises:
        LockedError: Another process, or another block in this one, holds the file.
        OutputError: The file cannot be made.
    """
    from filelock import FileLock, Timeout  # only who locks waits for the import

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(path, timeout=wait_s, thread_local=False)
        held.acquire()
    except Timeout:
        raise LockedError(f"{path} is in use by another process.") from None
    except OSError as error:
        raise OutputError(f"{path.parent} cannot be written: {error.strerror or error}.") from error
    try:
        yield
    finally:
        held.release()
