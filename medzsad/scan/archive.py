"""Zip and tar archives, unpacked so that nothing can leave the folder or fill the disk."""

import errno
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Self

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.guard import refusing
from medzsad.scan.temporary_folders import scratch_folder

_MOST_MEMBERS = 100_000
_MOST_EMPTY = 1000
_MOST_DIRECTORY_BYTES = 64 * 1024**2
_MOST_EXTENDED_HEADER_BYTES = 1024**2
_HIGHEST_RATIO = 1000
_RATIO_MATTERS_BYTES = 64 * 1024**2
_DEFLATE_RATIO, _LZMA_RATIO = 1040, 10_000  # their limits are 1032 and about 7,000
_CHUNK_BYTES = 1024**2
_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tbz")
_BROKEN = "is not a complete archive"
# Extended headers of tar, which its library reads into memory whole.
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
             tarfile.GNUTYPE_LONGLINK)  # fmt: skip
_ZIP_END_BYTES = 2**16 + 2**10  # a comment, and what stands around it


@contextmanager
def temporary_unpack_dir() -> Iterator[Path]:
    """A folder for the content of archives that is gone when the block or the process ends; see `scratch_folder`."""
    with scratch_folder() as folder:
        yield folder


def looks_like_archive(path: Path) -> bool:
    """Whether the name says zip or tar."""
    return path.name.lower().endswith(_ENDINGS)


def unpack(path: Path, folder: Path, place: str, max_bytes: int) -> None:
    """Unpacks an archive into a new folder: whole, or not at all.

    Args:
        path: The archive.
        folder: Made here; removed again if anything is wrong.
        place: What messages call the archive.
        max_bytes: Largest unpacked size, as counted while unpacking.

    Raises:
        RefusedError: ARCHIVE_UNSAFE, SIZE_LIMIT, FILE_EMPTY or FILE_UNREADABLE.
    """
    with refusing(place, problem="cannot be unpacked"):
        folder.mkdir(parents=True)
        with path.open("rb") as stream:
            packed = max(stream.seek(0, 2), 1)
    whole = False
    try:
        target = _Target(folder, place, max_bytes, packed)
        with refusing(place, problem=_BROKEN):
            is_zip = zipfile.is_zipfile(path)
        if is_zip:
            _unpack_zip(path, target)
        else:
            _unpack_tar(path, target)
        target.check_content()
        whole = True
    finally:
        if not whole:
            shutil.rmtree(folder, ignore_errors=True)


class _Target:
    """The folder that members are written to, with what is left of the limits."""

    def __init__(self, folder: Path, place: str, max_bytes: int, packed: int) -> None:
        self.folder = folder
        self.place = place
        self.max_bytes = max_bytes
        self.packed = packed
        self.members = self.files = self.empty = self.written = 0
        self._made = {folder}

    def check(self, name: str, *, special: bool) -> None:
        """Refuses a member by its name, its kind, or because there are too many."""
        self.members += 1
        if self.members > _MOST_MEMBERS:
            raise _too_many(self.place)
        if special:
            raise _unsafe(self.place, "holds a link or a device file")
        plain = PurePosixPath(name.replace("\\", "/"))
        if plain.is_absolute() or ".." in plain.parts or ":" in (plain.parts or ("",))[0] or "\0" in name:
            raise _unsafe(self.place, "holds a file whose name points outside of it")

    def add(self, name: str, stream: IO[bytes]) -> None:
        """Writes a member whose name was checked; no link is ever made here, so that the name is where it goes."""
        path = self.folder.joinpath(*PurePosixPath(name.replace("\\", "/")).parts)
        most = min(self.max_bytes, max(_RATIO_MATTERS_BYTES, _HIGHEST_RATIO * self.packed))
        try:
            if path.parent not in self._made:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._made.add(path.parent)
            left = _write(stream, path, most - self.written, self.place, self.max_bytes)
        except RefusedError as refusal:
            if refusal.code == ReasonCode.ARCHIVE_UNSAFE and most < self.max_bytes:
                raise _bomb(self.place, _HIGHEST_RATIO) from None
            raise
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise _unsafe(self.place, "holds two files of the same name") from None
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise _unsafe(self.place, "holds a file whose name this system does not allow") from None
            with refusing(self.place):
                raise
        self.files += 1
        self.empty += self.written == most - left
        self.written = most - left
        if self.empty > 10 * _MOST_EMPTY:
            raise self._hollow()

    def check_content(self) -> None:
        """Refuses what holds no files, or mostly empty ones: a transfer that failed, or work made for nothing."""
        if not self.files:
            raise RefusedError(ReasonCode.FILE_EMPTY, f"{self.place} is an archive without any file. Leave it out.")
        if self.empty > max(_MOST_EMPTY, self.files // 2):
            raise self._hollow()

    def _hollow(self) -> RefusedError:
        return RefusedError(
            ReasonCode.FILE_EMPTY,
            f"{self.place} holds {self.empty} empty files (0 bytes) among its first {self.files}. Fetch it again.",
        )


def _unpack_zip(path: Path, target: _Target) -> None:
    place = target.place
    with refusing(place, problem=_BROKEN), path.open("rb") as whole:
        whole.seek(max(0, whole.seek(0, 2) - _ZIP_END_BYTES))
        end = whole.read()
    entries, size = _zip_directory(end)
    if entries > _MOST_MEMBERS or size > _MOST_DIRECTORY_BYTES:
        raise _too_many(place)
    with refusing(place, problem=_BROKEN):
        archive = zipfile.ZipFile(path)
    with archive:
        infos = archive.infolist()
        for info in infos:
            kind = stat.S_IFMT(info.external_attr >> 16)
            target.check(info.filename, special=kind not in (0, stat.S_IFREG, stat.S_IFDIR))
            if info.flag_bits & 1:
                raise RefusedError(
                    ReasonCode.FILE_UNREADABLE, f"{place} is encrypted. Unpack it yourself and name the folder."
                )
            _check_entry(info, place)
        _check_size(sum(info.file_size for info in infos), target)
        files = [info for info in infos if not info.is_dir()]
        for info in sorted(files, key=lambda info: info.file_size):  # empty ones first, to be refused early
            with refusing(place, problem=_BROKEN):
                stream = archive.open(info)
            with stream:
                target.add(info.filename, stream)


def _check_entry(info: zipfile.ZipInfo, place: str) -> None:
    """Refuses an entry whose sizes cannot both be true, so that a damaged one is not taken for a bomb."""
    most = {
        zipfile.ZIP_STORED: info.compress_size,
        zipfile.ZIP_DEFLATED: _DEFLATE_RATIO * (info.compress_size + 1),
        zipfile.ZIP_LZMA: _LZMA_RATIO * (info.compress_size + 1),
        zipfile.ZIP_BZIP2: info.file_size,
    }
    if info.file_size > most.get(info.compress_type, -1):
        raise _broken(place)


def _zip_directory(end: bytes) -> tuple[int, int]:
    """How many entries the directory of a zip file has and how many bytes, by its end (APPNOTE 4.3.16 and 4.3.14)."""

    def number(start: int, length: int) -> int:
        return int.from_bytes(end[start : start + length], "little")

    at = end.rfind(b"PK\x05\x06")
    large = end.rfind(b"PK\x06\x06", 0, max(at, 0))
    if large >= 0:
        return number(large + 32, 8), number(large + 40, 8)
    return (number(at + 10, 2), number(at + 12, 4)) if at >= 0 else (0, 0)


class _TarInfo(tarfile.TarInfo):
    """A member's header, refused where an extended one would fill the memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """The header in a block of 512 bytes."""
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0 or (info.type in _EXTENDED and info.size > _MOST_EXTENDED_HEADER_BYTES):
            raise tarfile.ReadError("size")
        return info


def _unpack_tar(path: Path, target: _Target) -> None:
    place = target.place
    with refusing(place, problem=_BROKEN):
        archive = tarfile.open(path, tarinfo=_TarInfo)  # noqa: SIM115  (closed below)
    with archive:
        while True:
            with refusing(place, problem=_BROKEN):
                info = archive.next()
            if info is None:
                break
            if info.size < 0:  # by an extended header
                raise _broken(place)
            target.check(info.name, special=not (info.isfile() or info.isdir()))
            with refusing(place, problem=_BROKEN):
                stream = archive.extractfile(info)
            if stream is not None:
                target.add(info.name, stream)
        _check_end(archive, target)


def _check_end(archive: tarfile.TarFile, target: _Target) -> None:
    """Refuses a tar file that ends before its end, where tarfile just stops; reads on, for the checksum of gzip."""
    stream = archive.fileobj
    if stream is None:
        raise ValueError("The tar file is closed.")
    with refusing(target.place, problem=_BROKEN):
        stream.seek(archive.offset)
        block = stream.read(tarfile.BLOCKSIZE)
    if block.strip(b"\0"):
        raise _broken(target.place)
    for _ in range(_RATIO_MATTERS_BYTES // _CHUNK_BYTES):
        with refusing(target.place, problem=_BROKEN):
            rest = stream.read(_CHUNK_BYTES)
        if not rest:
            break


def _check_size(total: int, target: _Target) -> None:
    """Refuses by the sizes that a directory declares, before anything is written."""
    if total > target.max_bytes:
        raise _unsafe(target.place, f"unpacks to {total} bytes, the limit is {target.max_bytes} (--max-archive-bytes)")
    if total > _RATIO_MATTERS_BYTES and total > _HIGHEST_RATIO * target.packed:
        raise _bomb(target.place, total // target.packed)


def _write(stream: IO[bytes], target: Path, left: int, place: str, max_bytes: int) -> int:
    """Copies at most `left` bytes; hands back how many are left then."""
    with target.open("xb") as out:
        for chunk in _chunks(stream, place):
            left -= len(chunk)
            if left < 0:
                raise _unsafe(
                    place, f"unpacks to more than {max_bytes} bytes, the limit is {max_bytes} (--max-archive-bytes)"
                )
            out.write(chunk)
    return left


def _chunks(stream: IO[bytes], place: str) -> Iterator[bytes]:
    while True:
        with refusing(place, problem=_BROKEN):
            chunk = stream.read(_CHUNK_BYTES)
        if not chunk:
            return
        yield chunk


def _broken(place: str) -> RefusedError:
    return RefusedError(ReasonCode.FILE_UNREADABLE, f"{place} {_BROKEN}. Check it or fetch it again.")


def _too_many(place: str) -> RefusedError:
    return _unsafe(place, f"holds more than {_MOST_MEMBERS} files, which is the limit")


def _bomb(place: str, ratio: int) -> RefusedError:
    return _unsafe(place, f"unpacks to {ratio} times its size, as archives do that fill disks")


def _unsafe(place: str, predicate: str) -> RefusedError:
    return RefusedError(ReasonCode.ARCHIVE_UNSAFE, f"{place} {predicate}. Unpack it yourself if you trust it.")
