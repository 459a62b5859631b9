"""Case names: safe as folder names, unique in one discovery, free of patient tags."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

_LONGEST = 80
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)
_ENDINGS = (".nii.gz", ".tar.gz", ".tgz")


def series_name(series_uid: str) -> str:
    """The case name of a DICOM series."""
    return f"series-{hashlib.sha256(series_uid.encode()).hexdigest()[:10]}"


def file_case_name(file_name: str) -> str:
    """The case name of a file: its stem with letters of any language kept and everything unsafe replaced."""
    stem = next((file_name[: -len(end)] for end in _ENDINGS if file_name.lower().endswith(end)), None)
    if stem is None:
        stem = file_name.rpartition(".")[0] or file_name
    kept = "".join(
        letter if letter.isalnum() or letter in "-_.+=()" else "_" if letter.isspace() else "-"
        for letter in unicodedata.normalize("NFC", stem).encode("utf-8", "replace").decode()
    )
    safe = kept.lstrip(".").rstrip(". ")
    while len(safe.encode()) > 2 * _LONGEST or len(safe) > _LONGEST:
        safe = safe[:-1]
    return f"case-{safe}" if not safe or _RESERVED.fullmatch(safe) else safe


def unique_names(names: Sequence[str], places: Sequence[str]) -> list[str]:
    """The names, with 8 hexadecimal digits of the hash of its place appended to each that occurs more than once.

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
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
