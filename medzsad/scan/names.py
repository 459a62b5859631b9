"""Names that may be shown, and case names: safe as folder names, unique in one discovery, free of patient tags."""

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from medzsad.scan.records import REPORT_FILES

_LONGEST = 80
_DEVICES = re.compile(r"(con|prn|aux|nul|(com|lpt)[\d¹²³])", re.IGNORECASE)  # of Windows, whatever follows a dot
_ENDINGS = (".nii.gz", ".tar.gz", ".tar.xz", ".tar.bz2")


def shown_name(path: str | os.PathLike[str]) -> str:
    """A path or name as text that can be printed and encoded: bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


def series_name(series_uid: str) -> str:
    """The case name of a DICOM series."""
    return f"series-{hashlib.sha256(series_uid.encode()).hexdigest()[:10]}"


def file_case_name(file_name: str) -> str:
    """The case name of a file: its stem with letters of any language kept and everything unsafe replaced.

    It never begins with a dot, ends in none, and is no name that Windows or the report of a run claims.
    """
    stem = next((file_name[: -len(end)] for end in _ENDINGS if file_name.lower().endswith(end)), None)
    if stem is None:
        stem = file_name.rpartition(".")[0] or file_name
    kept = "".join(
        letter if letter.isalnum() or letter in "-_.+=()" else "_" if letter.isspace() else "-"
        for letter in unicodedata.normalize("NFC", shown_name(stem))
    )
    safe = kept.lstrip(".")
    while len(safe.encode()) > 2 * _LONGEST or len(safe) > _LONGEST:
        safe = safe[:-1]
    safe = safe.rstrip(".")
    reserved = _DEVICES.fullmatch(safe.partition(".")[0]) or safe.casefold() in REPORT_FILES
    return f"case-{safe}" if not safe or reserved else safe


def unique_names(names: Sequence[str], places: Sequence[str]) -> list[str]:
    """The names, with 8 hexadecimal digits of the hash of its place appended to each that occurs more than once.

    Names that differ in case alone count as the same, as they do in file systems of Windows and macOS.

    Args:
        names: Wished names.
        places: For each name what tells it apart; used in this order of attempts: its own place, then its number.
    """
    wished = Counter(name.casefold() for name in names)
    result: list[str] = []
    taken = {name for name, count in wished.items() if count == 1}
    for name, place in zip(names, places, strict=True):
        final, attempt = name, 0
        if wished[name.casefold()] > 1:
            final = f"{name}-{_digits(place)}"
            while final.casefold() in taken:
                attempt += 1
                final = f"{name}-{_digits(f'{place} {attempt}')}"
            taken.add(final.casefold())
        result.append(final)
    return result


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def file_in(place: str, file: Path) -> str:
    """What messages call a file of a series: the series with the file's name, or the file alone where it is all."""
    name = shown_name(file.name)
    return place if place.endswith(name) else f"{place} ({name})"
