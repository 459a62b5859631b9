"""What a series that lies in several files is called in messages and reports."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from medzsad.scan.names import shown_name

_MOST_NAMED = 3


def series_label(files: Sequence[Path], labels: Sequence[str]) -> str:
    """The place of a series: the same in every run, and the same from where ever its files are named.

    It is the deepest folder that the labels have in common. Where they have none, it is the folder of the files, or
    the names of the archives and folders if these are several: an archive lies unpacked in a folder of random name.

    Args:
        files: The files, by absolute or relative paths.
        labels: What the user is shown as the place of each; those in archives begin with the name of the archive.
    """
    common = os.path.commonpath([PurePosixPath("/", label).parent for label in labels]).strip("/")
    if common:
        return common
    paths = [os.path.abspath(file) for file in files]  # noqa: PTH100  (links stay as the user named them)
    if all(_is_end_of(label, path) for label, path in zip(labels, paths, strict=True)):
        folder = _common_folder(paths)
        if folder:
            return shown_name(folder)
    tops = sorted({_top(label, path) for label, path in zip(labels, paths, strict=True)})
    more = f" and {len(tops) - _MOST_NAMED} more" if len(tops) > _MOST_NAMED else ""
    return f"{' + '.join(tops[:_MOST_NAMED])}{more}"


def _is_end_of(label: str, path: str) -> bool:
    """Whether a label is how a path ends, as it is of files that were not unpacked."""
    parts = PurePosixPath(label).parts
    return parts == tuple(shown_name(part) for part in Path(path).parts[-len(parts) :])


def _common_folder(paths: Sequence[str]) -> str:
    try:
        return Path(os.path.commonpath([Path(path).parent for path in paths])).name
    except ValueError:  # on several drives
        return ""


def _top(label: str, path: str) -> str:
    """The archive or folder that a file was found in: the first part of its label, or the folder it lies in."""
    parts = PurePosixPath(label).parts
    return parts[0] if len(parts) > 1 else shown_name(Path(path).parent.name)
