"""Files that lie beside DICOM images and are probably slices of them, though nothing marks them as DICOM any more."""

import re
from pathlib import Path

from medzsad.scan.guard import refusing

_PREAMBLE = 132
_LOOKED_AT = 4096
# An element of group 0002 with an explicit value representation: with such a header every DICOM file begins.
_META_ELEMENT = re.compile(rb"\x02\x00[\x00-\x18]\x00(UL|OB|UI|SH|AE)")


def stray_problem(path: Path, place: str) -> str:
    """What is wrong with a file of no known kind that looks like a damaged slice, as a predicate; "" if it does not.

    A file with the header of DICOM under a damaged mark is told by that header, whatever its name. Of files without
    an ending, or with digits as UIDs have, those are taken besides that end before the mark would stand, and those
    that are no text.

    Raises:
        RefusedError: FILE_UNREADABLE, it cannot be opened.
    """
    if path.name.startswith("."):
        return ""
    with refusing(place, problem="cannot be opened"):
        start = _start_of(path)
    if _META_ELEMENT.search(start, _PREAMBLE - 8):
        return 'begins like DICOM, but its mark "DICM" is damaged'
    if not (path.suffix in ("", ".") or path.suffix[1:].isdecimal()):
        return ""
    if len(start) < _PREAMBLE:
        return f"has {len(start)} bytes"
    return "is of no known kind and no text" if b"\0" in start else ""


def _start_of(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_LOOKED_AT)
