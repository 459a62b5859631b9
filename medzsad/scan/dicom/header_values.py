"""Values of DICOM data sets, each taken behind a guard: pydicom converts a value only when it is asked for."""

import hashlib
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from pydicom import Dataset, config
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.guard import refusing

_UID = re.compile(r"[0-9.]{1,64}")
_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")
_LARGEST_INTEGER = 2**31 - 1  # of the value representation IS


def header_value(dataset: Dataset, keyword: str, place: str) -> Any:
    """The value of a tag, None where the tag is absent.

    Raises:
        RefusedError: FILE_UNREADABLE, pydicom cannot convert the value.
    """
    tag = _tag(keyword)
    if tag not in dataset:
        return None
    with refusing(place):
        return dataset[tag].value


@cache
def _tag(keyword: str) -> BaseTag:
    """The tag of a keyword; cached, for pydicom looks it up anew each time and enhanced files have many frames."""
    return Tag(keyword)


def header_items(dataset: Dataset, keyword: str, place: str) -> list[Dataset]:
    """The items of a sequence, none where it is absent or empty.

    Raises:
        RefusedError: FILE_UNREADABLE, what stands there is not a sequence.
    """
    value = header_value(dataset, keyword, place)
    if not value:
        return []
    if not isinstance(value, Sequence):
        raise _misread(place, keyword, "is not a sequence")
    return list(value)


def header_count(dataset: Dataset, keyword: str, place: str, *, otherwise: int) -> int:
    """A number of things that the header tells, `otherwise` where it is absent or 0.

    Raises:
        RefusedError: FILE_UNREADABLE, what stands there is not a whole number, or a negative one.
    """
    value = header_value(dataset, keyword, place)
    if value is None or value == "":
        return otherwise
    if not isinstance(value, int) or value < 0:
        raise _misread(place, keyword, "is not a whole number")
    return int(value) or otherwise


def _misread(place: str, keyword: str, problem: str) -> RefusedError:
    message = f"{place} is damaged: its {keyword} {problem}. Check it or fetch it again."
    return RefusedError(ReasonCode.FILE_UNREADABLE, message)


def uid_of(value: object) -> str:
    """A UID as it is; anything else under that tag only by its hash, for it may be text of a damaged file."""
    text = str(value or "")
    if not text or _UID.fullmatch(text):
        return text
    return f"2.25.{int(hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:30], 16)}"


def is_uid(text: str) -> bool:
    """Whether a text is a UID by the rules of PS3.5 section 9, and so no text of a patient."""
    return len(text) <= 64 and bool(UID(text, config.IGNORE).is_valid)


def uid_name(text: str) -> str:
    """The name of a UID that the standard knows, else ""."""
    name = str(UID(text, config.IGNORE).name) if _UID.fullmatch(text) else ""
    return name if name != text else ""


def code_of(value: object) -> str:
    """A code word of the standard; "" for anything else, which may be text of a patient."""
    text = str(value or "")
    return text if _CODE.fullmatch(text) else ""


def numbers_of(value: object, count: int) -> tuple[float, ...]:
    """That many finite numbers, or none."""
    if value is None or value == "":
        return ()
    items = [value] if count == 1 else value
    if not isinstance(items, Iterable):
        return ()
    try:
        numbers = tuple(float(item) for item in items)
    except (TypeError, ValueError):
        return ()
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else ()


def integer_of(value: object) -> int | None:
    """A whole number in the range of the standard, or None."""
    try:
        number = int(str(value))
    except ValueError:
        return None
    return number if abs(number) <= _LARGEST_INTEGER else None


def texts_of(value: object) -> tuple[str, ...]:
    """The values of a tag as text, none where it is absent."""
    if isinstance(value, str):
        return (value,)
    return tuple(str(item) for item in value) if isinstance(value, Iterable) else ()


def mark_of(value: object) -> str:
    """A value as text, several of them separated as in the file; binary fractions are cut to three digits."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        value = [value]
    return "\\".join(f"{item:.3f}".rstrip("0").rstrip(".") if type(item) is float else str(item) for item in value)
