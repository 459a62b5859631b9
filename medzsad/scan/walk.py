"""The files under the paths that were asked for: each once, in a fixed order, archives unpacked."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medzsad.errors import ConfigError, ReasonCode, RefusedError
from medzsad.scan.archive import looks_like_archive, unpack
from medzsad.scan.records import RESULTS_MARK, ReadLimits

_SKIPPED_FOLDERS = frozenset({"__MACOSX", ".git", ".svn"})


@dataclass(frozen=True, slots=True)
class Found:
    """One file, or a place that could not be entered.

    Attributes:
        path: Where it is.
        label: Its path relative to what was asked for.
        explicit: Whether the file itself was asked for.
        refusal: Why nothing below `path` can be listed, if so.
    """

    path: Path
    label: str
    explicit: bool = False
    refusal: RefusedError | None = None


def walk(paths: Sequence[Path], limits: ReadLimits, unpack_dir: Path | None) -> list[Found]:
    """All files under the paths, without those reached twice; folders recursively, links followed without loops.

    Folders that hold results of medzsad are passed over.

    Args:
        paths: Folders, files and archives.
        limits: For the unpacked size of archives.
        unpack_dir: Where archives are unpacked to, each into a folder of its own; without it they are refused.

    Raises:
        ConfigError: A path does not exist.
    """
    for path in paths:
        if not os.path.lexists(path) or not path.exists():
            raise ConfigError(f"{path} does not exist. Name a folder, a file or an archive.")
    seen: set[Path] = set()
    found: list[Found] = []
    for path in paths:
        members = _below(path) if path.is_dir() else iter([Found(path, path.name, explicit=True)])
        for one in members:
            where = one.path.resolve()
            if where in seen:
                continue
            seen.add(where)
            if one.refusal is None and looks_like_archive(one.path) and one.path.is_file():
                found += _unpacked(one, limits, unpack_dir)
            else:
                found.append(one)
    return found


def _below(folder: Path, prefix: str = "") -> Iterator[Found]:
    entered: set[Path] = set()
    barred: list[Path] = []
    for root, folders, files in os.walk(folder, followlinks=True, onerror=lambda e: barred.append(Path(e.filename))):
        here = Path(root)
        if here.resolve() in entered or RESULTS_MARK in files:
            folders.clear()
            continue
        entered.add(here.resolve())
        folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
        for name in sorted(files):
            path = here / name
            if not name.startswith("._") and path.is_file():
                yield Found(path, _label(prefix, path.relative_to(folder)))
    for path in barred:
        label = _label(prefix, path.relative_to(folder)) if path != folder else folder.name
        message = f"{label} may not be read by this user. Change its permissions."
        yield Found(path, label, refusal=RefusedError(ReasonCode.FILE_UNREADABLE, message))


def _label(prefix: str, relative: Path) -> str:
    return os.fsencode(f"{prefix}{relative.as_posix()}").decode("utf-8", "replace")


def _unpacked(archive: Found, limits: ReadLimits, unpack_dir: Path | None) -> list[Found]:
    try:
        folder = _unpack_folder(archive, unpack_dir)
        if not folder.exists():
            unpack(archive.path, folder, archive.label, limits.max_archive_bytes)
    except RefusedError as error:
        return [Found(archive.path, archive.label, refusal=error)]
    nested = "is an archive within an archive, which is not unpacked. Unpack it yourself."
    return [
        Found(one.path, one.label, refusal=RefusedError(ReasonCode.ARCHIVE_UNSAFE, f"{one.label} {nested}"))
        if looks_like_archive(one.path)
        else one
        for one in _below(folder, f"{archive.label}/")
    ]


def _unpack_folder(archive: Found, unpack_dir: Path | None) -> Path:
    if unpack_dir is None:
        raise RefusedError(
            ReasonCode.ARCHIVE_UNSAFE, f"{archive.label} is an archive and there is no folder to unpack it into."
        )
    if archive.path.stat().st_size == 0:
        raise RefusedError(ReasonCode.FILE_EMPTY, f"{archive.label} is empty (0 bytes). Fetch it again.")
    return unpack_dir / hashlib.sha256(os.fsencode(archive.path.resolve())).hexdigest()[:12]
