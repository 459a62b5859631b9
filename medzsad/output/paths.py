"""Names of the files of a result, and putting the whole folder of a case in place at once.

A folder is made under a hidden name first (`.medzsad-partial-<name>`), then renamed. A kill at any moment leaves the
old result, the new one, or nothing under the final name; never a part of one.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from medzsad.errors import OutputError
from medzsad.files import PARTIAL, flush_to_disk

OLD = ".medzsad-old-"


@dataclass(frozen=True, slots=True)
class CasePaths:
    """Places of the files of one case; `directory` is OUT/<case>, or its partial twin while it is being made."""

    directory: Path

    @property
    def mask(self) -> Path:
        """0/1 mask in the scan's grid."""
        return self.directory / "mask.nii.gz"

    @property
    def score(self) -> Path:
        """Score in the scan's grid."""
        return self.directory / "score.nii.gz"

    @property
    def montage(self) -> Path:
        """Picture of the slices with the highest scores."""
        return self.directory / "montage.png"

    @property
    def error(self) -> Path:
        """Where an unforeseen error arose, to be sent with a report."""
        return self.directory / "error.txt"

    @property
    def record(self) -> Path:
        """Everything known about the case; written last."""
        return self.directory / "case.json"


def case_paths(out_dir: Path, name: str) -> CasePaths:
    """Places of the finished files of case `name`.

    Raises:
        OutputError: The name cannot be the name of a folder inside `out_dir`.
    """
    return CasePaths(out_dir / _folder_name(name))


def partial_paths(out_dir: Path, name: str) -> CasePaths:
    """Places of the files of case `name` while it is being written.

    Raises:
        OutputError: The name cannot be the name of a folder inside `out_dir`.
    """
    return CasePaths(out_dir / f"{PARTIAL}{_folder_name(name)}")


def replace_directory(partial: Path, final: Path) -> None:
    """Renames the finished folder `partial` to `final`; a result that stood there is deleted.

    The old result is moved aside first, so between the two renames nothing is named `final`.

    Raises:
        OutputError: Something that is not a result of medzsad is named `final`, or the file system refuses.
    """
    old = final.with_name(f"{OLD}{final.name}")
    try:
        for file in sorted(partial.iterdir()):
            flush_to_disk(file)
        flush_to_disk(partial)
        remove(old)
        if final.is_symlink() or final.exists():
            _refuse_foreign(final)
            final.rename(old)
        partial.rename(final)
        flush_to_disk(final.parent)
        remove(old)
    except OSError as error:
        raise OutputError(f"{final} could not be put in place: {error.strerror}.") from error


def _folder_name(name: str) -> str:
    # A leading dot could collide with the partial and old names.
    if not name or name.startswith(".") or any(sign in name for sign in "/\\\0"):
        raise OutputError(
            f"{name!r} cannot be the name of a result folder: it is empty, starts with a dot or has a slash."
        )
    return name


def _refuse_foreign(final: Path) -> None:
    ours = final.is_dir() and not final.is_symlink()
    if not ours or (any(final.iterdir()) and not (final / "case.json").is_file()):
        raise OutputError(
            f"{final} exists and is not a result of medzsad (it has no case.json), so it is not replaced. "
            "Move it away, or choose another output folder."
        )


def remove(path: Path) -> None:
    """Deletes a file, a link (not what it leads to) or a whole folder; nothing happens if there is none.

    Raises:
        OSError: The file system refuses.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
