"""SeriesDescription as reports may show it: people type patients into it, so what names one is left out whole."""

import re
import unicodedata

from pydicom import Dataset

from medzsad.errors import RefusedError
from medzsad.scan.dicom.header_values import header_value, texts_of

_NAMES = (
    "PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName", "ReferringPhysicianName",
    "PerformingPhysicianName", "OperatorsName",
)  # fmt: skip
_NUMBERS = ("PatientID", "OtherPatientIDs", "AccessionNumber")
DESCRIPTION_TAGS = ("SeriesDescription", "PatientBirthDate", *_NAMES, *_NUMBERS)

_LONGEST = 64  # of the value representation LO
_SHORT_NUMBER = 4  # below this many signs it must be a word of its own, or "1" would be found everywhere
# Six digits and more; day, month and year in any order that numbers allow; and months by their names.
_MONTH = "(jan|feb|mar|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)[a-z]*"
_DAY, _YEAR, _SEPARATOR = r"(0?[1-9]|[12]\d|3[01])", r"(\d{4}|\d{2})", "[-./_ ]"
_DATE = re.compile(
    rf"\d{{6}}|(?<!\d){_DAY}{_SEPARATOR}{_DAY}{_SEPARATOR}{_YEAR}(?!\d)"
    rf"|(?<!\d)\d{{4}}{_SEPARATOR}{_DAY}{_SEPARATOR}{_DAY}(?!\d)"
    rf"|\d{_SEPARATOR}*{_MONTH}{_SEPARATOR}*\d|(?<![a-z]){_MONTH}{_SEPARATOR}*\d"
)


def shown_description(dataset: Dataset, place: str) -> str:
    """SeriesDescription on one line of at most 64 signs; "" where there is none, or where it may name the patient.

    It may if it holds a part of a person's name in the header (from three letters on), the patient's or the study's
    number, the year of birth, or any date; or if one of these cannot be read, and so not be looked for.

    Args:
        dataset: With `DESCRIPTION_TAGS`, as far as they are there.
        place: What messages call the file.
    """
    try:
        text = " ".join(texts_of(header_value(dataset, "SeriesDescription", place)))
        names, numbers = (_texts(dataset, keywords, place) for keywords in (_NAMES, _NUMBERS))
        birth = str(header_value(dataset, "PatientBirthDate", place) or "")
    except RefusedError:
        return ""
    plain = _plain(text)
    words = set(re.findall(r"\w+", plain.replace("_", " ")))
    joined = _joined(plain)
    named = any(part in plain for name in names for part in _name_parts(name))
    numbered = any(
        _joined(number) in (joined if len(_joined(number)) >= _SHORT_NUMBER else words) for number in numbers
    )
    if named or numbered or birth[:4] in words or _DATE.search(plain):
        return ""
    return _one_line(text)


def _texts(dataset: Dataset, keywords: tuple[str, ...], place: str) -> list[str]:
    values = [header_value(dataset, keyword, place) for keyword in keywords]
    texts = [_plain(str(value)) if value else "" for value in values]
    return [text for text in texts if _joined(text)]


def _plain(text: str) -> str:
    """Lower case without accents and invisible signs, in which texts are compared."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return "".join(sign for sign in decomposed if unicodedata.category(sign) not in ("Mn", "Cc", "Cf"))


def _joined(text: str) -> str:
    return "".join(sign for sign in text if sign.isalnum())


def _name_parts(name: str) -> list[str]:
    """The parts that are long enough to tell a person; in scripts without an alphabet two signs are."""
    return [part for part in re.findall(r"[^\W\d_]+", name) if len(part) >= (3 if part.isascii() else 2)]


def _one_line(text: str) -> str:
    visible = "".join(" " if sign.isspace() else sign for sign in text if sign.isspace() or _is_visible(sign))
    line = " ".join(visible.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _is_visible(sign: str) -> bool:
    return not unicodedata.category(sign).startswith("C")
