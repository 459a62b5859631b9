"""Files of one series that are copies of each other."""

import filecmp
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from medzsad.scan.dicom.headers import FileHeader
from medzsad.scan.guard import refusing


def without_copies(headers: Sequence[FileHeader], place: str) -> tuple[list[FileHeader], Counter[Path]]:
    """The headers without files that equal another one byte for byte, and how many copies each kept file has.

    Raises:
        RefusedError: FILE_UNREADABLE, a file can no longer be read.
    """
    by_uid: dict[str, list[FileHeader]] = {}
    kept: list[FileHeader] = []
    copies: Counter[Path] = Counter()
    for header in headers:
        uid = header.slices[0].sop_instance_uid if header.slices else ""
        same = by_uid.setdefault(uid, [])
        original = next((other.file for other in same if uid and _equal(header.file, other.file, place)), None)
        if original is None:
            same.append(header)
            kept.append(header)
        else:
            copies[original] += 1
    return kept, copies


def _equal(one: Path, other: Path, place: str) -> bool:
    with refusing(place, problem="holds a file that can no longer be read"):
        return filecmp.cmp(one, other, shallow=False)


def copies_note(files: Sequence[Path], copies: Counter[Path]) -> tuple[str, ...]:
    """A note on how many copies of the files were left out, if there were any."""
    count = sum(copies[file] for file in files)
    if not count:
        return ()
    if count == 1:
        return ("1 file that is a byte-for-byte copy of another one was left out.",)
    return (f"{count} files that are byte-for-byte copies of others were left out.",)
