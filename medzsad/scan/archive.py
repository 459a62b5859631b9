"""Zip and tar archives, unpacked so that nothing can leave the folder or fill the disk."""

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.guard import refusing

_MOST_MEMBERS = 100_000
_HIGHEST_RATIO = 1000
_RATIO_MATTERS_BYTES = 64 * 1024**2
_CHUNK_BYTES = 1024**2
_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    size: int
    link: bool
    encrypted: bool = False


@contextmanager
def temporary_unpack_dir() -> Iterator[Path]:
    """A folder for the content of archives that is gone when the block ends."""
    with TemporaryDirectory(prefix="medzsad-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def looks_like_archive(path: Path) -> bool:
    """Whether the name says zip or tar."""
    return path.name.lower().endswith((".zip", *_TAR_ENDINGS))


def unpack(path: Path, folder: Path, place: str, max_bytes: int) -> None:
    """Unpacks an archive into a new folder: whole, or not at all.

    Args:
        path: The archive.
        folder: Made here; removed again if anything is wrong.
        place: What messages call the archive.
        max_bytes: Largest unpacked size, by the directory of the archive and as counted while unpacking.

    Raises:
        RefusedError: ARCHIVE_UNSAFE, SIZE_LIMIT or FILE_UNREADABLE.
    """
    folder.mkdir(parents=True)
    whole = False
    try:
        with refusing(place, problem="is no whole archive"):
            if zipfile.is_zipfile(path):
                _unpack_zip(path, folder, place, max_bytes)
            else:
                _unpack_tar(path, folder, place, max_bytes)
        whole = True
    finally:
        if not whole:
            shutil.rmtree(folder, ignore_errors=True)


def _unpack_zip(path: Path, folder: Path, place: str, max_bytes: int) -> None:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        members = [
            _Member(
                name=info.filename,
                size=info.file_size,
                link=_special(info.external_attr >> 16),
                encrypted=bool(info.flag_bits & 1),
            )
            for info in infos
        ]
        _check(members, path, place, max_bytes)
        left = max_bytes
        for info, member in zip(infos, members, strict=True):
            if not info.is_dir():
                with archive.open(info) as stream:
                    left = _write(stream, _target(folder, member.name, place), left, place, max_bytes)


def _unpack_tar(path: Path, folder: Path, place: str, max_bytes: int) -> None:
    left = max_bytes
    with tarfile.open(path) as archive:
        members: list[_Member] = []
        for info in archive:
            members.append(_Member(name=info.name, size=info.size, link=not (info.isfile() or info.isdir())))
            _check(members[-1:], path, place, left)
            if len(members) > _MOST_MEMBERS:
                _check(members, path, place, max_bytes)
            stream = archive.extractfile(info) if info.isfile() else None
            if stream is not None:
                left = _write(stream, _target(folder, info.name, place), left, place, max_bytes)
        _check(members, path, place, max_bytes)


def _special(mode: int) -> bool:
    kind = stat.S_IFMT(mode)
    return kind not in (0, stat.S_IFREG, stat.S_IFDIR)


def _check(members: list[_Member], path: Path, place: str, max_bytes: int) -> None:
    if len(members) > _MOST_MEMBERS:
        raise _unsafe(place, f"holds {len(members)} files, the limit is {_MOST_MEMBERS}")
    for member in members:
        if member.link:
            raise _unsafe(place, "holds a link or a device file")
        if member.encrypted:
            raise RefusedError(
                ReasonCode.FILE_UNREADABLE, f"{place} is encrypted. Unpack it yourself and name the folder."
            )
        if _leaves(member.name):
            raise _unsafe(place, "holds a file whose name points outside of it")
    total = sum(member.size for member in members)
    if total > max_bytes:
        raise _unsafe(place, f"unpacks to {total} bytes, the limit is {max_bytes} (--max-archive-bytes)")
    packed = max(path.stat().st_size, 1)
    if total > _RATIO_MATTERS_BYTES and total / packed > _HIGHEST_RATIO:
        raise _unsafe(place, f"unpacks to {total // packed} times its size, as archives do that fill disks")


def _leaves(name: str) -> bool:
    plain = PurePosixPath(name.replace("\\", "/"))
    return plain.is_absolute() or ".." in plain.parts or ":" in (plain.parts or ("",))[0] or "\0" in name


def _target(folder: Path, name: str, place: str) -> Path:
    target = folder.joinpath(*PurePosixPath(name.replace("\\", "/")).parts)
    if not target.resolve().is_relative_to(folder.resolve()):
        raise _unsafe(place, "holds a file whose name points outside of it")
    if target.exists():
        raise _unsafe(place, "holds two files of the same name")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _write(stream: IO[bytes], target: Path, left: int, place: str, max_bytes: int) -> int:
    """Copies at most `left` bytes; hands back how many are left then."""
    with target.open("xb") as out:
        for chunk in _chunks(stream):
            left -= len(chunk)
            if left < 0:
                raise _unsafe(place, f"unpacks to more than {max_bytes} bytes (--max-archive-bytes)")
            out.write(chunk)
    return left


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


def _unsafe(place: str, predicate: str) -> RefusedError:
    return RefusedError(ReasonCode.ARCHIVE_UNSAFE, f"{place} {predicate}. Unpack it yourself if you trust it.")
