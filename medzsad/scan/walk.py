"""The files under the paths that were asked for: each once, in a fixed order, archives unpacked."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePath

from medzsad.errors import ConfigError, ReasonCode, RefusedError
from medzsad.scan.archive import looks_like_archive, unpack
from medzsad.scan.guard import refusing
from medzsad.scan.names import shown_name
from medzsad.scan.records import REPORT_FILES, RESULTS_MARK, ReadLimits

_SKIPPED_FOLDERS = frozenset({"__MACOSX", ".git", ".svn"})


@dataclass(frozen=True, slots=True)
class Found:
    """One file, or a place that could not be entered.

    Attributes:
        path: Where it is.
        label: Its path relative to what was asked for.
        explicit: Whether the file itself was asked for.
        refusal: Why nothing below `path` can be listed, if so.
        absent: Whether there is no file to open: a link to nothing, a socket or the like.
    """

    path: Path
    label: str
    explicit: bool = False
    refusal: RefusedError | None = None
    absent: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    """A file or a barred folder before it has its label: `asked` is absolute, `relative` what lies below it."""

    path: Path
    asked: Path
    relative: PurePath
    explicit: bool = False
    barred: bool = False
    absent: bool = False


def walk(paths: Sequence[Path], limits: ReadLimits, unpack_dir: Path | None) -> list[Found]:
    """All files under the paths, without those reached twice; folders recursively, links followed without loops.

    Neither the files nor their labels depend on the order of `paths`. Labels are relative to the path asked for.
    Where two of these have the same name, or a file or folder of the same place below them, all labels are relative
    to the common parent of these paths instead, so that no two files share one.

    In a folder of results of medzsad (`RESULTS_MARK`) its results are passed over, unless named themselves; whatever
    else lies there is found.

    Args:
        paths: Folders, files and archives.
        limits: For the unpacked size of archives.
        unpack_dir: Where archives are unpacked to, each into a folder of its own; without it they are refused.

    Raises:
        ConfigError: A path does not exist, or is neither a folder nor a file.
    """
    for path in paths:
        if not os.path.exists(path):  # noqa: PTH110  (Path.exists raises where it may not look)
            fault = "is a link to nothing" if os.path.islink(path) else "does not exist"  # noqa: PTH114
            raise ConfigError(f"{shown_name(path)} {fault}. Name a folder, a file or an archive.")
        if not (path.is_dir() or path.is_file()):  # to open a pipe would wait for its other end
            raise ConfigError(f"{shown_name(path)} is a pipe, a socket or a device. Save its content as a file first.")
    places = _places(paths)
    above = _common_parts(places) if _share_a_place(places) else None
    found: list[Found] = []
    for place in places:
        one = _labeled(place, above)
        if one.refusal is None and not one.absent and looks_like_archive(one.path) and one.path.is_file():
            found += _unpacked(one, limits, unpack_dir)
        else:
            found.append(one)
    return found


def _places(paths: Sequence[Path]) -> list[_Place]:
    """Everything under the paths, each once: files that were named, then folders, outer ones before inner ones."""
    seen: set[Path] = set()
    places: list[_Place] = []
    for path in sorted(paths, key=lambda path: (path.is_dir(), path.resolve().parts, str(path))):
        asked = Path(os.path.abspath(path))  # noqa: PTH100  (".." goes, links stay as the user named them)
        named = _Place(path, asked, PurePath(path.name), explicit=True)
        for place in _below(path, asked) if path.is_dir() else [named]:
            where = place.path.resolve()
            if where not in seen:
                seen.add(where)
                places.append(place)
    return places


def _below(folder: Path, asked: Path) -> Iterator[_Place]:
    entered: set[Path] = set()
    barred: list[Path] = []
    for root, folders, files in os.walk(folder, followlinks=True, onerror=lambda e: barred.append(Path(e.filename))):
        here = Path(root)
        if here.resolve() in entered:
            folders.clear()
            continue
        entered.add(here.resolve())
        try:
            folders[:], kept, absent = _searched(here, folders, files)
        except OSError:  # its names may be listed, but not what they stand for
            barred.append(here)
            folders.clear()
            continue
        for path in sorted([*kept, *absent]):
            yield _Place(path, asked, path.relative_to(folder), absent=path in absent)
    for path in barred:
        yield _Place(path, asked, path.relative_to(folder), barred=True)


def _searched(here: Path, folders: Sequence[str], files: Sequence[str]) -> tuple[list[str], list[Path], set[Path]]:
    """The sub-folders and the files of a folder that count, in order, and what cannot be opened as a file."""
    inner = [name for name in folders if name not in _SKIPPED_FOLDERS]
    names = [name for name in files if not name.startswith("._")]
    if RESULTS_MARK in files:  # hidden folders there are halves of results that a killed run has left
        inner = [name for name in inner if not (name.startswith(".") or (here / name / "case.json").is_file())]
        names = [name for name in names if name not in REPORT_FILES]
    paths = [here / name for name in sorted(names)]
    kept = [path for path in paths if path.is_file()]
    return sorted(inner), kept, set(paths) - set(kept)


def _share_a_place(places: Sequence[_Place]) -> bool:
    """Whether two paths that were asked for have the same name, or the same file or folder below them."""
    owner: dict[PurePath, Path] = {}
    return any(
        owner.setdefault(relative, place.asked) != place.asked
        for place in places
        for relative in (PurePath(place.asked.name), place.relative, *place.relative.parents)
        if relative.parts
    )


def _common_parts(places: Sequence[_Place]) -> int:
    """How many leading parts the parents of all asked-for paths share."""
    levels = zip(*{place.asked.parent.parts for place in places}, strict=False)
    return sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))


def _labeled(place: _Place, above: int | None) -> Found:
    """The place with its label: relative to the path asked for, or to the folder of its first `above` parts."""
    inner = () if place.explicit else place.relative.parts
    parts = (inner or (place.asked.name,)) if above is None else (*place.asked.parts[above:], *inner)
    label = shown_name(PurePath(*parts).as_posix())
    message = f"{label} may not be read by this user. Change its permissions."
    refusal = RefusedError(ReasonCode.FILE_UNREADABLE, message) if place.barred else None
    return Found(place.path, label, explicit=place.explicit, refusal=refusal, absent=place.absent)


def _unpacked(archive: Found, limits: ReadLimits, unpack_dir: Path | None) -> list[Found]:
    try:
        folder = _unpack_folder(archive, unpack_dir)
        if not folder.exists():
            unpack(archive.path, folder, archive.label, limits.max_archive_bytes)
    except RefusedError as error:
        return [Found(archive.path, archive.label, refusal=error)]
    return [_member(place, archive.label) for place in _below(folder, folder)]


def _member(place: _Place, archive: str) -> Found:
    label = f"{archive}/{shown_name(place.relative.as_posix())}"
    nested = f"{label} is an archive within an archive, which is not unpacked. Unpack it yourself."
    refusal = RefusedError(ReasonCode.ARCHIVE_UNSAFE, nested) if looks_like_archive(place.path) else None
    return Found(place.path, label, refusal=refusal, absent=place.absent)


def _unpack_folder(archive: Found, unpack_dir: Path | None) -> Path:
    if unpack_dir is None:
        raise RefusedError(
            ReasonCode.ARCHIVE_UNSAFE, f"{archive.label} is an archive and there is no folder to unpack it into."
        )
    with refusing(archive.label, problem="cannot be opened"):
        size = archive.path.stat().st_size
    if size == 0:
        raise RefusedError(ReasonCode.FILE_EMPTY, f"{archive.label} is empty (0 bytes). Fetch it again.")
    return unpack_dir / hashlib.sha256(os.fsencode(archive.path.resolve())).hexdigest()[:12]
